package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Run does the housekeeping until ctx ends, then waits for the lookups that
// still run: what has expired goes, and sessions that only an open connection
// uses are looked at again, since no request does. Call it once. A Manager that
// is not running serves all the same, save for that.
//
// After Run has returned no lookup starts any more.
func (m *Manager) Run(ctx context.Context) {
	m.ready()
	tick := time.NewTicker(min(max(m.Config.Recheck/4, time.Second), 15*time.Second))
	defer tick.Stop()
	swept := m.now()
	for {
		select {
		case <-ctx.Done():
			m.mu.Lock()
			m.closed = true
			m.mu.Unlock()
			m.cancel()
			m.lookups.Wait()
			return
		case <-tick.C:
		}
		m.inspect(ctx)
		if now := m.now(); now.Sub(swept) >= time.Minute {
			swept = now
			m.cache.sweep()
			m.people.sweep(now.Add(-time.Hour - m.Config.Recheck - m.Config.Grace))
			m.revoked.mu.Lock()
			m.revoked.sweep(now)
			m.revoked.mu.Unlock()
		}
	}
}

// Stats counts what is in memory, for metrics.
type Stats struct {
	Cached, People, Revoked, Watched, Lookups int
}

// Stats is safe to call at any time.
func (m *Manager) Stats() Stats {
	m.ready()
	s := Stats{Cached: m.cache.items.ItemCount(), Lookups: len(m.slots)}
	m.people.mu.RLock()
	s.People = len(m.people.all)
	m.people.mu.RUnlock()
	m.revoked.mu.RLock()
	s.Revoked = len(m.revoked.ids) + len(m.revoked.people)
	m.revoked.mu.RUnlock()
	m.watches.mu.Lock()
	s.Watched = len(m.watches.all)
	m.watches.mu.Unlock()
	return s
}

// start runs f in the background; false when Run has ended.
func (m *Manager) start(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.lookups.Go(f)
	return true
}

// inspect closes the watches whose session would not pass the door any more.
// A store that is ill ends no connection: an outage is not a sign-out.
func (m *Manager) inspect(ctx context.Context) {
	places := make(chan struct{}, 8)
	var all sync.WaitGroup
	for _, w := range m.watches.list() {
		if w.s.entry == nil {
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if m.shared() {
				if err := m.askStore(ctx, w.s); err != nil {
					return
				}
			}
			if reason, out := m.revoked.find(w.s); out {
				m.watches.close(w)
				m.tell(w.s, reason)
				return
			}
			// No patience: a lookup starts and the next round sees its answer.
			if _, err := m.confirm(ctx, w.s.entry, m.now(), 0); errors.Is(err, ErrUnconfirmed) && m.failing(w.s.entry) {
				m.watches.close(w)
			}
		})
	}
	all.Wait()
}

// failing tells that the last lookup about the person behind e failed.
func (m *Manager) failing(e *entry) bool {
	_, p := m.view(e, m.now())
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.failing.IsZero()
}
