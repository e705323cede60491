package revocation

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Write is a change to send to the other replicas. Both parts are idempotent.
type Write struct {
	Store func(ctx context.Context) error // nil if there is no change to the Store
	Entry []byte                          // nil if there is no entry for the Journal
	Until time.Time                       // by then every session that it ends is past its lifetime

	again  time.Time // when to repeat it
	repeat int       // how often it was repeated
}

// repeatAfter are the pauses after which a write to a shared Store is repeated: a failover loses the
// last writes of the old master, and a network partition those of a longer time (threats V16).
var repeatAfter = [...]time.Duration{10 * time.Second, 50 * time.Second}

// outbox queues writes that could not be sent to the other replicas, because the Store or the
// Journal failed. It is bounded; if it is full, the oldest write is dropped, and the others learn
// of it from the Store or at their next recheck.
type outbox struct {
	mu   sync.Mutex
	all  []Write
	size atomic.Int32
	done []Write // to be repeated; bounded like all
}

const maxOutbox = 10_000

func (o *outbox) add(w Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) >= maxOutbox {
		o.all = o.all[1:]
	}
	o.all = append(o.all, w)
	o.size.Store(int32(len(o.all)))
}

// take removes the oldest write.
func (o *outbox) take() (w Write, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) == 0 {
		return w, false
	}
	w = o.all[0]
	if o.all = o.all[1:]; len(o.all) == 0 {
		o.all = nil
	}
	o.size.Store(int32(len(o.all)))
	return w, true
}

// repeat has a successful write repeated later, if it is one to the Store that has not been repeated
// often enough.
func (o *outbox) repeat(w Write, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w.Store == nil || w.repeat >= len(repeatAfter) || len(o.done) >= maxOutbox {
		return
	}
	w.Entry, w.again = nil, now.Add(repeatAfter[w.repeat])
	w.repeat++
	o.done = append(o.done, w)
}

// due queues the writes that are to be repeated now.
func (o *outbox) due(now time.Time) {
	o.mu.Lock()
	var due []Write
	o.done = slices.DeleteFunc(o.done, func(w Write) bool {
		if now.Before(w.again) {
			return false
		}
		due = append(due, w)
		return true
	})
	o.mu.Unlock()
	for _, w := range due {
		o.add(w)
	}
}
