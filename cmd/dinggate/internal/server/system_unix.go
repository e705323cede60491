//go:build unix

package server

import "syscall"

// OpenFiles returns how many files the process may open, 0 if that is unlimited or
// unknown.
func OpenFiles() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur > 1<<21 {
		return 0
	}
	return int(files.Cur)
}

// errInUse is the error for an address that another program uses.
const errInUse = syscall.EADDRINUSE
