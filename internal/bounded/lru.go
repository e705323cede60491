package bounded

import (
	"iter"
	"sync"
)

// LRU is a bounded map that finds or makes its values. A full one forgets the
// least recently used of a sample. The values know themselves when they were
// used, so that a request of a known key costs a read lock alone. Make it with
// NewLRU; safe for concurrent use.
//
// It is for what can be found out again. What must not be forgotten (used codes,
// revocations) belongs into a set that refuses when it is full.
type LRU[K comparable, V any] struct {
	max     int
	used    func(V) int64
	evicted func(V)

	mu  sync.RWMutex
	all map[K]V
}

// sample is how many values are compared to find one to forget; a map is walked
// from a random place.
const sample = 64

// NewLRU makes an empty map for at most max values. used says when a value was
// last used, in any unit that grows. evicted is called with each value that is
// forgotten, while the map is locked; nil: not called.
func NewLRU[K comparable, V any](max int, used func(V) int64, evicted func(V)) *LRU[K, V] {
	return &LRU[K, V]{max: max, used: used, evicted: evicted, all: map[K]V{}}
}

// Get finds a value.
func (m *LRU[K, V]) Get(key K) (value V, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, ok = m.all[key]
	return value, ok
}

// Of finds the value of key, or makes it.
func (m *LRU[K, V]) Of(key K, make func() V) V {
	if v, ok := m.Get(key); ok {
		return v
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.all[key]; ok {
		return v
	}
	if len(m.all) >= m.max {
		m.evict()
	}
	v := make()
	m.all[key] = v
	return v
}

// evict needs m.mu.
func (m *LRU[K, V]) evict() {
	var oldest K
	var least int64
	seen := 0
	for key, v := range m.all {
		if used := m.used(v); seen == 0 || used < least {
			oldest, least = key, used
		}
		if seen++; seen == sample {
			break
		}
	}
	if seen > 0 {
		m.forget(oldest)
	}
}

func (m *LRU[K, V]) forget(key K) {
	if m.evicted != nil {
		m.evicted(m.all[key])
	}
	delete(m.all, key)
}

// Sweep forgets the values that were last used before the given moment.
func (m *LRU[K, V]) Sweep(before int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, v := range m.all {
		if m.used(v) < before {
			m.forget(key)
		}
	}
}

// DeleteFunc forgets the values that over is true of.
func (m *LRU[K, V]) DeleteFunc(over func(V) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, v := range m.all {
		if over(v) {
			m.forget(key)
		}
	}
}

// Len is the number of values.
func (m *LRU[K, V]) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.all)
}

// Values walks the values in no order, with the map locked for reading.
func (m *LRU[K, V]) Values() iter.Seq[V] {
	return func(yield func(V) bool) {
		m.mu.RLock()
		defer m.mu.RUnlock()
		for _, v := range m.all {
			if !yield(v) {
				return
			}
		}
	}
}
