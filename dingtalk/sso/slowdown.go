package sso

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// slowdown makes guessing a client's secret slow, for one client at one
// address, without locking anybody out: whoever has sent wrong secrets waits
// before the next one is looked at, right or wrong, and only a few may wait at
// once. The same client at other addresses waits for nothing (threats T5).
//
// The zero value is ready. It keeps at most maxGuessers; past that, newcomers
// who guess share one entry.
type slowdown struct {
	mu    sync.Mutex
	all   map[guesser]*guesses
	swept time.Time
}

type guesser struct {
	app     string       // a registered client id; "" for all others together
	network netip.Prefix // limit.Client of the address
}

type guesses struct {
	wrong   int
	last    time.Time
	waiting int
}

const (
	freeGuesses = 5
	slowStep    = 10 * time.Millisecond
	slowMost    = 100 * time.Millisecond // with maxWaiting: at most 640 guesses a second, of secrets with 16 letters and more

	maxWaiting  = 64
	forgetAfter = 15 * time.Minute
	maxGuessers = 10_000
)

// wait holds a caller back as long as its wrong guesses ask for. False: too
// many wait already, or the caller has gone.
func (s *slowdown) wait(ctx context.Context, who guesser, now time.Time) bool {
	s.mu.Lock()
	g := s.all[who]
	if g == nil || g.wrong < freeGuesses || now.Sub(g.last) >= forgetAfter {
		s.mu.Unlock()
		return true
	}
	if g.waiting >= maxWaiting {
		s.mu.Unlock()
		return false
	}
	g.waiting++
	pause := min(time.Duration(g.wrong-freeGuesses+1)*slowStep, slowMost)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		g.waiting--
		s.mu.Unlock()
	}()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// guessed notes a wrong secret and tells how many there were lately.
func (s *slowdown) guessed(who guesser, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[guesser]*guesses{}
	}
	if s.all[who] == nil && len(s.all) >= maxGuessers {
		if now.Sub(s.swept) >= time.Second { // a sweep walks the whole map
			s.swept = now
			for k, g := range s.all {
				if now.Sub(g.last) >= forgetAfter && g.waiting == 0 {
					delete(s.all, k)
				}
			}
		}
		if len(s.all) >= maxGuessers {
			who = guesser{}
		}
	}
	g := s.all[who]
	if g == nil || now.Sub(g.last) >= forgetAfter {
		g = &guesses{}
		s.all[who] = g
	}
	g.wrong, g.last = g.wrong+1, now
	return g.wrong
}
