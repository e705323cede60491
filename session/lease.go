package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"dinggate/store"
)

// A lease lets one replica at a time do what all of them want done: ask DingTalk
// about a person, refresh a token (threats V11). It is renewed while the work
// goes on and is over soon after its holder dies (V12). It keeps work from being
// done twice; it is no proof that nobody else does it.
const (
	leaseTime  = 4 * time.Second
	leaseRenew = time.Second
	leasePause = 15 * time.Second // after a failure: the pause that all replicas keep
	leasePoll  = 250 * time.Millisecond
)

// leaseFailed is what a lease holds in the pause after a failure: a caller that wants the
// work done knows as much as its holder, and need not wait.
var leaseFailed = []byte("failed")

var errElsewhere = errors.New("session: another replica has just tried in vain")

type lease struct {
	m     *Manager
	key   string
	value []byte
	stop  context.CancelFunc
	done  chan struct{}
}

// acquire takes the lease; store.ErrExists when somebody else has it.
func (m *Manager) acquire(ctx context.Context, key string) (*lease, error) {
	if m.Store == nil {
		return nil, ill("taking a lease", errors.New("there is no store"))
	}
	value := make([]byte, 16)
	if _, err := rand.Read(value); err != nil {
		return nil, fmt.Errorf("session: taking a lease: %w", err)
	}
	if err := m.Store.Add(ctx, key, value, leaseTime); err != nil {
		if errors.Is(err, store.ErrExists) {
			return nil, err
		}
		return nil, ill("taking a lease", err)
	}
	working, stop := context.WithCancel(ctx)
	l := &lease{m: m, key: key, value: value, stop: stop, done: make(chan struct{})}
	go l.renew(working)
	return l, nil
}

// renew keeps the lease until it is given back, the work's context ends, or it
// turns out to be somebody else's.
func (l *lease) renew(ctx context.Context) {
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
func (l *lease) set(ctx context.Context, value []byte, ttl time.Duration) (ours bool) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now, err := l.m.Store.Get(ctx, l.key)
	if errors.Is(err, store.ErrNotFound) || err == nil && !bytes.Equal(now, l.value) {
		return false
	}
	if err == nil {
		_ = l.m.Store.Put(ctx, l.key, value, ttl)
	}
	return true
}

// end gives the lease back, or after a failure keeps it as a pause for all.
func (l *lease) end(failed bool) {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if failed {
		l.set(ctx, leaseFailed, leasePause)
		return
	}
	if now, err := l.m.Store.Get(ctx, l.key); err == nil && bytes.Equal(now, l.value) {
		_, _ = l.m.Store.Take(ctx, l.key)
	}
}

// await asks found until it brings something or the lease is ours; nil means
// that we have it and must do the work. In the pause after another's failure it
// is errElsewhere at once.
func (m *Manager) await(ctx context.Context, key string, found func(context.Context) (done bool, err error)) (*lease, error) {
	again := time.NewTicker(leasePoll)
	defer again.Stop()
	for {
		if done, err := found(ctx); done || err != nil {
			return nil, err
		}
		l, err := m.acquire(ctx, key)
		if err == nil {
			// Between the last look and now its last holder may have finished.
			done, err := found(ctx)
			if done || err != nil {
				l.end(false)
				return nil, err
			}
			return l, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return nil, err
		}
		if held, err := m.Store.Get(ctx, key); err == nil && bytes.Equal(held, leaseFailed) {
			return nil, errElsewhere
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("session: waiting for another replica: %w", ctx.Err())
		case <-again.C:
		}
	}
}
