package membership

import (
	"context"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// Standing is how recently a membership was confirmed:
//
//	confirmed         recheck            recheck + grace
//	    ├───── Fresh ────┼────── Stale ────────┼───── Overdue ──►
//	                     looked up again       a request waits for the lookup
//	                     in the background
//
// Failures move the right border to grace after the first of them. Wherever it
// is, an answer "not a member" ends every session of the person at once.
type Standing int

const (
	Overdue Standing = iota // no confirmation is valid: the zero value denies
	Stale                   // allowed, look up again
	Fresh
)

// LookupTimeout is the deadline of one lookup, including the wait for another replica
// that does the same lookup.
const LookupTimeout = 10 * time.Second

// Checker renews the confirmations of members under one configuration. S is the
// session that a lookup is made for. Set the fields, then share the pointer; safe for
// concurrent use.
type Checker[S any] struct {
	Members *Members
	Recheck time.Duration // how often a person is looked up again
	Grace   time.Duration // how long a confirmation is valid while lookups fail
	Now     func() time.Time

	// Lookup looks up the person of a session. An *identity.Failure of class Refused
	// means that they are not a member; ErrPostponed, that no call was made.
	// Named(ctx) and InRound(ctx) report which event asked for it.
	Lookup func(ctx context.Context, s S) (identity.User, error)

	// Mirrored returns when a mirror of the directory was read that has the same
	// record of u as a lookup would return; the zero time if its record differs, or is
	// unknown. If nil, there is no mirror.
	Mirrored func(u *identity.User) time.Time

	// Fit truncates a person's data to what fits into a session.
	Fit func(u identity.User) (identity.User, error)

	// KeyOf identifies a person.
	KeyOf func(u *identity.User) identity.Key

	// Refused is called when a person is not a member, or no longer one.
	Refused func(ctx context.Context, s S, p *Member, reason string)

	// Changed is called when the profile of a person has changed; ours means that a lookup of this
	// replica found the change.
	Changed func(p *Member, checked time.Time, ours bool)

	// Start runs f in the background; it returns false if nothing can be started any more. Context
	// is cancelled to end running lookups.
	Start   func(f func()) bool
	Context context.Context

	// Shared is where replicas share the results of lookups; nil if there is only one replica.
	Shared Shared

	slots   chan struct{} // a slot for each running lookup
	named   chan struct{} // more slots, for people whom an event named
	backlog backlog[S]
}

// Shared is where replicas share the results of lookups.
type Shared interface {
	// Lease names the lease of the lookup of a person; named is for a lookup that an event
	// asked for. It is another lease, so that it does not wait for a lookup that began
	// before the event.
	Lease(key identity.Key, named bool) (s store.Store, lease string)

	// ReadProfile is nil when there is none.
	ReadProfile(ctx context.Context, key identity.Key) (*Profile, error)

	// WriteProfile returns no error: if it fails, the other replicas make their own
	// lookups.
	WriteProfile(ctx context.Context, key identity.Key, p Profile)
}

// Limit sets how many lookups run at a time; a quarter more can run because of events. Call it
// before any other method.
func (c *Checker[S]) Limit(n int) {
	c.slots, c.named = make(chan struct{}, n), make(chan struct{}, max(1, n/4))
}

// Running is the number of lookups that run.
func (c *Checker[S]) Running() int { return len(c.slots) + len(c.named) }

// Standing is the state of the membership for a session that was confirmed at the
// given moment; recheck is Checker.Recheck, or a little less for this session.
func (c *Checker[S]) Standing(p *Member, checked time.Time, recheck time.Duration, now time.Time) Standing {
	age := now.Sub(checked)
	if -skew <= age && age < recheck && checked.UnixMilli() >= p.invalidated.Load() {
		return Fresh
	}
	limit := checked.Add(c.Recheck + c.Grace)
	p.mu.Lock()
	failing := p.failing
	p.mu.Unlock()
	if !failing.IsZero() && failing.Before(limit) {
		limit = failing.Add(c.Grace)
	}
	if now.Before(limit) {
		return Stale
	}
	return Overdue
}

// Await waits until a lookup for p has ended, or ctx is done; if a lookup is due, it
// starts one, in one of the slots that background lookups leave free.
func (c *Checker[S]) Await(ctx context.Context, p *Member, s S, checked, now time.Time) {
	running, due := c.state(p, now)
	if running == nil && due {
		w := waiting[S]{p: p, s: s, checked: checked}
		select {
		case c.slots <- struct{}{}:
			running = c.startLookup(w, c.slots, now, true)
		default:
			c.backlog.add(w) // if ctx is done before a slot is free
			select {
			case c.slots <- struct{}{}:
				running = c.startLookup(w, c.slots, c.Now(), true)
			case <-ctx.Done():
			}
		}
		c.proceed()
	}
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
		}
	}
}

// LookUp makes sure that a lookup for p runs or is queued, if one is due. It never
// blocks.
func (c *Checker[S]) LookUp(p *Member, s S, checked, now time.Time) {
	why := p.cause()
	if p.queued(why).Load() {
		return
	}
	if running, due := c.state(p, now); running != nil || !due {
		return
	}
	w := waiting[S]{p: p, s: s, checked: checked}
	started := why == causeNamed && c.tryLookup(w, c.named, cap(c.named), now)
	if !started && (why < causeDue || !c.backlog.before(checked)) {
		started = c.tryLookup(w, c.slots, c.background(), now)
	}
	if !started {
		c.backlog.add(w)
	}
	c.proceed()
}

// state returns the running lookup for p, if any; due reports whether another may
// start.
func (c *Checker[S]) state(p *Member, now time.Time) (running <-chan struct{}, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.running != nil || !now.Before(p.next)
}

