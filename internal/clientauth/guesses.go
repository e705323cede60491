package clientauth

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"dinggate/internal/ratelimit"
)

// Guesses makes guessing slow, for one client at one address, without locking
// anybody out: a caller that has sent wrong secrets waits before the next one is
// looked at, right or wrong, and only a few may wait at once. The same client at
// other addresses waits for nothing (threats T5).
//
// The zero value is ready. Its memory is bounded as ratelimit.Recent's.
type Guesses struct {
	wrong ratelimit.Recent[Guesser]

	mu      sync.Mutex
	waiting map[Guesser]int
}

// Guesser is who is counted.
type Guesser struct {
	Client  string       // a registered client id; "" for all others together
	Network netip.Prefix // ratelimit.Client of the address
}

const (
	// Free is how many wrong secrets cost nothing.
	Free = 5

	step = 10 * time.Millisecond
	most = 100 * time.Millisecond // with maxWaiting: at most 640 guesses a second, of secrets with 16 letters and more

	maxWaiting = 64
)

// Wait holds a caller back as long as its wrong guesses ask for. False: too many
// wait already, or the caller has gone.
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

// Wrong notes a wrong secret and returns how many there were lately.
func (g *Guesses) Wrong(who Guesser, now time.Time) int { return g.wrong.Add(who, now) }
