package boltstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/account/accounttest"

	bolt "go.etcd.io/bbolt"
)

func bindings(t *testing.T, dir string) (*File, *Bindings) {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	b, err := f.Bindings()
	if err != nil {
		t.Fatal(err)
	}
	return f, b
}

func TestBindings(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Bindings { _, b := bindings(t, t.TempDir()); return b })
}

func TestBindingsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	f, b := bindings(t, dir)
	if err := b.Add(t.Context(), account.Binding{UnionID: "U1", Username: "张三"}, account.Binding{UnionID: "U2", Username: "lisi"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Remove(t.Context(), "lisi"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := b.Find(t.Context(), account.Binding{UnionID: "U1"}); err == nil || errors.Is(err, account.ErrNone) {
		t.Errorf("Find in a closed file = %v, want trouble", err)
	}
	_, b = bindings(t, dir)
	all, err := b.List(t.Context())
	if err != nil || len(all) != 1 || all[0] != (account.Binding{UnionID: "U1", Username: "张三"}) {
		t.Errorf("after a restart List = %v, %v", all, err)
	}
}

// bindingsChild binds in steps of three and says what is bound.
func bindingsChild(dir string) {
	f, err := Open(dir)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	b, err := f.Bindings()
	for i := 0; err == nil; i++ {
		err = b.Add(context.Background(), step(i)...)
		if err == nil && i%4 == 3 {
			_, err = b.Remove(context.Background(), step(i - 1)[0].Username)
		}
		fmt.Println(i)
	}
	fmt.Println("error", err)
}

func step(i int) (all []account.Binding) {
	for k := range 3 {
		all = append(all, account.Binding{UnionID: fmt.Sprintf("u%d.%d", i, k), Username: fmt.Sprintf("n%d.%d", i, k)})
	}
	return all
}

// TestBindingsKilledInMidWrite: what was said to be bound is, a step is there in
// whole or not at all, and both directions agree.
func TestBindingsKilledInMidWrite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		dir := t.TempDir()
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "BOLTSTORE_BINDINGS_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, wanted := -1, 20+13*round
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			if last == wanted {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		f, b := bindings(t, dir)
		for i := range last + 2 {
			n := 0
			for _, one := range step(i) {
				if got, err := b.Find(t.Context(), account.Binding{UnionID: one.UnionID}); err == nil && got == one {
					n++
				}
			}
			removed := i%4 == 2 && i < last
			if want := 3; i <= last && !removed && n != want && !(i%4 == 2 && n == 2) || removed && n != 2 || i > last && n != 0 && n != 3 {
				t.Errorf("killed after %d: step %d has %d bindings", last, i, n)
			}
		}
		err = f.db.View(func(tx *bolt.Tx) error {
			people, names := tx.Bucket(bindingPeople), tx.Bucket(bindingAccounts)
			if n := uint64(people.Stats().KeyN); n != uint64(names.Stats().KeyN) || n != people.Sequence() {
				t.Errorf("killed after %d: %d people, %d accounts, counted as %d", last, n, names.Stats().KeyN, people.Sequence())
			}
			return people.ForEach(func(id, name []byte) error {
				if string(names.Get(name)) != string(id) {
					t.Errorf("killed after %d: %s is %s, and that is %s", last, id, name, names.Get(name))
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		f.Close()
	}
}

func TestDamagedBindings(t *testing.T) {
	f, b := bindings(t, t.TempDir())
	if err := f.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bindingPeople) }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Find(t.Context(), account.Binding{UnionID: "u"}); err == nil || errors.Is(err, account.ErrNone) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Find in a damaged file = %v, want trouble", err)
	}
}
