package ratelimit

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Recent counts recent events per key: a count expires when nothing was added to
// it for Life. The zero value with a Life is ready; safe for
// concurrent use.
type Recent[K comparable] struct {
	Life time.Duration // 0: 15 minutes

	mu  sync.Mutex
	all map[K]tally
}

type tally struct {
	count int
	last  time.Time
}

const usualLife = 15 * time.Minute

func (r *Recent[K]) over(t tally, now time.Time) bool {
	life := r.Life
	if life <= 0 {
		life = usualLife
	}
	return now.Sub(t.last) >= life
}

// Add counts one event and returns the recent count, this one included.
func (r *Recent[K]) Add(key K, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[K]tally{}
	}
	t, known := r.all[key]
	if !known && len(r.all) >= MaxKeys {
		trim(r.all, func(t tally) bool { return r.over(t, now) }, func(a, b tally) int {
			return cmp.Or(cmp.Compare(a.count, b.count), a.last.Compare(b.last))
		})
	}
	if r.over(t, now) {
		t = tally{}
	}
	t.count, t.last = t.count+1, now
	r.all[key] = t
	return t.count
}

// Count returns the recent count.
func (r *Recent[K]) Count(key K, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.all[key]; !r.over(t, now) {
		return t.count
	}
	return 0
}

// Forget drops the key's count.
func (r *Recent[K]) Forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, key)
}

// trim deletes the expired entries, and the smallest of the rest until a sixteenth
// of the table is free, so that one pass makes space for many new keys.
func trim[K comparable, V any](all map[K]V, over func(V) bool, compare func(a, b V) int) {
	var left []V
	for key, v := range all {
		if over(v) {
			delete(all, key)
		} else {
			left = append(left, v)
		}
	}
	surplus := len(left) - (MaxKeys - MaxKeys/16)
	if surplus <= 0 {
		return
	}
	slices.SortFunc(left, compare)
	last := left[surplus-1]
	for key, v := range all {
		if compare(v, last) <= 0 && surplus > 0 {
			delete(all, key)
			surplus--
		}
	}
}
