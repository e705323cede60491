package apiauth

import (
	"context"
	"sync"
)

// sharedCalls lets requests that want the same share one call. A call ends with
// the last request that waits for it, unless it is kept: a caller that hangs up leaves
// nothing behind (threats D12). The zero value is ready.
type sharedCalls[V any] struct {
	mu  sync.Mutex
	all map[[32]byte]*sharedCall[V]
}

type sharedCall[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int
	value   V
	err     error
}

// do waits for the call for key until ctx ends, whose error it gives then. Where
// none runs, it starts one, unless admit refuses: its error is do's. The call's
// context does not end with ctx.
func (s *sharedCalls[V]) do(ctx context.Context, key [32]byte, admit func() error,
	call func(context.Context) (V, error)) (value V, err error) {
	c, err := s.join(ctx, key, 1, admit, call)
	if err != nil {
		return value, err
	}
	return s.wait(ctx, key, c)
}

// doKept is do with a call that goes on when nobody waits any more.
func (s *sharedCalls[V]) doKept(ctx context.Context, key [32]byte,
	call func(context.Context) (V, error)) (value V, err error) {
	c, err := s.join(ctx, key, 2, func() error { return nil }, call)
	if err != nil {
		return value, err
	}
	return s.wait(ctx, key, c)
}

func (s *sharedCalls[V]) wait(ctx context.Context, key [32]byte, c *sharedCall[V]) (value V, err error) {
	defer s.leave(key, c)
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

func (s *sharedCalls[V]) join(ctx context.Context, key [32]byte, waiting int, admit func() error,
	call func(context.Context) (V, error)) (*sharedCall[V], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, running := s.all[key]; running {
		c.waiting++
		return c, nil
	}
	if err := admit(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &sharedCall[V]{done: make(chan struct{}), cancel: cancel, waiting: waiting}
	if s.all == nil {
		s.all = map[[32]byte]*sharedCall[V]{}
	}
	s.all[key] = c
	go func() {
		defer cancel()
		c.value, c.err = call(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(key, c)
		close(c.done)
	}()
	return c, nil
}

func (s *sharedCalls[V]) leave(key [32]byte, c *sharedCall[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		s.drop(key, c)
		c.cancel()
	}
}

// drop lets the next request start a call of its own.
func (s *sharedCalls[V]) drop(key [32]byte, c *sharedCall[V]) {
	if s.all[key] == c {
		delete(s.all, key)
	}
}
