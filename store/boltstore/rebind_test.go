package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"dinggate/account"

	bolt "go.etcd.io/bbolt"
)

func nth(i int) string { return fmt.Sprint("u", i) }

// rebindChild binds an account again and again, and prints how often.
func rebindChild(dir string) {
	f, err := Open(dir)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	k, err := newKeyring(1)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	b, _, err := f.Bindings(account.Records{Sealer: k})
	if err == nil {
		err = b.Add(context.Background(), account.Binding{UnionID: nth(0), Username: "a"})
	}
	for i := 0; err == nil; i++ {
		fmt.Println(i)
		err = b.Rebind(context.Background(), account.Binding{UnionID: nth(i), Username: "a"}, nth(i+1))
	}
	fmt.Println("error", err)
}

// TestRebind_Killed kills a process that binds an account again and again: the account has the
// person of the last Rebind that returned, or of the one that was under way, and nothing else is
// bound.
func TestRebind_Killed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		dir := t.TempDir()
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "BOLTSTORE_REBIND_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, wanted := 0, 20+13*round
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
		all, err := b.List(t.Context())
		if err != nil || len(all) != 1 || all[0] != (account.Binding{UnionID: nth(last), Username: "a"}) &&
			all[0] != (account.Binding{UnionID: nth(last + 1), Username: "a"}) {
			t.Fatalf("killed after %d: List() = %v, %v, want the account with that person or the next", last, all, err)
		}
		for _, by := range []account.Binding{{UnionID: all[0].UnionID}, {Username: "a"}} {
			if got, err := b.Find(t.Context(), by); err != nil || got != all[0] {
				t.Errorf("killed after %d: Find(%v) = %v, %v, want %v", last, by, got, err, all[0])
			}
		}
		err = f.db.View(func(tx *bolt.Tx) error {
			people, names := tx.Bucket(boundPeople), tx.Bucket(boundAccounts)
			if people.Stats().KeyN != 1 || names.Stats().KeyN != 1 || people.Sequence() != 1 {
				t.Errorf("killed after %d: %d people, %d accounts, counted as %d", last, people.Stats().KeyN,
					names.Stats().KeyN, people.Sequence())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		f.Close()
	}
}

// TestRebind_ForeignRecord: a record of the new person that another program wrote is replaced, and
// counted once; a foreign record of the account is an error (threats K19).
func TestRebind_ForeignRecord(t *testing.T) {
	f, b := bindings(t, t.TempDir())
	put := func(bucket []byte, place string) {
		t.Helper()
		err := f.db.Update(func(tx *bolt.Tx) error {
			if string(bucket) == string(boundPeople) {
				people := tx.Bucket(bucket)
				if err := people.SetSequence(people.Sequence() + 1); err != nil {
					return err
				}
			}
			return tx.Bucket(bucket).Put([]byte(place), []byte("foreign"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(t.Context(), account.Binding{UnionID: "u1", Username: "a"}); err != nil {
		t.Fatal(err)
	}
	put(boundPeople, b.records.PersonPlace("u2"))
	if err := b.Rebind(t.Context(), account.Binding{UnionID: "u1", Username: "a"}, "u2"); err != nil {
		t.Errorf("Rebind(to a person with a foreign record) = %v", err)
	}
	f.db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(boundPeople).Sequence(); n != 1 {
			t.Errorf("%d bindings are counted, want 1", n)
		}
		return nil
	})
	put(boundAccounts, b.records.AccountPlace("a"))
	if err := b.Rebind(t.Context(), account.Binding{UnionID: "u2", Username: "a"}, "u3"); err == nil {
		t.Error("Rebind(of a foreign record) is no error")
	}
	if all, err := b.List(t.Context()); err != nil || len(all) != 1 || all[0].UnionID != "u2" {
		t.Errorf("List() = %v, %v", all, err)
	}
}
