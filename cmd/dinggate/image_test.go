package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dinggate/internal/realtool"
)

// build compiles the program as it is shipped, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dinggate-build")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "dinggate")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v0.0.0-test", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBinarySize(t *testing.T) {
	info, err := os.Stat(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(25e6); info.Size() > most {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), most)
	}
}

// TestImage builds the container image from the Dockerfile, looks at what it
// says of itself, and runs the program inside as the user it names.
func TestImage(t *testing.T) {
	buildah := realtool.Path(t, "buildah")
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: buildah's chroot isolation needs root")
	}
	dir := t.TempDir()
	for from, to := range map[string]string{"../../Dockerfile": "Dockerfile", binary(t): "dist/dinggate", "/etc/ssl/certs/ca-certificates.crt": "dist/ca-certificates.crt"} {
		copyFile(t, from, filepath.Join(dir, to))
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(buildah, append([]string{"--storage-driver", "vfs", "--root", filepath.Join(dir, "store"), "--runroot", filepath.Join(dir, "run")}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("bud", "--isolation", "chroot", "--format", "docker", "--build-arg", "BINARY=prebuilt", "-t", "dinggate:test", dir) // the OCI format drops HEALTHCHECK
	about := run("inspect", "--type", "image", "dinggate:test")
	for _, want := range []string{`"User": "65532:65532"`, "/usr/bin/dinggate", "healthcheck", "4180/tcp", "org.opencontainers.image.title"} {
		if !strings.Contains(about, want) {
			t.Errorf("the image does not say %s", want)
		}
	}
	container := run("from", "dinggate:test")
	defer run("rm", container)
	if out := run("run", "--isolation", "chroot", "--user", "65532:65532", container, "--", "/usr/bin/dinggate", "version"); !strings.Contains(out, "dinggate v0.0.0-test") {
		t.Errorf("dinggate version in the image prints %q", out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}
