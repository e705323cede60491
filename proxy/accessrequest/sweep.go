package accessrequest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"dinggate/store"
)

// The index lists the people with requests, for lists and for the sweep: shards of locators. A
// locator is entered before its record is written, so that a crash leaves an entry without a
// record, and never a grant without an entry.
const (
	indexShards = 32
	shardMax    = 2_000 // locators: 64,000 people in all
	sweepEvery  = 30 * time.Second
	clockKey    = "access:clock"
	clockLife   = 2 * time.Hour
	clockEvery  = 30 * time.Second
	retryAfter  = 5 * time.Second
)

type shard struct {
	People map[locator]int64 `json:"p"` // when the last entry may be deleted, in Unix seconds
	raw    []byte
}

func shardKey(n int) string { return "access:index:" + strconv.Itoa(n) }

func (b *Book) shardCount() int {
	if b.shards > 0 {
		return b.shards
	}
	return indexShards
}

func (b *Book) readShard(ctx context.Context, n int) (*shard, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	s := &shard{People: map[locator]int64{}}
	raw, err := b.Store.Get(ctx, shardKey(n))
	if errors.Is(err, store.ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("accessrequest: reading the index: %w", err)
	}
	if plain, ok := b.open(shardKey(n), raw); ok {
		_ = json.Unmarshal(plain, s)
	}
	if s.People == nil {
		s.People = map[locator]int64{}
	}
	s.raw = raw
	return s, nil
}

func (b *Book) changeShard(ctx context.Context, n int, step func(s *shard, now time.Time) (bool, error)) error {
	for range swaps {
		s, err := b.readShard(ctx, n)
		if err != nil {
			return err
		}
		now := b.now()
		if changed, err := step(s, now); err != nil || !changed {
			return err
		}
		plain, err := json.Marshal(s)
		if err != nil {
			return err
		}
		box, err := b.sealer().SealRecord(shardKey(n), plain)
		if err != nil {
			return err
		}
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		if s.raw == nil {
			err = b.Store.Add(writing, shardKey(n), box, MaxLongest+3*shownFor)
		} else {
			err = b.Store.Swap(writing, shardKey(n), s.raw, box, MaxLongest+3*shownFor)
		}
		cancel()
		if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("accessrequest: writing the index: %w", err)
		}
		return nil
	}
	return fmt.Errorf("accessrequest: changing the index: %w", errChanged)
}

// MaxLongest bounds the duration of a grant.
const MaxLongest = 30 * 24 * time.Hour

// enlist enters a person into the index. Its error is ErrFull.
func (b *Book) enlist(ctx context.Context, l locator) error {
	return b.changeShard(ctx, int(l[0])%b.shardCount(), func(s *shard, now time.Time) (bool, error) {
		for one, until := range s.People {
			if until < now.Unix() {
				delete(s.People, one)
			}
		}
		last := now.Add(MaxLongest + Unanswered + shownFor)
		if known, ok := s.People[l]; !ok && len(s.People) >= shardMax {
			return false, ErrFull
		} else if ok && last.Sub(time.Unix(known, 0)) < shownFor {
			return false, nil
		}
		s.People[l] = last.Unix()
		return true, nil
	})
}

