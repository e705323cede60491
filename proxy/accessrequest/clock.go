package accessrequest

import (
	"sync"
	"time"
)

// clock is a wall clock that never goes back while the process runs, since a grant would then live
// longer. Its time is the latest of the machine's clock, of its own previous time plus the time
// elapsed since, and of the times that other replicas and earlier processes wrote to the store. A
// clock that is ahead ends grants early.
type clock struct {
	once sync.Once
	wall func() time.Time // nil is time.Now

	mu     sync.Mutex
	latest time.Time // the latest time so far
	since  time.Time // when that was, with a monotonic reading
}

// start sets the machine's clock, once.
func (c *clock) start(wall func() time.Time) {
	c.once.Do(func() {
		c.wall = wall
		c.raise(c.read())
	})
}

// now requires a previous call of start.
func (c *clock) now() time.Time { return c.raise(c.read()) }

// read returns the machine's clock, without a monotonic reading.
func (c *clock) read() time.Time {
	if c.wall != nil {
		return c.wall().Round(0)
	}
	return time.Now().Round(0)
}

// raise advances the clock to a time that this machine or another replica has seen, and returns
// the current time.
func (c *clock) raise(seen time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	mono := time.Now()
	if now := c.latest.Add(mono.Sub(c.since)); !c.since.IsZero() && !seen.After(now) {
		return now
	}
	c.latest, c.since = seen, mono
	return seen
}
