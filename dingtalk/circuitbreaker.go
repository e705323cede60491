package dingtalk

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	ipBlockFor  = 5 * time.Minute // DingTalk refuses an address for this long; further calls prolong it
	firstOpen   = time.Second
	longestOpen = 30 * time.Second
)

// allPaths is the key of the state of all calls.
const allPaths = ""

// outcome is the result of a call that was allowed.
type outcome int

const (
	unknown   outcome = iota // no answer: nothing is known about throttling
	answered                 // any answer except throttling
	throttled                // DingTalk throttles this API
	ipBlocked                // DingTalk refuses our IP address: all calls stop
)

// circuitBreaker stops all calls while DingTalk refuses our IP address, and without a
// Client.Budget also those of a path that it throttles: one state per API path, and
// one for all paths. When an open state expires, one call may pass (half-open);
// its outcome closes or reopens the circuit. Keys are the path constants of this
// package, so the map is bounded.
//
// The zero value is closed: every call is allowed. Safe for concurrent use.
type circuitBreaker struct {
	mu     sync.Mutex
	states map[string]*openState // open or half-open; a closed circuit has none
}

type openState struct {
	until  time.Time
	length time.Duration
	trying bool // half-open: one call is in progress
}

// allow reports whether a call may be made. If so, record must be called with
// its outcome.
func (b *circuitBreaker) allow(path string, now time.Time) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range []string{allPaths, path} {
		if s := b.states[name]; s != nil && (s.trying || now.Before(s.until)) {
			return false
		}
	}
	for _, name := range []string{allPaths, path} {
		if s := b.states[name]; s != nil {
			s.trying = true
		}
	}
	return true
}

// record records the outcome of a call that was allowed.
func (b *circuitBreaker) record(path string, now time.Time, o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch o {
	case unknown:
		b.endTrial(allPaths)
		b.endTrial(path)
	case answered:
		b.reset(allPaths, now)
		b.reset(path, now)
	case throttled:
		b.reset(allPaths, now)
		b.trip(path, now, firstOpen, longestOpen)
	case ipBlocked:
		b.endTrial(path)
		b.trip(allPaths, now, ipBlockFor, ipBlockFor)
	}
}

func (b *circuitBreaker) endTrial(name string) {
	if s := b.states[name]; s != nil {
		s.trying = false
	}
}

// reset closes a circuit unless it opened during the call.
func (b *circuitBreaker) reset(name string, now time.Time) {
	if s := b.states[name]; s != nil && !now.Before(s.until) {
		delete(b.states, name)
	}
}

// trip opens a circuit for first, doubled after each failed attempt up to longest,
// with up to 20 % of jitter so that replicas do not retry at the same moment.
// Refusals of calls that were in progress when it opened do not count again.
func (b *circuitBreaker) trip(name string, now time.Time, first, longest time.Duration) {
	s := b.states[name]
	switch {
	case s == nil:
		s = &openState{length: first}
		if b.states == nil {
			b.states = map[string]*openState{}
		}
		b.states[name] = s
	case now.Before(s.until):
		return
	default:
		s.length = min(2*s.length, longest)
	}
	s.trying = false
	s.until = now.Add(s.length + jitter(s.length/5))
}

// jitter returns a random duration below limit. It needs no cryptographic
// randomness.
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}
