package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"dinggate/session/index"
)

// Run does the background work until ctx ends, then waits for running lookups. It follows the
// Journal, sends writes that other replicas could not be sent at once, drops expired entries, and
// checks sessions that only an open connection uses, since no request does. Call it once. A
// Manager without Run works, except for that.
//
// After Run has returned no lookup starts any more.
func (m *Manager) Run(ctx context.Context) {
	m.init()
	tick := time.NewTicker(min(max(m.Config.Recheck/4, time.Second), 15*time.Second))
	defer tick.Stop()
	send := time.NewTicker(time.Second)
	defer send.Stop()
	var following sync.WaitGroup
	if m.Journal != nil && m.Config.shared() {
		following.Go(func() { m.replicator.Follow(ctx) })
	}
	if m.Mirror != nil {
		following.Go(func() { m.Mirror.Run(ctx, func() { consultMirror(m) }) })
	}
	following.Go(func() { runRounds(ctx, m) })
	swept := m.Time()
	noted := swept.Add(-time.Duration(swept.UnixNano()) % index.Coarse) // so that replicas do not write at the same time
	m.index.noted.Store(swept.UnixMilli())
	for {
		select {
		case <-ctx.Done():
			m.index.noteSeen(false)
			m.tasks.close()
			following.Wait()
			m.index.flush()
			return
		case <-send.C:
			m.replicator.SendPending(ctx)
			if m.index.Resume() {
				m.index.noteSeen(true)
			}
			continue
		case <-m.watches.now:
		case <-tick.C:
		}
		m.inspect(ctx)
		if now := m.Time(); now.Sub(noted) >= index.Coarse {
			noted = now
			m.index.noteSeen(false)
		}
		if now := m.Time(); now.Sub(swept) >= time.Minute {
			swept = now
			m.cache.sweep()
			m.tokens.states.DeleteFunc(func(k *tokenState) bool { return !now.Before(k.expires) })
			m.members.Sweep(now.Add(-time.Hour - m.Config.Recheck - m.Config.Grace))
			m.revoked.Sweep(now)
		}
	}
}

// Stats counts what is in memory, for metrics.
type Stats struct {
	Cached  int // cookies in the cache of verified sessions
	People  int // people with sessions that were used recently
	Revoked int // revocations
	Watched int // open connections
	Lookups int // rechecks in progress

	Failing      int           // people whose lookups fail: their sessions continue during the grace period
	Overdue      int           // people with a recent request whose confirmation is older than Config.Recheck
	Oldest       time.Duration // the age of the oldest confirmation of a person with a recent request
	Hits, Misses uint64        // of the cache of verified sessions, since the start

	Live   bool // the Journal is live: revocations of other replicas arrive within moments
	Unsent int  // writes not yet sent to other replicas
}

// Stats is safe to call at any time.
func (m *Manager) Stats() Stats {
	m.init()
	s := Stats{
		Cached:  m.cache.items.ItemCount(),
		Lookups: m.checker.Running(),
		Revoked: m.revoked.Len(),
		Watched: m.watches.len(),
		Unsent:  m.replicator.Pending(),
	}
	people := m.members.Count(m.Time(), m.Config.Recheck)
	s.People, s.Failing = people.All, people.Failing
	if m.Recheck != nil {
		s.Overdue, s.Oldest = people.Overdue, people.Oldest
	}
	s.Hits, s.Misses = m.cache.hits.Load(), m.cache.misses.Load()
	_, s.Live = m.freshness.epoch()
	return s
}

// inspect closes the watches whose session is no longer allowed.
// A store that fails ends no connection: an outage is not a sign-out.
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
			if m.Config.shared() && m.freshness.age(w.s.entry, m.Time(), trustWatched) != fresh {
				if err := m.freshness.revalidate(ctx, w.s.entry); err != nil {
					return
				}
			}
			// The clock was set, or a reload shortened the lifetime; otherwise the watch's own timer fires first.
			if now := m.Time(); w.s.entry.untimely(now) || !now.Before(Ends(m, w.s.SignedIn)) {
				m.watches.close(w)
				return
			}
			if reason, out := m.endOf(w.s); out {
				m.watches.close(w)
				m.audit(w.s, reason)
				return
			}
			// patience is 0: a lookup starts, and the next round uses its result.
			if _, err := m.confirm(ctx, w.s.entry, m.Time(), 0); errors.Is(err, ErrUnconfirmed) {
				if _, p := m.view(w.s.entry, m.Time()); p.Failing() {
					m.watches.close(w)
				}
			}
		})
	}
	all.Wait()
}
