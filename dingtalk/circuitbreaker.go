package dingtalk

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	punishment  = 5 * time.Minute // DingTalk refuses an address for this long; calling on prolongs it
	firstHold   = time.Second
	longestHold = 30 * time.Second
)

// everything is the name of the gate before all calls.
const everything = ""

// outcome is what a call that passed the gates tells them.
type outcome int

const (
	unknown   outcome = iota // no answer: says nothing about throttling
	answered                 // any answer but a throttle
	throttled                // this API has had enough of us
	punished                 // this address has had enough: all calls stop
)

// gates hold calls back after DingTalk asked for it: one gate per API path,
// one before everything. A gate that was shut lets a single call try when its
// time is over (half-open) and opens when that is answered. Keys are the path
// constants of this package, so the map is bounded.
//
// The zero value is open. Safe for concurrent use.
type gates struct {
	mu   sync.Mutex
	shut map[string]*hold
}

type hold struct {
	until  time.Time
	length time.Duration
	trying bool
}

// enter asks to make a call. When ok, leave must be called with its outcome.
func (g *gates) enter(path string, now time.Time) (ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range []string{everything, path} {
		if h := g.shut[name]; h != nil && (h.trying || now.Before(h.until)) {
			return false
		}
	}
	for _, name := range []string{everything, path} {
		if h := g.shut[name]; h != nil {
			h.trying = true
		}
	}
	return true
}

func (g *gates) leave(path string, now time.Time, o outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch o {
	case unknown:
		g.release(everything)
		g.release(path)
	case answered:
		g.open(everything, now)
		g.open(path, now)
	case throttled:
		g.open(everything, now)
		g.close(path, now, firstHold, longestHold)
	case punished:
		g.release(path)
		g.close(everything, now, punishment, punishment)
	}
}

func (g *gates) release(name string) {
	if h := g.shut[name]; h != nil {
		h.trying = false
	}
}

// open forgets a hold, but not one that began while the call was under way.
func (g *gates) open(name string, now time.Time) {
	if h := g.shut[name]; h != nil && !now.Before(h.until) {
		delete(g.shut, name)
	}
}

// close shuts a gate for first, doubled at each failed try up to longest, with
// up to 20 % of jitter so that replicas do not come back as one. Refusals of
// calls that were under way when the gate closed do not count again.
func (g *gates) close(name string, now time.Time, first, longest time.Duration) {
	h := g.shut[name]
	switch {
	case h == nil:
		h = &hold{length: first}
		if g.shut == nil {
			g.shut = map[string]*hold{}
		}
		g.shut[name] = h
	case now.Before(h.until):
		return
	default:
		h.length = min(2*h.length, longest)
	}
	h.trying = false
	h.until = now.Add(h.length + jitter(h.length/5))
}

// jitter is a random time below limit; it hides nothing, so it need not be
// cryptographic.
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}
