// Package realtool finds the programs that tests run for real.
package realtool

import (
	"os"
	"os/exec"
	"testing"
)

// Path finds a program. Without it the test is skipped with one clear line;
// under `make test` (TEST_TOOLS=required) its absence is a failure, so that a
// skip cannot hide there.
func Path(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("TEST_TOOLS") == "required" {
		t.Fatalf("%s is not installed: run `make tools`", name)
	}
	t.Skipf("SKIPPED: %s is not installed; `make test` installs it", name)
	return ""
}
