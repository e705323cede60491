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

// freshness decides how long an answer of the Store counts, and asks again. Ends,
// and people to look up again, arrive through the Journal within moments, so that
// no request has to ask; the limits below bound what a journal that fails
// unnoticed can cost:
//
//	journal live    0 ── fresh ── 5 s ── stale ── 10 s ── asked before the request passes
//	                                     asked again in the background
//	disconnected    0 ── fresh ── 2 s ── asked before the request passes
//
// A session that is in use is asked about every 5 s in the background; one that
// comes back after 10 s waits for one answer. When the journal falls silent, a
// session may pass for 2 s more on what is known; after that the Store decides.
// A Store that fails is ErrStore, but not at once: see outlives. Without a Journal
// every request asks.
type freshness struct {
	records    *records
	revoked    *revocation.Set
	replicator *revocation.Replicator
	tasks      *tasks

	questions singleflight.Group // by cookie text: one question about a known session
	loads     singleflight.Group // by cookie text: one load of a session that is not known
	slots     chan struct{}      // a place for each question that nobody waits for
	answer    atomic.Int64       // when the Store last answered a question, in Unix milliseconds
}

const (
	revalidateEvery   = 5 * time.Second
	trustLive         = 2 * revalidateEvery
	trustDisconnected = 2 * time.Second

	trustWatched = time.Minute // open connections, looked at by Run: as trustLive
)

type answerAge int

const (
	unknown answerAge = iota // ask and wait: the zero value
	stale                    // pass, and ask
	fresh                    // pass
)

// epoch reports whether the journal is live, and in which epoch: what was learned
// in another one may have changed without an event.
func (f *freshness) epoch() (epoch uint64, live bool) {
	connection, live := f.replicator.State()
	return uint64(connection)<<32 | uint64(f.revoked.Epoch()), live
}

// age is how much an earlier answer about e is worth; within is trustLive or
// trustWatched.
func (f *freshness) age(e *entry, now time.Time, within time.Duration) answerAge {
	asked := e.asked.Load()
	switch {
	case asked == 0:
		return unknown
	case !f.records.config.shared():
		return fresh // of a Store of this process alone: whatever ended later ended here
	case f.replicator.Journal == nil:
		return unknown
	}
	age := time.Duration(now.UnixMilli()-asked) * time.Millisecond
	epoch, live := f.epoch()
	learned := e.epoch.Load()
	live = live && epoch == learned
	switch {
	case age < -skew:
		return unknown // the clock was set
	case uint32(epoch) != uint32(learned):
		return unknown // an end was forgotten here, or not understood
	case live && age < within/2 || !live && age < trustDisconnected:
		return fresh
	case live && age < within:
		return stale
	}
	return unknown
}

// answered notes that the Store knew e to live at the given moment.
func (e *entry) answered(at time.Time, epoch uint64) {
	e.epoch.Store(epoch)
	e.asked.Store(at.UnixMilli())
}

// settle makes sure that what is known here of the end of e is young enough.
// The only error is ErrStore.
func (f *freshness) settle(ctx context.Context, e *entry, now time.Time) error {
	if f.records.store == nil && !f.records.config.shared() {
		return nil
	}
	switch f.age(e, now, trustLive) {
	case fresh:
		return nil
	case stale:
		f.askInBackground(e)
		return nil
	}
	return f.revalidate(ctx, e)
}

// settleOrOutlive is settle for the only cookie of a request: of several, one that
// cannot be judged must not pass for one that lives.
func (f *freshness) settleOrOutlive(ctx context.Context, e *entry, now time.Time) error {
	err := f.settle(ctx, e, now)
	if err != nil && ctx.Err() == nil && f.outlives(e) {
		return nil
	}
	return err
}

