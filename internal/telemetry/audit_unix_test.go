//go:build unix

package telemetry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAuditStuck: a pipe whose reader stopped blocks no caller for long.
func TestAuditStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := OpenAudit(path, true, func(error) {}); err == nil {
		t.Error("a pipe without a reader opens")
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	a, lost := openAudit(t, path, false)
	long := strings.Repeat("x", 8<<10)
	for range auditQueue + 200 {
		if err := a.Write(time.Now(), "audit", "sign_in", "user", long); err != nil {
			t.Fatalf("Write = %v, want nil", err)
		}
	}
	if lost.Load() == 0 {
		t.Error("nothing was counted although the sink takes nothing")
	}
	strict, _ := openAudit(t, path, true)
	if err := strict.Write(time.Now(), "audit", "sign_in", "user", strings.Repeat("x", 1<<20)); !errors.Is(err,
		ErrAudit) {
		t.Errorf("a strict record into a full pipe = %v, want ErrAudit", err)
	}
}
