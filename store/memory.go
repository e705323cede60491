package store

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// Memory is a Store in this process only; a restart loses its records. The zero value is ready to
// use.
//
// It is bounded. A write to a full one is an error other than ErrExists: if it dropped a record
// instead, a used code could be replayed (threats S4, D5).
type Memory struct {
	Max int // records; 0 means 100,000

	mu    sync.Mutex // held by writers, and by Get before the first of them
	items *gocache.Cache
	swept time.Time
}

var errFull = errors.New("store: the memory store is full")

var _ Store = (*Memory)(nil)

// lock locks the records; unlock with m.mu.
func (m *Memory) lock(ctx context.Context) (*gocache.Cache, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	if m.items == nil {
		m.items = gocache.New(gocache.NoExpiration, 0)
	}
	return m.items, nil
}

// Get returns a copy of the value.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, error) {
	items, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return value(items, key)
}

func value(items *gocache.Cache, key string) ([]byte, error) {
	if v, ok := items.Get(key); ok {
		return bytes.Clone(v.([]byte)), nil
	}
	return nil, ErrNotFound
}

// Put writes a copy of value.
func (m *Memory) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	items, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer m.mu.Unlock()
	return m.write(items, key, value, ttl)
}

// Add writes a copy of value unless the key exists.
func (m *Memory) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	items, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, taken := items.Get(key); taken {
		return ErrExists
	}
	return m.write(items, key, value, ttl)
}

// Take returns the value and deletes it.
func (m *Memory) Take(ctx context.Context, key string) ([]byte, error) {
	items, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	v, err := value(items, key)
	items.Delete(key)
	return v, err
}

func (m *Memory) write(items *gocache.Cache, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("store: the ttl is not positive")
	}
	limit := m.Max
	if limit <= 0 {
		limit = 100_000
	}
	if now := time.Now(); items.ItemCount() >= limit && now.Sub(m.swept) >= time.Second {
		m.swept = now // a sweep reads all records, so it does not run on every write to a full store
		items.DeleteExpired()
	}
	if _, known := items.Get(key); !known && items.ItemCount() >= limit {
		return errFull
	}
	items.Set(key, append([]byte{}, value...), ttl)
	return nil
}
