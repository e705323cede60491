package session

import (
	"context"
	"errors"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/session/revocation"
)

// Revoke ends one session, here at once and, with a Store, for every replica and after a restart.
// The caller writes the audit line; OnRevoked is not called. An unknown id is no error. It
// continues when ctx is cancelled: a person who signs out is signed out although the browser has
// disconnected. ErrStore: it ended here only, and ends elsewhere when the Store is back while this
// process lives.
func (m *Manager) Revoke(ctx context.Context, id string) error {
	m.init()
	return m.revoke(ctx, id, revocation.Revocation{Reason: "signed_out", Audited: true})
}

// RevokeSession is Revoke of a loaded session.
func (m *Manager) RevokeSession(ctx context.Context, s *Session) error {
	m.init()
	end := revocation.Revocation{Reason: "signed_out", Audited: true, Who: s.key(m.Service), Since: s.SignedIn}
	return m.revoke(ctx, s.ID, end)
}

// RevokeOwn is Revoke of another session of the same person as s.
func RevokeOwn(ctx context.Context, m *Manager, s *Session, id string) error {
	m.init()
	// Since is when it was signed in at the latest: without one, an earlier end of the person's
	// sessions would count as that of this one too.
	end := revocation.Revocation{Reason: "signed_out", Audited: true, Who: s.key(m.Service), Since: m.Time()}
	return m.revoke(ctx, id, end)
}

// RevokeSeen is Revoke of a session of a Listing.
func RevokeSeen(ctx context.Context, m *Manager, s *Seen) error {
	m.init()
	end := revocation.Revocation{Reason: "signed_out", Audited: true, Who: s.key, Since: s.SignedIn}
	return m.revoke(ctx, s.ID, end)
}

func (m *Manager) revoke(ctx context.Context, id string, end revocation.Revocation) error {
	now := m.Time()
	end.Until = m.Config.outlived(now)
	m.revoked.EndSession(id, end, now)
	m.watches.end(func(s *Session) bool { return s.ID == id })
	m.index.delist(id, end.Who)
	err := m.replicator.Send(ctx, revocation.Write{
		Store: m.records.writeRevocation(id, m.Refresh != nil),
		Entry: m.replicator.Entry(revocation.Event{Kind: revocation.SessionEnded, At: now, ID: id}),
		Until: end.Until,
	})
	if err != nil {
		return unavailable("revoking a session", err)
	}
	return nil
}

// RevokeAll ends every session that is valid now, on every replica: the organisation no longer
// exists, or its current members are unknown. Errors are as RevokeUser's.
func (m *Manager) RevokeAll(ctx context.Context, reason string) error {
	m.init()
	return m.end(ctx, revocation.Event{Kind: revocation.EverybodyEnded, At: m.Time(), Reason: reason})
}

// RevokeUser ends every session that the person signed in to until now; a later
// sign-in is not affected. reason is a word for the audit log, such as `left`. It
// continues when ctx is cancelled. ErrStore: ended here only; other replicas learn of
// it when the Store is back, or at their next recheck.
func (m *Manager) RevokeUser(ctx context.Context, who Person, reason string) error {
	m.init()
	if len(who.Keys()) == 0 {
		return errors.New("session: revoking a person: no name")
	}
	if reason == "" {
		reason = "revoked"
	}
	return m.end(ctx, personEnded(who, reason, m.Time()))
}

func personEnded(who Person, reason string, at time.Time) revocation.Event {
	return revocation.Event{Kind: revocation.PersonEnded, At: at, Reason: reason, Who: who}
}

// end applies a revocation of a person, or of everybody, here and sends it to the
// other replicas. It ends the sessions that are known here, also one that was signed in at a
// replica whose clock is ahead (threats V18).
func (m *Manager) end(ctx context.Context, e revocation.Event) error {
	if known := newest(m, e); known.Sub(e.At) <= apart {
		e.At = later(e.At, known)
	}
	m.apply(e)
	keys := e.Who.Keys()
	if e.Kind == revocation.EverybodyEnded {
		keys = []identity.Key{everybody}
	}
	end := revocation.Revocation{Before: e.At, Reason: e.Reason, Spare: e.Who.Spare}
	m.index.delistEnded(keys, end)
	err := m.replicator.Send(ctx, revocation.Write{
		Store: m.records.writeEnds(keys, end),
		Entry: m.replicator.Entry(e),
		Until: m.Config.outlived(e.At),
	})
	if err != nil {
		return unavailable("revoking a person", err)
	}
	return nil
}

// newest is the newest sign-in known here, after an event that ends sessions, of its people; the
// event's time if there is none.
func newest(m *Manager, e revocation.Event) time.Time {
	if e.Kind == revocation.EverybodyEnded {
		return m.members.Newest(e.At, func(identity.User) bool { return true })
	}
	return m.members.Newest(e.At, e.Who.Matches(m.Service))
}

