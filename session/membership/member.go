// Package membership keeps the confirmation current that people belong to the
// organisation: one lookup per person and fleet, with grace where it fails.
//
//	Member ──── what was last confirmed about a person, and how the lookups go
//	Members ─── all members that are in use, bounded
//	Checker ─── decides whether a confirmation is recent enough, and looks up
//
// What a lookup asks, and what happens to the sessions of a person who has left,
// is decided in package session.
package membership

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
)

// Profile is what was last confirmed about a person. Immutable.
type Profile struct {
	User    identity.User
	Checked time.Time
}

// Member is what all sessions of one person share: the profile, so that a change
// decides in all of them at once (threats C8), and the state of the lookups, so
// that there is one per person and not one per request (V7, V10).
type Member struct {
	key         identity.Key
	profile     atomic.Pointer[Profile]
	used        atomic.Int64 // about when a request last came, Unix milliseconds
	evicted     atomic.Bool  // no longer in the map: look the person up again
	invalidated atomic.Int64 // profiles confirmed before this moment are not fresh, Unix milliseconds; 0: none

	mu       sync.Mutex    // held for moments, never while a lookup runs
	failing  time.Time     // first failure since the last success; zero: none
	attempts int           // since then
	next     time.Time     // no attempt before this
	after    time.Time     // another replica's profile must be from after this
	running  chan struct{} // closed when the lookup that runs is over; nil: none runs
}

// Key identifies the person.
func (p *Member) Key() identity.Key { return p.key }

// Profile is what was last confirmed; nil before anything was.
func (p *Member) Profile() *Profile { return p.profile.Load() }

// Evicted reports that the member is no longer in Members: find it again there.
func (p *Member) Evicted() bool { return p.evicted.Load() }

// Touch notes a request.
func (p *Member) Touch(now time.Time) {
	if ms := now.UnixMilli(); ms-p.used.Load() > time.Minute.Milliseconds() {
		p.used.Store(ms)
	}
}

// skew is how far another replica's clock may be ahead (threats V18).
const skew = time.Minute

// Newer reports whether a profile confirmed at a replaces one confirmed at b:
// later ones do, and any does that was confirmed in the past where b is in the
// future. The clock was set back since b, which would otherwise stay until that
// time comes again (threats V18).
func Newer(a, b, now time.Time) bool {
	return a.After(b) || b.Sub(now) > skew && a.Sub(now) <= skew
}

// learn takes a profile that is newer than the known one and ends a row of
// failures. It reports whether what is known of the person changed.
func (p *Member) learn(u identity.User, checked, now time.Time) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.profile.Load()
	if known != nil && !Newer(checked, known.Checked, now) {
		return false
	}
	p.profile.Store(&Profile{u, checked})
	p.failing, p.attempts, p.next = time.Time{}, 0, time.Time{}
	return known != nil && !reflect.DeepEqual(known.User, u)
}

// invalidate makes what is known until now not fresh, whatever its age. since is
// when the reason came up, by the clock of the replica that learned of it first.
func (p *Member) invalidate(since, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since.After(p.after) {
		p.after = since
	}
	p.invalidated.Store(now.UnixMilli())
}

func (p *Member) since() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after
}

// failed notes a lookup that brought no answer. The first failure of a row
// stays the first: grace does not slide (V9).
func (p *Member) failed(at time.Time, recheck time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failing.IsZero() {
		p.failing = at
	}
	p.next = at.Add(Backoff(p.attempts, recheck))
	p.attempts++
}

// Failing reports that the last lookup failed.
func (p *Member) Failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.failing.IsZero()
}

// postponed notes a lookup that did not take place: no failure, and soon again.
func (p *Member) postponed(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = at.Add(time.Second + rand.N(2*time.Second))
}

// Backoff is how long to wait after a failure: one attempt per interval and
// person, with jitter so that people who failed together do not come back
// together.
func Backoff(attempt int, recheck time.Duration) time.Duration {
	d := min(15*time.Second<<min(attempt, 3), recheck)
	return d + rand.N(d/5+1)
}
