package membership

import (
	"context"
	"errors"
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
	Overdue Standing = iota // nothing confirms this person: the zero value denies
	Stale                   // allowed, look up again
	Fresh
)

// LookupTimeout is the longest that one lookup may take, with the wait for
// another replica that does it.
const LookupTimeout = 10 * time.Second

// Checker keeps the members of one configuration confirmed. S is the session that
// a lookup is made for. Set the fields, then share the pointer; safe for
// concurrent use.
type Checker[S any] struct {
	Members *Members
	Recheck time.Duration // how often a person is looked up again
	Grace   time.Duration // how long a confirmation outlives failing lookups
	Now     func() time.Time

	// Lookup asks about the person of a session. An *identity.Failure of class
	// Refused means that they are no member; store.ErrLimited, that nothing was
	// asked.
	Lookup func(ctx context.Context, s S) (identity.User, error)

	// Mirrored is when a mirror of the directory was read that says the same of u as
	// a lookup would; the zero time: it does not, or it is not known. If nil, there
	// is no mirror.
	Mirrored func(u *identity.User) time.Time

	// Fit cuts a person to what fits into a session.
	Fit func(u identity.User) (identity.User, error)

	// KeyOf identifies a person.
	KeyOf func(u *identity.User) identity.Key

	// Refused is called when a person is no member (any more).
	Refused func(ctx context.Context, s S, p *Member, reason string)

	// Changed is called when the profile of a person has changed; ours says that
	// the change was found by a lookup of this replica.
	Changed func(p *Member, checked time.Time, ours bool)

	// Start runs f in the background; false: not any more. Context ends what it
	// runs.
	Start   func(f func()) bool
	Context context.Context

	// Shared is where replicas share what they find; nil: this one is alone.
	Shared Shared

	slots chan struct{} // a place for each lookup that runs
}

// Shared is where replicas share what lookups find.
type Shared interface {
	// Lease names the lease of the lookup of a person.
	Lease(key identity.Key) (s store.Store, lease string)

	// ReadProfile is nil when there is none.
	ReadProfile(ctx context.Context, key identity.Key) (*Profile, error)

	// WriteProfile may fail unnoticed: then the others look up for themselves.
	WriteProfile(ctx context.Context, key identity.Key, p Profile)
}

// Limit sets how many lookups run at a time. Call it before any other method.
func (c *Checker[S]) Limit(n int) { c.slots = make(chan struct{}, n) }

// Running is the number of lookups that run.
func (c *Checker[S]) Running() int { return len(c.slots) }

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

// Await waits until a lookup for p has ended, or ctx has; it starts one where one
// is due.
func (c *Checker[S]) Await(ctx context.Context, p *Member, s S, checked, now time.Time) {
	running, due := c.LookUp(p, s, checked, now)
	if running == nil && due { // all places are taken
		select {
		case c.slots <- struct{}{}:
			running = c.launch(p, s, checked, c.Now())
		case <-ctx.Done():
		}
	}
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
		}
	}
}

// LookUp makes sure that a lookup for p runs if one is due and there is a place
// for it. It never blocks. running is nil when none runs; due reports that one is
// wanted then.
func (c *Checker[S]) LookUp(p *Member, s S, checked, now time.Time) (running <-chan struct{}, due bool) {
	p.mu.Lock()
	ch, next := p.running, p.next
	p.mu.Unlock()
	if ch != nil {
		return ch, true
	}
	if now.Before(next) {
		return nil, false
	}
	if p.invalidated.Load() == 0 && len(c.slots) >= c.share(now.Sub(checked)) {
		return nil, true
	}
	select {
	case c.slots <- struct{}{}:
		return c.launch(p, s, checked, now), false
	default:
		return nil, true
	}
}

// share is how many lookups may run when one begins for a person who was confirmed so
// long ago: a quarter for those who have only just become due, and more the longer ago
// it was; three in any case. When more people are due than DingTalk lets us ask about, the oldest find
// a place; chance alone would leave some waiting until their requests are refused.
func (c *Checker[S]) share(age time.Duration) int {
	all := cap(c.slots)
	if c.Grace <= 0 || age >= c.Recheck+c.Grace {
		return all
	}
	late := max(0, age-c.Recheck)
	return max(min(all, 3), all/4+int(float64(all-all/4)*float64(late)/float64(c.Grace)))
}

