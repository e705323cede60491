// Package revocation records which sessions have ended before their expiry, and sends
// that to the other replicas.
//
//	Set ────────── the revocations, in memory, bounded; none is dropped
//	Replicator ─── Store and Journal: events to the other replicas and from them
//
// Package session decides who ends a session, and when.
package revocation

import (
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
)

// Session is what a revocation is compared with.
type Session struct {
	ID          string
	SignedIn    time.Time
	Fingerprint uint64 // of the password that began it, for a local account
}

// Revocation ends one session, or all sessions of a person that began early enough.
type Revocation struct {
	Before  time.Time // of a person: sessions signed in at this moment or earlier
	Until   time.Time // by then every session that it ends is past its lifetime
	Reason  string    // empty: the entry only records Audited
	Audited bool      // the audit log has a line about it
	Spare   uint64    // of a local account: sessions with this fingerprint continue; 0: none
	All     time.Time // with Spare: sessions signed in at this moment or earlier end, whatever their fingerprint

	known time.Time // when this process learned of it, by the clock of this process

	Who   identity.Key // of a session: its owner; zero: unknown
	Since time.Time    // of a session: when it was signed in
}

// Set is the bounded set of revocations whose sessions are not past their lifetime
// yet. Safe for concurrent use.
//
// It fails closed: dropping a sign-out would revive a session. In a full set one revocation of a
// person replaces all their sign-outs, beginning with those who have most: a person who signs in
// and out in a loop loses their own sessions, and no one else does (threats D14). If that frees
// nothing, every session ends that was signed in until that moment (revokedBefore), and the set is
// emptied. If replicas share a Store, which has every revocation, a full set only causes new
// lookups in the Store.
type Set struct {
	max        int
	generation atomic.Uint64 // incremented with every change, so that cached results are checked again only then
	epoch      atomic.Uint32 // incremented when a revocation that is in the Store was discarded or unreadable here

	mu            sync.RWMutex
	ids           map[string]Revocation
	people        map[identity.Key]Revocation
	revokedBefore Revocation // of everybody
	stored        bool       // every revocation is in a shared Store too
	swept         time.Time
	onEnd         func(End) // nil: not called
}

// NewSet makes an empty set for at most max revocations. onEnd is called at least once
// with every revocation that the set records; it must not block, nor call the set. If
// nil, it is not called.
func NewSet(max int, onEnd func(End)) *Set {
	return &Set{max: max, ids: map[string]Revocation{}, people: map[identity.Key]Revocation{}, onEnd: onEnd}
}

// End is the end of one session, of a person's sessions, or of everybody's.
type End struct {
	Session string // one session's id
	Person  Person // whose sessions ended
	All     bool
}

// announce calls onEnd; the caller holds r.mu.
func (r *Set) announce(e End) {
	if r.onEnd != nil {
		r.onEnd(e)
	}
}

// SetStored sets whether every revocation is in a shared Store too.
func (r *Set) SetStored(stored bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored = stored
}

// Generation is incremented with every change.
func (r *Set) Generation() uint64 { return r.generation.Load() }

// Epoch is incremented when a revocation was discarded here that is in the Store:
// lookups made in another epoch must be repeated.
func (r *Set) Epoch() uint32 { return r.epoch.Load() }

// Forgotten begins a new epoch.
func (r *Set) Forgotten() { r.epoch.Add(1) }

// Len is the number of revocations.
func (r *Set) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.ids) + len(r.people)
}

// Ended reports whether the session with this id was signed out.
func (r *Set) Ended(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ids[id].Reason != ""
}

// Find reports whether s, of a person with these keys, is revoked, and the reason.
func (r *Set) Find(s Session, keys [3]identity.Key) (reason string, revoked bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if v, ok := r.ids[s.ID]; ok && v.Reason != "" {
		return v.Reason, true
	}
	for _, key := range keys {
		if v, ok := r.people[key]; ok && v.ends(s) {
			return v.Reason, true
		}
	}
	if !s.SignedIn.After(r.revokedBefore.Before) {
		return r.revokedBefore.Reason, true
	}
	return "", false
}

