package index

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// op is one change to write.
type op struct {
	shard int // -1: every shard
	add   Entry
	drop  func(*Entry) bool // nil: add is added, or its Seen updated
}

// pending holds the changes of this process that are not written yet.
type pending struct {
	since time.Time

	mu      sync.Mutex
	ops     []op
	running bool
	failing bool // the last write failed
	lost    bool // a change was dropped because too many were pending
}

const (
	retryFirst = time.Second
	retryMost  = 15 * time.Second
)

// behind reports whether a change could not be written.
func (p *pending) behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing || p.lost
}

// Add adds a session that has begun. It does not block.
func (x *Index) Add(e Entry) { x.change(e) }

// Touch updates when sessions were last seen, and adds those that are missing. It does
// not block.
func (x *Index) Touch(list []Entry) { x.change(list...) }

func (x *Index) change(list ...Entry) {
	if x == nil || x.Store == nil || len(list) == 0 {
		return
	}
	ops := make([]op, 0, len(list))
	for _, e := range list {
		if id, err := base64.RawURLEncoding.DecodeString(e.ID); err != nil || len(id) != idLength {
			continue // of no session
		}
		u := &e.User
		e.User = identity.User{UnionID: u.UnionID, UserID: u.UserID, Username: u.Username, Name: u.Name, Local: u.Local}
		e.Seen = e.Seen.Truncate(time.Minute)
		ops = append(ops, op{shard: x.shard(&e), add: e})
	}
	x.enqueue(ops...)
}

// Drop removes the sessions for which ended returns true, of a person or, if person is zero, of
// all people. It does not block.
func (x *Index) Drop(person identity.Key, ended func(*Entry) bool) {
	if x == nil || x.Store == nil {
		return
	}
	o := op{shard: -1, drop: ended}
	if person != (identity.Key{}) {
		o.shard = shardOf(person)
	}
	x.enqueue(o)
}

// Places reports whether all sessions that a key identifies are in one shard.
func (x *Index) Places(key identity.Key) bool {
	switch key.Kind {
	case identity.KeyUnionID:
		return !x.Service
	case identity.KeyUsername, identity.KeyBoth, identity.KeyAccount:
		return true
	}
	return false
}

func (x *Index) enqueue(ops ...op) {
	x.mu.Lock()
	room := min(max(0, maxPending-len(x.ops)), len(ops))
	x.ops, x.lost = append(x.ops, ops[:room]...), x.lost || room < len(ops)
	start := !x.running
	x.running = true
	x.mu.Unlock()
	if start && !x.Start(x.work) {
		x.mu.Lock()
		x.running = false
		x.mu.Unlock()
	}
}

// Resume continues with the pending changes that an earlier configuration left. lost
// reports that changes were dropped since the last call: call Touch with all known
// sessions.
func (x *Index) Resume() (lost bool) {
	if x == nil || x.Store == nil {
		return false
	}
	x.mu.Lock()
	waiting := len(x.ops) > 0 && !x.running
	lost, x.lost = x.lost, false
	x.mu.Unlock()
	if waiting {
		x.enqueue()
	}
	return lost
}

// take returns all pending changes; a worker that gets none ends.
func (x *Index) take() []op {
	x.mu.Lock()
	defer x.mu.Unlock()
	ops := x.ops
	x.ops = nil
	x.running = len(ops) > 0
	return ops
}

// put returns changes that could not be written to the front of the queue.
func (x *Index) put(ops []op) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ops = append(ops, x.ops...)
	room := min(len(x.ops), maxPending)
	x.ops, x.lost = x.ops[:room], x.lost || room < len(x.ops)
}

func (x *Index) settled(failing bool) {
	x.mu.Lock()
	x.failing = failing
	x.mu.Unlock()
}

// work writes until nothing is pending or the context ends.
func (x *Index) work() {
	ctx, pause := x.Context(), retryFirst
	for {
		ops := x.take()
		if len(ops) == 0 {
			return
		}
		rest, err := x.write(ctx, ops)
		x.settled(err != nil)
		if err == nil {
			pause = retryFirst
			continue
		}
		x.put(rest)
		wait := time.NewTimer(pause)
		pause = min(2*pause, retryMost)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			x.mu.Lock()
			x.running = false
			x.mu.Unlock()
			return
		}
	}
}

// Flush writes the pending changes now, once; for the end of the process.
func (x *Index) Flush(ctx context.Context) error {
	if x == nil || x.Store == nil {
		return nil
	}
	x.mu.Lock()
	ops := x.ops
	x.ops = nil
	x.mu.Unlock()
	if len(ops) == 0 {
		return nil
	}
	rest, err := x.write(ctx, ops)
	if err != nil {
		x.put(rest)
	}
	return err
}

// write makes the changes, shard by shard; rest is what is left after an error.
func (x *Index) write(ctx context.Context, ops []op) (rest []op, err error) {
	if err := x.init(); err != nil {
		return nil, err // the same error would occur for the next shard
	}
	touched := map[int]bool{}
	for i := range ops {
		if touched[ops[i].shard] = true; ops[i].shard < 0 {
			for n := range Shards {
				touched[n] = true
			}
		}
	}
	for n := range Shards {
		if !touched[n] {
			continue
		}
		var own []op
		for i := range ops {
			if ops[i].shard == n || ops[i].shard < 0 {
				own = append(own, ops[i])
			}
		}
		for i, space := range x.spaces {
			if one := x.update(ctx, shardKey(space, n), own, i == 0); one != nil {
				err = one
			}
			if err != nil {
				break
			}
		}
		if err != nil {
			break
		}
		ops = without(ops, n)
	}
	return ops, err
}

// without removes the changes of a shard; those of every shard stay, since they are
// idempotent.
func without(ops []op, n int) []op {
	rest := ops[:0:0]
	for _, o := range ops {
		if o.shard != n {
			rest = append(rest, o)
		}
	}
	return rest
}

var errContended = errors.New("session index: other replicas change the same part all the time")

// update changes one shard's record; other replicas may do so at the same time.
func (x *Index) update(ctx context.Context, key string, ops []op, first bool) error {
	for range swaps {
		s, err := x.read(ctx, key)
		now := x.Now()
		switch {
		case errors.Is(err, ErrUnreadable) && s.newer:
			return nil // written by a newer release; lists report that they are incomplete
		case errors.Is(err, ErrUnreadable):
			s = shard{raw: s.raw, cut: now}
		case err != nil:
			return err
		}
		if !s.apply(x, ops, first, now) {
			return nil
		}
		plain, err := s.encode(now)
		if err != nil {
			return err
		}
		box, err := x.Keyring.SealRecord(key, plain)
		if err != nil {
			return err
		}
		if err = x.replace(ctx, key, s.raw, box); errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		return err
	}
	return errContended
}

func (x *Index) replace(ctx context.Context, key string, old, box []byte) (err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	life := x.Lifetime + 2*skew
	if old == nil {
		err = x.Store.Add(ctx, key, box, life)
	} else {
		err = x.Store.Swap(ctx, key, old, box, life)
	}
	if err != nil && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("session index: writing: %w", err)
	}
	return err
}
