package accessrequest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/store"

	"golang.org/x/sync/singleflight"
)

// Book holds the requests and grants of all people, on all replicas. Set Store and Seal, then
// share the pointer; safe for concurrent use. It lives as long as the process, so that a reload
// loses nothing.
type Book struct {
	Store store.Swapper
	Now   func() time.Time // nil is time.Now

	// Audit is called once for each step, on the replica that made it: Event.What is
	// access_request, access_granted, access_denied or access_ended. It must return quickly. For
	// access_granted it is called before the grant is written; if it returns an error, nothing is
	// granted. If the grant then fails to be written, access_ended with EndVoid follows. If nil,
	// it is not called.
	Audit func(Event) error

	seal  atomic.Pointer[Sealer]
	clock clock
	ready atomic.Bool // the clock has the time of the store

	records bounded.Map[locator, *cached]
	spent   bounded.Map[string, struct{}] // grants that have ended: an older record does not revive them (threats G5)
	lookups singleflight.Group

	mu  sync.Mutex
	due map[locator]time.Time // when the person's next item ends, as of the last sweep

	served served
	shards int // of the index; 0 is indexShards
}

// Event is one step of a request.
type Event struct {
	What    string
	Request Request
	By      string // who made the step, as text: a person, an administrator; "" if it expired
}

// cached is a record as it was in the store.
type cached struct {
	record  *record
	fetched time.Time // monotonic, before the store was read
}

const (
	freshFor    = 700 * time.Millisecond // a record is not read again
	outlives    = 2 * time.Second        // it is used while the store does not answer
	rememberFor = time.Hour
)

// Seal sets the sealer of records, replacing the previous one.
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

// remember caches a record that was read or written.
func (b *Book) remember(l locator, r *record, fetched time.Time) {
	now := time.Now()
	b.mu.Lock()
	if k, ok := b.records.Get(l, now); !ok || !k.fetched.After(fetched) {
		b.records.Put(l, &cached{r, fetched}, now.Add(rememberFor), now)
	}
	b.mu.Unlock()
	for i := range r.Items {
		if q := &r.Items[i]; !q.live() && q.Answered != (time.Time{}) && !q.Until.IsZero() {
			b.spent.Put(q.ID, struct{}{}, now.Add(q.Until.Sub(b.now())+skew), now)
		}
	}
}

// load returns a person's record, at most freshFor old; while the store does not answer, at most
// outlives.
func (b *Book) load(ctx context.Context, l locator) (*record, error) {
	k, ok := b.records.Get(l, time.Now())
	if ok && time.Since(k.fetched) < freshFor {
		return k.record, nil
	}
	answer := b.lookups.DoChan(string(l), func() (any, error) {
		if err := b.prepare(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
		fetched := time.Now()
		r, err := b.read(context.WithoutCancel(ctx), l)
		if err != nil {
			return nil, err
		}
		b.remember(l, r, fetched)
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

// Granted reports whether a person has a grant for a route now, its id and its expiry. An error
// means that this is unknown: deny. The result is at most two seconds old.
func (b *Book) Granted(ctx context.Context, u *identity.User, fingerprint string) (id string, until time.Time, err error) {
	who := PersonOf(u)
	r, err := b.load(ctx, who.locator())
	if err != nil {
		return "", time.Time{}, err
	}
	now := b.now()
	for i := range r.Items {
		q := &r.Items[i]
		if q.State == Granted && q.at(now).State == Granted && q.Route.Fingerprint == fingerprint && who.Is(q.Person) &&
			!b.served.outlived(q) {
			if _, over := b.spent.Get(q.ID, time.Now()); !over {
				return q.ID, q.Until, nil
			}
		}
	}
	return "", time.Time{}, nil
}

// Submit makes a request. If the person has a request for the same route that waits, or a grant,
// it returns that with created false. Errors are ErrTooMany, if open requests of the person wait
// or PerDay were made within a day, and ErrFull.
func (b *Book) Submit(ctx context.Context, q Request, open int) (got Request, created bool, err error) {
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
				end(one, EndLeft, "", now) // the userid belongs to another person now
				gone = append(gone, *one)
			case one.Route.Fingerprint == q.Route.Fingerprint:
				got = *one
				return errExists
			case one.State == Waiting:
				waiting++
			}
		}
		r.trim(now, 1)
		if waiting >= open || len(r.Days) >= PerDay || len(r.Items) >= maxItems {
			return ErrTooMany
		}
		q.State, q.Requested = Waiting, now.UTC().Truncate(time.Millisecond)
		r.Items, r.Days = append(r.Items, q), append(r.Days, q.Requested)
		got = q
		return nil
	})
	if errors.Is(err, errExists) {
		return got, false, nil
	}
	if err != nil {
		return Request{}, false, err
	}
	for _, one := range gone {
		b.audit(one, "")
	}
	b.audit(got, got.Person.Full())
	return got, true, nil
}

