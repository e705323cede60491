package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// TestBackup: a copy that is made during writes is complete and consistent, and opens as a state
// file.
func TestBackup(t *testing.T) {
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := f.Table("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	put := func(i int) {
		if err := table.Put(t.Context(), fmt.Sprint("k", i), bytes.Repeat([]byte{1}, 1000), time.Hour); err != nil {
			t.Error(err)
		}
	}
	for i := range 100 {
		put(i)
	}
	var others sync.WaitGroup
	others.Go(func() {
		for i := range 200 {
			put(1000 + i)
		}
	})
	dir := t.TempDir()
	copied, err := os.Create(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	if err := f.Backup(t.Context(), func(n int64) { size = n }, copied); err != nil {
		t.Fatal(err)
	}
	copied.Close()
	others.Wait()
	if info, err := os.Stat(copied.Name()); err != nil || info.Size() != size {
		t.Errorf("the copy has %v, %v, announced were %d", info.Size(), err, size)
	}
	if schema, err := Verify(copied.Name()); err != nil || schema != Schema {
		t.Errorf("Verify(the copy) = %d, %v", schema, err)
	}
	restored, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	again, err := restored.Table("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := again.Get(t.Context(), fmt.Sprint("k", i)); err != nil {
			t.Errorf("Get(k%d) of the restored file = %v", i, err)
		}
	}
}

// TestVerifyDamage: a truncated or damaged copy is refused.
func TestVerifyDamage(t *testing.T) {
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	table, err := f.Table("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if err := table.Put(t.Context(), fmt.Sprint("k", i), bytes.Repeat([]byte{1}, 1000), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	var copied bytes.Buffer
	if err := f.Backup(t.Context(), func(int64) {}, &copied); err != nil {
		t.Fatal(err)
	}
	f.Close()
	path := filepath.Join(t.TempDir(), "copy")
	for name, text := range map[string][]byte{
		"nothing": nil, "no file of ours": []byte("PK\x03\x04"), "a half": copied.Bytes()[:copied.Len()/2],
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(path); err == nil {
			t.Errorf("Verify(%s) = nil", name)
		}
	}
}

// TestSchema: a file without a version gets one; a file of a newer release is refused and not
// changed.
func TestSchema(t *testing.T) {
	dir := t.TempDir()
	set := func(version string) {
		t.Helper()
		db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(metaBucket)
			if err != nil {
				return err
			}
			return b.Put(schemaKey, []byte(version))
		}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	path := filepath.Join(dir, FileName)
	if schema, err := Verify(path); err != nil || schema != Schema {
		t.Errorf("Verify(a new file) = %d, %v", schema, err)
	}
	set(strconv.Itoa(Schema + 1))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir)
	newer, ok := errors.AsType[*SchemaError](err)
	if !ok || newer.Found != Schema+1 {
		t.Errorf("Open(a newer release's file) = %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("Open has changed a newer release's file")
	}
	if _, err := Verify(path); err == nil {
		t.Error("Verify(a newer release's file) = nil")
	}
	for _, junk := range []string{"x", "0", "-1"} {
		set(junk)
		if f, err := Open(dir); err == nil {
			f.Close()
			t.Errorf("Open(schema %q) = nil", junk)
		}
	}
}
