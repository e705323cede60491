package clientauth

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/ratelimit"
)

// TestGuesses: wrong secrets wait, in virtual time; others do not; memory is
// bounded.
func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Guesses
		here, there := Guesser{"app", ratelimit.Client(netip.MustParseAddr("192.0.2.1"))},
			Guesser{"app", ratelimit.Client(netip.MustParseAddr("192.0.2.2"))}
		pause := func(who Guesser) time.Duration {
			began := time.Now()
			if !g.Wait(t.Context(), who, time.Now()) {
				return -1
			}
			return time.Since(began)
		}
		for i := range 100 {
			want := min(max(time.Duration(i-Free+1)*step, 0), most)
			if got := pause(here); got != want {
				t.Errorf("before guess %d: %v, want %v", i+1, got, want)
			}
			g.Wrong(here, time.Now())
		}
		if got := pause(there); got != 0 {
			t.Errorf("at another address: %v, want 0", got)
		}
		var all sync.WaitGroup
		turned := make(chan bool, 100)
		for range 100 {
			all.Go(func() { turned <- pause(here) < 0 })
		}
		all.Wait()
		close(turned)
		n := 0
		for away := range turned {
			if away {
				n++
			}
		}
		if n != 100-maxWaiting {
			t.Errorf("%d of 100 at once were turned away, want %d", n, 100-maxWaiting)
		}
		time.Sleep(15 * time.Minute)
		if got := pause(here); got != 0 {
			t.Errorf("a quarter of an hour later: %v, want 0", got)
		}
		other := func(i int) Guesser {
			return Guesser{"app", ratelimit.Client(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))}
		}
		for range Free {
			g.Wrong(here, time.Now())
		}
		for i := range 2 * ratelimit.MaxKeys {
			g.Wrong(other(i), time.Now())
		}
		if got := pause(here); got != step {
			t.Errorf("past the table's size: %v, want %v: many others do not evict a count", got, step)
		}
		for range Free {
			g.Wrong(other(3*ratelimit.MaxKeys), time.Now())
		}
		if got := pause(other(3 * ratelimit.MaxKeys)); got != step {
			t.Errorf("a newcomer who guesses, past the table's size: %v, want %v", got, step)
		}
		if got := pause(other(4 * ratelimit.MaxKeys)); got != 0 {
			t.Errorf("a newcomer who does not guess, past the table's size: %v, want 0", got)
		}
	})
}
