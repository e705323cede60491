package revocation

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Write is what other replicas are to learn. Both parts may be done twice.
type Write struct {
	Store func(ctx context.Context) error // nil: nothing for the Store
	Entry []byte                          // nil: nothing for the Journal
	Until time.Time                       // then everything it ends is past its lifetime
}

// outbox keeps what the other replicas have not learned yet, because the Store or
// the Journal failed. It is bounded; past that the oldest go, and the others find
// out by asking the Store or at their next recheck.
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
