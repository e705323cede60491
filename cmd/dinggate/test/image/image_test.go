package image

import (
	"os"
	"path/filepath"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

func TestBinarySize(t *testing.T) {
	info, err := os.Stat(servertest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	// 6 MB of it are gRPC and OpenTelemetry, 1 MB the command line, 0.4 MB time zones, 0.3 MB confusable letters
	if most := int64(38e6); info.Size() > most {
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
