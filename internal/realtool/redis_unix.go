//go:build unix

package realtool

import "syscall"

// Hang stops the process without closing anything: connections are half open.
func (r *Redis) Hang() { r.signal(syscall.SIGSTOP) }

// Wake continues it.
func (r *Redis) Wake() { r.signal(syscall.SIGCONT) }

func (r *Redis) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}
