package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/store/boltstore"
)

// TestBackupAndRestore checks that a backup made while dinggate serves, and restored for
// another process, still contains the sign-outs, and so does a backup of the file of a
// stopped process. A failed backup is reported and leaves existing files intact.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	state, file := filepath.Join(dir, "state"), filepath.Join(dir, "backup.db")
	f := servertest.NewFleet(t)
	backup := func(to string, env ...string) (string, error) {
		cmd := exec.Command(servertest.Binary(t), "backup", to)
		cmd.Env = append(append(os.Environ(), f.Environ...), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	inState := "DINGGATE_STATE_DIR=" + state
	if out, err := backup(file, inState); err == nil || !strings.Contains(out, "there is no "+boltstore.FileName) {
		t.Errorf("a backup of nothing = %v %s", err, out)
	}
	p := f.Replica(inState)
	leaver := f.NewClient(p)
	leaver.SignInAt(p, "zhangsan")
	thief := f.Copy(leaver)
	leaver.SignOutAt(p)
	if out, err := backup(file, inState); err != nil || !strings.Contains(out, "schema 1, verified") {
		t.Fatalf("a backup of a process that serves = %v %s", err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, %v", info.Mode(), err)
	}
	if a := f.NewClient(p); a.SignIn(servertest.FleetURL+"/", "lisi").Header.Get("Location") != "/" {
		t.Error("no sign-in succeeds after a backup")
	}
	p.Stop(t)
	if out, err := backup(filepath.Join(dir, "later.db"), inState); err != nil {
		t.Errorf("a backup of a process that is down = %v %s", err, out)
	}

	for _, from := range []string{file, filepath.Join(dir, "later.db")} {
		restored := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(restored, 0o700); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(restored, boltstore.FileName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		p := f.Replica("DINGGATE_STATE_DIR=" + restored)
		if a := thief.Page(p); a.StatusCode != 302 {
			t.Errorf("%s restored: a copy of the cookie of a user who signed out = %d, want a sign-in", from, a.StatusCode)
		}
		p.Stop(t)
	}

	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string][]string{
		"state_dir is not set":   nil,
		"session.store is redis": {inState, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis://127.0.0.1:1"},
	} {
		if out, err := backup(file, env...); err == nil || !strings.Contains(out, want) {
			t.Errorf("backup = %v %s, want %q", err, out, want)
		}
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Error("a backup that failed has changed yesterday's")
	}
	if parts, _ := filepath.Glob(file + ".part-*"); len(parts) > 0 {
		t.Errorf("backups leave %v behind", parts)
	}
}
