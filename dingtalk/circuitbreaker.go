package dingtalk

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	ipBlockFor  = 5 * time.Minute // DingTalk refuses an address for this long; calling on prolongs it
	firstOpen   = time.Second
	longestOpen = 30 * time.Second
)

// allPaths is the key of the state that holds for all calls.
const allPaths = ""

// outcome is how a call that was allowed ended.
type outcome int

const (
	unknown   outcome = iota // no answer: says nothing about throttling
	answered                 // any answer but a throttle
	throttled                // DingTalk throttles this API
	ipBlocked                // DingTalk refuses our address: all calls stop
)

// circuitBreaker stops calls after DingTalk asked for fewer: one state per API
// path, and one for all paths. When an open state's time is over, a single call
// may try (half-open); its answer closes the circuit again. Keys are the path
// constants of this package, so the map is bounded.
//
// The zero value is closed: every call is allowed. Safe for concurrent use.
type circuitBreaker struct {
	mu     sync.Mutex
	states map[string]*openState // open or half-open; a closed circuit has none
}

type openState struct {
	until  time.Time
	length time.Duration
	trying bool // half-open: one call is under way
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

// record takes the outcome of a call that was allowed.
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

// reset closes a circuit, unless it was opened while the call was under way.
func (b *circuitBreaker) reset(name string, now time.Time) {
	if s := b.states[name]; s != nil && !now.Before(s.until) {
		delete(b.states, name)
	}
}

// trip opens a circuit for first, doubled at each failed trial up to longest,
// with up to 20 % of jitter so that replicas do not return at the same moment.
// Refusals of calls that were under way when it opened do not count again.
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

// jitter is a random time below limit. It hides nothing, so that it need not
// be cryptographic.
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit)
}
