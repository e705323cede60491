//go:build unix

package server

import "syscall"

// OpenFiles is how many files the process may open, 0 where that is unlimited
// or unknown.
func OpenFiles() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur > 1<<21 {
		return 0
	}
	return int(files.Cur)
}

// errInUse is what the system says of an address that another program has.
const errInUse = syscall.EADDRINUSE