// background is the number of slots for lookups that no request waits for: three
// quarters. The others are for requests that wait.
func (c *Checker[S]) background() int { return cap(c.slots) - cap(c.slots)/4 }

// proceed starts lookups of the backlog while slots are free.
func (c *Checker[S]) proceed() {
	for len(c.named) < cap(c.named) {
		w, ok := c.backlog.take(true)
		if !ok {
			break
		}
		if !c.tryLookup(w, c.named, cap(c.named), c.Now()) {
			c.backlog.add(w)
			break
		}
	}
	for len(c.slots) < c.background() {
		w, ok := c.oldest()
		if !ok {
			return
		}
		if !c.tryLookup(w, c.slots, c.background(), c.Now()) {
			c.backlog.add(w)
			return
		}
	}
}

// tryLookup starts the lookup if fewer than most of the slots are in use.
func (c *Checker[S]) tryLookup(w waiting[S], slots chan struct{}, most int, now time.Time) bool {
	if len(slots) >= most {
		return false
	}
	select {
	case slots <- struct{}{}:
		c.startLookup(w, slots, now, false)
		return true
	default:
		return false
	}
}

// oldest removes the person with the oldest confirmation from the backlog, by what is
// known now.
func (c *Checker[S]) oldest() (w waiting[S], ok bool) {
	for {
		if w, ok = c.backlog.take(false); !ok {
			return w, false
		}
		known := w.p.profile.Load()
		if known == nil || !known.Checked.After(w.checked) || w.p.invalidated.Load() != 0 {
			return w, true
		}
		c.postpone(w, known.Checked) // by the mirror, or another replica
	}
}

// postpone queues a person again whose confirmation turned out to be younger, unless
// it is fresh for every session.
func (c *Checker[S]) postpone(w waiting[S], checked time.Time) {
	w.checked, w.order = checked, time.Time{}
	if c.Now().Sub(w.checked) >= c.Recheck/recheckSpread*(recheckSpread-1) {
		c.backlog.add(w)
	}
}

// recheckSpread is the part of Recheck by which sessions are looked up sooner at most.
const recheckSpread = 5

// startLookup starts the lookup; the caller has acquired one of the slots, which
// startLookup releases. It checks again for a lookup that is running, has just failed
// or has just succeeded. waits reports that a request waits for it.
//
// The lookup runs again while events name the person: only a run that began after an event
// answers it.
//
// x/sync/singleflight does not fit: a slot is acquired before a lookup begins and not
// by those who join it, so that the number of waiters is bounded (threats D12), and
// the pause after a failure is checked under the same lock.
func (c *Checker[S]) startLookup(w waiting[S], slots chan struct{}, now time.Time, waits bool) <-chan struct{} {
	p := w.p
	p.mu.Lock()
	known := p.profile.Load()
	learned := known != nil && known.Checked.After(w.checked) && p.invalidated.Load() == 0
	if p.running != nil || now.Before(p.next) || learned {
		defer p.mu.Unlock()
		<-slots
		return p.running
	}
	running := make(chan struct{})
	p.running = running
	p.mu.Unlock()
	started := c.Start(func() {
		defer c.proceed()
		defer func() { <-slots }()
		for {
			mark, again := c.run(w, waits)
			if p.end(mark, again, c.Context.Err() != nil) {
				return
			}
		}
	})
	if !started {
		p.end(0, false, true)
		<-slots
	}
	return running
}

// Invalidate causes the members that pass the test to be looked up again: at once, for the session
// that subject makes, or with their next request if subject is nil. A profile that another replica
// obtains after since suffices.
func (c *Checker[S]) Invalidate(test func(identity.User) bool, since, now time.Time, subject func(*Profile) S) {
	c.invalidate(test, since, now, false, subject)
}

// Round is Invalidate because of an event that names no one: people whom other events name go first.
func (c *Checker[S]) Round(test func(identity.User) bool, since, now time.Time, subject func(*Profile) S) {
	c.invalidate(test, since, now, true, subject)
}

func (c *Checker[S]) invalidate(test func(identity.User) bool, since, now time.Time, round bool, subject func(*Profile) S) {
	for _, p := range c.Members.Matching(test) {
		p.invalidate(since, now, round)
		if subject != nil {
			known := p.profile.Load()
			c.LookUp(p, subject(known), known.Checked, now)
		}
	}
}

// EventTime is the time of an event about the members that pass the test which arrives now: later
// than all that is known here about them, also by another replica's clock, in whole milliseconds.
func (c *Checker[S]) EventTime(test func(identity.User) bool, now time.Time) time.Time {
	at := now
	for _, p := range c.Members.Matching(test) {
		if known := later(p.since(), p.profile.Load().Checked); known.Sub(now) <= skew {
			at = later(at, known.Add(time.Millisecond))
		}
	}
	return time.UnixMilli(at.UnixMilli())
}

// CatchUp uses another replica's result about p, however old. It does not replace a lookup that an
// event or a failure requires.
func (c *Checker[S]) CatchUp(ctx context.Context, p *Member) {
	if c.Shared == nil || p.invalidated.Load() != 0 || p.Failing() {
		return
	}
	if known, err := c.Shared.ReadProfile(ctx, p.key); err == nil && known != nil && !known.Checked.Before(p.since()) {
		c.learn(p, *known, false)
	}
}

// Learn makes a profile effective in every session of the person.
func (c *Checker[S]) Learn(p *Member, found Profile) { c.learn(p, found, false) }

func (c *Checker[S]) learn(p *Member, found Profile, ours bool) {
	if p.learn(found.User, found.Checked, c.Now()) {
		c.Changed(p, found.Checked, ours)
	}
}
