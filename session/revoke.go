package session

import (
	"context"
	"errors"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/session/revocation"
)

// Revoke ends one session, here at once and, with a Store, for every replica or
// the next start. The caller knows why and writes the audit line; OnRevoked is not
// called. An unknown id is no error. It goes on when ctx ends: a person who asked
// to be signed out is signed out although the browser has gone. ErrStore: ended
// here alone, and elsewhere when the Store is back while this process lives.
func (m *Manager) Revoke(ctx context.Context, id string) error {
	m.init()
	return m.revoke(ctx, id, revocation.Revocation{Reason: "signed_out", Audited: true})
}

// RevokeSession is Revoke of a session that is at hand.
func (m *Manager) RevokeSession(ctx context.Context, s *Session) error {
	m.init()
	end := revocation.Revocation{Reason: "signed_out", Audited: true, Who: s.key(m.Service), Since: s.SignedIn}
	return m.revoke(ctx, s.ID, end)
}

func (m *Manager) revoke(ctx context.Context, id string, end revocation.Revocation) error {
	now := m.Time()
	end.Until = m.Config.outlived(now)
	m.revoked.EndSession(id, end, now)
	m.watches.end(func(s *Session) bool { return s.ID == id })
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

// RevokeAll ends every session that lives now, on every replica: the
// organisation is gone, or it is not known who should still be in. Errors are as
// RevokeUser's.
func (m *Manager) RevokeAll(ctx context.Context, reason string) error {
	m.init()
	return m.end(ctx, revocation.Event{Kind: revocation.EverybodyEnded, At: m.Time(), Reason: reason})
}

// RevokeUser ends every session that the person signed in to until now; a later
// sign-in lives. reason is a word for the audit log, such as `left`. It goes on
// when ctx ends. ErrStore: ended here alone; other replicas learn of it when the
// Store is back, or find out at their next recheck.
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

// end applies the end of a person, or of everybody, here and sends it to the other
// replicas.
func (m *Manager) end(ctx context.Context, e revocation.Event) error {
	m.apply(e)
	keys := e.Who.Keys()
	if e.Kind == revocation.EverybodyEnded {
		keys = []identity.Key{everybody}
	}
	end := revocation.Revocation{Before: e.At, Reason: e.Reason, Spare: e.Who.Spare}
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

// apply draws the consequence of an event, also of another replica; it may be
// applied twice.
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
		m.revoked.EndAll(end)
		m.closeEnded(end.Reason)
	case revocation.PersonChanged:
		m.invalidate(e.Who.Matches(m.Service), e.At, now)
	case revocation.PlacesChanged:
		m.invalidate(e.Places.Contain, e.At, now)
	}
}

// closeEnded closes the open connections of sessions that have ended.
func (m *Manager) closeEnded(reason string) {
	for _, s := range m.watches.end(func(s *Session) bool { _, out := m.endOf(s); return out }) {
		m.audit(s, reason)
	}
}

// audit gives the audit log one line per session that ended.
func (m *Manager) audit(s *Session, reason string) {
	now := m.Time()
	if m.OnRevoked != nil && m.revoked.Audit(s.ID, m.Config.outlived(now), now) {
		m.OnRevoked(s, reason)
	}
}

// RecheckUser has a person looked up again now, because something is said to
// have changed. A person who is not known here has nothing to be looked up for;
// what cannot start now starts with the person's next request. It never waits.
//
// Every replica does the same; with a Store one lookup serves them all.
func (m *Manager) RecheckUser(who Person) {
	m.init()
	if len(who.Keys()) == 0 {
		return
	}
	e := revocation.Event{Kind: revocation.PersonChanged, At: m.Time(), Who: who}
	m.apply(e)
	m.announce(e)
}

// RecheckPlaces is RecheckUser for everybody who is known to be in one of these
// departments, or below it, or to have one of these roles.
func (m *Manager) RecheckPlaces(places Places) {
	m.init()
	now := m.Time()
	m.invalidate(places.Contain, now, now)
	const most = revocation.MaxPlaces
	for d, r := places.Departments, places.Roles; len(d)+len(r) > 0; {
		part := Places{Departments: d[:min(len(d), most)], Roles: r[:min(len(r), most)]}
		d, r = d[len(part.Departments):], r[len(part.Roles):]
		m.announce(revocation.Event{Kind: revocation.PlacesChanged, At: now, Places: part})
	}
}

// invalidate has the people who pass the test looked up again. A profile that
// another replica finds after the given moment will do.
func (m *Manager) invalidate(test func(identity.User) bool, since, now time.Time) {
	if m.Recheck == nil {
		return
	}
	subject := func(p *membership.Profile) *Session {
		return &Session{Realm: m.Realm, User: p.User, Checked: p.Checked}
	}
	if m.Refresh != nil {
		subject = nil // the question needs a token: the next request brings one
	}
	m.checker.Invalidate(test, since, now, subject)
}

// announce sends an event to the other replicas without waiting.
func (m *Manager) announce(e revocation.Event) {
	if m.Journal == nil {
		return
	}
	// After one interval everybody was looked up anyway.
	w := revocation.Write{Entry: m.replicator.Entry(e), Until: e.At.Add(m.Config.Recheck)}
	if !m.tasks.start(func() { _ = m.replicator.Send(m.tasks.context, w) }) {
		m.replicator.SendLater(w)
	}
}

// Once calls do for an event that no replica has dealt with; of one that was it
// returns nil. An event whose do failed was not dealt with. It is no lock: two
// replicas that get the event at once both call do, and so does one whose Store
// does not answer.
func (m *Manager) Once(ctx context.Context, event string, do func() error) error {
	m.init()
	return m.records.once(ctx, event, do)
}
