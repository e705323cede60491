package telemetry

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAudit_FullFileSystem: a file system with space for half a record takes none of it: the file
// contains only whole records, before and after (threats V29).
func TestAudit_FullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("SKIPPED: a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler, path := filepath.Join(dir, "filler"), filepath.Join(dir, "audit.jsonl")
	if err := os.WriteFile(filler, make([]byte, 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAudit(path, true, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	failed := 0
	for range 12 { // of 1,000 bytes each, with space for 8,192
		if a.Write(time.Now(), "audit", "sign_in", "text", strings.Repeat("x", 950)) != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Fatal("the file system was not full")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := a.Write(time.Now(), "audit", "sign_out"); err != nil {
		t.Errorf("Write() with free space again = %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if want := 13 - failed; len(lines) != want {
		t.Errorf("%d lines, want the %d records that were taken", len(lines), want)
	}
	for _, line := range lines {
		if !json.Valid(line) {
			t.Errorf("%.80q is no record", line)
		}
	}
}
