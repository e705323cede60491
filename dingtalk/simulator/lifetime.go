package simulator

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// lifetime lasts from the first use of a Platform to Close.
type lifetime struct {
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // deliveries and streams, for which Close waits

	mu     sync.Mutex
	closed bool
}

func (l *lifetime) start() { l.ctx, l.cancel = context.WithCancel(context.Background()) }

func (l *lifetime) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.work.Wait()
}

// begin registers work for which close waits until work.Done. It reports
// false, and registers nothing, after close.
func (l *lifetime) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.work.Add(1)
	}
	return !l.closed
}

// run starts f in the background. It reports false, and starts nothing, after close.
func (l *lifetime) run(f func()) bool {
	if !l.begin() {
		return false
	}
	go func() {
		defer l.work.Done()
		f()
	}()
	return true
}

// pause waits for d or until stop is closed. It reports false if ctx or the
// lifetime ended first.
func (l *lifetime) pause(ctx context.Context, d time.Duration, stop <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stop:
	case <-ctx.Done():
		return false
	case <-l.ctx.Done():
		return false
	}
	return true
}

// monitor is a mutex whose guarded state goroutines can wait for. The zero
// monitor is ready to use.
type monitor struct {
	mu      sync.Mutex
	changed chan struct{} // closed by broadcast; nil if nothing waits
}

// broadcast wakes the goroutines in waitFor. The caller holds mu.
func (m *monitor) broadcast() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// waitFor waits until ready, which is called with mu held, reports true. An
// error names what was missing.
func (m *monitor) waitFor(ctx context.Context, ready func() (missing string, ok bool)) error {
	for {
		m.mu.Lock()
		missing, ok := ready()
		if !ok && m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("simulator: waiting for %s: %w", missing, context.Cause(ctx))
		}
	}
}