var errExists = errors.New("accessrequest: exists already")

// end sets an item to Ended.
func end(q *Request, why, by string, now time.Time) {
	q.State, q.End, q.EndedBy, q.Over = Ended, why, by, now.UTC().Truncate(time.Millisecond)
}

// Unnotified records that an approver may not have been notified of a request.
func (b *Book) Unnotified(ctx context.Context, id string) error {
	return b.update(ctx, id, func(q *Request, _ time.Time) error {
		q.Unnotified = true
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

// Answer grants or denies a request: once, by an approver. fingerprint is that of the route as it
// is now. Errors are ErrNone, ErrNotYours, and ErrAnswered with the current request.
func (b *Book) Answer(ctx context.Context, id string, by Person, yes bool, word, fingerprint string) (got Request, err error) {
	if err := b.prepare(ctx); err != nil {
		return Request{}, err
	}
	var audited Request // as granted
	err = b.update(ctx, id, func(q *Request, now time.Time) error {
		got = *q
		switch {
		case !q.Approver(by):
			return ErrNotYours
		case q.State != Waiting:
			return ErrAnswered
		case q.Route.Fingerprint != fingerprint || b.served.outlived(q):
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
		if !yes {
			return nil
		}
		if err := b.lease(ctx, q); err != nil {
			return err
		}
		if got = *q; audited.ID == "" {
			if err := b.audit(got, by.Full()); err != nil {
				return fmt.Errorf("accessrequest: recording that access is granted: %w", err)
			}
			audited = got
		}
		return nil
	})
	void := errors.Is(err, ErrAnswered) || errors.Is(err, ErrNone) || errors.Is(err, errChanged)
	if audited.ID != "" && (void || err == nil && got.State == Ended) { // another answer came first
		end(&audited, EndVoid, "", b.now())
		b.audit(audited, "")
	}
	switch {
	case err != nil:
		return got, err
	case got.State == Ended:
		b.audit(got, "")
		return got, ErrAnswered
	case !yes:
		b.audit(got, by.Full())
	}
	return got, nil
}

// End revokes a request or a grant. allowed, unless nil, reports who may do so. Errors are
// ErrNone, ErrNotYours and ErrAnswered.
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
		b.audit(got, by)
	}
	return got, err
}

// EndPerson ends all requests and grants of a person.
func (b *Book) EndPerson(ctx context.Context, p Person, why string) error {
	return b.expire(ctx, p.locator(), func(q *Request) string {
		if q.Person.Is(p) {
			return why
		}
		return ""
	})
}

// Find returns a request as it is now, or ErrNone.
func (b *Book) Find(ctx context.Context, id string) (Request, error) {
	l, ok := locate(id)
	if !ok {
		return Request{}, ErrNone
	}
	r, err := b.load(ctx, l)
	if err != nil {
		return Request{}, err
	}
	i := r.find(id)
	if i < 0 {
		return Request{}, ErrNone
	}
	return r.Items[i].at(b.now()), nil
}

// Open returns a person's waiting request for a route, or ErrNone.
func (b *Book) Open(ctx context.Context, u *identity.User, fingerprint string) (Request, error) {
	who := PersonOf(u)
	r, err := b.load(ctx, who.locator())
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

// audit reports a step to Audit.
func (b *Book) audit(q Request, by string) error {
	if b.Audit == nil {
		return nil
	}
	what := map[State]string{Waiting: "access_request", Granted: "access_granted", Denied: "access_denied",
		Expired: "access_ended", Ended: "access_ended"}[q.State]
	return b.Audit(Event{What: what, Request: q, By: by})
}

// CanSubmit reports whether a person may make another request. The result is a snapshot: Submit
// decides.
func (b *Book) CanSubmit(ctx context.Context, u *identity.User, open int) (bool, error) {
	r, err := b.load(ctx, PersonOf(u).locator())
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
