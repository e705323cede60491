package ratelimit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNoTurn means that the caller's context ended before its turn came. It says nothing about the
// subject of the call.
var ErrNoTurn = errors.New("ratelimit: no turn in time")

// Budget makes callers wait for calls of an Allowance that all replicas share. The callers of a
// name and class in this process queue; only the first of the queue draws, so that a thousand
// waiters cost no more than one.
//
//	Wait ─► queue of the name ─► Allowance.Draw ─┬─ ok: make the call
//
//	Enter ─► place ─► queue of sign-ins ─────────┴─ not yet: draw again
//
// If the Allowance fails, no caller is blocked: this process then uses its own share of the rate.
// The Allowance decides which class goes first: each class has a queue of its own.
//
// Set the fields first; it must not be copied afterwards. Safe for concurrent use.
type Budget struct {
	Shared Allowance // nil: this process is the only one
	Rate   int       // calls a second of each name, all replicas together

	once     sync.Once
	replica  string
	local    Local
	replicas atomic.Int64
	failing  atomic.Bool
	failedAt atomic.Int64 // Unix nanoseconds of the last failure of the shared allowance

	mu    sync.Mutex
	lines map[string]*line
	stats BudgetStats
}

// BudgetStats counts since the start, for metrics.
type BudgetStats struct {
	Waiting   map[Class]int // in this process, now
	Queue     int           // sign-ins that wait on all replicas, as of the last draw
	LastWait  time.Duration // of the last sign-in that had its turn
	Throttled uint64        // calls that were throttled
	Alone     bool          // the shared allowance did not answer the last draw: this process uses its own
	FailedAt  time.Time     // when it last failed to answer
}

const (
	maxLine    = 20_000 // callers of one name
	drawWithin = 2 * time.Second
	drawPause  = 250 * time.Millisecond // the longest pause between two draws: an earlier place may have become free
)

type line struct{ all []*waiter }

type waiter struct {
	class  Class
	ticket int64
	wake   chan struct{}
}

func (b *Budget) init() {
	b.once.Do(func() {
		b.replica = rand.Text()[:12]
		b.lines = map[string]*line{}
		b.replicas.Store(1)
	})
}

// Wait returns when the caller may make a call of this name, as one of its class; paid is for a
// call that Enter has reserved. The error is ErrNoTurn if ctx ended first, or ErrFull. A nil
// Budget does not block.
func (b *Budget) Wait(ctx context.Context, name string, class Class, paid bool) error {
	return b.call(ctx, name, class, paid, 0)
}

// WaitFirst is Wait for the lookup of a person whom an event named, before all others of the class
// in this process; of class Overdue it may also use the call a second that events have.
func (b *Budget) WaitFirst(ctx context.Context, name string, class Class) error {
	return b.call(ctx, name, class, false, -1)
}

func (b *Budget) call(ctx context.Context, name string, class Class, paid bool, ticket int64) error {
	if b == nil || b.Rate <= 0 {
		return nil
	}
	d := Draw{Names: []string{name}, Class: class, Ticket: ticket}
	if paid {
		d.Class, d.Mode = SignIn, Paid
		name += " paid" // they wait for no other turn
	}
	return b.wait(ctx, name+" "+strconv.Itoa(int(d.Class)), d)
}

// Turn is the result of Enter.
type Turn struct {
	Place string        // the id for the caller's next Enter, however late: it contains the place
	Mine  bool          // calls of all names are reserved
	Ahead int           // how many wait before the caller
	Wait  time.Duration // the expected wait
}

// Enter takes a place for id among the sign-ins and waits for its turn, at most until ctx ends or
// patience is over; if the turn cannot come within patience it returns at once. A caller without a
// turn calls again with Turn.Place as its id. The error is ErrFull, or the context's.
func (b *Budget) Enter(ctx context.Context, id string, names []string, patience time.Duration) (Turn, error) {
	if b == nil || b.Rate <= 0 {
		return Turn{Mine: true}, nil
	}
	b.init()
	id, text, _ := strings.Cut(id, "@")
	ticket, _ := strconv.ParseInt(text, 10, 64)
	p, err := b.place(ctx, id, ticket)
	if err != nil {
		return Turn{}, err
	}
	if b.expect(p.Ahead) <= patience {
		began := time.Now()
		waiting, cancel := context.WithTimeout(ctx, patience)
		err = b.wait(waiting,
			"sign-in "+strings.Join(names, " "), Draw{Names: names, Mode: Reserve, Ticket: p.Ticket, ID: id})
		cancel()
		switch {
		case err == nil:
			b.mu.Lock()
			b.stats.LastWait = time.Since(began)
			b.mu.Unlock()
			return Turn{Mine: true}, nil
		case ctx.Err() != nil:
			return Turn{}, ctx.Err()
		case !errors.Is(err, ErrNoTurn):
			return Turn{}, err
		}
		if p, err = b.place(ctx, id, p.Ticket); err != nil {
			return Turn{}, err
		}
	}
	return Turn{Place: id + "@" + strconv.FormatInt(p.Ticket, 10), Ahead: p.Ahead, Wait: b.expect(p.Ahead)}, nil
}

