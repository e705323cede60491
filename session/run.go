package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Run does the housekeeping until ctx ends, then waits for the lookups that
// still run: it follows the Journal, sends the others what could not be sent at
// once, drops what has expired, and looks again at sessions that only an open
// connection uses, since no request does. Call it once. A Manager that
// is not running serves all the same, save for that.
//
// After Run has returned no lookup starts any more.
func (m *Manager) Run(ctx context.Context) {
	m.init()
	tick := time.NewTicker(min(max(m.Config.Recheck/4, time.Second), 15*time.Second))
	defer tick.Stop()
	send := time.NewTicker(time.Second)
	defer send.Stop()
	var listening sync.WaitGroup
	if m.Journal != nil && m.shared() {
		listening.Go(func() { m.followJournal(ctx) })
	}
	swept := m.now()
	for {
		select {
		case <-ctx.Done():
			m.mu.Lock()
			m.closed = true
			m.mu.Unlock()
			m.cancel()
			m.lookups.Wait()
			listening.Wait()
			return
		case <-send.C:
			m.sendRest(ctx)
			continue
		case <-m.looking:
		case <-tick.C:
		}
		m.inspect(ctx)
		if now := m.now(); now.Sub(swept) >= time.Minute {
			swept = now
			m.cache.sweep()
			m.tokenStates.sweep(now)
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

	Failing      int    // people whose lookups fail since the last that succeeded: their sessions live on grace
	Hits, Misses uint64 // of the cache of verified sessions, since the start

	Live   bool // the Journal is live: ends of other replicas arrive within moments
	Unsent int  // what other replicas have not been told yet
}

// Stats is safe to call at any time.
func (m *Manager) Stats() Stats {
	m.init()
	s := Stats{Cached: m.cache.items.ItemCount(), Lookups: len(m.recheckSlots)}
	m.people.mu.RLock()
	s.People = len(m.people.all)
	for _, p := range m.people.all {
		if p.isFailing() {
			s.Failing++
		}
	}
	m.people.mu.RUnlock()
	s.Hits, s.Misses = m.cache.hits.Load(), m.cache.misses.Load()
	m.revoked.mu.RLock()
	s.Revoked = len(m.revoked.ids) + len(m.revoked.people)
	m.revoked.mu.RUnlock()
	m.watches.mu.Lock()
	s.Watched = len(m.watches.all)
	m.watches.mu.Unlock()
	_, s.Live = m.hearing()
	s.Unsent = int(m.outbox.size.Load())
	return s
}

// look has Run look at the open connections now.
func (m *Manager) look() {
	select {
	case m.looking <- struct{}{}:
	default:
	}
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

// inspect closes the watches whose session is no longer allowed.
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
			if m.shared() && m.trust(w.s.entry, m.now(), trustWatched) != certain {
				if err := m.revalidate(ctx, w.s.entry); err != nil {
					return
				}
			}
			if w.s.entry.untimely(m.now()) { // the clock was set: else the watch's own timer is there first
				m.watches.close(w)
				return
			}
			if reason, out := m.endOf(w.s); out {
				m.watches.close(w)
				m.audit(w.s, reason)
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

// failing reports that the last lookup about the person behind e failed.
func (m *Manager) failing(e *entry) bool {
	_, p := m.view(e, m.now())
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.failing.IsZero()
}
