package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Run does the housekeeping until ctx ends, then waits for the lookups that
// still run: it follows the Journal, sends other replicas what could not be sent
// at once, drops what has expired, and looks again at sessions that only an open
// connection uses, since no request does. Call it once. A Manager that is not
// running serves all the same, except for that.
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
		following.Go(func() { m.Mirror.Run(ctx, func() { m.checker.ConsultAll(m.Time()) }) })
	}
	swept := m.Time()
	for {
		select {
		case <-ctx.Done():
			m.tasks.close()
			following.Wait()
			return
		case <-send.C:
			m.replicator.SendPending(ctx)
			continue
		case <-m.watches.now:
		case <-tick.C:
		}
		m.inspect(ctx)
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
	Cached, People, Revoked, Watched, Lookups int

	Failing      int    // people whose lookups fail since the last that succeeded: their sessions live on grace
	Hits, Misses uint64 // of the cache of verified sessions, since the start

	Live   bool // the Journal is live: ends of other replicas arrive within moments
	Unsent int  // what other replicas have not learned yet
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
	s.People, s.Failing = m.members.Count()
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
			if w.s.entry.untimely(m.Time()) { // the clock was set: else the watch's own timer is there first
				m.watches.close(w)
				return
			}
			if reason, out := m.endOf(w.s); out {
				m.watches.close(w)
				m.audit(w.s, reason)
				return
			}
			// No patience: a lookup starts and the next round sees its answer.
			if _, err := m.confirm(ctx, w.s.entry, m.Time(), 0); errors.Is(err, ErrUnconfirmed) {
				if _, p := m.view(w.s.entry, m.Time()); p.Failing() {
					m.watches.close(w)
				}
			}
		})
	}
	all.Wait()
}
