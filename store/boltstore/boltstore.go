// Package boltstore stores session records in one embedded file, for one machine.
//
//	File ─┬─ tables by name ── Table, a store.Store with a bound of its own
//	      └─ Bindings: which DingTalk person is which account (account.Bindings)
//
// A record is in the file before the call that wrote it returns, also if the process is killed the
// next moment. One process at a time can open the file.
package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"dinggate/store"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// FileName is the name of the file in state_dir.
const FileName = "dinggate.db"

// ErrBusy means that another process has the file open.
var ErrBusy = errors.New("boltstore: another process has the file open; two dinggates cannot share one state_dir")

// File is the open file. Make it with Open; safe for concurrent use.
type File struct {
	Now func() time.Time // nil is time.Now. Set it before first use

	// Observe is called after every operation (get, put, add, take) of every table.
	// Set it before first use. If nil, it is not called.
	Observe func(ctx context.Context, op string, d time.Duration, err error)

	db    *bolt.DB
	slots chan struct{} // a slot for each write that waits for the disk

	mu     sync.Mutex
	tables map[string]*Table
}

// openWithin is how long Open waits for another process to close the file, such as the process
// that this one replaces.
const openWithin = 2 * time.Second

// Open opens the file in dir, mode 0600, and creates it if it is missing; dir must exist, except
// for its last part. ErrBusy means that another process has it open, SchemaError that a newer
// release has written it; nothing was changed.
func Open(dir string) (*File, error) {
	path := filepath.Join(dir, FileName)
	const advice = "move it away to start anew: sign-outs of the last session.lifetime are then forgotten"
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("boltstore: making the directory: %w", err)
	}
	var db *bolt.DB
	err := guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: openWithin, FreelistType: bolt.FreelistMapType})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrBusy
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum),
		errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("boltstore: %s is not one of our files, or damaged: %w; %s", path, err, advice)
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("boltstore: opening: %w", err)
	case err != nil:
		return nil, fmt.Errorf("boltstore: opening %s: %w; %s", path, err, advice)
	}
	if err := checkSchema(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.MaxBatchDelay = 2 * time.Millisecond // concurrent writes share one sync of the disk
	return &File{db: db, slots: make(chan struct{}, writers), tables: map[string]*Table{}}, nil
}

// Close waits for running transactions. Later calls of any method fail.
func (f *File) Close() error { return f.db.Close() }

// probeSize is how much a Probe writes. A record and the pages that are written with it take
// up to 44 KiB; a smaller probe could fit into free pages of the file on a disk that is full
// for sign-ins.
const probeSize = 64 << 10

// Probe writes without changing anything, to learn whether the disk accepts writes. Like every
// write it may outlive ctx.
func (f *File) Probe(ctx context.Context) error {
	begin := time.Now()
	err := f.write(ctx, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("probe"))
		if err != nil {
			return err
		}
		return b.Put([]byte("room"), make([]byte, probeSize))
	})
	if err != nil {
		err = fmt.Errorf("boltstore: probe: %w", err)
	}
	if f.Observe != nil {
		f.Observe(ctx, "probe", time.Since(begin), err)
	}
	return err
}

// Table returns the table of this name, and creates it if it is missing. It holds at most max
// records, 0 means 100,000, and then refuses writes: dropping a sign-out or a used mark would
// allow a replay (threats S4, D5).
func (f *File) Table(name string, max int) (*Table, error) {
	if max <= 0 {
		max = 100_000
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.tables[name]; t != nil {
		return t, nil
	}
	t := &Table{f: f, max: max, records: []byte(name), ends: []byte(name + "/ends")}
	err := f.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(t.records)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(t.ends)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("boltstore: making table %s: %w", name, err)
	}
	f.tables[name] = t
	return t, nil
}

// Table is a store.Store. Safe for concurrent use.
type Table struct {
	f             *File
	max           int
	records, ends []byte // buckets: key → expiry, value; expiry and key → nothing
}

var _ store.Store = (*Table)(nil)

var (
	errFull = errors.New("the table is full")
	errTTL  = errors.New("the ttl is not positive")
	errLong = errors.New("the key or the value is too long")
)

const (
	maxKey   = 1 << 10
	maxValue = 64 << 10
	endSize  = 8  // milliseconds, big endian, so that expiries sort by time
	swept    = 16 // expired records that one write removes: more than it adds
)

// do runs one operation. f returns an error of the Store, or the cause of a failure.
func (t *Table) do(ctx context.Context, op string, f func() error) error {
	begin := time.Now()
	err := ctx.Err()
	if err == nil {
		err = guard(f)
	}
	answer := err == nil || err == store.ErrNotFound || err == store.ErrExists
	if !answer {
		err = fmt.Errorf("boltstore: %s: %w", op, err)
	}
	if t.f.Observe != nil {
		observed := err
		if answer {
			observed = nil
		}
		t.f.Observe(ctx, op, time.Since(begin), observed)
	}
	return err
}

// guard returns an error if the file is damaged while it is open: bbolt then panics, or accesses
// memory that is no longer mapped.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	return f()
}

func (t *Table) now() int64 {
	if t.f.Now != nil {
		return t.f.Now().UnixMilli()
	}
	return time.Now().UnixMilli()
}

// Get returns a copy of the value.
func (t *Table) Get(ctx context.Context, key string) (value []byte, err error) {
	err = t.do(ctx, "get", func() error {
		return t.f.db.View(func(tx *bolt.Tx) (err error) {
			value, err = t.value(tx, key)
			return err
		})
	})
	return value, err
}

// value copies the value of key; ErrNotFound.
func (t *Table) value(tx *bolt.Tx, key string) ([]byte, error) {
	if key == "" || len(key) > maxKey {
		return nil, errLong
	}
	record := tx.Bucket(t.records).Get([]byte(key))
	if len(record) < endSize || int64(binary.BigEndian.Uint64(record)) <= t.now() {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, record[endSize:]...), nil
}

// Put writes a copy of value.
func (t *Table) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return t.do(ctx, "put", func() error {
		return t.f.write(ctx, func(tx *bolt.Tx) error { return t.set(tx, key, value, ttl) })
	})
}

// Add writes a copy of value unless the key exists.
func (t *Table) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return t.do(ctx, "add", func() error {
		return t.f.write(ctx, func(tx *bolt.Tx) error {
			if _, err := t.value(tx, key); !errors.Is(err, store.ErrNotFound) {
				if err == nil {
					err = store.ErrExists
				}
				return err
			}
			return t.set(tx, key, value, ttl)
		})
	})
}

// Take returns the value and deletes it.
func (t *Table) Take(ctx context.Context, key string) (value []byte, err error) {
	err = t.do(ctx, "take", func() error {
		var took []byte // of the run that is committed: a batch may run its parts again
		err := t.f.write(ctx, func(tx *bolt.Tx) (err error) {
			if took, err = t.value(tx, key); err != nil {
				return err
			}
			return t.drop(tx, []byte(key))
		})
		if err == nil {
			value = took
		}
		return err
	})
	return value, err
}
