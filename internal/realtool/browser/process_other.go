//go:build !unix

package browser

import (
	"os/exec"
	"testing"
	"time"
)

// program starts a program that ends with the test.
func program(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}
