package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// writers bounds the calls that wait for the disk; further calls wait until their context ends. If
// the disk hangs, no request waits for longer than its context.
const writers = 64

// write runs work in a transaction that it may share with other calls. If ctx ends before the
// transaction has, write fails, and the write may still happen.
func (f *File) write(ctx context.Context, work func(tx *bolt.Tx) error) error {
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-f.slots }()
		done <- guard(func() error { return f.db.Batch(work) })
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// set requires a write transaction.
func (t *Table) set(tx *bolt.Tx, key string, value []byte, ttl time.Duration) error {
	switch {
	case ttl <= 0:
		return errTTL
	case key == "" || len(key) > maxKey || len(value) > maxValue:
		return errLong
	}
	now := t.now()
	if err := t.sweep(tx, now); err != nil {
		return err
	}
	if err := t.drop(tx, []byte(key)); err != nil {
		return err
	}
	n, err := t.count(tx, +1)
	if err != nil {
		return err
	}
	if n > uint64(t.max) {
		return errFull
	}
	end := now + max(ttl.Milliseconds(), 1)
	record := binary.BigEndian.AppendUint64(make([]byte, 0, endSize+len(value)), uint64(end))
	if err := tx.Bucket(t.records).Put([]byte(key), append(record, value...)); err != nil {
		return err
	}
	return tx.Bucket(t.ends).Put(endKey(uint64(end), []byte(key)), nil)
}

// drop removes a record, expired or not; a missing one is no error.
func (t *Table) drop(tx *bolt.Tx, key []byte) error {
	records := tx.Bucket(t.records)
	record := records.Get(key)
	if record == nil {
		return nil
	}
	if len(record) < endSize {
		return errors.New("a record does not read")
	}
	_, err := t.count(tx, -1)
	return errors.Join(err, tx.Bucket(t.ends).Delete(endKey(binary.BigEndian.Uint64(record), key)), records.Delete(key))
}

// sweep removes a few expired records, the oldest first.
func (t *Table) sweep(tx *bolt.Tx, now int64) error {
	var gone [][]byte
	ends := tx.Bucket(t.ends).Cursor()
	for k, _ := ends.First(); k != nil && len(gone) < swept && len(k) > endSize &&
		int64(binary.BigEndian.Uint64(k)) <= now; k, _ = ends.Next() {
		gone = append(gone, bytes.Clone(k[endSize:]))
	}
	for _, key := range gone {
		if err := t.drop(tx, key); err != nil {
			return err
		}
	}
	return nil
}

func endKey(end uint64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, endSize+len(key)), end), key...)
}

// count changes the number of records, which is stored in the file: counting would read all
// records, and a number in memory would be wrong after a transaction that was rolled back.
func (t *Table) count(tx *bolt.Tx, by int) (uint64, error) {
	records := tx.Bucket(t.records)
	n := records.Sequence() + uint64(by)
	return n, records.SetSequence(n)
}
