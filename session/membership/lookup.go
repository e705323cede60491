package membership

import (
	"cmp"
	"context"
	"errors"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// errYounger means that another replica has confirmed the person so recently that
// other people go first.
var errYounger = errors.New("membership: confirmed by another replica")

// errNamed cancels a run that began before an event named the person.
var errNamed = errors.New("membership: an event named the person")

// shortRun is the duration below which a run without a turn in the budget is not repeated at once.
const shortRun = time.Second

// run looks up one person once and applies the result. mark is that of Member.begin. again reports
// that an event named the person and that there was no turn in time: such a person does not wait for
// their next request.
func (c *Checker[S]) run(w waiting[S], waits bool) (mark int64, again bool) {
	p, began := w.p, time.Now()
	ctx, cancel := context.WithTimeout(c.Context, LookupTimeout)
	defer cancel()
	ctx, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	mark = p.begin(abandon)
	ctx = context.WithValue(ctx, causeKey{}, p.cause())
	before := p.profile.Load()
	found, ours, err := c.result(ctx, w, waits)
	switch {
	case err == nil:
		if mark != 0 && before != nil { // an answer is newer than what was known at the event
			found.Checked = later(found.Checked, before.Checked.Add(time.Millisecond))
		}
		c.learn(p, *found, ours)
		p.invalidated.CompareAndSwap(mark, 0) // done, whatever the clocks of other replicas say
	case c.Context.Err() != nil: // our own shutdown is no failure of DingTalk
	case abandoned(ctx):
	case errors.Is(err, errYounger):
		c.postpone(w, p.profile.Load().Checked)
	case errors.Is(err, ErrPostponed), errors.Is(err, store.ErrHeld):
		if mark != 0 && time.Since(began) >= shortRun {
			return mark, true
		}
		p.postponed(c.Now())
	default:
		p.failed(c.Now(), c.Recheck)
		if f, ok := refusal(err); ok {
			c.Refused(ctx, w.s, p, cmp.Or(f.Code, "refused"))
		}
	}
	return mark, false
}

func abandoned(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errNamed) }

// refusal returns the definite answer that the person is not a member.
func refusal(err error) (f *identity.Failure, ok bool) {
	f, ok = errors.AsType[*identity.Failure](err)
	return f, ok && f.Class == identity.Refused
}

// result calls Lookup, unless another replica has just done so; ours is true if it was called.
func (c *Checker[S]) result(ctx context.Context, w waiting[S], waits bool) (found *Profile, ours bool, err error) {
	if c.Shared == nil {
		found, err = c.call(ctx, w.p, w.s)
		return found, true, err
	}
	named, since := Named(ctx) || InRound(ctx), w.p.since()
	young := later(c.Now().Add(-c.Recheck/2), since)
	db, key := c.Shared.Lease(w.p.key, named)
	lease, err := store.AwaitLease(ctx, db, key, func(ctx context.Context) (bool, error) {
		known, err := c.Shared.ReadProfile(ctx, w.p.key)
		switch {
		case err != nil || known == nil:
		case !known.Checked.Before(young) && (!Named(ctx) || known.answers(since)):
			found = known
		case !w.p.Failing() && !known.Checked.Before(w.p.since()):
			c.learn(w.p, *known, false) // too old to replace a lookup, but newer than what was known here
			if c.yields(w, known.Checked, waits) {
				return false, errYounger
			}
		}
		return found != nil, err
	})
	if lease == nil {
		return found, false, err
	}
	found, err = c.call(ctx, w.p, w.s)
	lease.Release(!abandoned(ctx) && pauses(err, named))
	return found, true, err
}

// pauses reports whether all replicas pause after a lookup with this error. After one that an event
// asked for they do so only if the person is not a member: another replica may reach DingTalk, and
// another event may name the person.
func pauses(err error, named bool) bool {
	if err == nil || errors.Is(err, ErrPostponed) {
		return false
	}
	_, refused := refusal(err)
	return refused || !named
}

// yields reports whether w, confirmed at the given moment, has to wait for people with
// older confirmations, so that the oldest confirmation of all replicas is looked up
// next; and whether a request that waits can continue.
func (c *Checker[S]) yields(w waiting[S], checked time.Time, waits bool) bool {
	if w.p.invalidated.Load() != 0 || !checked.After(w.checked) {
		return false
	}
	return c.backlog.before(checked) || waits && c.Now().Before(checked.Add(c.Recheck+c.Grace))
}

// call calls Lookup and verifies that the result is about the same person.
func (c *Checker[S]) call(ctx context.Context, p *Member, s S) (*Profile, error) {
	at, answers := c.Now(), time.Time{} // a profile is dated by the start of its lookup
	if known := p.profile.Load(); known != nil && known.Checked.Sub(at) <= skew {
		at = later(at, known.Checked.Add(time.Millisecond)) // a clock that was ahead by less gave it
	}
	if p.invalidated.Load() != 0 {
		answers = p.since()
	}
	user, err := c.Lookup(ctx, s)
	if err != nil {
		return nil, err
	}
	if got := c.KeyOf(&user); got != p.key {
		class := identity.Refused // a userid that was reassigned to another person must not extend a session (threats K10)
		if got.Text == "" || got.Kind != p.key.Kind {
			class = identity.Internal // an incomplete record decides nothing (K11)
		}
		return nil, &identity.Failure{Class: class, Code: "other_person"}
	}
	if user, err = c.Fit(user); err != nil || user.Username == "" {
		return nil, &identity.Failure{Class: identity.Internal, Code: "bad_answer", Err: err}
	}
	found := Profile{User: user, Checked: at, Answers: answers}
	if c.Shared != nil && !c.outdated(ctx, p, found) {
		c.Shared.WriteProfile(ctx, p.key, found)
	}
	return &found, nil
}

// outdated reports whether the replicas share a newer profile already: that of a lookup which an
// event asked for, and which began and ended during this one.
func (c *Checker[S]) outdated(ctx context.Context, p *Member, found Profile) bool {
	known, err := c.Shared.ReadProfile(ctx, p.key)
	return err == nil && known != nil && known.Checked.After(found.Checked)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
