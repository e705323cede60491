package servertest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// RunControl runs a command of the real program that calls the control socket.
func RunControl(t *testing.T, socket string, args ...string) (string, error) {
	t.Helper()
	return RunProgram(t, append(Environ[:len(Environ):len(Environ)], "DINGGATE_ADMIN_CONTROL="+socket), "", args...)
}

// RunControlApart is RunControl with stdout, stderr and the exit code returned separately.
func RunControlApart(t *testing.T, socket string, args ...string) (out, errs string, code int) {
	t.Helper()
	cmd := exec.Command(Binary(t), args...)
	cmd.Env = append(append(os.Environ(), Environ...), "DINGGATE_ADMIN_CONTROL="+socket, "LC_ALL=C")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}
