// Package bounded provides maps with a bound: no map that unknown clients can add to may grow
// without one.
package bounded

import (
	"slices"
	"sync"
	"time"
)

// Map stores values until they expire, and never more than Max of them. If it is full, the expired
// ones are removed first, then those that expire next. The zero value with a Max is ready to use;
// safe for concurrent use.
type Map[K comparable, V any] struct {
	Max int // 0 is 10,000

	mu  sync.Mutex
	all map[K]entry[V]
}

type entry[V any] struct {
	value   V
	expires time.Time
}

const usualMax = 10_000

// Get returns a value that has not expired.
func (m *Map[K, V]) Get(key K, now time.Time) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.all[key]
	if !ok || !now.Before(found.expires) {
		return value, false
	}
	return found.value, true
}

// Put stores a value until it expires.
func (m *Map[K, V]) Put(key K, value V, expires, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, value, expires, now)
}

// Add is Put for a key without a value, and reports whether it stored the value. Of two concurrent
// calls for one key, one returns true.
func (m *Map[K, V]) Add(key K, value V, expires, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, ok := m.all[key]; ok && now.Before(found.expires) {
		return false
	}
	m.put(key, value, expires, now)
	return true
}

func (m *Map[K, V]) put(key K, value V, expires, now time.Time) {
	if m.all == nil {
		m.all = map[K]entry[V]{}
	}
	if _, known := m.all[key]; !known && len(m.all) >= m.max() {
		Trim(m.all, m.max(), func(e entry[V]) bool { return !now.Before(e.expires) }, func(a, b entry[V]) int {
			return a.expires.Compare(b.expires)
		})
	}
	m.all[key] = entry[V]{value, expires}
}

// Delete removes a key.
func (m *Map[K, V]) Delete(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, key)
}

// Len is the number of values, including expired ones that have not been removed yet.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

func (m *Map[K, V]) max() int {
	if m.Max > 0 {
		return m.Max
	}
	return usualMax
}

// Trim deletes the expired entries, and the smallest of the rest until a sixteenth
// of max is free, so that one pass makes space for many new keys.
func Trim[K comparable, V any](all map[K]V, max int, expired func(V) bool, compare func(a, b V) int) {
	var left []V
	for key, v := range all {
		if expired(v) {
			delete(all, key)
		} else {
			left = append(left, v)
		}
	}
	surplus := len(left) - (max - (max+15)/16)
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
