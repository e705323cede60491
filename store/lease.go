package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Lease lets one replica at a time do what all of them want done: ask DingTalk
// about a person, refresh a token (threats V11). It is renewed while the work
// goes on and is over soon after its holder dies (V12). It keeps work from being
// done twice; it is no proof that no other replica does it. Get it with
// AwaitLease, give it back with Release.
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
	leasePause   = 15 * time.Second // after a failure: the pause that all replicas keep
	leasePoll    = 250 * time.Millisecond
	leaseTimeout = time.Second // of one operation
)

// leaseFailed is what a lease holds in the pause after a failure: a caller that
// wants the work done knows as much as its holder, and need not wait.
var leaseFailed = []byte("failed")

// ErrTriedElsewhere means that another replica has just tried the work and failed.
var ErrTriedElsewhere = errors.New("store: another replica has just tried and failed")

// acquireLease takes the lease; ErrExists when another caller has it.
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

// renew keeps the lease until it is given back, the work's context ends, or it
// turns out to be another caller's.
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

// set writes the lease anew; false when it is another's. A store that does not
// answer is asked again.
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

// Release gives the lease back, or after a failure keeps it as a pause for all.
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

// AwaitLease calls found until it is done or the lease is the caller's; nil means
// that found is done or an error, otherwise the caller has the lease and must do
// the work. In the pause after another's failure it is ErrTriedElsewhere at once.
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
			// Between the last look and now its last holder may have finished.
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
			return nil, fmt.Errorf("store: waiting for another replica: %w", ctx.Err())
		case <-again.C:
		}
	}
}
