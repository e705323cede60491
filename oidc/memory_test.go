package oidc

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"dinggate/store"
)

// memory is a store in which a test can inject failures.
type memory struct {
	mu   sync.Mutex
	all  map[string][]byte
	ends map[string]time.Time
	bad  func(op string) error
	now  func() time.Time
}

func (m *memory) do(op, key string, f func(value []byte, found bool) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bad != nil {
		if err := m.bad(op); err != nil {
			return err
		}
	}
	if end, ok := m.ends[key]; ok && !m.now().Before(end) {
		delete(m.all, key)
	}
	value, found := m.all[key]
	return f(value, found)
}

func (m *memory) set(key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 || len(value) > 64<<10 {
		return errors.New("no time to live, or too long")
	}
	m.all[key], m.ends[key] = bytes.Clone(value), m.now().Add(ttl)
	return nil
}

func (m *memory) Get(_ context.Context, key string) (value []byte, err error) {
	err = m.do("get", key, func(v []byte, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		value = bytes.Clone(v)
		return nil
	})
	return value, err
}

func (m *memory) Add(_ context.Context, key string, value []byte, ttl time.Duration) error {
	return m.do("add", key, func(_ []byte, found bool) error {
		if found {
			return store.ErrExists
		}
		return m.set(key, value, ttl)
	})
}

func (m *memory) Swap(_ context.Context, key string, old, new []byte, ttl time.Duration) error {
	return m.do("swap", key, func(v []byte, found bool) error {
		switch {
		case !found:
			return store.ErrNotFound
		case !bytes.Equal(v, old):
			return store.ErrExists
		}
		return m.set(key, new, ttl)
	})
}

func (m *memory) Take(_ context.Context, key string) (value []byte, err error) {
	err = m.do("take", key, func(v []byte, found bool) error {
		if !found {
			return store.ErrNotFound
		}
		value = v
		delete(m.all, key)
		return nil
	})
	return value, err
}
