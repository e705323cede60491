package apiauth

import (
	"context"
	"sync"
)

// sharedCalls lets concurrent requests for one key share one call. A call is cancelled when the
// last request that waits for it ends, unless it is detached, so that a client that hangs up
// leaves no call behind (threats D12). x/sync/singleflight would let each call run until the
// service answers, and cannot refuse to begin one. The zero value is ready to use.
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

// do waits for the call for key until ctx ends, and then returns its error. If no call runs, it
// starts one, unless admit returns an error, which do then returns. The call's context does not
// end with ctx.
func (s *sharedCalls[V]) do(ctx context.Context, key [32]byte, admit func() error,
	call func(context.Context) (V, error)) (value V, err error) {
	c, err := s.join(ctx, key, 1, admit, call)
	if err != nil {
		return value, err
	}
	return s.wait(ctx, key, c)
}

// doDetached is do with a call that continues when no request waits any longer.
func (s *sharedCalls[V]) doDetached(ctx context.Context, key [32]byte,
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

// drop removes a call, so that the next request starts a new one.
func (s *sharedCalls[V]) drop(key [32]byte, c *sharedCall[V]) {
	if s.all[key] == c {
		delete(s.all, key)
	}
}