// receive applies an event of another replica. If it ends the sessions of people, and one of those
// was signed in later by another clock but is known here before the event, that one ends too, on
// every replica. Events from before this process are not compared like this: their people may have
// signed in again since.
func receive(m *Manager, e revocation.Event) {
	m.apply(e)
	if epoch, live := m.replicator.State(); epoch == 0 && !live ||
		e.Kind != revocation.PersonEnded && e.Kind != revocation.EverybodyEnded {
		return
	}
	if known := newest(m, e); known.After(e.At) && known.Sub(e.At) <= apart {
		e.At = known
		m.tasks.start(func() { _ = m.end(m.tasks.context, e) }) // if the Store fails, it is sent later
	}
}

// apply applies an event, also one of another replica; it is idempotent.
func (m *Manager) apply(e revocation.Event) {
	now := m.Time()
	end := revocation.Revocation{Before: e.At, Until: m.Config.outlived(now), Reason: e.Reason}
	switch e.Kind {
	case revocation.SessionEnded:
		end.Reason, end.Audited = "signed_out", true // the replica that ended it wrote the audit line
		m.revoked.EndSession(e.ID, end, now)
		m.watches.end(func(s *Session) bool { return s.ID == e.ID })
	case revocation.PersonEnded:
		end.Spare = e.Who.Spare
		for _, key := range e.Who.Keys() {
			m.revoked.EndPerson(key, end, now)
		}
		m.closeEnded(end.Reason)
	case revocation.EverybodyEnded:
		m.revoked.EndAll(end, now)
		m.closeEnded(end.Reason)
	case revocation.PersonChanged:
		m.invalidate(e.Who.Matches(m.Service), e.At, now, false)
	case revocation.PlacesChanged:
		placesChanged(m, e.Places, e.At, now)
	}
}

// closeEnded closes the open connections of sessions that have ended.
func (m *Manager) closeEnded(reason string) {
	for _, s := range m.watches.end(func(s *Session) bool { _, out := m.endOf(s); return out }) {
		m.audit(s, reason)
	}
}

// audit reports each session that ended to the audit log, once.
func (m *Manager) audit(s *Session, reason string) {
	now := m.Time()
	if m.OnRevoked != nil && m.revoked.Audit(s.ID, m.Config.outlived(now), now) {
		m.OnRevoked(s, reason)
	}
}

// RecheckUser looks a person up again now, because an event reported a change. If the
// person is not known here, it does nothing; a lookup that cannot start now starts
// with the person's next request. It never blocks.
//
// Every replica does the same; with a Store they share one lookup.
func (m *Manager) RecheckUser(who Person) {
	m.init()
	if len(who.Keys()) == 0 {
		return
	}
	at := m.checker.EventTime(who.Matches(m.Service), m.Time())
	e := revocation.Event{Kind: revocation.PersonChanged, At: at, Who: who}
	m.apply(e)
	m.announce(e)
}

// RecheckPlaces is RecheckUser for all people who are known to be in one of these departments, or
// below it, or to have one of these roles. For Everybody it is RecheckEverybody on every replica.
func (m *Manager) RecheckPlaces(places Places) {
	m.init()
	now := time.UnixMilli(m.Time().UnixMilli()) // as the other replicas read it
	if everyone(places) {
		places = Everybody()
	} else {
		now = m.checker.EventTime(places.Contain, now)
	}
	placesChanged(m, places, now, m.Time())
	const most = revocation.MaxPlaces
	for d, r := places.Departments, places.Roles; len(d)+len(r) > 0; {
		part := Places{Departments: d[:min(len(d), most)], Roles: r[:min(len(r), most)]}
		d, r = d[len(part.Departments):], r[len(part.Roles):]
		m.announce(revocation.Event{Kind: revocation.PlacesChanged, At: now, Places: part})
	}
}

// invalidate causes the people who pass the test to be looked up again. A profile that another
// replica obtains after since suffices.
func (m *Manager) invalidate(test func(identity.User) bool, since, now time.Time, round bool) {
	if m.Recheck == nil {
		return
	}
	subject := func(p *membership.Profile) *Session {
		return &Session{Realm: m.Realm, User: p.User, Checked: p.Checked}
	}
	if m.Refresh != nil {
		subject = nil // the lookup needs a token, which the next request has
	}
	if round {
		m.checker.Round(test, since, now, subject)
		return
	}
	m.checker.Invalidate(test, since, now, subject)
}

// announce sends an event to the other replicas without waiting.
func (m *Manager) announce(e revocation.Event) {
	if m.Journal == nil {
		return
	}
	// After one interval all people have been looked up anyway.
	w := revocation.Write{Entry: m.replicator.Entry(e), Until: e.At.Add(m.Config.Recheck)}
	if !m.tasks.start(func() { _ = m.replicator.Send(m.tasks.context, w) }) {
		m.replicator.SendLater(w)
	}
}

// Once calls do for an event that no replica has handled yet; otherwise it returns
// nil. If do fails, the event counts as not handled. It is no lock: two replicas that
// receive the event at the same time both call do, and so does one whose Store does
// not answer.
func (m *Manager) Once(ctx context.Context, event string, do func() error) error {
	m.init()
	return m.records.once(ctx, event, do)
}
