package session

import (
	"context"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/session/revocation"
)

// parts are what init makes of the fields of a Manager.
type parts struct {
	cache      *cache
	revoked    *revocation.Set
	replicator *revocation.Replicator
	members    *membership.Members
	checker    *membership.Checker[*Session]
	tokens     *tokens
	records    *records
	freshness  *freshness
	watches    *watches
	tasks      *tasks
}

func (m *Manager) init() { m.once.Do(func() { build(m) }) }

// build makes the parts of a Manager.
func build(m *Manager) {
	or := func(n, usual int) int {
		if n > 0 {
			return n
		}
		return usual
	}
	if old := m.inherited; old != nil {
		m.inherited = nil
		m.revoked, m.members, m.watches = old.revoked, old.members, old.watches
		m.replicator, m.tokens = revocation.NewReplicator(old.replicator), &tokens{states: old.tokens.states}
	} else {
		m.revoked = revocation.NewSet(or(m.MaxRevoked, 100_000), m.OnEnd)
		m.members = membership.NewMembers(or(m.MaxPeople, 50_000))
		m.watches = newWatches(or(m.MaxWatches, 50_000))
		m.replicator, m.tokens = revocation.NewReplicator(nil), &tokens{states: newTokenStates(or(m.MaxSessions, 10_000))}
	}
	m.revoked.SetStored(m.Config.shared() && m.Store != nil)
	m.cache = newCache(or(m.MaxSessions, 10_000), m.Time())
	m.tasks = newTasks()
	m.records = &records{
		store:   m.Store,
		keyring: m.Keyring,
		realm:   m.Realm,
		service: m.Service,
		config:  m.Config,
		now:     m.Time,
	}
	r := m.replicator
	r.Journal, r.Keyring, r.Realm, r.Now = m.Journal, m.Keyring, m.Realm, m.Time
	r.Apply, r.Live = m.apply, m.watches.inspectNow
	r.Unreadable = func() { m.revoked.Forgotten(); m.watches.inspectNow() }
	m.freshness = &freshness{
		records:    m.records,
		revoked:    m.revoked,
		replicator: r,
		tasks:      m.tasks,
		slots:      make(chan struct{}, or(m.MaxAsks, 32)),
	}
	ts := m.tokens
	ts.records, ts.revoked, ts.tasks, ts.slots = m.records, m.revoked, m.tasks, make(chan struct{}, or(m.MaxRechecks, 16))
	ts.enabled = func() bool { return m.Refresh != nil }
	ts.refresh = func(ctx context.Context, refresh string) (identity.Token, error) { return m.Refresh(ctx, refresh) }
	ts.refused = func(ctx context.Context, s *Session, reason string) {
		// A Store that fails learns of it later.
		_ = m.revoke(ctx, s.ID, revocation.Revocation{Reason: reason, Who: s.key(m.Service), Since: s.SignedIn})
		m.audit(s, reason)
	}
	m.checker = newChecker(m, or(m.MaxRechecks, 16))
}

// newChecker makes the part that looks people up.
func newChecker(m *Manager, lookups int) *membership.Checker[*Session] {
	c := &membership.Checker[*Session]{
		Members: m.members,
		Recheck: m.Config.Recheck,
		Grace:   m.Config.Grace,
		Now:     m.Time,
		Fit:     m.Config.Fit,
		KeyOf:   func(u *identity.User) identity.Key { return identity.KeyOf(u, m.Service) },
		Start:   m.tasks.start,
		Context: m.tasks.context,
	}
	c.Lookup = func(ctx context.Context, s *Session) (identity.User, error) {
		if t := s.Token; m.Refresh != nil && t.Access != "" && !t.Expires.IsZero() && !m.Time().Before(t.Expires) {
			// A refusal of it would say nothing about the person.
			return identity.User{}, &identity.Failure{Class: identity.Later, Code: "token_expired"}
		}
		return m.Recheck(ctx, s)
	}
	if m.Config.shared() {
		c.Shared = m.records
	}
	if m.Mirror != nil {
		c.Mirrored = m.Mirror.Confirms
	}
	c.Refused = func(ctx context.Context, s *Session, p *membership.Member, reason string) {
		// A Store that fails answers ErrStore to every replica's next request anyway.
		_ = m.end(ctx, personEnded(revocation.PersonOf(p.Key()), reason, m.Time()))
		// The session of an event has no ID: each session of the person has its line when it is seen.
		if s.ID != "" {
			m.audit(s, reason)
		}
	}
	c.Changed = func(p *membership.Member, checked time.Time, ours bool) {
		m.watches.end(func(s *Session) bool { return s.key(m.Service) == p.Key() })
		if ours {
			// The others find the profile in the Store.
			m.announce(revocation.Event{Kind: revocation.PersonChanged, At: checked, Who: revocation.PersonOf(p.Key())})
		}
	}
	c.Limit(lookups)
	return c
}

// Inherit takes over what old knows of sign-outs, people and open connections,
// and what it has not announced to other replicas yet, so that a reload of the
// configuration brings no session back. Call it before any other method.
func (m *Manager) Inherit(old *Manager) {
	old.init()
	m.inherited = old
}
