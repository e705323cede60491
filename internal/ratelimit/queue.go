package ratelimit

import (
	"context"
	"errors"
	"net/netip"
	"sync"
)

// ErrFull means that the queue is full, and that no waiter has a higher class than the caller.
var ErrFull = errors.New("ratelimit: too many are waiting")

// Queue shares a few places among clients. A free place goes to the lowest class
// that waits, within it to the client served least recently, within that to the
// oldest waiter: a client with a thousand requests delays another client's single
// request by no more than one of its own. Every fourth place goes to the oldest
// waiter of any class, so that none waits forever.
//
// Set the fields first. It must not be copied; safe for concurrent use.
type Queue struct {
	Places  int // 0: one
	Share   int // the most that one client may have at once; 0: all
	Waiting int // the most that wait; 0: 512

	mu    sync.Mutex
	busy  int
	held  map[netip.Prefix]int
	given map[netip.Prefix]uint64 // when a client last got a place, while requests wait
	clock uint64
	line  []*ticket // in order of arrival
	ahead int       // consecutive places that did not go to the oldest waiter
}

type ticket struct {
	client netip.Prefix
	class  int
	turn   chan bool // false: evicted for a waiter of a lower class
}

const (
	usualWaiting = 512
	maxAhead     = 3
)

// Enter waits for a place until ctx ends. The caller calls leave once, when err
// is nil; otherwise err is ErrFull or the context's.
func (q *Queue) Enter(ctx context.Context, client netip.Prefix, class int) (leave func(), err error) {
	t, err := q.join(client, class)
	if err != nil {
		return nil, err
	}
	select {
	case ok := <-t.turn:
		if !ok {
			return nil, ErrFull
		}
		return func() { q.leave(t) }, nil
	case <-ctx.Done():
		q.giveUp(t)
		return nil, ctx.Err()
	}
}

func (q *Queue) join(client netip.Prefix, class int) (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held == nil {
		q.held, q.given = map[netip.Prefix]int{}, map[netip.Prefix]uint64{}
	}
	t := &ticket{client, class, make(chan bool, 1)}
	most := q.Waiting
	if most <= 0 {
		most = usualWaiting
	}
	if len(q.line) >= most {
		last := q.last()
		if q.line[last].class <= class {
			return nil, ErrFull
		}
		q.line[last].turn <- false
		q.line = append(q.line[:last], q.line[last+1:]...)
	}
	q.line = append(q.line, t)
	q.serve()
	return t, nil
}

func (q *Queue) leave(t *ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	if q.held[t.client]--; q.held[t.client] == 0 {
		delete(q.held, t.client)
	}
	q.serve()
}

// Demote raises the waiters of a client to this class at least, except those of
// class 0: the caller has learned something about the client meanwhile.
func (q *Queue) Demote(client netip.Prefix, class int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.line {
		if t.client == client && t.class > 0 {
			t.class = max(t.class, class)
		}
	}
}

// giveUp removes t from the queue, or releases the place that it got meanwhile.
func (q *Queue) giveUp(t *ticket) {
	q.mu.Lock()
	for i, one := range q.line {
		if one == t {
			q.line = append(q.line[:i], q.line[i+1:]...)
			q.mu.Unlock()
			return
		}
	}
	q.mu.Unlock()
	if <-t.turn {
		q.leave(t)
	}
}

// serve assigns the free places.
func (q *Queue) serve() {
	for q.busy < max(q.Places, 1) {
		next := q.next()
		if next < 0 {
			break
		}
		t := q.line[next]
		q.line = append(q.line[:next], q.line[next+1:]...)
		q.busy++
		q.held[t.client]++
		q.clock++
		q.given[t.client] = q.clock
		t.turn <- true
	}
	if len(q.line) == 0 || len(q.given) >= MaxKeys { // no waiter to compare with, or the bound is reached
		clear(q.given)
	}
}

// next is the index of the waiter to serve; -1 if no waiter may have another place.
func (q *Queue) next() int {
	best, first := -1, -1
	for i, t := range q.line {
		if q.Share > 0 && q.held[t.client] >= q.Share {
			continue
		}
		if first < 0 {
			if first = i; q.ahead >= maxAhead {
				best = i
				break
			}
		}
		if best < 0 || t.class < q.line[best].class ||
			t.class == q.line[best].class && q.given[t.client] < q.given[q.line[best].client] {
			best = i
		}
	}
	if q.ahead++; best == first {
		q.ahead = 0
	}
	return best
}

// last is the waiter to evict first: the newest of the highest class.
func (q *Queue) last() int {
	worst := 0
	for i, t := range q.line {
		if t.class >= q.line[worst].class {
			worst = i
		}
	}
	return worst
}
