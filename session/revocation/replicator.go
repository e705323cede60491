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

// Replicator writes revocations to the Store and to the Journal, and follows the
// Journal for those of other replicas. Set the fields, then share the pointer; safe
// for concurrent use.
type Replicator struct {
	Journal store.Journal // if nil, no other replica is notified, and Follow must not be called
	Keyring *keyring.Keyring
	Realm   string
	Now     func() time.Time
	Repeat  bool // writes to the Store are repeated by SendPending: its last ones may be lost

	// Apply is called with each event that was not applied here yet; it must be
	// idempotent.
	Apply func(Event)

	// Unreadable is called for an entry that this release cannot read: one of a newer
	// release, or one sealed with an unknown secret. It may be the revocation of any
	// session.
	Unreadable func()

	// Live is called when the journal has become live again.
	Live func()

	liveEpoch atomic.Uint64 // odd: the journal is live
	losses    losses
	dedup     *dedup
	outbox    *outbox
}

// writeTimeout is the deadline of one request's write, or of one attempt of
// SendPending.
const writeTimeout = time.Second

// NewReplicator returns a Replicator with an empty outbox. It takes over what old, unless nil, has
// not sent yet and what it has received.
func NewReplicator(old *Replicator) *Replicator {
	if old != nil {
		return &Replicator{dedup: old.dedup, outbox: old.outbox}
	}
	return &Replicator{dedup: new(dedup), outbox: new(outbox)}
}

// State reports whether the journal is live, and in which epoch: a lookup made in an
// earlier epoch may be outdated without an event.
func (r *Replicator) State() (epoch uint32, live bool) {
	state := r.liveEpoch.Load()
	return uint32(state >> 1), state&1 == 1
}

// Lost returns when the journal of that epoch was lost: events up to then have been
// received. The zero time: it was not lost, or too many epochs ago.
func (r *Replicator) Lost(epoch uint32) time.Time { return r.losses.of(epoch) }

// losses is when the last epochs ended. The zero value is ready; safe for concurrent use.
type losses struct {
	mu  sync.Mutex
	all [8]struct {
		epoch uint32
		at    time.Time
	}
}

func (l *losses) add(epoch uint32, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := &l.all[int(epoch)%len(l.all)]
	one.epoch, one.at = epoch, at
}

func (l *losses) of(epoch uint32) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.all[int(epoch)%len(l.all)]; one.epoch == epoch {
		return one.at
	}
	return time.Time{}
}

// Follow follows the journal until ctx ends.
func (r *Replicator) Follow(ctx context.Context) {
	r.Journal.Follow(ctx, r.receive, r.setLive)
	r.setLive(false)
}

// setLive sets the state that the journal reports. Losing it begins a new epoch.
func (r *Replicator) setLive(live bool) {
	if state := r.liveEpoch.Load(); (state&1 == 1) != live {
		if !live {
			r.losses.add(uint32(state>>1), r.Now())
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

// tag is the unencrypted prefix of our organisation's entries.
func (r *Replicator) tag() []byte {
	sum := sha256.Sum256([]byte("journal\x00" + r.Realm))
	return sum[:realmTag]
}

// Send writes to the Store, then to the Journal, whose followers read the Store. It
// continues when ctx is cancelled. Parts that fail are sent again by SendPending. The
// error is the Store's; if only the Journal failed, the other replicas learn of it
// with their next lookup.
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

// SendLater queues a write for SendPending.
func (r *Replicator) SendLater(w Write) { r.outbox.add(w) }

// Pending is the number of writes that wait for SendPending.
func (r *Replicator) Pending() int { return int(r.outbox.size.Load()) }

// SendPending sends the queued writes, the oldest first, until one fails.
func (r *Replicator) SendPending(ctx context.Context) {
	r.outbox.due(r.Now())
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

// deliver returns the parts of a write that failed, and the error.
func (r *Replicator) deliver(ctx context.Context, w Write) (rest Write, err error) {
	rest = w
	if w.Store != nil {
		if err = w.Store(ctx); err == nil {
			rest.Store = nil
			if r.Repeat {
				r.outbox.repeat(w, r.Now())
			}
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

// dedupEntries bounds the entries that are remembered to detect duplicates. A
// duplicate that is not detected costs a lookup, nothing more.
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
