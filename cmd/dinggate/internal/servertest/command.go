package servertest

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
)

// RunCommand runs a command in this process, as the command line does, and returns its
// exit code.
func RunCommand(command cli.Command, args, environ []string, out, errors io.Writer) int {
	return cli.Run(i18n.Message{"test", "测试"}, []cli.Command{command},
		cli.Invocation{Environ: environ, Stdout: out, Stderr: errors}, args)
}

// RunProgram runs a command of the real program, in English, and returns its output.
func RunProgram(t *testing.T, environ []string, in string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(Binary(t), args...)
	cmd.Env = append(append(os.Environ(), environ...), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// RunBindings runs `dinggate bindings` of the real program with a state_dir.
func RunBindings(t *testing.T, dir, in string, args ...string) (string, error) {
	t.Helper()
	return RunProgram(t, append(Environ[:len(Environ):len(Environ)], "DINGGATE_STATE_DIR="+dir,
		"DINGGATE_ACCOUNTS_BINDING=required"), in, append([]string{"bindings"}, args...)...)
}