// expect is the expected duration of that many sign-ins.
func (b *Budget) expect(ahead int) time.Duration {
	return time.Duration(ahead) * time.Second / time.Duration(max(1, b.Rate-1))
}

func (b *Budget) place(ctx context.Context, id string, ticket int64) (p Place, err error) {
	drawing, cancel := context.WithTimeout(ctx, drawWithin)
	defer cancel()
	if b.Shared != nil {
		p, err = b.Shared.Place(drawing, id, ticket)
		b.note(err != nil && !errors.Is(err, ErrFull) && !over(ctx))
	}
	if b.Shared == nil || b.failing.Load() {
		p, err = b.local.Place(drawing, id, ticket)
	}
	b.mu.Lock()
	b.stats.Queue = p.Queue
	b.mu.Unlock()
	return p, err
}

// Throttled records that a call of this name was throttled: all replicas pause for a while.
func (b *Budget) Throttled(ctx context.Context, name string) {
	if b == nil || b.Rate <= 0 {
		return
	}
	b.init()
	b.mu.Lock()
	b.stats.Throttled++
	b.mu.Unlock()
	_ = b.local.Throttled(ctx, name)
	if b.Shared != nil {
		drawing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drawWithin)
		defer cancel()
		_ = b.Shared.Throttled(drawing, name) // a pause that is not shared still applies to this process
	}
}

// Stats returns the present counts.
func (b *Budget) Stats() BudgetStats {
	if b == nil {
		return BudgetStats{}
	}
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Alone, s.FailedAt, s.Waiting = b.failing.Load(), time.Unix(0, b.failedAt.Load()), map[Class]int{}
	for _, l := range b.lines {
		for _, w := range l.all {
			s.Waiting[w.class]++
		}
	}
	return s
}

// wait queues until the draw succeeds.
func (b *Budget) wait(ctx context.Context, name string, d Draw) error {
	b.init()
	d.Replica, d.Rate = b.replica, b.Rate
	w, err := b.join(name, d)
	if err != nil {
		return err
	}
	defer b.leave(name, w)
	for {
		pause := drawPause
		if b.first(name, w) {
			got, err := b.draw(ctx, d)
			if err != nil {
				return ErrNoTurn
			}
			if got.OK {
				return nil
			}
			pause = min(max(got.Wait, time.Millisecond), drawPause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ErrNoTurn
		}
		timer.Stop()
	}
}

func (b *Budget) join(name string, d Draw) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[name]
	if l == nil {
		l = &line{}
		b.lines[name] = l
	}
	if len(l.all) >= maxLine {
		return nil, ErrFull
	}
	w := &waiter{d.Class, d.Ticket, make(chan struct{}, 1)}
	at, _ := slices.BinarySearchFunc(l.all, w, func(a, b *waiter) int {
		return cmp.Or(cmp.Compare(a.ticket, b.ticket), -1) // behind its equals
	})
	l.all = slices.Insert(l.all, at, w)
	return w, nil
}

func (b *Budget) first(name string, w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[name]
	return l != nil && l.all[0] == w
}

func (b *Budget) leave(name string, w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[name]
	if i := slices.Index(l.all, w); i >= 0 {
		l.all = slices.Delete(l.all, i, i+1)
	}
	if len(l.all) == 0 {
		delete(b.lines, name)
		return
	}
	select {
	case l.all[0].wake <- struct{}{}:
	default:
	}
}

// draw draws on the shared allowance, or on this process's own while that does not answer. The
// error is the context's.
func (b *Budget) draw(ctx context.Context, d Draw) (got Drawn, err error) {
	if ctx.Err() != nil {
		return got, ctx.Err()
	}
	if b.Shared != nil {
		drawing, cancel := context.WithTimeout(ctx, drawWithin)
		got, err = b.Shared.Draw(drawing, d)
		cancel()
		if err != nil && over(ctx) {
			return got, err
		}
		b.note(err != nil)
		if err == nil {
			b.replicas.Store(int64(max(1, got.Replicas)))
			return got, nil
		}
	}
	d.Rate = max(1, d.Rate/int(b.replicas.Load()))
	return b.local.Draw(ctx, d)
}

// note records whether the shared allowance failed.
func (b *Budget) note(failed bool) {
	if failed {
		b.failedAt.Store(time.Now().UnixNano())
	}
	b.failing.Store(failed)
}

// over reports whether the caller's context has ended, which is no failure of the allowance.
func over(ctx context.Context) bool {
	until, has := ctx.Deadline()
	return ctx.Err() != nil || has && !time.Now().Before(until)
}
