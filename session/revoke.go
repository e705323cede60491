package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// revocation ends sessions.
type revocation struct {
	before time.Time // of a person: sessions signed in at this moment or earlier
	until  time.Time // then every session it ends is past its lifetime
	reason string
	told   bool   // the audit log knows
	spare  uint64 // of a local account: sessions with this fingerprint go on; 0: none

	who   name      // of a session: whose it is; zero: not known
	since time.Time // of a session: when it was signed in
}

// revocations is the bounded memory of ended sessions that are not past their
// lifetime yet.
//
// It fails closed: forgetting a sign-out would bring a session back. In a full set
// one mark for a person takes the place of all their sign-outs, beginning with
// those who have most: a person who signs in and out without end loses their own
// sessions, nobody else theirs (threats D14). Where that makes no room, every
// session ends that was signed in until that moment (floor), and the set begins
// again empty. Where replicas share a Store, which knows every mark, the full set
// only has it asked again.
type revocations struct {
	max  int
	gen  atomic.Uint64 // moves with every change, so that a known session asks only then
	lost atomic.Uint64 // moves when something was forgotten or not understood that the Store knows

	mu     sync.RWMutex
	ids    map[string]revocation
	people map[name]revocation
	floor  revocation // of everybody
	stored bool       // every mark is in a shared Store too
	swept  time.Time

	observe func(End) // see ObserveEnds; nil: nobody does
}

func (r *revocations) spare(stored bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored = stored
}

// ended reports whether the session with this id was signed out.
func (r *revocations) ended(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ids[id].reason != ""
}

// find reports whether s, of a person with these names, is revoked, and why.
func (r *revocations) find(s *Session, names []name) (reason string, revoked bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m, ok := r.ids[s.ID]; ok && m.reason != "" {
		return m.reason, true
	}
	for _, n := range names {
		if m, ok := r.people[n]; ok && m.ends(s) {
			return m.reason, true
		}
	}
	if !s.SignedIn.After(r.floor.before) {
		return r.floor.reason, true
	}
	return "", false
}

// ends reports whether the end of a person is the end of their session s.
func (m revocation) ends(s *Session) bool {
	return !s.SignedIn.After(m.before) && (m.spare == 0 || m.spare != s.Fingerprint)
}

func (r *revocations) endSession(id string, m revocation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, there := r.ids[id]
	if known.reason != "" || r.covered(m) {
		return // dead already: a replayed cookie moves nothing
	}
	m.told = m.told || known.told
	defer r.announce(End{Session: id})
	if there || !r.extend(m) && r.room(now) {
		r.ids[id] = m
	}
	r.gen.Add(1)
}

func (r *revocations) endPerson(n name, m revocation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, there := r.people[n]
	if there && !m.before.After(known.before) {
		return
	}
	defer r.announce(endOfName(n))
	if there || r.room(now) {
		r.people[n] = m
	}
	r.gen.Add(1)
}

// tell reports whether the end of session id is news, and notes it.
func (r *revocations) tell(id string, until, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, known := r.ids[id]
	if m.told {
		return false
	}
	if known || len(r.ids)+len(r.people) < r.max { // else rather twice in the audit log than everybody signed out
		m.told, m.until = true, until
		r.ids[id] = m
	}
	return true
}

// room makes place for one more revocation. When there is none it raises revokedBefore,
// which says all that the marks said and more; they go.
func (r *revocations) room(now time.Time) bool {
	if len(r.ids)+len(r.people) < r.max {
		return true
	}
	if now.Sub(r.swept) >= sweepEvery {
		r.sweep(now)
	}
	if len(r.ids)+len(r.people) < r.max || !r.stored && r.fold() {
		return true
	}
	clear(r.ids)
	clear(r.people)
	if r.stored {
		r.lost.Add(1)
		return true
	}
	r.floor = revocation{before: now, reason: "too_many_revocations"}
	return false
}

// endAll raises the floor: one moment says more than any number of marks of
// earlier ones. The set stays: it may hold later ones.
func (r *revocations) endAll(end revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if end.before.After(r.floor.before) {
		r.floor = end
		r.gen.Add(1)
		r.announce(End{All: true})
	}
}

