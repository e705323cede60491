package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// build compiles the program as it is shipped, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dinggate-build")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "dinggate")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags",
		"-s -w -X dinggate/internal/buildinfo.version=v0.0.0-test", "-o", path, ".")
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
	// 6 MB of it are gRPC and OpenTelemetry, 1 MB the command line, 0.4 MB time zones, 0.3 MB confusable letters
	if most := int64(37e6); info.Size() > most {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), most)
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
