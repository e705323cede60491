package accessrequest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/store"

	"golang.org/x/sync/singleflight"
)

// Book is the requests and grants of everybody, on all replicas. Set Store and
// Seal, then share the pointer; safe for concurrent use. It lives as long as the
// process, so that a reload forgets nothing.
type Book struct {
	Store store.Swapper
	Now   func() time.Time // nil: time.Now

	// Audit is called once for each step, on the replica that made it: Event.What is
	// access_request, access_granted, access_denied or access_ended. It must return
	// quickly. If nil, it is not called.
	Audit func(Event)

	seal  atomic.Pointer[Sealer]
	clock clock
	ready atomic.Bool // the floor of the clock is known

	people bounded.Map[locator, *known]
	spent  bounded.Map[string, struct{}] // grants that were seen to be over: an older record does not revive them (threats G5)
	asking singleflight.Group

	mu  sync.Mutex
	due map[locator]time.Time // when something of a person's ends, as of the last sweep
}

// Event is one step of a request.
type Event struct {
	What    string
	Request Request
	By      string // who made the step, as text: a person, an administrator; "" for time itself
}

// known is a record as it was in the store.
type known struct {
	record  *record
	fetched time.Time // monotonic, before the store was asked
}

const (
	freshFor    = time.Second     // a record is not asked for again
	outlives    = 2 * time.Second // it counts while the store does not answer
	rememberFor = time.Hour
)

// Seal sets what seals records; a later call replaces it.
func (b *Book) Seal(s Sealer) { b.seal.Store(&s) }

func (b *Book) sealer() Sealer {
	if s := b.seal.Load(); s != nil {
		return *s
	}
	return noSealer{}
}

type noSealer struct{}

var errNoSealer = errors.New("accessrequest: nothing to seal with yet")

func (noSealer) SealRecord(string, []byte) ([]byte, error)       { return nil, errNoSealer }
func (noSealer) OpenRecord(string, []byte) ([]byte, bool, error) { return nil, false, errNoSealer }

func (b *Book) now() time.Time {
	b.clock.start(b.Now)
	return b.clock.now()
}

// Time is the clock that grants are measured by.
func (b *Book) Time() time.Time { return b.now() }

// learn remembers a record that was read or written.
func (b *Book) learn(l locator, r *record, fetched time.Time) {
	now := time.Now()
	b.mu.Lock()
	if k, ok := b.people.Get(l, now); !ok || !k.fetched.After(fetched) {
		b.people.Put(l, &known{r, fetched}, now.Add(rememberFor), now)
	}
	b.mu.Unlock()
	for i := range r.Items {
		if q := &r.Items[i]; !q.live() && q.Answered != (time.Time{}) && !q.Until.IsZero() {
			b.spent.Put(q.ID, struct{}{}, now.Add(q.Until.Sub(b.now())+skew), now)
		}
	}
}

