package release_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"dinggate/internal/realtool"
)

// emulated are Linux's other processors, with the program that runs theirs here.
var emulated = map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static",
	"loong64": "qemu-loongarch64-static", "riscv64": "qemu-riscv64-static"}

// TestForeign runs the program of the archives for other processors: it says its
// version and judges a configuration. FOREIGN=1, or "linux/arm64 …", since each
// compiles everything anew; FOREIGN_DIR names a release that is built already.
func TestForeign(t *testing.T) {
	targets, dir := os.Getenv("FOREIGN"), os.Getenv("FOREIGN_DIR")
	if targets == "" && dir == "" {
		t.Skip("SKIPPED: FOREIGN=1 builds for every processor, minutes each")
	}
	needTools(t)
	realtool.Path(t, "qemu-riscv64-static")
	if !strings.Contains(targets, "/") {
		targets = "linux/amd64 linux/arm64 linux/loong64 linux/riscv64"
	}
	if dir == "" {
		dir = t.TempDir()
		if err := releaseIn(repository, dir, "v1.0.0", "archive", targets, "off"); err != nil {
			t.Fatal(err)
		}
	}
	for target := range strings.FieldsSeq(targets) {
		arch := strings.TrimPrefix(target, "linux/")
		t.Run(arch, func(t *testing.T) {
			archive := built{dir: dir}.file(t, "dinggate_*_linux_"+arch+".tar.gz")
			to := t.TempDir()
			output(t, "tar", "-x", "-z", "--strip-components=1", "-f", archive, "-C", to)
			program := filepath.Join(to, "dinggate")
			run := func(args ...string) string {
				if arch == runtime.GOARCH {
					return output(t, program, args...)
				}
				return output(t, emulated[arch], append([]string{program}, args...)...)
			}
			if said := run("version"); !strings.HasPrefix(said, "dinggate v") || !strings.Contains(said, arch) {
				t.Errorf("dinggate version = %q", said)
			}
			if secret := run("keygen"); len(secret) != 44 {
				t.Errorf("dinggate keygen = %q", secret)
			}
			if text := run("gen", "nginx", "--public_url", "https://app.example.com"); !strings.Contains(text, "auth_request") {
				t.Errorf("dinggate gen nginx = %q", text)
			}
		})
	}
}
