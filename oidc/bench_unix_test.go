//go:build unix

package oidc

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is the processor time of this process: a loaded machine changes only the wall clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