// launch starts the lookup; the caller has taken a place in c.slots, which launch
// gives back. Whatever happened since the caller looked counts: a lookup that
// runs, one that has just failed, one that has just answered.
func (c *Checker[S]) launch(p *Member, s S, checked, now time.Time) <-chan struct{} {
	p.mu.Lock()
	known := p.profile.Load()
	if p.running != nil || now.Before(p.next) || known != nil && known.Checked.After(checked) {
		defer p.mu.Unlock()
		<-c.slots
		return p.running
	}
	running := make(chan struct{})
	p.running = running
	p.mu.Unlock()
	done := func() {
		p.mu.Lock()
		p.running = nil
		p.mu.Unlock()
		close(running)
		<-c.slots
	}
	if !c.Start(func() { defer done(); c.run(p, s) }) {
		done()
	}
	return running
}

// Invalidate has the members who pass the test looked up again: at once, for the
// session that subject makes, or with their next request where subject is nil. A
// profile that another replica finds after the given moment will do.
func (c *Checker[S]) Invalidate(test func(identity.User) bool, since, now time.Time, subject func(*Profile) S) {
	for _, p := range c.Members.Matching(test) {
		p.invalidate(since, now)
		if subject != nil {
			known := p.profile.Load()
			c.LookUp(p, subject(known), known.Checked, now)
		}
	}
}

// Learn makes a profile count in every session of the person.
func (c *Checker[S]) Learn(p *Member, found Profile) { c.learn(p, found, false) }

func (c *Checker[S]) learn(p *Member, found Profile, ours bool) {
	if p.learn(found.User, found.Checked, c.Now()) {
		c.Changed(p, found.Checked, ours)
	}
}

// run looks up one person and draws the consequence.
func (c *Checker[S]) run(p *Member, s S) {
	ctx, cancel := context.WithTimeout(c.Context, LookupTimeout)
	defer cancel()
	invalidated := p.invalidated.Load()
	found, ours, err := c.ask(ctx, p, s)
	if err == nil {
		c.learn(p, *found, ours)
		p.invalidated.CompareAndSwap(invalidated, 0) // answered, whatever the clocks of other replicas say
		return
	}
	if c.Context.Err() != nil {
		return // our own end says nothing about DingTalk
	}
	if errors.Is(err, store.ErrLimited) {
		p.postponed(c.Now())
		return
	}
	p.failed(c.Now(), c.Recheck)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		reason := f.Code
		if reason == "" {
			reason = "refused"
		}
		c.Refused(ctx, s, p, reason)
	}
}

// ask calls Lookup, unless another replica has just done so; ours reports which.
func (c *Checker[S]) ask(ctx context.Context, p *Member, s S) (found *Profile, ours bool, err error) {
	if c.Shared == nil {
		found, err = c.question(ctx, p, s)
		return found, true, err
	}
	young := c.Now().Add(-c.Recheck / 2)
	if since := p.since(); since.After(young) {
		young = since
	}
	db, key := c.Shared.Lease(p.key)
	lease, err := store.AwaitLease(ctx, db, key, func(ctx context.Context) (bool, error) {
		known, err := c.Shared.ReadProfile(ctx, p.key)
		switch {
		case err != nil || known == nil:
		case !known.Checked.Before(young):
			found = known
		case !p.Failing() && !known.Checked.Before(p.since()):
			c.learn(p, *known, false) // too old to do without a lookup, and more than was known here
		}
		return found != nil, err
	})
	if lease == nil {
		return found, false, err
	}
	found, err = c.question(ctx, p, s)
	lease.Release(err != nil && !errors.Is(err, store.ErrLimited))
	return found, true, err
}

// question calls Lookup and makes sure that the answer is about the same person.
func (c *Checker[S]) question(ctx context.Context, p *Member, s S) (*Profile, error) {
	at := c.Now() // a profile is as old as the question
	user, err := c.Lookup(ctx, s)
	if err != nil {
		return nil, err
	}
	if got := c.KeyOf(&user); got != p.key {
		class := identity.Refused // a userid that was given to another person keeps no session alive (threats K10)
		if got.Text == "" || got.Kind != p.key.Kind {
			class = identity.Internal // half a record says nothing (K11)
		}
		return nil, &identity.Failure{Class: class, Code: "other_person"}
	}
	if user, err = c.Fit(user); err != nil || user.Username == "" {
		return nil, &identity.Failure{Class: identity.Internal, Code: "bad_answer", Err: err}
	}
	found := Profile{user, at}
	if c.Shared != nil {
		c.Shared.WriteProfile(ctx, p.key, found)
	}
	return &found, nil
}
