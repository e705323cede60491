package revocation

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/keyring"
	"dinggate/store"
)

// Replicator writes what ends to the Store and to the Journal, and follows the
// Journal for what ends elsewhere. Set the fields, then share the pointer; safe
// for concurrent use.
type Replicator struct {
	Journal store.Journal // nil: no other replica is notified, and Follow must not be called
	Keyring *keyring.Keyring
	Realm   string
	Now     func() time.Time

	// Apply is called with each event that was not applied here yet; applying an
	// event twice must do no harm.
	Apply func(Event)

	// Unreadable is called for an entry that this release does not understand: a
	// newer one's, or one sealed with a secret that is not here yet. It may be the
	// end of any session.
	Unreadable func()

	// Live is called when the journal has become live again.
	Live func()

	liveEpoch atomic.Uint64 // odd: the journal is live
	lost      atomic.Int64  // when it was last lost, in Unix milliseconds
	dedup     *dedup
	outbox    *outbox
}

// writeTimeout bounds what one request, or one attempt of SendPending, waits for.
const writeTimeout = time.Second

// NewReplicator makes one that has nothing to send. With old it takes over what
// that one could not send yet and what it has received.
func NewReplicator(old *Replicator) *Replicator {
	if old != nil {
		return &Replicator{dedup: old.dedup, outbox: old.outbox}
	}
	return &Replicator{dedup: new(dedup), outbox: new(outbox)}
}

// State reports whether the journal is live, and in which epoch: what was learned
// in another one may have changed since without an event.
func (r *Replicator) State() (epoch uint32, live bool) {
	state := r.liveEpoch.Load()
	return uint32(state >> 1), state&1 == 1
}

// Lost is when the journal was last lost: ends up to then have arrived.
func (r *Replicator) Lost() time.Time { return time.UnixMilli(r.lost.Load()) }

// Follow follows the journal until ctx ends.
func (r *Replicator) Follow(ctx context.Context) {
	r.Journal.Follow(ctx, r.receive, r.setLive)
	r.setLive(false)
}

// setLive follows the journal's word. Losing it begins a new epoch.
func (r *Replicator) setLive(live bool) {
	if state := r.liveEpoch.Load(); (state&1 == 1) != live {
		if !live {
			r.lost.Store(r.Now().UnixMilli())
		}
		r.liveEpoch.Store(state + 1)
		if live {
			r.Live()
		}
	}
}

// receive applies an entry.
func (r *Replicator) receive(entry []byte) {
	if !r.isOurs(entry) || !r.dedup.first(entry) {
		return
	}
	e, err := r.open(entry)
	if err != nil {
		r.Unreadable()
		return
	}
	r.Apply(e)
}

// tag is the clear beginning of our organisation's entries.
func (r *Replicator) tag() []byte {
	sum := sha256.Sum256([]byte("journal\x00" + r.Realm))
	return sum[:realmTag]
}

// Send writes to the Store, then to the Journal, whose followers ask the Store.
// It goes on when ctx ends. What fails is sent again by SendPending. The error is
// the Store's; an entry that was only not announced costs the other replicas
// their next question.
func (r *Replicator) Send(ctx context.Context, w Write) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	rest, err := r.deliver(ctx, w)
	if rest.Store == nil && rest.Entry == nil {
		return nil
	}
	r.outbox.add(rest)
	if rest.Store != nil {
		return err
	}
	return nil
}

// SendLater leaves a write to SendPending.
func (r *Replicator) SendLater(w Write) { r.outbox.add(w) }

// Pending is the number of writes that wait for SendPending.
func (r *Replicator) Pending() int { return int(r.outbox.size.Load()) }

// SendPending sends what waits, the oldest first, until one fails.
func (r *Replicator) SendPending(ctx context.Context) {
	for range r.outbox.size.Load() {
		w, ok := r.outbox.take()
		if !ok || ctx.Err() != nil {
			return
		}
		if r.Now().After(w.Until) {
			continue
		}
		once, cancel := context.WithTimeout(ctx, writeTimeout)
		rest, _ := r.deliver(once, w)
		cancel()
		if rest.Store != nil || rest.Entry != nil {
			r.outbox.add(rest)
			return
		}
	}
}

// deliver returns what is left of a write, and why.
func (r *Replicator) deliver(ctx context.Context, w Write) (rest Write, err error) {
	rest = w
	if w.Store != nil {
		if err = w.Store(ctx); err == nil {
			rest.Store = nil
		}
	}
	if w.Entry != nil {
		if failed := r.Journal.Append(ctx, w.Entry); failed == nil {
			rest.Entry = nil
		} else if err == nil {
			err = fmt.Errorf("revocation: appending to the journal: %w", failed)
		}
	}
	return rest, err
}

// dedupEntries bounds what is remembered to recognise a repeated entry.
// Forgetting one costs a lookup, nothing more.
const dedupEntries = 1024

// dedup remembers the last entries by their salt. The zero value is empty.
type dedup struct {
	mu   sync.Mutex
	all  map[[keyring.SaltLength]byte]bool
	ring [][keyring.SaltLength]byte
	next int
}

// first reports whether entry is new, and remembers it.
func (d *dedup) first(entry []byte) bool {
	var salt [keyring.SaltLength]byte
	copy(salt[:], entry[realmTag:])
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[salt] {
		return false
	}
	if d.all == nil {
		d.all = map[[keyring.SaltLength]byte]bool{}
	}
	if len(d.ring) < dedupEntries {
		d.ring = append(d.ring, salt)
	} else {
		delete(d.all, d.ring[d.next])
		d.ring[d.next] = salt
		d.next = (d.next + 1) % dedupEntries
	}
	d.all[salt] = true
	return true
}