// outlives reports whether e goes on although the Store does not answer: for
// Config.StoreGrace from the moment up to which its end would be known here. Only a
// session that the Store has confirmed to this process goes on, and none after an
// end was forgotten here or could not be read.
func (f *freshness) outlives(e *entry) bool {
	asked, learned := e.asked.Load(), e.epoch.Load()
	epoch, live := f.epoch()
	if asked == 0 || !f.records.config.shared() || uint32(epoch) != uint32(learned) {
		return false
	}
	known := time.UnixMilli(asked)
	switch connection := epoch >> 32; {
	case live && connection == learned>>32: // ends arrive, questions fail
		known = later(known, time.UnixMilli(f.answer.Load()))
	case connection == learned>>32+1: // ends arrived until the journal was lost, though it may be live again
		known = later(known, f.replicator.Lost())
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

// askInBackground asks about e unless that is under way, or too many questions are.
func (f *freshness) askInBackground(e *entry) {
	if !e.asking.CompareAndSwap(false, true) {
		return
	}
	select {
	case f.slots <- struct{}{}:
		done := func() { e.asking.Store(false); <-f.slots }
		if !f.tasks.start(func() { defer done(); <-f.question(e) }) {
			done()
		}
	default:
		e.asking.Store(false)
	}
}

// revalidate waits for the Store's answer, one for all requests that want it now.
// The question goes on when the client has gone (threats V17).
func (f *freshness) revalidate(ctx context.Context, e *entry) error {
	select {
	case answer := <-f.question(e):
		return answer.Err
	case <-ctx.Done():
		return unavailable("asking about a session", ctx.Err())
	}
}

// question joins the question about e that is under way, or begins one.
func (f *freshness) question(e *entry) <-chan singleflight.Result {
	return f.questions.DoChan(e.text, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		at := f.records.now()
		epoch, _ := f.epoch() // before the question: what changes from here on is an event
		err := f.ask(ctx, e.origin)
		if err == nil {
			e.answered(at, epoch)
		}
		return nil, err
	})
}

// ask brings into memory what the Store knows about the end of s. All questions
// go out at once, and one that fails does not stop the others: of a Redis Cluster
// one part may be away. The only error is ErrStore: not all were answered.
func (f *freshness) ask(ctx context.Context, s *Session) error {
	if f.records.store == nil {
		return unavailable("asking about a session", errNoStore)
	}
	now := f.records.now()
	var g errgroup.Group
	g.Go(func() error { _, err := f.askSession(ctx, s.ID, s, now); return err })
	g.Go(func() error { return f.askEnds(ctx, s, now) })
	return g.Wait()
}

// askSession returns the record of a session that lives, nil of one that has
// ended; s is the session where it is known already.
func (f *freshness) askSession(ctx context.Context, id string, s *Session, now time.Time) (record []byte, err error) {
	record, ended, err := f.records.session(ctx, id)
	f.noteAnswer(err, now)
	if err != nil || !ended {
		return record, err
	}
	// Audited: the replica that ended it wrote the line.
	end := revocation.Revocation{Until: f.records.config.outlived(now), Reason: "signed_out", Audited: true}
	if s != nil {
		end.Who, end.Since = s.key(f.records.service), s.SignedIn
	}
	f.revoked.EndSession(id, end, now)
	return nil, nil
}

// noteAnswer notes that the Store answered a question of that moment: as long as
// it answers any, a session goes on whose own record is away, see outlives.
func (f *freshness) noteAnswer(err error, at time.Time) {
	if err == nil {
		f.answer.Store(at.UnixMilli())
	}
}

// askEnds asks about everybody whose end would be the end of s.
func (f *freshness) askEnds(ctx context.Context, s *Session, now time.Time) error {
	var g errgroup.Group
	g.Go(func() error { return f.askEnd(ctx, everybody, now) })
	for _, key := range s.keys(f.records.service) {
		if key.Text != "" {
			g.Go(func() error { return f.askEnd(ctx, key, now) })
		}
	}
	return g.Wait()
}

// askEnd brings the end of a person's sessions into memory.
func (f *freshness) askEnd(ctx context.Context, key identity.Key, now time.Time) error {
	end, found, err := f.records.end(ctx, key)
	f.noteAnswer(err, now)
	if err != nil || !found {
		return err
	}
	end.Until = f.records.config.outlived(now)
	if key == everybody {
		f.revoked.EndAll(end)
	} else {
		f.revoked.EndPerson(key, end, now)
	}
	return nil
}
