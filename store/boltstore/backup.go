package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the file to w, while reads and writes continue; begin is
// called with its size before the first byte. Open accepts the copy. Backup stops when ctx ends.
func (f *File) Backup(ctx context.Context, begin func(size int64), w io.Writer) error {
	err := guard(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			begin(tx.Size())
			_, err := tx.WriteTo(writerUntil{ctx, w})
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("boltstore: backup: %w", err)
	}
	return nil
}

// writerUntil fails after its context has ended.
type writerUntil struct {
	ctx context.Context
	w   io.Writer
}

func (w writerUntil) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// Verify reads a whole file that is not in use, such as a backup, and returns its schema. A file
// that is damaged, or of a newer release, is an error.
func Verify(path string) (schema int, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: openWithin})
	if err != nil {
		return 0, fmt.Errorf("boltstore: %s: %w", path, err)
	}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			for damage := range tx.Check() { // to the end, since a goroutine of bbolt sends
				err = errors.Join(err, damage)
			}
			if err == nil {
				schema, err = schemaOf(tx)
			}
			return err
		})
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, fmt.Errorf("boltstore: %s: %w", path, err)
	}
	if schema > Schema {
		return schema, &SchemaError{Path: path, Found: schema}
	}
	return schema, nil
}

// Exists reports whether there is a file in dir.
func Exists(dir string) bool {
	info, err := os.Stat(dir + string(os.PathSeparator) + FileName)
	return err == nil && info.Mode().IsRegular()
}
