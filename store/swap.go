package store

import (
	"bytes"
	"context"
	"time"
)

// Swapper is a Store that can also replace a value only where it is still the one
// that was read. Every store of this repository is one.
type Swapper interface {
	Store

	// Swap writes new with a new time to live where the key holds old. ErrNotFound:
	// the key holds nothing; ErrExists: it holds another value. Of any number of calls
	// with one old value, on any replica, one wins.
	Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error
}

var _ Swapper = (*Memory)(nil)

// Swap writes a copy of new in the place of old.
func (m *Memory) Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	items, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer m.mu.Unlock()
	now, err := value(items, key)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return ErrExists
	}
	return m.write(items, key, new, ttl)
}
