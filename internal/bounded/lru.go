package bounded

import (
	"iter"
	"sync"
)

// LRU is a bounded map that finds or makes its values. If it is full, the least recently used
// value of a sample is evicted. The values themselves record when they were used, so that a
// request of a known key costs only a read lock. Make it with NewLRU; safe for concurrent use.
//
// It is for values that can be recomputed. What must not be lost (used codes, revocations) belongs
// into a set that refuses when it is full.
type LRU[K comparable, V any] struct {
	max     int
	used    func(V) int64
	evicted func(V)

	mu  sync.RWMutex
	all map[K]V
}

// sample is how many values are compared to find the one to evict; map iteration starts at a
// random entry.
const sample = 64

// NewLRU makes an empty map for at most max values. used returns when a value was last used, in
// any increasing unit. evicted is called with each evicted value, while the map is locked; if nil,
// it is not called.
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

// Of returns the value of key, or makes it.
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

// evict requires m.mu.
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

// Sweep evicts the values that were last used before the given time.
func (m *LRU[K, V]) Sweep(before int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, v := range m.all {
		if m.used(v) < before {
			m.forget(key)
		}
	}
}

// DeleteFunc evicts the values for which over returns true.
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

// Values iterates over the values in no particular order, with the map locked for reading.
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
