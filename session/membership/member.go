// Package membership keeps the confirmations of memberships current: one lookup per person and
// fleet, with a grace period if lookups fail. An event that names a person is answered by a lookup
// that began after it: one more per fleet, with slots and a lease of its own.
//
//	Member ──── the last confirmation of a person, and the state of the lookups
//	Members ─── all members that are in use, bounded
//	Checker ─── decides whether a confirmation is recent enough, and looks up
//
// Package session decides what a lookup is, and what happens to the sessions of a person who has
// left.
package membership

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
)

// ErrPostponed is the error of a Lookup that made no call, since too many others wait for one. It
// proves nothing about the person; the lookup is made again soon.
var ErrPostponed = errors.New("membership: the lookup is postponed")

// Profile is what was last confirmed about a person. Immutable.
type Profile struct {
	User    identity.User
	Checked time.Time

	// Answers is the time of the event, as the replica that received it gave it, that the lookup of
	// this profile began after: of two clocks Checked would not prove that (threats V18). Zero: none.
	Answers time.Time
}

// answers reports whether the lookup of the profile began after the event of that time, or is what
// the event announces.
func (f *Profile) answers(event time.Time) bool {
	return !f.Answers.Before(event) || f.Checked.Equal(event) || f.Checked.Sub(event) > skew
}

// Member is the state that all sessions of one person share: the profile, so that a
// change takes effect in all of them at once (threats C8), and the state of the
// lookups, so that there is one per person and not one per request (V7, V10).
type Member struct {
	key         identity.Key
	profile     atomic.Pointer[Profile]
	signedIn    atomic.Int64 // the newest sign-in of a session that was seen here, Unix milliseconds
	used        atomic.Int64 // approximate time of the last request, Unix milliseconds
	evicted     atomic.Bool  // no longer in the map: look the person up again
	waits       atomic.Bool  // in the backlog of the Checker
	waitsNamed  atomic.Bool  // in the backlog of the Checker because of an event
	waitsRound  atomic.Bool  // in the backlog of the Checker because of a round
	round       atomic.Bool  // invalidated because of a round: see Checker.Round
	invalidated atomic.Int64 // profiles confirmed before this moment are not fresh, Unix milliseconds; 0: none

	mu       sync.Mutex              // never held while a lookup runs
	failing  time.Time               // first failure since the last success; zero: none
	attempts int                     // since then
	next     time.Time               // no attempt before this
	after    time.Time               // another replica's profile counts only if it is later than this
	running  chan struct{}           // closed when the running lookup ends; nil: none is running
	abandon  context.CancelCauseFunc // cancels a running lookup that no event asked for; nil: there is none
}

// Key identifies the person.
func (p *Member) Key() identity.Key { return p.key }

// Profile is what was last confirmed; nil before anything was.
func (p *Member) Profile() *Profile { return p.profile.Load() }

// SignedIn records the sign-in of a session that was seen here.
func (p *Member) SignedIn(at time.Time) {
	ms := at.UnixMilli()
	for newest := p.signedIn.Load(); ms > newest; newest = p.signedIn.Load() {
		if p.signedIn.CompareAndSwap(newest, ms) {
			return
		}
	}
}

// Evicted reports that the member is no longer in Members: call Members.Of again.
func (p *Member) Evicted() bool { return p.evicted.Load() }

// Touch records a request.
func (p *Member) Touch(now time.Time) {
	if ms := now.UnixMilli(); ms-p.used.Load() > time.Minute.Milliseconds() {
		p.used.Store(ms)
	}
}

// skew is how far another replica's clock may be ahead (threats V18).
const skew = time.Minute

// Newer reports whether a profile confirmed at a replaces one confirmed at b: a later
// one does, and so does any that was confirmed in the past if b is in the future. In
// that case the clock was set back since b, which would otherwise remain until that
// time is reached (threats V18).
func Newer(a, b, now time.Time) bool {
	return a.After(b) || b.Sub(now) > skew && a.Sub(now) <= skew
}

// learn stores a profile that is newer than the known one and ends a series of
// failures. It reports whether the person's data changed.
func (p *Member) learn(u identity.User, checked, now time.Time) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.profile.Load()
	if known != nil && !Newer(checked, known.Checked, now) {
		return false
	}
	p.profile.Store(&Profile{User: u, Checked: checked})
	p.failing, p.attempts, p.next = time.Time{}, 0, time.Time{}
	return known != nil && !reflect.DeepEqual(known.User, u)
}

// invalidate makes the known profile not fresh, whatever its age, and ends the pause after a
// failure and a running lookup of lower priority, whose result would not answer the event: the
// session of a person who left must not live on for them. since is when the cause occurred, by
// the clock of the replica that received it first.
func (p *Member) invalidate(since, now time.Time, round bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since.After(p.after) {
		p.after = since
	}
	p.next = time.Time{}
	if !round || p.invalidated.Load() == 0 {
		p.round.Store(round)
	}
	p.invalidated.Store(now.UnixMilli())
	if p.abandon != nil {
		p.abandon(errNamed)
		p.abandon = nil
	}
}

// begin starts a run of the lookup. mark is when an event named the person; if none did, an event
// cancels the run. A run that an event asked for is not cancelled, or a series of events would
// prevent every answer.
func (p *Member) begin(abandon context.CancelCauseFunc) (mark int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abandon = nil
	if mark = p.invalidated.Load(); mark == 0 {
		p.abandon = abandon
	}
	return mark
}

// end ends the lookup after a run with this mark, unless another run has to follow: if again is
// set, or an event has named the person since begin. stopped is set if no run can follow.
func (p *Member) end(mark int64, again, stopped bool) (ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abandon = nil
	if now := p.invalidated.Load(); !stopped && (again || now != 0 && now != mark) {
		p.next = time.Time{}
		return false
	}
	close(p.running)
	p.running = nil
	return true
}

// cause is why the person is looked up next.
func (p *Member) cause() cause {
	switch {
	case p.invalidated.Load() == 0:
		return causeDue
	case p.round.Load():
		return causeRound
	}
	return causeNamed
}

// queued reports whether the person is in the backlog for this cause.
func (p *Member) queued(why cause) *atomic.Bool {
	switch why {
	case causeNamed:
		return &p.waitsNamed
	case causeRound:
		return &p.waitsRound
	}
	return &p.waits
}

func (p *Member) since() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.after
}

// failed records a failed lookup. The first failure of a series determines the end of
// the grace, which later failures do not extend (V9).
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

// cause is why a person is looked up; the lowest goes first.
type cause int

const (
	causeNamed cause = iota // an event named the person
	causeRound              // everybody is looked up
	causeDue                // the confirmation is old
)

type causeKey struct{}

// Named reports whether the lookup that ctx belongs to is of a person whom an event
// named, not of one who is due.
func Named(ctx context.Context) bool {
	why, ok := ctx.Value(causeKey{}).(cause)
	return ok && why == causeNamed
}

// InRound reports whether the lookup that ctx belongs to is one of everybody's.
func InRound(ctx context.Context) bool {
	why, ok := ctx.Value(causeKey{}).(cause)
	return ok && why == causeRound
}

// postponed records a lookup that was not made: it is no failure, and is tried again
// soon.
func (p *Member) postponed(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = at.Add(time.Second + rand.N(2*time.Second))
}

// Backoff is how long to wait after a failure: one attempt per interval and person, with jitter so
// that people whose lookups failed together are not retried together.
func Backoff(attempt int, recheck time.Duration) time.Duration {
	d := min(15*time.Second<<min(attempt, 3), recheck)
	return d + rand.N(d/5+1)
}
