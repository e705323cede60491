package accessrequest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"dinggate/store"
)

// Sealer seals records; keyring.Keyring implements it.
type Sealer interface {
	SealRecord(name string, plain []byte) ([]byte, error)
	OpenRecord(name string, box []byte) (plain []byte, old bool, err error)
}

// record holds all requests of one person.
type record struct {
	Items []Request   `json:"i"`
	Days  []time.Time `json:"d"` // times of the requests of the last 24 hours

	raw     []byte // as read from the store; nil if it has none
	changed bool   // modified by expire
}

// find returns the index of a request, or -1.
func (r *record) find(id string) int {
	for i := range r.Items {
		if r.Items[i].ID == id {
			return i
		}
	}
	return -1
}

// expire sets the state of items whose time is over, and returns them.
func (r *record) expire(now time.Time) (over []Request) {
	for i := range r.Items {
		if was := r.Items[i].State; was == Waiting || was == Granted {
			if r.Items[i] = r.Items[i].at(now); r.Items[i].State != was {
				r.changed = true
				over = append(over, r.Items[i])
			}
		}
	}
	return over
}

// trim drops items that need not be shown any longer, and then those that ended first, until there
// is space for more items.
func (r *record) trim(now time.Time, room int) {
	var items []Request
	for _, q := range r.Items {
		if q.live() || now.Before(q.forget()) {
			items = append(items, q)
		}
	}
	for len(items)+room > maxItems {
		oldest := -1
		for i := range items {
			if !items[i].live() && (oldest < 0 || items[i].Over.Before(items[oldest].Over)) {
				oldest = i
			}
		}
		if oldest < 0 {
			break
		}
		items = append(items[:oldest:oldest], items[oldest+1:]...)
	}
	r.Items = items
	var days []time.Time
	for _, d := range r.Days {
		if now.Sub(d) < 24*time.Hour {
			days = append(days, d)
		}
	}
	r.Days = days
}

// until is when nothing in the record is needed any longer.
func (r *record) until(now time.Time) time.Time {
	last := now.Add(time.Minute)
	for i := range r.Items {
		if f := r.Items[i].forget(); f.After(last) {
			last = f
		}
	}
	for _, d := range r.Days {
		if f := d.Add(24 * time.Hour); f.After(last) {
			last = f
		}
	}
	return last
}

// storeTimeout bounds one operation.
const storeTimeout = 2 * time.Second

// read returns a person's record; a missing one is empty. So is a record whose seal is invalid: it
// belongs to another person, is forged or was sealed with a removed secret, and grants nothing
// (threats G5).
func (b *Book) read(ctx context.Context, l locator) (*record, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	raw, err := b.Store.Get(ctx, l.key())
	if errors.Is(err, store.ErrNotFound) {
		return &record{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("accessrequest: reading a record: %w", err)
	}
	r := &record{}
	if plain, ok := b.open(l.key(), raw); !ok || json.Unmarshal(plain, r) != nil {
		r = &record{}
	}
	r.raw = raw
	for i := range r.Items {
		if q := &r.Items[i]; q.State == Granted {
			if q.lapsed, err = b.lapsed(ctx, q); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (q *Request) leaseKey() string { return "access:lease:" + q.ID + ":" + q.Live }

// lease lets the store measure a grant's time: it deletes the lease when that is over. Each answer
// has a lease of its own, so that an answer that was not written leaves no lease to another.
func (b *Book) lease(ctx context.Context, q *Request) error {
	q.Live = newID("")
	box, err := b.sealer().SealRecord(q.leaseKey(), nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.Store.Add(ctx, q.leaseKey(), box, q.For); err != nil {
		return fmt.Errorf("accessrequest: writing a lease: %w", err)
	}
	return nil
}

// lapsed reports whether a grant's lease has expired in the store, or is forged.
func (b *Book) lapsed(ctx context.Context, q *Request) (bool, error) {
	box, err := b.Store.Get(ctx, q.leaseKey())
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("accessrequest: reading a lease: %w", err)
	}
	_, ok := b.open(q.leaseKey(), box)
	return !ok, nil
}

func (b *Book) open(key string, raw []byte) ([]byte, bool) {
	plain, _, err := b.sealer().OpenRecord(key, raw)
	return plain, err == nil
}

var errChanged = errors.New("accessrequest: the record has changed")

// write replaces a record that was read; errChanged if another replica has replaced it.
func (b *Book) write(ctx context.Context, l locator, r *record, now time.Time) error {
	plain, err := json.Marshal(r)
	if err != nil {
		return err
	}
	box, err := b.sealer().SealRecord(l.key(), plain)
	if err != nil {
		return err
	}
	if len(box) > maxRecord {
		return ErrTooMany
	}
	ttl := r.until(now).Sub(now) + skew
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if r.raw == nil {
		err = b.Store.Add(ctx, l.key(), box, ttl)
	} else {
		err = b.Store.Swap(ctx, l.key(), r.raw, box, ttl)
	}
	switch {
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrNotFound):
		return errChanged
	case err != nil:
		return fmt.Errorf("accessrequest: writing a record: %w", err)
	}
	r.raw = box
	return nil
}

const (
	skew  = time.Minute // maximum difference of replicas' clocks
	swaps = 16          // how often a step is tried again when another one came between
)

// change applies a step to a person's record, and repeats it if another step came between. step returns
// an error to leave the record unchanged. Items that have expired meanwhile are written too.
func (b *Book) change(ctx context.Context, l locator, step func(r *record, now time.Time) error) error {
	for range swaps {
		fetched := time.Now()
		r, err := b.read(ctx, l)
		if err != nil {
			return err
		}
		now := b.now()
		over := r.expire(now)
		if err = step(r, now); err != nil {
			return err
		}
		r.trim(now, 0)
		err = b.write(ctx, l, r, now)
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			b.records.Delete(l) // it may have been written
			return err
		}
		b.remember(l, r, fetched)
		for _, q := range over {
			b.audit(q, "")
		}
		return nil
	}
	return fmt.Errorf("accessrequest: changing a record: %w", errChanged)
}
