package ratelimit

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"
)

// Local is an Allowance of this process only. The zero value is ready to use.
type Local struct {
	Now func() time.Time // nil is time.Now

	mu    sync.Mutex
	names map[string]*account
	heads map[string]head // by replica
	queue []place         // by ticket
	next  int64
}

// account is the state of one name.
type account struct {
	budget, pace time.Time // when the next call is whole again (GCRA)
	hold         time.Time // no call before this
	held         time.Duration
	share        float64 // of the rate, at the time below
	since        time.Time
	kept         time.Time // the last of the one call a second while sign-ins wait
	event        time.Time // the last call of an event
	waiting      [classes]time.Time
}

type head struct {
	ticket int64
	until  time.Time
}

type place struct {
	id     string
	ticket int64
	seen   time.Time
}

var _ Allowance = (*Local)(nil)

func (l *Local) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

func (l *Local) account(name string) *account {
	if l.names == nil {
		l.names, l.heads = map[string]*account{}, map[string]head{}
	}
	a := l.names[name]
	if a == nil {
		a = &account{share: 1}
		l.names[name] = a
	}
	return a
}

// rate is the present share of the rate of a name.
func (a *account) rate(now time.Time) float64 {
	return min(1, a.share+float64(now.Sub(a.since))/float64(regain))
}

// Draw takes the calls, or returns when to try again.
func (l *Local) Draw(_ context.Context, d Draw) (Drawn, error) {
	if len(d.Names) == 0 || d.Rate <= 0 {
		return Drawn{}, errNoNames
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, wait, ok := l.now(), time.Duration(0), true
	for _, name := range d.Names {
		w, free := l.account(name).free(d, now)
		wait, ok = max(wait, w), ok && free
	}
	if d.Ticket > 0 {
		for replica, h := range l.heads {
			if replica != d.Replica && h.ticket < d.Ticket && h.until.After(now) {
				wait, ok = max(wait, time.Second/time.Duration(2*d.Rate)), false
			}
		}
	}
	for _, name := range d.Names {
		l.names[name].settle(d, now, wait, ok)
	}
	if d.Ticket > 0 {
		if ok {
			delete(l.heads, d.Replica)
			l.leave(d.ID)
		} else {
			l.heads[d.Replica] = head{d.Ticket, now.Add(wait + markLife)}
		}
	}
	return Drawn{OK: ok, Wait: max(wait, time.Millisecond), Replicas: 1}, nil
}

// free reports whether a call is available, otherwise when to try again.
func (a *account) free(d Draw, now time.Time) (wait time.Duration, ok bool) {
	wait = a.hold.Sub(now)
	if d.Mode != Reserve {
		wait = max(wait, a.pace.Sub(now))
	}
	if d.Mode != Paid {
		wait = max(wait, a.turn(a.as(d, now), now))
	}
	return max(wait, 0), wait <= 0
}

// as is d, for an overdue person whom an event named in the class whose turn is sooner.
func (a *account) as(d Draw, now time.Time) Draw {
	event := d
	event.Class = Event
	if d.named() && a.turn(event, now) <= a.turn(d, now) {
		return event
	}
	return d
}

func (d Draw) named() bool { return d.Class == Overdue && d.Ticket < 0 }

// turn is how long the class waits for a call of the budget; not above 0 if it need not wait.
func (a *account) turn(d Draw, now time.Time) time.Duration {
	order := usualOrder
	signing := d.Class > SignIn && a.waiting[SignIn].After(now)
	events := (d.Class == Event || a.waiting[Event].After(now)) && now.Sub(a.event) >= time.Second
	if signing || events {
		order = reserveOrder
	}
	for k := Overdue; k < classes; k++ {
		if d.Class > SignIn && a.waiting[k].After(now) && order[k] < order[d.Class] {
			return classPause
		}
	}
	if signing {
		return time.Second - now.Sub(a.kept)
	}
	return later(a.budget, now).Sub(now) - late*a.every(d.Rate, now)
}

// every is the interval between two calls.
func (a *account) every(rate int, now time.Time) time.Duration {
	return time.Duration(float64(time.Second) / (float64(rate) * a.rate(now)))
}

// settle takes the call, or records that a caller waits for it.
func (a *account) settle(d Draw, now time.Time, wait time.Duration, ok bool) {
	if !ok {
		if d.Mode != Paid {
			a.waiting[d.Class] = now.Add(wait + markLife)
		}
		if d.named() {
			a.waiting[Event] = now.Add(wait + markLife)
		}
		return
	}
	d = a.as(d, now)
	if d.Mode != Reserve {
		a.pace = later(a.pace, now).Add(a.every(d.Rate+1, now))
	}
	if d.Mode != Paid {
		a.budget = later(a.budget, now).Add(a.every(d.Rate, now))
		if d.Class > SignIn {
			a.kept = now
		}
		if d.Class == Event {
			a.event = now
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Throttled pauses the name, longer each time in a series.
func (l *Local) Throttled(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, a := l.now(), l.account(name)
	if a.hold.After(now) {
		return nil // of a call that was made before the pause
	}
	if a.held == 0 || now.Sub(a.hold) > sameRow {
		a.held = firstHold
	} else {
		a.held = min(2*a.held, longestHold)
	}
	a.share, a.since = max(lowestShare, a.rate(now)*slower), now
	a.hold = now.Add(a.held)
	return nil
}

// Place finds or makes the place of id.
func (l *Local) Place(_ context.Context, id string, ticket int64) (Place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.queue = slices.DeleteFunc(l.queue, func(p place) bool { return p.id != id && now.Sub(p.seen) > PlaceLife })
	i := slices.IndexFunc(l.queue, func(p place) bool { return p.id == id })
	if i < 0 {
		if len(l.queue) >= MaxPlaces {
			return Place{}, ErrFull
		}
		if ticket <= 0 || ticket > l.next {
			l.next++
			ticket = l.next
		}
		i = sort.Search(len(l.queue), func(i int) bool { return l.queue[i].ticket > ticket })
		l.queue = slices.Insert(l.queue, i, place{id: id, ticket: ticket})
	}
	l.queue[i].seen = now
	return Place{Ticket: l.queue[i].ticket, Ahead: i, Queue: len(l.queue)}, nil
}

func (l *Local) leave(id string) {
	if i := slices.IndexFunc(l.queue, func(p place) bool { return p.id == id }); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
}
