package boltstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/store"
	"dinggate/store/storetest"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BOLTSTORE_CHILD"); dir != "" {
		child(dir)
		return
	}
	if dir := os.Getenv("BOLTSTORE_BINDINGS_CHILD"); dir != "" {
		bindingsChild(dir)
		return
	}
	if dir := os.Getenv("BOLTSTORE_REBIND_CHILD"); dir != "" {
		rebindChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func table(t *testing.T, dir string, max int) (*File, *Table) {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s, err := f.Table("test", max)
	if err != nil {
		t.Fatal(err)
	}
	return f, s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { _, s := table(t, t.TempDir(), 0); return s })
}

func TestRecordsSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state") // created if missing
	f, s := table(t, dir, 0)
	for name, err := range map[string]error{
		"Add":       s.Add(t.Context(), "added", []byte("1"), time.Hour),
		"Put":       s.Put(t.Context(), "put", []byte("2"), time.Hour),
		"Put brief": s.Put(t.Context(), "brief", nil, time.Minute),
	} {
		if err != nil {
			t.Fatalf("%s = %v", name, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "put"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get(closed) = %v, want a failure", err)
	}
	f, s = table(t, dir, 0)
	f.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if v, err := s.Get(t.Context(), "put"); err != nil || string(v) != "2" {
		t.Errorf("Get after a restart = %q, %v, want \"2\"", v, err)
	}
	if err := s.Add(t.Context(), "added", nil, time.Hour); err != store.ErrExists {
		t.Errorf("Add after a restart = %v, want ErrExists: a replay", err)
	}
	if _, err := s.Get(t.Context(), "brief"); err != store.ErrNotFound {
		t.Errorf("Get(expired meanwhile) = %v, want ErrNone", err)
	}
}

func TestTablesAreApart(t *testing.T) {
	f, one := table(t, t.TempDir(), 0)
	two, err := f.Table("other", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Put(t.Context(), "k", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Get(t.Context(), "k"); err != store.ErrNotFound {
		t.Errorf("Get(of another table) = %v, want ErrNone", err)
	}
	if again, _ := f.Table("test", 0); again != one {
		t.Error("Table gives another table for the same name")
	}
}

func TestFullRefuses(t *testing.T) {
	f, s := table(t, t.TempDir(), 20)
	for i := range 20 {
		if err := s.Add(t.Context(), fmt.Sprint(i), nil, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{"Add": s.Add(t.Context(), "x", nil, time.Minute),
		"Put": s.Put(t.Context(), "x", nil, time.Minute)} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s(to a full table) = %v, want errFull", what, err)
		}
	}
	if err := s.Put(t.Context(), "3", []byte("y"), time.Minute); err != nil {
		t.Errorf("Put(known, full) = %v, want nil", err)
	}
	if err := s.Add(t.Context(), "3", nil, time.Minute); err != store.ErrExists {
		t.Errorf("Add(known, full) = %v, want ErrExists", err)
	}
	if _, err := s.Take(t.Context(), "3"); err != nil {
		t.Errorf("Take(full) = %v", err)
	}
	if err := s.Add(t.Context(), "x", nil, time.Minute); err != nil {
		t.Errorf("Add(after a Take) = %v, want nil", err)
	}
	f.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if err := s.Add(t.Context(), "later", nil, time.Minute); err != nil {
		t.Errorf("Add(after all expired) = %v, want nil", err)
	}
}

func TestSweepKeepsTheFileSmall(t *testing.T) {
	f, s := table(t, t.TempDir(), 0)
	f.db.NoSync = true // many writes; the test does not depend on the disk
	now := time.Now()
	f.Now = func() time.Time { return now }
	var size int64
	for round := range 20 {
		err := f.db.Update(func(tx *bolt.Tx) error {
			for i := range 500 {
				if err := s.set(tx, fmt.Sprint(round, ":", i), make([]byte, 100), time.Minute); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Minute)
		info, _ := os.Stat(filepath.Dir(f.db.Path()) + "/" + FileName)
		if round == 4 {
			size = info.Size()
		}
		if round > 4 && info.Size() > size {
			t.Fatalf("round %d: the file grew from %d to %d bytes although all old records have expired", round, size,
				info.Size())
		}
	}
	f.db.View(func(tx *bolt.Tx) error {
		records, ends := tx.Bucket(s.records), tx.Bucket(s.ends)
		if n := uint64(records.Stats().KeyN); n != records.Sequence() || n != uint64(ends.Stats().KeyN) || n > 500 {
			t.Errorf("%d records, counted as %d, with %d ends, want three times the same, at most 500", n,
				records.Sequence(), ends.Stats().KeyN)
		}
		return nil
	})
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	table(t, dir, 0)
	if _, err := Open(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("Open(twice) = %v, want ErrBusy", err)
	}
}

func TestDamageIsReported(t *testing.T) {
	dir := t.TempDir()
	f, s := table(t, dir, 0)
	for i := range 200 {
		if err := s.Put(t.Context(), fmt.Sprint(i), make([]byte, 1000), time.Hour); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			f.db.NoSync = true
		}
	}
	f.Close()
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for name, bytes := range map[string][]byte{"text": []byte(strings.Repeat("this is not a database\n", 1000)),
		"cut short": whole[:3*4096], "zeroes": make([]byte, len(whole))} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir)
		if err == nil {
			_, err = f.Table("test", 0)
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: Open = %v, want an error that says what to do", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "no", "such")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open(below nothing) = %v, want ErrNotExist", err)
	}
}

// child writes until it is killed, and prints what is written.
func child(dir string) {
	f, err := Open(dir)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	s, err := f.Table("test", 0)
	for i := 0; err == nil; i++ {
		if err = s.Add(context.Background(), fmt.Sprint("k", i), fmt.Append(nil, i), time.Hour); err == nil &&
			i%3 == 2 {
			_, err = s.Take(context.Background(), fmt.Sprint("k", i-1))
		}
		fmt.Println(i)
	}
	fmt.Println("error", err)
}

func TestKilledInMidWrite(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		os.Remove(filepath.Join(dir, FileName))
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "BOLTSTORE_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, wanted := -1, 40+23*round
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatalf("the child prints %q", lines.Text())
			}
			if last == wanted {
				cmd.Process.Kill() // what it printed after that was written too
			}
		}
		cmd.Wait()
		f, s := table(t, dir, 0)
		for i := range last + 1 {
			v, err := s.Get(t.Context(), fmt.Sprint("k", i))
			if taken := i%3 == 1 && i < last; taken && err != store.ErrNotFound ||
				!taken && i%3 != 1 && (err != nil || string(v) != fmt.Sprint(i)) {
				t.Errorf("killed after %d: record %d is %q, %v", last, i, v, err)
			}
		}
		f.db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("killed after %d: the file is inconsistent: %v", last, err)
			}
			if n := tx.Bucket(s.records).Stats().KeyN; uint64(n) != tx.Bucket(s.records).Sequence() {
				t.Errorf("killed after %d: %d records, counted as %d", last, n, tx.Bucket(s.records).Sequence())
			}
			return nil
		})
		f.Close()
	}
}
