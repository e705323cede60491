package page

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dinggate/internal/realtool"
)

// TestBundle builds silent.js again and compares: the embedded file must be the result of the
// sources and the locked versions.
func TestBundle(t *testing.T) {
	realtool.Path(t, "node")
	realtool.Path(t, "npm")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("silent")); err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(dir, "built.js")
	if out, err := exec.Command("bash", filepath.Join(dir, "build.sh"), built).CombinedOutput(); err != nil {
		if os.Getenv("TEST_TOOLS") == "required" {
			t.Fatalf("build.sh: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: the packages cannot be had here: %v\n%s", err, out)
	}
	fresh, err := os.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := assetFiles.ReadFile("assets/silent.js")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh, embedded) {
		t.Errorf(
			"assets/silent.js (%d bytes) is not what silent/ builds (%d bytes): run internal/page/silent/build.sh",
			len(embedded), len(fresh),
		)
	}
	for _, never := range []string{"eval(", "http://", "new Function"} {
		if bytes.Contains(embedded, []byte(never)) {
			t.Errorf("assets/silent.js contains %q", never)
		}
	}
}
