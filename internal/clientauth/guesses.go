package clientauth

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"dinggate/internal/ratelimit"
)

// Guesses slows down guessing, per client and address, without locking out other callers: a caller
// that has sent wrong secrets waits before the next one is verified, right or wrong, and only a
// few may wait at once. The same client at other addresses does not wait (threats T5).
//
// The zero value is ready to use. Its memory is bounded like that of ratelimit.Recent.
type Guesses struct {
	wrong ratelimit.Recent[Guesser]

	mu      sync.Mutex
	waiting map[Guesser]int
}

// Guesser is the key of a count.
type Guesser struct {
	Client  string       // a registered client id; "" for all others together
	Network netip.Prefix // ratelimit.Client of the address
}

const (
	// Free is the number of wrong secrets without a delay.
	Free = 5

	step = 10 * time.Millisecond
	most = 100 * time.Millisecond // with maxWaiting at most 640 guesses a second, of secrets with 16 characters or more

	maxWaiting = 64
)

// Wait delays a caller according to its wrong guesses. It returns false if too many wait already,
// or ctx has ended.
func (g *Guesses) Wait(ctx context.Context, who Guesser, now time.Time) bool {
	wrong := g.wrong.Count(who, now)
	if wrong < Free {
		return true
	}
	if !g.join(who) {
		return false
	}
	defer g.leave(who)
	timer := time.NewTimer(min(time.Duration(wrong-Free+1)*step, most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *Guesses) join(who Guesser) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting[who] >= maxWaiting {
		return false
	}
	if g.waiting == nil {
		g.waiting = map[Guesser]int{}
	}
	g.waiting[who]++
	return true
}

func (g *Guesses) leave(who Guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting[who]--; g.waiting[who] == 0 {
		delete(g.waiting, who)
	}
}

// Wrong counts a wrong secret and returns the recent count.
func (g *Guesses) Wrong(who Guesser, now time.Time) int { return g.wrong.Add(who, now) }