func (r *revocations) sweep(now time.Time) {
	r.swept = now
	for id, m := range r.ids {
		if now.After(m.until) {
			delete(r.ids, id)
		}
	}
	for n, m := range r.people {
		if now.After(m.until) {
			delete(r.people, n)
		}
	}
}

// Revoke ends one session, here at once and, with a Store, for every replica or
// the next start. The caller knows why and writes the audit line; Ended is not
// called. An unknown id is no error. It goes on when ctx ends: who asked to be
// signed out is signed out although the browser has gone. ErrStore: ended here
// alone, and elsewhere when the Store is well again while this process lives.
func (m *Manager) Revoke(ctx context.Context, id string) error {
	m.init()
	return m.revoke(ctx, id, revocation{reason: "signed_out", told: true})
}

// RevokeSession is Revoke of a session that is at hand.
func (m *Manager) RevokeSession(ctx context.Context, s *Session) error {
	m.init()
	return m.revoke(ctx, s.ID, m.of(s, revocation{reason: "signed_out", told: true}))
}

// of notes in the end of a session whose it is.
func (m *Manager) of(s *Session, end revocation) revocation {
	end.who, end.since = m.names(s)[0], s.SignedIn
	return end
}

func (m *Manager) revoke(ctx context.Context, id string, end revocation) error {
	now := m.now()
	until := m.outlived(now)
	end.until = until
	m.revoked.endSession(id, end, now)
	m.watches.end(func(s *Session) bool { return s.ID == id })
	return m.send(ctx, pendingWrite{write: m.writeRevocation(id), entry: m.entry(event{kind: sessionEnded, at: now, id: id}), until: until}, "revoking a session")
}

// RevokeAll ends every session that lives now, on every replica: the
// organisation is gone, or nobody knows who should still be in. Errors are as
// RevokeUser's.
func (m *Manager) RevokeAll(ctx context.Context, reason string) error {
	m.init()
	now := m.now()
	end := revocation{before: now, until: m.outlived(now), reason: reason}
	m.endAllHere(end)
	return m.send(ctx, pendingWrite{write: m.writeEnds([]name{{kind: everybody}}, end),
		entry: m.entry(event{kind: everybodyEnded, at: now, reason: reason}), until: end.until}, "revoking everybody")
}

func (m *Manager) endAllHere(end revocation) {
	m.revoked.endAll(end)
	m.closeEnded(end.reason)
}

// closeEnded closes the open connections of sessions that have ended.
func (m *Manager) closeEnded(reason string) {
	for _, s := range m.watches.end(func(s *Session) bool { _, out := m.endOf(s); return out }) {
		m.audit(s, reason)
	}
}

// RevokeUser ends every session that the person signed in to until now; a later
// sign-in lives. reason is a word for the audit log, such as `left`. It goes on
// when ctx ends. ErrStore: ended here alone; other replicas learn of it when the
// Store is well again, or find out at their next recheck.
func (m *Manager) RevokeUser(ctx context.Context, who Person, reason string) error {
	m.init()
	if len(who.names()) == 0 {
		return errors.New("session: revoking a person: no name")
	}
	if reason == "" {
		reason = "revoked"
	}
	return m.end(ctx, who, reason)
}

func (m *Manager) end(ctx context.Context, who Person, reason string) error {
	now := m.now()
	end := revocation{before: now, until: m.outlived(now), reason: reason, spare: who.Spare}
	m.endHere(who.names(), end, now)
	return m.send(ctx, pendingWrite{write: m.writeEnds(who.names(), end),
		entry: m.entry(event{kind: personEnded, at: now, reason: reason, who: who}), until: end.until}, "revoking a person")
}

func (m *Manager) endHere(by []name, end revocation, now time.Time) {
	for _, n := range by {
		m.revoked.endPerson(n, end, now)
	}
	m.closeEnded(end.reason)
}

// outlived is when a session that lives now is certainly past its lifetime.
func (m *Manager) outlived(now time.Time) time.Time {
	return now.Add(m.Config.Lifetime + 2*skew)
}

// audit gives the audit log one line per session that ended.
func (m *Manager) audit(s *Session, reason string) {
	now := m.now()
	if m.OnRevoked != nil && m.revoked.tell(s.ID, m.outlived(now), now) {
		m.OnRevoked(s, reason)
	}
}
