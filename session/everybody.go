package session

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
)

// rounds bounds how often everybody is looked up. An event about the app names no one, and an
// interruption of the event stream may have lost any event. Causes that occur in the pause after a
// round share the next round: changing the visible range ten times must not cost ten lookups of
// everybody.
//
//	cause ─► round ─ 2 s ─► round ─ 4 s ─► round ─ … 1 min ─► round
//	         at once        each only if another cause has occurred since the last one began
//
// Every replica receives every cause and paces itself alike, so that the replicas look up the same
// people at the same time, and share the results. A reload takes it over. The zero value is ready;
// safe for concurrent use.
type rounds struct {
	mu     sync.Mutex
	began  time.Time     // the last round
	pause  time.Duration // from then on
	wanted time.Time     // the latest cause that no round has covered; zero: none

	reading atomic.Int64 // the cause of the round that waits for the directory to be read, Unix nanoseconds; 0: none
}

const (
	firstPause   = 2 * time.Second
	longestPause = time.Minute
	pauseEnds    = 2 * longestPause // without a round: the next pause is the first again

	usualSingly = 144 // people; see Limits
)

// want records a cause.
func (r *rounds) want(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.After(r.wanted) {
		r.wanted = at
	}
}

// begin returns the cause of the round that begins now; the zero time if none does.
func (r *rounds) begin(now time.Time) (cause time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := now.Sub(r.began)
	if r.wanted.IsZero() || 0 <= since && since < r.pause || r.reading.Load() != 0 {
		return time.Time{}
	}
	r.pause = min(2*r.pause, longestPause)
	if since < 0 || since >= pauseEnds || r.pause == 0 {
		r.pause = firstPause
	}
	cause, r.wanted, r.began = r.wanted, time.Time{}, now
	return cause
}

// Everybody is the department that includes all people.
func Everybody() Places { return Places{Departments: []int64{revocation.Root}} }

func everyone(p Places) bool { return slices.Contains(p.Departments, revocation.Root) }

// RecheckEverybody looks up all people again who are signed in here, because events about
// them may have been lost. If they are more than Limits.MaxSingly, the directory is read as a
// whole, and only people are looked up whose record in it differs or is missing; if it cannot be
// read, all are. It does not wait; see rounds for how often this happens. The other replicas have
// event streams of their own.
func RecheckEverybody(m *Manager) {
	m.init()
	m.rounds.want(m.Time())
	beginRound(m)
}

// placesChanged looks up the people in these places, because of an event at the given moment.
func placesChanged(m *Manager, places Places, at, now time.Time) {
	if !everyone(places) {
		m.invalidate(places.Contain, at, now, false)
		return
	}
	if at.After(now) {
		at = now // the clock of the replica that received the event is ahead: no reading would do
	}
	m.rounds.want(at)
	beginRound(m)
}

// beginRound begins a round if one is wanted and the pause is over.
func beginRound(m *Manager) {
	now := m.Time()
	cause := m.rounds.begin(now)
	if cause.IsZero() {
		return
	}
	if m.Mirror == nil || m.members.Count(now, m.Config.Recheck).All <= m.singly {
		m.invalidate(member, cause, now, true)
		return
	}
	m.Mirror.Want(cause) // first: until then consultMirror would take the reading in use
	m.rounds.reading.Store(cause.UnixNano())
	if !m.Mirror.Wants() { // it was read meanwhile, by another replica
		consultMirror(m)
	}
}

// member reports whether a person is looked up at all.
func member(u identity.User) bool { return !u.Local }

// consultMirror confirms people by a new reading of the directory. In a round it also looks those
// up whom no reading since its cause confirms.
func consultMirror(m *Manager) {
	now := m.Time()
	m.checker.ConsultAll(now)
	cause := m.rounds.reading.Load()
	if cause == 0 || m.Mirror.Wants() || !m.rounds.reading.CompareAndSwap(cause, 0) {
		return
	}
	m.invalidate(func(u identity.User) bool {
		read := m.Mirror.Confirms(&u)
		return member(u) && (read.IsZero() || read.UnixNano() < cause)
	}, time.Unix(0, cause), now, true)
}

// resume has the round begin again, at once, for whose reading the Manager before a reload was
// waiting.
func (r *rounds) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cause := r.reading.Swap(0); cause != 0 {
		r.began = time.Time{}
		if at := time.Unix(0, cause); at.After(r.wanted) {
			r.wanted = at
		}
	}
}

// runRounds begins the rounds that have to wait, until ctx ends.
func runRounds(ctx context.Context, m *Manager) {
	m.rounds.resume()
	beginRound(m)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			beginRound(m)
		}
	}
}
