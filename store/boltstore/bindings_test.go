package boltstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/account/accounttest"
	"dinggate/internal/conf"
	"dinggate/internal/keyring"

	bolt "go.etcd.io/bbolt"
)

func bindings(t *testing.T, dir string) (*File, *Bindings) {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	b, _, err := f.Bindings(sealed(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	return f, b
}

// sealed are records with secrets that begin with these bytes.
func sealed(t testing.TB, first ...byte) account.Records {
	t.Helper()
	k, err := newKeyring(first...)
	if err != nil {
		t.Fatal(err)
	}
	return account.Records{Sealer: k}
}

func newKeyring(first ...byte) (*keyring.Keyring, error) {
	var secrets []conf.Secret
	for _, f := range first {
		raw := make([]byte, 32)
		for i := range raw {
			raw[i] = f + byte(i)
		}
		secrets = append(secrets, conf.NewSecret(base64.StdEncoding.EncodeToString(raw)))
	}
	return keyring.New(secrets)
}

func TestBindings(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Bindings { _, b := bindings(t, t.TempDir()); return b })
}

func TestBindingsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	f, b := bindings(t, dir)
	if err := b.Add(t.Context(),
		account.Binding{UnionID: "U1", Username: "张三"}, account.Binding{UnionID: "U2", Username: "lisi"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Remove(t.Context(), "lisi"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := b.Find(t.Context(), account.Binding{UnionID: "U1"}); err == nil || errors.Is(err, account.ErrNone) {
		t.Errorf("Find in a closed file = %v, want a failure", err)
	}
	_, b = bindings(t, dir)
	all, err := b.List(t.Context())
	if err != nil || len(all) != 1 || all[0] != (account.Binding{UnionID: "U1", Username: "张三"}) {
		t.Errorf("after a restart List = %v, %v", all, err)
	}
}

// bindingsChild binds in steps of three and prints what is bound.
func bindingsChild(dir string) {
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

// TestBindingsKilledInMidWrite: every binding that was reported exists, a step is complete or
// absent, and both directions agree.
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
				t.Fatalf("the child prints %q", lines.Text())
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
			if want := 3; i <= last && !removed && n != want && !(i%4 == 2 && n == 2) || removed && n != 2 ||
				i > last && n != 0 && n != 3 {
				t.Errorf("killed after %d: step %d has %d bindings", last, i, n)
			}
		}
		err = f.db.View(func(tx *bolt.Tx) error {
			people, names := tx.Bucket(boundPeople), tx.Bucket(boundAccounts)
			if n := uint64(people.Stats().KeyN); n != uint64(names.Stats().KeyN) || n != people.Sequence() {
				t.Errorf("killed after %d: %d people, %d accounts, counted as %d", last, n, names.Stats().KeyN,
					people.Sequence())
			}
			return people.ForEach(func(place, box []byte) error {
				one, _, err := b.records.Open(string(place), box)
				if same, wrong := b.find(tx, account.Binding{Username: one.Username}); err != nil || wrong != nil ||
					same != one {
					t.Errorf("killed after %d: %v, %v, is by its account %v, %v", last, one, err, same, wrong)
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
	if err := f.db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(boundPeople) }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Find(t.Context(), account.Binding{UnionID: "u"}); err == nil || errors.Is(err, account.ErrNone) ||
		!strings.Contains(err.Error(), "damaged") {
		t.Errorf("Find in a damaged file = %v, want a failure", err)
	}
}

// TestBindingsAreMigrated: bindings of a release without sealing are sealed once; records that
// appear in their bucket later are ignored (threats K19).
func TestBindingsAreMigrated(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	older := func(pairs ...string) {
		t.Helper()
		err := f.db.Update(func(tx *bolt.Tx) error {
			people, err := tx.CreateBucketIfNotExists(plainPeople)
			if err != nil {
				return err
			}
			names, err := tx.CreateBucketIfNotExists(plainAccounts)
			for i := 0; err == nil && i < len(pairs); i += 2 {
				err = errors.Join(people.Put([]byte(pairs[i]), []byte(pairs[i+1])),
					names.Put([]byte(pairs[i+1]), []byte(pairs[i])))
			}
			return errors.Join(err, people.SetSequence(uint64(len(pairs)/2)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	older("U1", "张三", "U2", "lisi")
	b, n, err := f.Bindings(sealed(t, 1))
	if err != nil || n != 2 {
		t.Fatalf("Bindings() = %d migrated, %v, want 2", n, err)
	}
	older("U9", "admin")
	for range 2 {
		if b, n, err = f.Bindings(sealed(t, 1)); err != nil || n != 0 {
			t.Fatalf("Bindings() again = %d migrated, %v, want none", n, err)
		}
		all, err := b.List(t.Context())
		if err != nil || fmt.Sprint(all) != "[{U2 lisi} {U1 张三}]" {
			t.Errorf("List() = %v, %v", all, err)
		}
		if _, err := b.Find(t.Context(), account.Binding{UnionID: "U9"}); !errors.Is(err, account.ErrNone) {
			t.Errorf("Find(what turned up later) = %v, want ErrNone", err)
		}
		if alike, err := b.Resembles(t.Context(), "Lisi"); err != nil || !alike {
			t.Errorf("Resembles(Lisi) = %v, %v", alike, err)
		}
	}
	if err := b.Add(t.Context(), account.Binding{UnionID: "U3", Username: "ww"}); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil || strings.Contains(string(file), "ww") {
		t.Errorf("the file shows a name, %v", err)
	}
}

// TestForeignBindings: a foreign record, or one of another person, binds no one (threats K19); an
// import replaces it.
func TestForeignBindings(t *testing.T) {
	_, b := bindings(t, t.TempDir())
	one, two := account.Binding{UnionID: "U1", Username: "zs"}, account.Binding{UnionID: "U2", Username: "admin"}
	if err := b.Add(t.Context(), one, two); err != nil {
		t.Fatal(err)
	}
	at := func(bucket []byte, place string) (box []byte) {
		b.f.db.View(func(tx *bolt.Tx) error { box = bytes.Clone(tx.Bucket(bucket).Get([]byte(place))); return nil })
		return box
	}
	person, name := b.records.PersonPlace("U1"), b.records.AccountPlace("zs")
	admin, owner := b.records.AccountPlace("admin"), b.records.PersonPlace("U2")
	theirs, err := sealed(t, 9).Seal(person, account.Binding{UnionID: "U1", Username: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	mine := at(boundPeople, person)
	for what, box := range map[string][]byte{
		"plain": []byte("admin"), "empty": {}, "another key's": theirs, "another person's": at(boundPeople, owner),
		"an account's": at(boundAccounts, admin), "cut": mine[:len(mine)-1], "longer": append(bytes.Clone(mine), 0),
	} {
		put := func(bucket []byte, place string, box []byte) {
			if err := b.f.db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket(bucket).Put([]byte(place), box)
			}); err != nil {
				t.Fatal(err)
			}
		}
		put(boundPeople, person, box)
		for _, by := range []account.Binding{{UnionID: "U1"}, {Username: "zs"}} {
			if got, err := b.Find(t.Context(), by); got != (account.Binding{}) || !errors.Is(err, account.ErrSealed) {
				t.Errorf("%s: Find(%v) = %v, %v, want ErrSealed", what, by, got, err)
			}
		}
		if got, err := b.Find(t.Context(), account.Binding{UnionID: "U2"}); err != nil || got != two {
			t.Errorf("%s: Find(the other) = %v, %v", what, got, err)
		}
		if all, err := b.List(t.Context()); !errors.Is(err, account.ErrSealed) || len(all) != 1 || all[0] != two {
			t.Errorf("%s: List() = %v, %v, want those that open, and ErrSealed", what, all, err)
		}
		if done, err := b.Renew(t.Context()); err != nil || done.Foreign != 1 {
			t.Errorf("%s: Renew() = %v, %v, want one that does not open", what, done, err)
		}
		if err := b.Add(t.Context(), one); err != nil {
			t.Errorf("%s: Add(it again) = %v", what, err)
		}
		if all, err := b.List(t.Context()); err != nil || len(all) != 2 {
			t.Errorf("%s: imported again, List() = %v, %v", what, all, err)
		}
	}
	if got, err := b.Remove(t.Context(), "zs"); err != nil || got != one || at(boundAccounts, name) != nil {
		t.Errorf("Remove() = %v, %v", got, err)
	}
}

// TestKeysOfBindingsRotate: records of the old secret are sealed again with the first one, and the
// old one can be removed.
func TestKeysOfBindingsRotate(t *testing.T) {
	f, b := bindings(t, t.TempDir())
	var all []account.Binding
	for i := range 2*renewed + 7 {
		all = append(all, account.Binding{UnionID: fmt.Sprint("u", i), Username: fmt.Sprint("n", i)})
	}
	if err := b.Add(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	account.Sort(all)
	for _, step := range []struct {
		keys []byte
		done account.Renewed
		list int
	}{{[]byte{1, 2}, account.Renewed{}, len(all)}, {[]byte{2, 1}, account.Renewed{Sealed: len(all)}, len(all)},
		{[]byte{2, 1}, account.Renewed{}, len(all)}, {[]byte{2}, account.Renewed{}, len(all)},
		{[]byte{3}, account.Renewed{Foreign: len(all)}, 0}} {
		b, _, err := f.Bindings(sealed(t, step.keys...))
		if err != nil {
			t.Fatal(err)
		}
		if done, err := b.Renew(t.Context()); err != nil || done != step.done {
			t.Errorf("under %v Renew() = %v, %v, want %v", step.keys, done, err, step.done)
		}
		if got, err := b.List(t.Context()); len(got) != step.list || (err == nil) != (step.list > 0) ||
			step.list > 0 && !reflect.DeepEqual(got, all) {
			t.Errorf("under %v List() has %d, %v, want %d", step.keys, len(got), err, step.list)
		}
	}
}
