package telemetry

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func auditLines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func openAudit(t *testing.T, path string, strict bool) (a *Audit, lost *atomic.Int64) {
	t.Helper()
	lost = new(atomic.Int64)
	a, err := OpenAudit(path, strict, func(err error) {
		if err != nil {
			lost.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, lost
}

func TestAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	a, lost := openAudit(t, path, true)
	if err := a.Write(time.Unix(1, 0), "audit", "sign_in", "user", "张三\n\"x"); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(auditLines(t, path)[0]), &got); err != nil ||
		got["at"] != "1970-01-01T00:00:01Z" || got["audit"] != "sign_in" || got["user"] != "张三\n\"x" || len(got) != 3 {
		t.Errorf("the record reads %v, %v", got, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, want 0600", info.Mode().Perm())
	}
	// Rotated: after the move, the next record begins a new file within a moment.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		if err := a.Write(time.Now(), "audit", "sign_out"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			break
		}
	}
	if lines := auditLines(t, path); !strings.Contains(lines[0], "sign_out") || lost.Load() != 0 {
		t.Errorf("after rotation the new file has %q, %d lost", lines, lost.Load())
	}
}

// TestAuditFull: a full disk fails a strict record; otherwise it is only counted.
func TestAuditFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	a, lost := openAudit(t, "/dev/full", true)
	if err := a.Write(time.Now(), "audit", "sign_in"); !errors.Is(err, ErrAudit) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Write to a full disk = %v, want ErrAudit", err)
	}
	b, lostB := openAudit(t, "/dev/full", false)
	if err := b.Write(time.Now(), "audit", "sign_in"); err != nil {
		t.Errorf("Write without strict = %v, want nil", err)
	}
	b.Close()
	if lost.Load() != 1 || lostB.Load() != 1 {
		t.Errorf("%d and %d records counted as lost, want 1 and 1", lost.Load(), lostB.Load())
	}
	if _, err := OpenAudit(filepath.Join(t.TempDir(), "none", "audit"), true, func(error) {}); err == nil {
		t.Error("a file that cannot be opened is no error")
	}
}