// List returns all requests that wait or grant access, the newest first; with ended also those
// that have ended and are still shown.
func (b *Book) List(ctx context.Context, ended bool) ([]Request, error) {
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	var list []Request
	err := b.walk(ctx, func(_ locator, r *record) error {
		now := b.now()
		for _, q := range r.Items {
			if q = q.at(now); q.live() || ended {
				list = append(list, q)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(x, y Request) int { return y.Requested.Compare(x.Requested) })
	return list, err
}

func (b *Book) walk(ctx context.Context, visit func(locator, *record) error) error {
	for n := range b.shardCount() {
		s, err := b.readShard(ctx, n)
		if err != nil {
			return err
		}
		for l := range s.People {
			if len(l) != locatorLength {
				continue
			}
			r, err := b.read(ctx, l)
			if err != nil {
				return err
			}
			if err := visit(l, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run writes expired items to the store until ctx ends, so that they are audited and stay expired
// whatever a clock does. Any number of replicas may run it.
func (b *Book) Run(ctx context.Context) {
	var swept time.Time
	for ctx.Err() == nil {
		if swept.IsZero() || time.Since(swept) >= sweepEvery {
			if b.sweep(ctx, nil) == nil {
				swept = time.Now()
			}
		}
		pause, cancel := context.WithTimeout(ctx, b.endDue(ctx))
		<-pause.Done()
		cancel()
	}
}

// sweep visits all people, ends the items for which why returns a reason, and records when the
// rest ends.
func (b *Book) sweep(ctx context.Context, why func(*Request) string) error {
	if err := b.markTime(ctx); err != nil {
		return err
	}
	due := map[locator]time.Time{}
	err := b.walk(ctx, func(l locator, r *record) error {
		now := b.now()
		var next time.Time
		over := false
		for i := range r.Items {
			q := &r.Items[i]
			if !q.live() {
				continue
			}
			over = over || q.at(now).State != q.State || why != nil && why(q) != ""
			ends := q.Until
			if q.State == Waiting {
				ends = q.Requested.Add(Unanswered)
			}
			if next.IsZero() || ends.Before(next) {
				next = ends
			}
		}
		if over {
			return b.expire(ctx, l, why)
		}
		if !next.IsZero() {
			due[l] = next
		}
		return nil
	})
	if err == nil {
		b.mu.Lock()
		b.due = due
		b.mu.Unlock()
	}
	return err
}

// expire writes the expired items of one record, and ends those live items for which why, unless
// nil, returns a reason.
func (b *Book) expire(ctx context.Context, l locator, why func(*Request) string) error {
	var ended []Request
	err := b.change(ctx, l, func(r *record, now time.Time) error {
		ended = nil
		for i := range r.Items {
			if q := &r.Items[i]; why != nil && q.live() {
				if reason := why(q); reason != "" {
					end(q, reason, "", now)
					ended = append(ended, *q)
				}
			}
		}
		if ended == nil && !r.changed {
			return errUnchanged
		}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err == nil {
		for _, q := range ended {
			b.audit(q, "")
		}
	}
	return err
}

var errUnchanged = errors.New("accessrequest: nothing to change")

// endDue writes items that have expired since the last sweep, and returns when to look again.
func (b *Book) endDue(ctx context.Context) (wait time.Duration) {
	now := b.now()
	var over []locator
	wait = sweepEvery
	b.mu.Lock()
	for l, at := range b.due {
		if left := at.Sub(now); left <= 0 {
			over = append(over, l)
		} else if left < wait {
			wait = left
		}
	}
	b.mu.Unlock()
	for _, l := range over {
		if b.expire(ctx, l, nil) != nil {
			wait = min(wait, retryAfter)
			continue
		}
		b.mu.Lock()
		delete(b.due, l)
		b.mu.Unlock()
	}
	return wait
}

// prepare reads the time that other replicas and earlier processes have seen: nothing is granted
// before, since this machine's clock may have been set back.
func (b *Book) prepare(ctx context.Context) error {
	if b.ready.Load() {
		return nil
	}
	return b.markTime(ctx)
}

// markTime exchanges the time with the store.
func (b *Book) markTime(ctx context.Context) error {
	reading, cancel := context.WithTimeout(ctx, storeTimeout)
	raw, err := b.Store.Get(reading, clockKey)
	cancel()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("accessrequest: reading the time: %w", err)
	}
	var seen time.Time
	if plain, ok := b.open(clockKey, raw); err == nil && ok && len(plain) == 8 {
		seen = time.UnixMilli(int64(binary.BigEndian.Uint64(plain)))
		b.clock.start(b.Now)
		b.clock.raise(seen)
	}
	b.ready.Store(true)
	// Only clock readings are written: a time that came from the store would otherwise never
	// expire, however wrong it was.
	b.clock.start(b.Now)
	if own := b.clock.read(); own.Sub(seen) >= clockEvery {
		box, err := b.sealer().SealRecord(clockKey, binary.BigEndian.AppendUint64(nil, uint64(own.UnixMilli())))
		if err != nil {
			return err
		}
		writing, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := b.Store.Put(writing, clockKey, box, clockLife); err != nil {
			return fmt.Errorf("accessrequest: writing the time: %w", err)
		}
	}
	return nil
}
