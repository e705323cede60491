package accessrequest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"dinggate/store"
)

// Sealer seals records; it is keyring.Keyring.
type Sealer interface {
	SealRecord(name string, plain []byte) ([]byte, error)
	OpenRecord(name string, box []byte) (plain []byte, old bool, err error)
}

// record is all that one person asked for.
type record struct {
	Items []Request   `json:"i"`
	Days  []time.Time `json:"d"` // when the requests of the last 24 hours were made

	raw     []byte // as the store has it; nil: it has none
	settled bool   // settle changed it
}

// find gives the index of a request; -1 for none.
func (r *record) find(id string) int {
	for i := range r.Items {
		if r.Items[i].ID == id {
			return i
		}
	}
	return -1
}

// settle writes down whose time is over, and lists these.
func (r *record) settle(now time.Time) (over []Request) {
	for i := range r.Items {
		if was := r.Items[i].State; was == Waiting || was == Granted {
			if r.Items[i] = r.Items[i].at(now); r.Items[i].State != was {
				r.settled = true
				over = append(over, r.Items[i])
			}
		}
	}
	return over
}

// trim forgets what need not be shown any more, and then what was over first,
// until there is room for more items.
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

// until is when nothing of the record counts any more.
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

// read gets a person's record; a missing one is empty. So is one that does not open:
// it is another person's, a forged one or sealed with a secret that is gone, and
// grants nothing (threats G5).
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
	return r, nil
}

func (b *Book) open(key string, raw []byte) ([]byte, bool) {
	plain, _, err := b.sealer().OpenRecord(key, raw)
	return plain, err == nil
}

var errChanged = errors.New("accessrequest: the record has changed")

// write replaces a record that was read; errChanged when another replica did first.
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
	skew  = time.Minute // how far clocks of replicas may differ
	swaps = 16          // how often a step is tried again when another one came between
)

// change applies a step to a person's record until nobody comes between. step returns
// an error to leave the record as it is. What time ended meanwhile is noted too.
func (b *Book) change(ctx context.Context, l locator, step func(r *record, now time.Time) error) error {
	for range swaps {
		fetched := time.Now()
		r, err := b.read(ctx, l)
		if err != nil {
			return err
		}
		now := b.now()
		over := r.settle(now)
		if err = step(r, now); err != nil {
			return err
		}
		r.trim(now, 0)
		err = b.write(ctx, l, r, now)
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			b.people.Delete(l) // it may have been written
			return err
		}
		b.learn(l, r, fetched)
		for _, q := range over {
			b.tell(q, "")
		}
		return nil
	}
	return fmt.Errorf("accessrequest: changing a record: %w", errChanged)
}
