package release_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	uses = regexp.MustCompile(`uses: *(\S+)`)
	// An action by its commit, with the version beside it for people.
	pinned = regexp.MustCompile(`(?m)^ *- uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
)

// TestWorkflows: what runs for any pull request may read and no more, runs
// actions by their commit, and takes no text of a pull request into a shell.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(repository + "/.github/workflows/*.yml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, name := string(data), filepath.Base(file)
		if got, want := len(pinned.FindAllString(text, -1)), len(uses.FindAllString(text, -1)); got != want ||
			want == 0 {
			t.Errorf("%s uses %d actions, %d of them by commit and version", name, want, got)
		}
		if !strings.Contains(text, "\npermissions:\n  contents: read\n") || strings.Contains(text, ": write") {
			t.Errorf("%s has more than contents: read", name)
		}
		if strings.Contains(text, "pull_request_target") || strings.Contains(text, "github.event") ||
			strings.Contains(text, "github.head_ref") {
			t.Errorf("%s runs with what a pull request says", name)
		}
		if got, want := strings.Count(text, "timeout-minutes:"), strings.Count(text, "runs-on:"); got != want {
			t.Errorf("%s has %d jobs and %d timeouts", name, want, got)
		}
		if n := strings.Count(text, "actions/checkout"); n != strings.Count(text, "persist-credentials: false") {
			t.Errorf("%s leaves the token in a checkout", name)
		}
	}
}
