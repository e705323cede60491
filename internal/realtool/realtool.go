// Package realtool finds the programs that tests run for real.
package realtool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Path finds a program: NAME as the shell would, NAME@VERSION where scripts/tools
// has built it from its module. Without it the test is skipped with one clear
// line, on the terminal too where there is one: plain `go test` hides what a
// passing package prints. Under `make test` (TEST_TOOLS=required) its absence is
// a failure, so that a skip cannot hide there.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := name
	if program, _, built := strings.Cut(name, "@"); built {
		if dir, err := os.UserCacheDir(); err == nil {
			path = filepath.Join(dir, "dinggate-tools", name, program)
		}
	}
	path, err := exec.LookPath(path)
	if err == nil {
		return path
	}
	if os.Getenv("TEST_TOOLS") == "required" {
		t.Fatalf("%s is not installed: run `make tools`", name)
	}
	text := fmt.Sprintf("SKIPPED: %s is not installed; `make test` installs it", name)
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(tty, "%s: %s\n", t.Name(), text)
		tty.Close()
	}
	t.Skip(text)
	return ""
}
