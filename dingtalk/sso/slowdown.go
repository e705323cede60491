package sso

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"dinggate/internal/ratelimit"
)

// slowdown makes guessing a client's secret slow, for one client at one
// address, without locking anybody out: a client that has sent wrong secrets waits
// before the next one is looked at, right or wrong, and only a few may wait at
// once. The same client at other addresses waits for nothing (threats T5).
//
// The zero value is ready. Its memory is bounded as ratelimit.Recent's.
type slowdown struct {
	wrong ratelimit.Recent[guesser]

	mu      sync.Mutex
	waiting map[guesser]int
}

type guesser struct {
	app     string       // a registered client id; "" for all others together
	network netip.Prefix // ratelimit.Client of the address
}

const (
	freeGuesses = 5
	slowStep    = 10 * time.Millisecond
	// with maxWaiting: at most 640 guesses a second, of secrets with 16 letters and more
	slowMost = 100 * time.Millisecond

	maxWaiting  = 64
	forgetAfter = 15 * time.Minute // ratelimit.Recent's
)

// wait holds a caller back as long as its wrong guesses ask for. False: too
// many wait already, or the caller has gone.
func (s *slowdown) wait(ctx context.Context, who guesser, now time.Time) bool {
	wrong := s.wrong.Count(who, now)
	if wrong < freeGuesses {
		return true
	}
	if !s.join(who) {
		return false
	}
	defer s.leave(who)
	timer := time.NewTimer(min(time.Duration(wrong-freeGuesses+1)*slowStep, slowMost))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *slowdown) join(who guesser) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[who] >= maxWaiting {
		return false
	}
	if s.waiting == nil {
		s.waiting = map[guesser]int{}
	}
	s.waiting[who]++
	return true
}

func (s *slowdown) leave(who guesser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[who]--; s.waiting[who] == 0 {
		delete(s.waiting, who)
	}
}

// guessed notes a wrong secret and tells how many there were lately.
func (s *slowdown) guessed(who guesser, now time.Time) int { return s.wrong.Add(who, now) }
