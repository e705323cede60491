package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/internal/i18n"
)

// TestDoctorFullDisk: on a full disk a file can be created and opened, but no record can
// be written. doctor reports this for the audit file and for state_dir.
func TestDoctorFullDisk(t *testing.T) {
	c := newEnv(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("SKIPPED: mounting a small disk: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	if err := os.WriteFile(filepath.Join(dir, "audit"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	c.cfg.StateDir, c.cfg.Audit.File = dir, filepath.Join(dir, "audit")
	found, _ := c.examine()
	for _, name := range []string{"audit", "state_dir"} {
		f := found[name]
		if f.Severity != doctor.Wrong || !strings.Contains(f.Text[i18n.Chinese], "磁盘已满") ||
			!strings.Contains(f.Hint[i18n.English], "df -h "+dir) {
			t.Errorf("%s on a full disk is %+v, want it wrong, with df", name, f)
		}
	}
}
