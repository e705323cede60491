package apiauth

import (
	"slices"
	"sync"
	"time"
)

// tokenCache remembers what credentials stand for, by their hashes, and never more
// than maxTokens of them. The zero value is ready.
type tokenCache[T any] struct {
	mu  sync.Mutex
	all map[[32]byte]cachedToken[T]
}

type cachedToken[T any] struct {
	value T
	until time.Time
}

const maxTokens = 10_000

func (c *tokenCache[T]) get(key [32]byte, now time.Time) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.all[key]
	if !ok || !now.Before(found.until) {
		return value, false
	}
	return found.value, true
}

func (c *tokenCache[T]) put(key [32]byte, value T, until, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[[32]byte]cachedToken[T]{}
	}
	if _, known := c.all[key]; !known && len(c.all) >= maxTokens {
		c.trim(now)
	}
	c.all[key] = cachedToken[T]{value, until}
}

func (c *tokenCache[T]) drop(key [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, key)
}

// trim makes room for some hundreds: by what is over, or by what would be next.
func (c *tokenCache[T]) trim(now time.Time) {
	var ends []time.Time
	for key, found := range c.all {
		if !now.Before(found.until) {
			delete(c.all, key)
		} else {
			ends = append(ends, found.until)
		}
	}
	surplus := len(ends) - (maxTokens - maxTokens/16)
	if surplus <= 0 {
		return
	}
	slices.SortFunc(ends, time.Time.Compare)
	for key, found := range c.all {
		if !found.until.After(ends[surplus-1]) && surplus > 0 {
			delete(c.all, key)
			surplus--
		}
	}
}
