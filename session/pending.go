package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// outbox keeps what the others have not heard yet, because the Store or the
// Journal was ill: Run goes on trying. It is bounded; past that the oldest go,
// and the others find out by asking the Store or at their next recheck.
type outbox struct {
	mu   sync.Mutex
	all  []pendingWrite
	size atomic.Int32
}

const maxOutbox = 10_000

// pendingWrite is one thing to tell: write is for the Store (nil: nothing), entry for
// the Journal (nil: nothing). Both may be done twice.
type pendingWrite struct {
	write func(ctx context.Context) error
	entry []byte
	until time.Time // then everything it ends is past its lifetime
}

func (o *outbox) add(l pendingWrite) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) >= maxOutbox {
		o.all = o.all[1:]
	}
	o.all = append(o.all, l)
	o.size.Store(int32(len(o.all)))
}

// take removes the oldest write.
func (o *outbox) take() (l pendingWrite, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) == 0 {
		return l, false
	}
	l = o.all[0]
	if o.all = o.all[1:]; len(o.all) == 0 {
		o.all = nil
	}
	o.size.Store(int32(len(o.all)))
	return l, true
}

// send writes to the Store, then to the Journal, whose followers ask the Store. What fails
// waits in the outbox. The error is the Store's, and ErrStore; an entry that
// was only not said costs the others their next question.
func (m *Manager) send(ctx context.Context, l pendingWrite, doing string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	rest := m.deliver(ctx, l)
	if rest.write == nil && rest.entry == nil {
		return nil
	}
	m.outbox.add(rest.pendingWrite)
	if rest.write != nil {
		return ill(doing, rest.err)
	}
	return nil
}

// undelivered is what is left of a pending write, and why.
type undelivered struct {
	pendingWrite
	err error
}

func (m *Manager) deliver(ctx context.Context, l pendingWrite) (rest undelivered) {
	rest.pendingWrite = l
	if l.write != nil {
		if rest.err = l.write(ctx); rest.err == nil {
			rest.write = nil
		}
	}
	if l.entry != nil {
		if err := m.Journal.Append(ctx, l.entry); err == nil {
			rest.entry = nil
		} else if rest.err == nil {
			rest.err = fmt.Errorf("session: telling the others: %w", err)
		}
	}
	return rest
}

// sendRest delivers what waits, the oldest first, until one fails.
func (m *Manager) sendRest(ctx context.Context) {
	for range m.outbox.size.Load() {
		l, ok := m.outbox.take()
		if !ok || ctx.Err() != nil {
			return
		}
		if m.now().After(l.until) {
			continue
		}
		once, cancel := context.WithTimeout(ctx, storeTimeout)
		rest := m.deliver(once, l)
		cancel()
		if rest.write != nil || rest.entry != nil {
			m.outbox.add(rest.pendingWrite)
			return
		}
	}
}
