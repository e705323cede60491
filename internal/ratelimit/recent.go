package ratelimit

import (
	"cmp"
	"sync"
	"time"

	"dinggate/internal/bounded"
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
		bounded.Trim(r.all, MaxKeys, func(t tally) bool { return r.over(t, now) }, func(a, b tally) int {
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
