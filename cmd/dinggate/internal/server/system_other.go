//go:build !unix

package server

import "syscall"

// OpenFiles is 0: Windows has no such limit.
func OpenFiles() int { return 0 }

// errInUse is WSAEADDRINUSE, which package syscall does not define as EADDRINUSE.
const errInUse = syscall.Errno(10048)
