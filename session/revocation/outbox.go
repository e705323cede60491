package revocation

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Write is a change to send to the other replicas. Both parts are idempotent.
type Write struct {
	Store func(ctx context.Context) error // nil if there is no change to the Store
	Entry []byte                          // nil if there is no entry for the Journal
	Until time.Time                       // by then every session that it ends is past its lifetime
}

// outbox queues writes that could not be sent to the other replicas, because the Store or the
// Journal failed. It is bounded; if it is full, the oldest write is dropped, and the others learn
// of it from the Store or at their next recheck.
type outbox struct {
	mu   sync.Mutex
	all  []Write
	size atomic.Int32
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
