package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Lease lets one replica at a time do work that all replicas want done, such as looking a person
// up at DingTalk or refreshing a token (threats V11). It is renewed during the work and expires
// soon after its holder dies (V12). It avoids duplicate work, but does not exclude it. Get it with
// AwaitLease, end it with Release.
type Lease struct {
	store Store
	key   string
	value []byte
	stop  context.CancelFunc
	done  chan struct{}
}

const (
	leaseTime    = 4 * time.Second
	leaseRenew   = time.Second
	leasePause   = 15 * time.Second // after a failure, for all replicas
	leasePoll    = 250 * time.Millisecond
	leaseTimeout = time.Second // of one operation
)

// leaseFailed is the content of a lease in the pause after a failure: a caller that wants the work
// done need not wait, since it would fail too.
var leaseFailed = []byte("failed")

// ErrTriedElsewhere means that another replica has just tried the work and failed.
var ErrTriedElsewhere = errors.New("store: another replica has just tried and failed")

// ErrHeld means that another caller had the lease until the context ended.
var ErrHeld = errors.New("store: another replica has the lease")

// acquireLease takes the lease; ErrExists if another caller has it.
func acquireLease(ctx context.Context, s Store, key string) (*Lease, error) {
	value := make([]byte, 16)
	if _, err := rand.Read(value); err != nil {
		return nil, fmt.Errorf("store: taking a lease: %w", err)
	}
	if err := s.Add(ctx, key, value, leaseTime); err != nil {
		if errors.Is(err, ErrExists) {
			return nil, err
		}
		return nil, fmt.Errorf("store: taking a lease: %w", err)
	}
	working, stop := context.WithCancel(ctx)
	l := &Lease{store: s, key: key, value: value, stop: stop, done: make(chan struct{})}
	go l.renew(working)
	return l, nil
}

// renew keeps the lease until it is released, the work's context ends, or another caller has it.
func (l *Lease) renew(ctx context.Context) {
	defer close(l.done)
	again := time.NewTicker(leaseRenew)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if !l.set(ctx, l.value, leaseTime) {
			return
		}
	}
}

// set writes the lease again; false if another caller has it. A store that does not answer is
// tried again.
func (l *Lease) set(ctx context.Context, value []byte, ttl time.Duration) (ours bool) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	now, err := l.store.Get(ctx, l.key)
	if errors.Is(err, ErrNotFound) || err == nil && !bytes.Equal(now, l.value) {
		return false
	}
	if err == nil {
		_ = l.store.Put(ctx, l.key, value, ttl)
	}
	return true
}

// Release ends the lease, or after a failure keeps it as a pause for all replicas. Call it once.
// It has a deadline of its own; if the store does not answer, the lease expires.
func (l *Lease) Release(failed bool) {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(context.Background(), leaseTimeout)
	defer cancel()
	if failed {
		l.set(ctx, leaseFailed, leasePause)
		return
	}
	if now, err := l.store.Get(ctx, l.key); err == nil && bytes.Equal(now, l.value) {
		_, _ = l.store.Take(ctx, l.key)
	}
}

// AwaitLease calls found until it reports done or the lease is the caller's. A nil Lease means
// that found is done or err is set; otherwise the caller has the lease, must do the work and call
// Release. In the pause after another replica's failure it returns ErrTriedElsewhere at once. If ctx
// ends while another caller has the lease, the error is ErrHeld and wraps ctx's. Other errors are
// those of found and of the Store.
func AwaitLease(ctx context.Context, s Store, key string, found func(context.Context) (done bool, err error)) (*Lease, error) {
	if s == nil {
		return nil, errors.New("store: taking a lease: there is no store")
	}
	again := time.NewTicker(leasePoll)
	defer again.Stop()
	for {
		if done, err := found(ctx); done || err != nil {
			return nil, err
		}
		l, err := acquireLease(ctx, s, key)
		if err == nil {
			// The last holder may have finished since the last call of found.
			done, err := found(ctx)
			if done || err != nil {
				l.Release(false)
				return nil, err
			}
			return l, nil
		}
		if !errors.Is(err, ErrExists) {
			return nil, err
		}
		if held, err := s.Get(ctx, key); err == nil && bytes.Equal(held, leaseFailed) {
			return nil, ErrTriedElsewhere
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrHeld, ctx.Err())
		case <-again.C:
		}
	}
}
