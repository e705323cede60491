package release_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproducible builds a release twice, in two folders and under two settings
// of the machine, and gets the same bytes. By default for this processor and
// without the compiler's profile; REPRODUCIBLE="linux/amd64 …" names targets and
// builds each as it is shipped, from nothing.
func TestReproducible(t *testing.T) {
	needTools(t)
	targets, profile := target(), "off"
	if named := os.Getenv("REPRODUCIBLE"); named != "" {
		targets, profile = named, "test/bench/dinggate.pgo"
	}
	builds := []struct {
		folder, umask string
		env           []string
	}{
		{"a", "022", []string{"TZ=UTC", "LANG=C"}},
		{"another/folder with a blank", "077",
			[]string{"TZ=Asia/Shanghai", "LANG=zh_CN.UTF-8", "GOAMD64=v3", "GOFLAGS=-tags=other"}},
	}
	parent := t.TempDir()
	for _, build := range builds { // first of all: the files may be edited during the test
		copyTracked(t, filepath.Join(parent, build.folder), build.umask)
	}
	var sums []string
	for _, build := range builds {
		checkout, env := filepath.Join(parent, build.folder), build.env
		if profile != "off" {
			env = append(env, "GOCACHE="+filepath.Join(t.TempDir(), "cache"))
		}
		if err := releaseIn(checkout, "dist/release", "v1.0.0", "archive,package,image,sbom", targets, profile,
			env...); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(checkout, "dist/release/SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] || !strings.Contains(sums[0], ".deb") {
		t.Errorf("two builds of one commit differ:\n%s\n%s", sums[0], sums[1])
	}
}

// copyTracked copies the files that git knows, as they are now, under a umask.
func copyTracked(t *testing.T, to, umask string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec",
		`umask "$1"; git ls-files -z | tar --create --null --files-from - | tar --extract --no-same-permissions `+
			`--directory "$2"`, "copy", umask, to)
	cmd.Dir = repository
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copying the checkout: %v\n%s", err, printed)
	}
}
