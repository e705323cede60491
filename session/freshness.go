package session

import (
	"context"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

// freshness decides how long a lookup in the Store is valid, and repeats it. Revocations, and
// people to look up again, arrive through the Journal within moments, so that no request has to
// wait for the Store; the limits below bound the effect of a journal that fails undetected:
//
//	journal live    0 ── fresh ── 5 s ── stale ── 10 s ── looked up before the request passes
//	                                     looked up in the background
//	disconnected    0 ── fresh ── 2 s ── looked up before the request passes
//
// A session in use is looked up every 5 s in the background; the first request after a
// pause of 10 s waits for one lookup. When the journal disconnects, a session may pass
// for 2 s more without a lookup; after that the Store decides. A failing Store is
// ErrStore, but not at once: see outlives. Without a Journal every request does a
// lookup.
type freshness struct {
	records    *records
	revoked    *revocation.Set
	replicator *revocation.Replicator
	tasks      *tasks
	catchUp    func(context.Context, *entry) // lets this replica learn what the others have confirmed about the person

	lookups singleflight.Group // by cookie text: one lookup of a known session at a time
	loads   singleflight.Group // by cookie text: one load of an unknown session at a time
	slots   chan struct{}      // a slot for each background lookup
	answer  atomic.Int64       // when the Store last answered a lookup, in Unix milliseconds
}

const (
	revalidateEvery   = 5 * time.Second
	trustLive         = 2 * revalidateEvery
	trustDisconnected = 2 * time.Second

	retryAfter = 2 * time.Second // the retry interval after a failed lookup while the session continues

	catchUpWithin = 100 * time.Millisecond // how much longer than the rest a confirmation of another replica may take

	trustWatched = time.Minute // open connections, inspected by Run: as trustLive
)

type answerAge int

const (
	unknown answerAge = iota // look up and wait: the zero value
	stale                    // pass, and look up in the background
	fresh                    // pass
)

// epoch reports whether the journal is live, and in which epoch: a lookup made in an
// earlier epoch may be outdated without an event.
func (f *freshness) epoch() (epoch uint64, live bool) {
	connection, live := f.replicator.State()
	return uint64(connection)<<32 | uint64(f.revoked.Epoch()), live
}

// age is the state of the last lookup of e; within is trustLive or trustWatched.
func (f *freshness) age(e *entry, now time.Time, within time.Duration) answerAge {
	looked := e.looked.Load()
	switch {
	case looked == 0:
		return unknown
	case !f.records.config.shared():
		return fresh // the Store belongs to this process: later revocations happened here
	case f.replicator.Journal == nil:
		return unknown
	}
	age := time.Duration(now.UnixMilli()-looked) * time.Millisecond
	epoch, live := f.epoch()
	learned := e.epoch.Load()
	live = live && epoch == learned
	switch {
	case age < -skew:
		return unknown // the clock was set back
	case uint32(epoch) != uint32(learned):
		return unknown // a revocation was discarded here, or could not be read
	case live && age < within/2 || !live && age < trustDisconnected:
		return fresh
	case live && age < within:
		return stale
	}
	return unknown
}

// answered records that e had not ended, by the Store, at the given moment. The moment
// comes first: who reads the epoch first never finds a new one with an old moment.
func (e *entry) answered(at time.Time, epoch uint64) {
	e.looked.Store(at.UnixMilli())
	e.epoch.Store(epoch)
}

// settle makes sure that the last lookup of e is recent enough. The only error is
// ErrStore.
func (f *freshness) settle(ctx context.Context, e *entry, now time.Time) error {
	if f.records.store == nil && !f.records.config.shared() {
		return nil
	}
	switch f.age(e, now, trustLive) {
	case fresh:
		return nil
	case stale:
		f.lookUpInBackground(e)
		return nil
	}
	return f.revalidate(ctx, e)
}

// settleOrOutlive is settle for a request with a single cookie: of several, one whose
// state is unknown must not count as valid.
//
// While the Store answers other lookups but not those of e, as a Redis Cluster does
// that has lost one master, only one request per interval waits for it.
func (f *freshness) settleOrOutlive(ctx context.Context, e *entry, now time.Time) error {
	silent := time.Duration(now.UnixMilli()-e.unanswered.Load()) * time.Millisecond
	if silent >= 0 && silent < retryAfter && f.outlives(e) {
		f.lookUpInBackground(e)
		return nil
	}
	err := f.settle(ctx, e, now)
	if err != nil && ctx.Err() == nil && f.outlives(e) {
		return nil
	}
	return err
}

// outlives reports whether e continues although the Store does not answer: for
// Config.StoreGrace, from the moment up to which its revocation would be known here.
// Only a session that the Store has confirmed to this process continues, and none
// after a revocation was discarded here or could not be read.
func (f *freshness) outlives(e *entry) bool {
	learned := e.epoch.Load()
	looked := e.looked.Load()
	epoch, live := f.epoch()
	if looked == 0 || !f.records.config.shared() || uint32(epoch) != uint32(learned) {
		return false
	}
	known := time.UnixMilli(looked)
	switch connection := epoch >> 32; {
	case live && connection == learned>>32: // events arrive, lookups fail
		known = later(known, time.UnixMilli(f.answer.Load()))
	case connection > learned>>32: // events arrived until that journal was lost, however often it was lost since
		known = later(known, f.replicator.Lost(uint32(learned>>32)))
	}
	age := f.records.now().Sub(known)
	return age > -skew && age < f.records.config.StoreGrace
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// lookUpInBackground starts a lookup of e unless one is running, or too many are.
func (f *freshness) lookUpInBackground(e *entry) {
	if !e.looking.CompareAndSwap(false, true) {
		return
	}
	select {
	case f.slots <- struct{}{}:
		done := func() { e.looking.Store(false); <-f.slots }
		if !f.tasks.start(func() { defer done(); <-f.lookup(e) }) {
			done()
		}
	default:
		e.looking.Store(false)
	}
}

// revalidate waits for a lookup, which concurrent requests share. The lookup continues
// when the client has disconnected (threats V17).
func (f *freshness) revalidate(ctx context.Context, e *entry) error {
	select {
	case answer := <-f.lookup(e):
		return answer.Err
	case <-ctx.Done():
		return unavailable("looking up a session", ctx.Err())
	}
}

// lookup joins the running lookup of e, or starts one.
func (f *freshness) lookup(e *entry) <-chan singleflight.Result {
	return f.lookups.DoChan(e.text, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		at := f.records.now()
		epoch, _ := f.epoch() // before the lookup: later changes arrive as events
		caughtUp := make(chan struct{})
		go func() { defer close(caughtUp); f.catchUp(ctx, e) }()
		err := f.lookUp(ctx, e.origin)
		select {
		case <-caughtUp:
		case <-time.After(catchUpWithin):
		}
		if err == nil {
			e.answered(at, epoch)
			e.unanswered.Store(0)
		} else {
			e.unanswered.Store(f.records.now().UnixMilli())
		}
		return nil, err
	})
}

// lookUp loads into memory the revocations in the Store that may end s. All lookups run
// concurrently, and a failing one does not stop the others: part of a Redis Cluster may be down.
// The only error is ErrStore: at least one lookup failed.
func (f *freshness) lookUp(ctx context.Context, s *Session) error {
	if f.records.store == nil {
		return unavailable("looking up a session", errNoStore)
	}
	now := f.records.now()
	var g errgroup.Group
	g.Go(func() error { _, err := f.lookUpSession(ctx, s.ID, s, now); return err })
	g.Go(func() error { return f.lookUpEnds(ctx, s, now) })
	return g.Wait()
}

// lookUpSession returns the record of a session that has not ended, nil if it has; s is the
// session if it is known already.
func (f *freshness) lookUpSession(ctx context.Context, id string, s *Session, now time.Time) (record []byte, err error) {
	record, ended, err := f.records.session(ctx, id)
	f.noteAnswer(err, now)
	if err != nil || !ended {
		return record, err
	}
	// Audited: the replica that revoked it wrote the audit line.
	end := revocation.Revocation{Until: f.records.config.outlived(now), Reason: "signed_out", Audited: true}
	if s != nil {
		end.Who, end.Since = s.key(f.records.service), s.SignedIn
	}
	f.revoked.EndSession(id, end, now)
	return nil, nil
}

// noteAnswer records that the Store answered a lookup begun at that moment: as long as
// it answers any, a session continues whose own record is unavailable, see outlives.
func (f *freshness) noteAnswer(err error, at time.Time) {
	if err == nil {
		f.answer.Store(at.UnixMilli())
	}
}

// lookUpEnds looks up the revocations that would end s.
func (f *freshness) lookUpEnds(ctx context.Context, s *Session, now time.Time) error {
	var g errgroup.Group
	g.Go(func() error { return f.lookUpEnd(ctx, everybody, now) })
	for _, key := range s.keys(f.records.service) {
		if key.Text != "" {
			g.Go(func() error { return f.lookUpEnd(ctx, key, now) })
		}
	}
	return g.Wait()
}

// lookUpEnd loads the revocation of a person's sessions into memory.
func (f *freshness) lookUpEnd(ctx context.Context, key identity.Key, now time.Time) error {
	end, found, err := f.records.end(ctx, key)
	f.noteAnswer(err, now)
	if err != nil || !found {
		return err
	}
	end.Until = f.records.config.outlived(now)
	if key == everybody {
		f.revoked.EndAll(end, now)
	} else {
		f.revoked.EndPerson(key, end, now)
	}
	return nil
}
