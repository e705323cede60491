package store

import (
	"bytes"
	"context"
	"time"
)

// Swapper is a Store that can also replace a value provided that it is still the one that was
// read. Every store of this repository implements it.
type Swapper interface {
	Store

	// Swap writes new with a new ttl if the value of key is old. Errors are ErrNotFound if there
	// is no value, and ErrExists if there is another one. Of any number of calls with one old
	// value, on any replica, one succeeds.
	Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error
}

var _ Swapper = (*Memory)(nil)

// Swap replaces old by a copy of new.
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