// ends reports whether the revocation of a person ends their session s.
func (v Revocation) ends(s Session) bool {
	return !s.SignedIn.After(v.Before) && (v.Spare == 0 || v.Spare != s.Fingerprint || !s.SignedIn.After(v.All))
}

// Merge is the revocation of a person that ends what either of two ends. The later one determines
// which password is spared, and only for sessions that the earlier one did not end: a change of the
// password that a replica notices late revives no session that was signed out (threats C10, T34).
func Merge(a, b Revocation) Revocation {
	if b.Before.Before(a.Before) || b.Before.Equal(a.Before) && a.Spare == 0 {
		a, b = b, a
	}
	if b.Spare == 0 {
		b.All = time.Time{}
	} else {
		b.All = later(b.All, a.All)
		if a.Spare == 0 {
			b.All = later(b.All, a.Before)
		}
	}
	b.Until, b.known = later(b.Until, a.Until), later(b.known, a.known)
	return b
}

// Same reports whether two revocations of a person end the same sessions.
func Same(a, b Revocation) bool {
	return a.Before.Equal(b.Before) && a.Spare == b.Spare && a.All.Equal(b.All)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// EndSession records that a session has ended.
func (r *Set) EndSession(id string, v Revocation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, there := r.ids[id]
	if known.Reason != "" || r.covered(v) {
		return // already ended: a replayed cookie changes nothing
	}
	v.Audited = v.Audited || known.Audited
	defer r.announce(End{Session: id})
	if there || !r.extend(v) && r.room(now) {
		r.ids[id] = v
	}
	r.generation.Add(1)
}

// EndPerson records that the sessions of a person have ended.
func (r *Set) EndPerson(key identity.Key, v Revocation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v.known = now
	known, there := r.people[key]
	if there && Same(known, Merge(known, v)) {
		return
	}
	defer r.announce(endOf(key))
	if there || r.room(now) {
		if known, there = r.people[key]; there { // or one that replaced sign-outs to make room
			v = Merge(known, v)
		}
		r.people[key] = v
	}
	r.generation.Add(1)
}

// EndAll records that every session has ended that was signed in until v.Before: it
// replaces any number of earlier revocations. The others stay, since they may be
// later.
func (r *Set) EndAll(v Revocation, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.Before.After(r.revokedBefore.Before) {
		v.known = now
		r.revokedBefore = v
		r.generation.Add(1)
		r.announce(End{All: true})
	}
}

// Audit reports whether the audit log has no line about the end of session id yet, and
// marks the session as audited.
func (r *Set) Audit(id string, until, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, known := r.ids[id]
	if v.Audited {
		return false
	}
	if known || len(r.ids)+len(r.people) < r.max { // a full set: a second audit line is harmless
		v.Audited, v.Until = true, until
		r.ids[id] = v
	}
	return true
}

// room frees space for one more revocation. If it cannot, it raises revokedBefore, which includes
// all the revocations, and removes them.
func (r *Set) room(now time.Time) bool {
	if len(r.ids)+len(r.people) < r.max {
		return true
	}
	if now.Sub(r.swept) >= time.Second { // a sweep walks the whole set
		r.sweep(now)
	}
	if len(r.ids)+len(r.people) < r.max || !r.stored && r.compact() {
		return true
	}
	clear(r.ids)
	clear(r.people)
	if r.stored {
		r.Forgotten()
		return true
	}
	r.revokedBefore = Revocation{Before: now, Reason: "too_many_revocations", known: now}
	return false
}

// Sweep drops the revocations of sessions that are past their lifetime.
func (r *Set) Sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
}

func (r *Set) sweep(now time.Time) {
	r.swept = now
	for id, v := range r.ids {
		if now.After(v.Until) {
			delete(r.ids, id)
		}
	}
	for key, v := range r.people {
		if now.After(v.Until) {
			delete(r.people, key)
		}
	}
}
