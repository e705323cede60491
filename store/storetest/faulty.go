package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"dinggate/store"
)

// ErrAway is the failure of a Faulty.
var ErrAway = errors.New("store: connection refused")

// Faulty is a store whose operations a test can make fail. Make it with a Swapper, such as
// new(store.Memory). Safe for concurrent use once Wrote is set.
type Faulty struct {
	store.Swapper

	Away  atomic.Bool                    // every operation fails with ErrAway
	NoPut atomic.Bool                    // Put fails with ErrAway
	Wrote func(key string, value []byte) // if set, called for each write that succeeds
}

// NewFaulty returns a Faulty that stores in memory.
func NewFaulty() *Faulty { return &Faulty{Swapper: new(store.Memory)} }

func (f *Faulty) read(read func() ([]byte, error)) ([]byte, error) {
	if f.Away.Load() {
		return nil, ErrAway
	}
	return read()
}

func (f *Faulty) write(key string, value []byte, write func() error) error {
	if f.Away.Load() {
		return ErrAway
	}
	err := write()
	if err == nil && f.Wrote != nil {
		f.Wrote(key, value)
	}
	return err
}

// Get is that of the Swapper.
func (f *Faulty) Get(ctx context.Context, key string) ([]byte, error) {
	return f.read(func() ([]byte, error) { return f.Swapper.Get(ctx, key) })
}

// Take is that of the Swapper.
func (f *Faulty) Take(ctx context.Context, key string) ([]byte, error) {
	return f.read(func() ([]byte, error) { return f.Swapper.Take(ctx, key) })
}

// Put is that of the Swapper.
func (f *Faulty) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if f.NoPut.Load() {
		return ErrAway
	}
	return f.write(key, value, func() error { return f.Swapper.Put(ctx, key, value, ttl) })
}

// Add is that of the Swapper.
func (f *Faulty) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return f.write(key, value, func() error { return f.Swapper.Add(ctx, key, value, ttl) })
}

// Swap is that of the Swapper.
func (f *Faulty) Swap(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	return f.write(key, new, func() error { return f.Swapper.Swap(ctx, key, old, new, ttl) })
}
