package boltstore

import (
	"bytes"
	"context"
	"time"

	"dinggate/store"

	bolt "go.etcd.io/bbolt"
)

var _ store.Swapper = (*Table)(nil)

// Swap replaces old by a copy of new.
func (t *Table) Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	return t.do(ctx, "swap", func() error {
		return t.f.write(ctx, func(tx *bolt.Tx) error {
			now, err := t.value(tx, key)
			if err != nil {
				return err
			}
			if !bytes.Equal(now, old) {
				return store.ErrExists
			}
			return t.set(tx, key, new, ttl)
		})
	})
}
