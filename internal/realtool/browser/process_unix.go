//go:build unix

package browser

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// program starts a program in a process group of its own, whose every member
// ends with the test.
func program(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
}
