package realtool

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Dinggate compiles the program of this repository and returns its path. Only linking is repeated
// if the packages are in the build cache. From then on the programs that this process starts print
// English, which tests read, in whatever language a developer works.
func Dinggate(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dinggate")
	if out, err := exec.Command("go", "build", "-o", path, "dinggate/cmd/dinggate").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	os.Setenv("LC_ALL", "C")
	return path
}
