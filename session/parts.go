package session

import (
	"context"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/session/revocation"
)

// parts are the components of a Manager that init makes from its fields.
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
	index      *indexer
	rounds     *rounds
	singly     int
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
	var oldIndex *indexer
	if old := m.inherited; old != nil {
		oldIndex = old.index
		m.inherited = nil
		m.revoked, m.members, m.watches, m.rounds = old.revoked, old.members, old.watches, old.rounds
		m.replicator, m.tokens = revocation.NewReplicator(old.replicator), &tokens{states: old.tokens.states, running: old.tokens.running}
	} else {
		m.revoked = revocation.NewSet(or(m.MaxRevoked, 100_000), m.OnEnd)
		m.members = membership.NewMembers(or(m.MaxPeople, 50_000))
		m.watches, m.rounds = newWatches(or(m.MaxWatches, 50_000)), new(rounds)
		m.replicator, m.tokens = revocation.NewReplicator(nil), newTokens(or(m.MaxSessions, 10_000))
	}
	m.revoked.SetStored(m.Config.shared() && m.Store != nil)
	m.singly = or(m.MaxSingly, usualSingly)
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
	r.Repeat = m.Config.shared()
	r.Apply, r.Live = func(e revocation.Event) { receive(m, e) }, m.watches.inspectNow
	r.Unreadable = func() { m.revoked.Forgotten(); m.watches.inspectNow() }
	m.freshness = &freshness{
		records:    m.records,
		revoked:    m.revoked,
		replicator: r,
		tasks:      m.tasks,
		catchUp:    func(ctx context.Context, e *entry) { catchUp(ctx, m, e) },
		slots:      make(chan struct{}, or(m.MaxAsks, 32)),
	}
	ts := m.tokens
	ts.records, ts.revoked, ts.tasks, ts.slots = m.records, m.revoked, m.tasks, make(chan struct{}, or(m.MaxRechecks, 16))
	ts.enabled = func() bool { return m.Refresh != nil }
	ts.refresh = func(ctx context.Context, refresh string) (identity.Token, error) { return m.Refresh(ctx, refresh) }
	ts.refused = func(ctx context.Context, s *Session, reason string) {
		// If the Store fails, the revocation is sent later.
		_ = m.revoke(ctx, s.ID, revocation.Revocation{Reason: reason, Who: s.key(m.Service), Since: s.SignedIn})
		m.audit(s, reason)
	}
	m.checker = newChecker(m, or(m.MaxRechecks, 16))
	m.index = newIndexer(m, oldIndex)
}

// newChecker makes the component that looks people up.
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
			// A refusal because of an expired token is no answer about the person.
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
		// If the Store fails, the next request gets ErrStore at every replica anyway.
		_ = m.end(ctx, personEnded(revocation.PersonOf(p.Key()), reason, m.Time()))
		// The session of an event has no ID: each session of the person is audited
		// when it is next seen.
		if s.ID != "" {
			m.audit(s, reason)
		}
	}
	c.Changed = func(p *membership.Member, checked time.Time, ours bool) {
		m.watches.end(func(s *Session) bool { return s.key(m.Service) == p.Key() })
		if ours {
			// The other replicas read the profile from the Store.
			m.announce(revocation.Event{Kind: revocation.PersonChanged, At: checked, Who: revocation.PersonOf(p.Key())})
		}
	}
	c.Limit(lookups)
	return c
}

// Inherit takes over the revocations, people and open connections of old, and the
// events it has not yet sent to other replicas, so that a reload of the configuration
// revives no session. Call it before any other method.
func (m *Manager) Inherit(old *Manager) {
	old.init()
	m.inherited = old
}
