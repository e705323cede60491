package membership

import (
	"cmp"
	"container/heap"
	"sync"
	"time"
)

// maxBacklog bounds the people who wait for a lookup. If it is reached, a person is
// queued by their next request.
const maxBacklog = 100_000

// backlog holds the lookups that are due but have no free slot. The person with the
// oldest confirmation goes first, so that a budget of calls that is too small makes
// all confirmations a little older, and none much older. The zero value is empty; safe
// for concurrent use.
type backlog[S any] struct {
	mu    sync.Mutex
	all   waitingHeap[S]
	named int64 // how many people have been queued because of an event
}

// waiting is a person who is to be looked up.
type waiting[S any] struct {
	p       *Member
	s       S
	checked time.Time // when they were last confirmed, as the caller knew it
	order   time.Time // of two with one cause, the lower goes first: checked, or close to the zero time after an event
	why     cause
}

// add queues a person, once for each cause. Those whom events named go first, then those of
// a round, both in the order of the calls: in a round that begins again, no one is looked up
// twice before all were once. A person who was taken and got no slot keeps their place.
func (b *backlog[S]) add(w waiting[S]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	why := w.p.cause()
	if w.p.queued(why).Load() || len(b.all) >= maxBacklog {
		return
	}
	if w.order.IsZero() || why != w.why {
		w.why, w.order = why, w.checked
		if why < causeDue {
			b.named++
			w.order = time.Time{}.Add(time.Duration(b.named))
		}
	}
	w.p.queued(why).Store(true)
	heap.Push(&b.all, w)
}

// take removes the first entry; if onlyNamed, only one that an event named.
func (b *backlog[S]) take(onlyNamed bool) (w waiting[S], ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) == 0 || onlyNamed && b.all[0].why != causeNamed {
		return w, false
	}
	w = heap.Pop(&b.all).(waiting[S])
	w.p.queued(w.why).Store(false)
	return w, true
}

// before reports whether a person is queued who was confirmed before the given moment.
func (b *backlog[S]) before(t time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all) > 0 && b.all[0].order.Before(t)
}

func (b *backlog[S]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

type waitingHeap[S any] []waiting[S]

func (h waitingHeap[S]) Len() int      { return len(h) }
func (h waitingHeap[S]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *waitingHeap[S]) Push(w any)   { *h = append(*h, w.(waiting[S])) }

func (h waitingHeap[S]) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].why, h[j].why), h[i].order.Compare(h[j].order)) < 0
}

func (h *waitingHeap[S]) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = waiting[S]{}
	*h = (*h)[:last]
	return w
}