// look gives a person's record, at most freshFor old; while the store does not
// answer, at most outlives.
func (b *Book) look(ctx context.Context, l locator) (*record, error) {
	k, ok := b.people.Get(l, time.Now())
	if ok && time.Since(k.fetched) < freshFor {
		return k.record, nil
	}
	answer := b.asking.DoChan(string(l), func() (any, error) {
		if err := b.prepare(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
		fetched := time.Now()
		r, err := b.read(context.WithoutCancel(ctx), l)
		if err != nil {
			return nil, err
		}
		b.learn(l, r, fetched)
		return r, nil
	})
	select {
	case got := <-answer:
		if got.Err == nil {
			return got.Val.(*record), nil
		}
		if ok && time.Since(k.fetched) < outlives {
			return k.record, nil
		}
		return nil, got.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Granted reports whether a person is let in to a route now, by which grant and how
// long. An error says that nothing is known: keep them out. What it answers is at
// most two seconds old.
func (b *Book) Granted(ctx context.Context, u *identity.User, fingerprint string) (id string, until time.Time, err error) {
	who := PersonOf(u)
	r, err := b.look(ctx, who.locator())
	if err != nil {
		return "", time.Time{}, err
	}
	now := b.now()
	for i := range r.Items {
		q := &r.Items[i]
		if q.State == Granted && q.Route.Fingerprint == fingerprint && now.Before(q.Until) && who.Is(q.Person) {
			if _, over := b.spent.Get(q.ID, time.Now()); !over {
				return q.ID, q.Until, nil
			}
		}
	}
	return "", time.Time{}, nil
}

// Ask makes a request, or returns the one that waits for the same route, or the grant
// there is, with asked false. ErrTooMany: open of theirs wait, or they asked PerDay
// times within a day. ErrFull.
func (b *Book) Ask(ctx context.Context, q Request, open int) (got Request, asked bool, err error) {
	if err := b.prepare(ctx); err != nil {
		return Request{}, false, err
	}
	l := q.Person.locator()
	q.ID = newID(l)
	if err := b.enlist(ctx, l); err != nil {
		return Request{}, false, err
	}
	var gone []Request
	err = b.change(ctx, l, func(r *record, now time.Time) error {
		waiting := 0
		gone = nil
		for i := range r.Items {
			one := &r.Items[i]
			switch {
			case !one.live():
				continue
			case !one.Person.Is(q.Person):
				end(one, EndLeft, "", now) // the userid has been given to somebody new
				gone = append(gone, *one)
			case one.Route.Fingerprint == q.Route.Fingerprint:
				got = *one
				return errThere
			case one.State == Waiting:
				waiting++
			}
		}
		r.trim(now, 1)
		if waiting >= open || len(r.Days) >= PerDay || len(r.Items) >= maxItems {
			return ErrTooMany
		}
		q.State, q.Asked = Waiting, now.UTC().Truncate(time.Millisecond)
		r.Items, r.Days = append(r.Items, q), append(r.Days, q.Asked)
		got = q
		return nil
	})
	if errors.Is(err, errThere) {
		return got, false, nil
	}
	if err != nil {
		return Request{}, false, err
	}
	for _, one := range gone {
		b.tell(one, "")
	}
	b.tell(got, got.Person.Full())
	return got, true, nil
}

var errThere = errors.New("accessrequest: there is one already")

// end makes an item over.
func end(q *Request, why, by string, now time.Time) {
	q.State, q.End, q.EndedBy, q.Over = Ended, why, by, now.UTC().Truncate(time.Millisecond)
}

// Untold notes that an approver may not have been notified of a request.
func (b *Book) Untold(ctx context.Context, id string) error {
	return b.update(ctx, id, func(q *Request, _ time.Time) error {
		q.Untold = true
		return nil
	})
}

// update changes one request.
func (b *Book) update(ctx context.Context, id string, step func(q *Request, now time.Time) error) error {
	l, ok := locate(id)
	if !ok {
		return ErrNone
	}
	return b.change(ctx, l, func(r *record, now time.Time) error {
		i := r.find(id)
		if i < 0 {
			return ErrNone
		}
		return step(&r.Items[i], now)
	})
}

// Answer grants or denies a request: once, by an approver. fingerprint is that of the
// route as it is now. ErrNone, ErrNotYours, and ErrAnswered with the request as it
// is.
func (b *Book) Answer(ctx context.Context, id string, by Person, yes bool, word, fingerprint string) (got Request, err error) {
	if err := b.prepare(ctx); err != nil {
		return Request{}, err
	}
	err = b.update(ctx, id, func(q *Request, now time.Time) error {
		got = *q
		switch {
		case !q.Approver(by):
			return ErrNotYours
		case q.State != Waiting:
			return ErrAnswered
		case q.Route.Fingerprint != fingerprint:
			end(q, EndChanged, "", now)
			got = *q
			return nil
		}
		q.Answered, q.By, q.Word = now.UTC().Truncate(time.Millisecond), by, word
		if q.State = Denied; yes {
			q.State, q.Until = Granted, q.Answered.Add(q.For)
		} else {
			q.Over = q.Answered
		}
		got = *q
		return nil
	})
	if err != nil {
		return got, err
	}
	if got.State == Ended {
		b.tell(got, "")
		return got, ErrAnswered
	}
	b.tell(got, by.Full())
	return got, nil
}

// End takes a request or a grant back. allowed, unless nil, says who may. ErrNone,
// ErrNotYours, ErrAnswered.
func (b *Book) End(ctx context.Context, id, why, by string, allowed func(*Request) bool) (got Request, err error) {
	err = b.update(ctx, id, func(q *Request, now time.Time) error {
		got = *q
		switch {
		case allowed != nil && !allowed(q):
			return ErrNotYours
		case !q.live():
			return ErrAnswered
		}
		end(q, why, by, now)
		got = *q
		return nil
	})
	if err == nil {
		b.tell(got, by)
	}
	return got, err
}

// EndPerson ends all that a person asked for or was granted.
func (b *Book) EndPerson(ctx context.Context, p Person, why string) error {
	return b.settle(ctx, p.locator(), func(q *Request) string {
		if q.Person.Is(p) {
			return why
		}
		return ""
	})
}

// Find gives a request as it is now. ErrNone.
func (b *Book) Find(ctx context.Context, id string) (Request, error) {
	l, ok := locate(id)
	if !ok {
		return Request{}, ErrNone
	}
	r, err := b.look(ctx, l)
	if err != nil {
		return Request{}, err
	}
	i := r.find(id)
	if i < 0 {
		return Request{}, ErrNone
	}
	return r.Items[i].at(b.now()), nil
}

// Open gives the request of a person that waits for a route. ErrNone.
func (b *Book) Open(ctx context.Context, u *identity.User, fingerprint string) (Request, error) {
	who := PersonOf(u)
	r, err := b.look(ctx, who.locator())
	if err != nil {
		return Request{}, err
	}
	now := b.now()
	for i := range r.Items {
		if q := r.Items[i].at(now); q.State == Waiting && q.Route.Fingerprint == fingerprint && q.Person.Is(who) {
			return q, nil
		}
	}
	return Request{}, ErrNone
}

// tell reports a step.
func (b *Book) tell(q Request, by string) {
	if b.Audit == nil {
		return
	}
	what := map[State]string{Waiting: "access_request", Granted: "access_granted", Denied: "access_denied",
		Expired: "access_ended", Ended: "access_ended"}[q.State]
	b.Audit(Event{What: what, Request: q, By: by})
}

// Room reports whether a person may ask once more. It is a look, not a promise: Ask
// decides.
func (b *Book) Room(ctx context.Context, u *identity.User, open int) (bool, error) {
	r, err := b.look(ctx, PersonOf(u).locator())
	if err != nil {
		return false, err
	}
	now, waiting, today := b.now(), 0, 0
	for i := range r.Items {
		if r.Items[i].at(now).State == Waiting {
			waiting++
		}
	}
	for _, d := range r.Days {
		if now.Sub(d) < 24*time.Hour {
			today++
		}
	}
	return waiting < open && today < PerDay, nil
}
