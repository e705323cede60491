package accessrequest

import (
	"sync"
	"time"
)

// clock is a wall clock that never goes back while the process runs, since a grant
// would live longer: it is the latest of what the machine's clock says, of its
// first reading plus the time that has passed since, and of what other replicas
// and earlier processes said in the store. A clock that is ahead ends grants early.
type clock struct {
	once  sync.Once
	wall  func() time.Time // nil: time.Now
	began time.Time        // with a monotonic reading
	first time.Time        // the wall then

	mu    sync.Mutex
	floor time.Time // from elsewhere
	since time.Time // when that was learned, monotonic
}

// start sets the machine's clock, once.
func (c *clock) start(wall func() time.Time) {
	c.once.Do(func() {
		c.wall = wall
		c.began, c.first = time.Now(), c.read()
	})
}

// now needs start.
func (c *clock) now() time.Time {
	now := c.read()
	if anchored := c.first.Add(time.Since(c.began)); anchored.After(now) {
		now = anchored
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.floor.IsZero() {
		if f := c.floor.Add(time.Since(c.since)); f.After(now) {
			now = f
		}
	}
	return now
}

// read is the machine's clock alone, without a monotonic reading.
func (c *clock) read() time.Time {
	if c.wall != nil {
		return c.wall().Round(0)
	}
	return time.Now().Round(0)
}

// raise takes a moment that another replica has seen.
func (c *clock) raise(seen time.Time) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if seen.After(now) {
		c.floor, c.since = seen, time.Now()
	}
}
