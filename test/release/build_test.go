package release_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"dinggate/internal/realtool"
)

const (
	repository = "../.."
	epoch      = "1767323045" // 2026-01-02T03:04:05Z
	revision   = "0123456789abcdef0123456789abcdef01234567"
)

// built is a release for this machine's processor, made once for all tests.
type built struct {
	dir string
	err error
}

// made are the folders to remove in the end. No test here runs beside another.
var made []string

// Two versions, so that one can be upgraded to the other.
var (
	older = sync.OnceValue(func() built { return build("v1.0.0", "archive,package,image,sbom") })
	newer = sync.OnceValue(func() built { return build("v1.0.1", "package") })
)

// build runs scripts/release as `make release` does, but without the profile,
// which makes another program of each package: minutes more.
func build(version, parts string) built {
	dir, err := os.MkdirTemp("", "dinggate-release-test")
	if err != nil {
		return built{err: err}
	}
	made = append(made, dir)
	return built{dir, releaseIn(repository, dir, version, parts, target(), "off")}
}

func releaseIn(checkout, out, version, parts, targets, profile string, env ...string) error {
	cmd := exec.Command("go", "run", "./scripts/release", "-version", version, "-revision", revision, "-source",
		"https://git.example.com/dinggate",
		"-targets", targets, "-parts", parts, "-pgo", profile, "-out", out)
	cmd.Dir = checkout
	cmd.Env = append(append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch, "RELEASE_KEY="), env...)
	if printed, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, printed)
	}
	return nil
}

// target is Linux on this machine's processor.
func target() string { return "linux/" + runtime.GOARCH }

// needTools skips the test where a tool of scripts/release is missing.
func needTools(t *testing.T) {
	t.Helper()
	realtool.Path(t, "buildah")
	realtool.Path(t, "nfpm@v2.45.2")
	realtool.Path(t, "cyclonedx-gomod@v1.10.0")
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("SKIPPED: images and packages are tried on Linux as root")
	}
}

// file is the one of a release whose name matches.
func (b built) file(t *testing.T, pattern string) string {
	t.Helper()
	if b.err != nil {
		t.Fatal(b.err)
	}
	found, err := filepath.Glob(filepath.Join(b.dir, pattern))
	if err != nil || len(found) != 1 {
		entries, _ := os.ReadDir(b.dir)
		t.Fatalf("the release has %d files %s, %v; it has %v", len(found), pattern, err, entries)
	}
	return found[0]
}

// output runs a program that must succeed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range made {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}
