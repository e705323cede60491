package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"
)

// SharedLimiter keeps all replicas together below a number of calls a second. The zero
// value holds nobody. Safe for concurrent use.
//
// There is a place in the Store for each call of a second; who takes one has it
// for a second. No clock is compared.
type SharedLimiter struct {
	Store     Store  // nil: nobody is held
	Name      string // of what is paced; all who share it give the same
	PerSecond int
}

const pacePoll = 200 * time.Millisecond

// ErrNotAsked is what a Recheck returns that found no time to ask: it says
// nothing of the person, nor of DingTalk, and is tried again soon.
var ErrNotAsked = errors.New("session: not asked: too many others are")

// Wait returns when the caller may go on; without a place for that long it is
// ErrNotAsked, else the only error is the context's. A Store that is ill holds
// nobody: what must be bounded even then has a limit in each process besides.
func (p *SharedLimiter) Wait(ctx context.Context, patience time.Duration) error {
	if p.Store == nil || p.PerSecond <= 0 {
		return nil
	}
	for begin := time.Now(); ; {
		for try, place := 0, rand.IntN(p.PerSecond); try < min(4, p.PerSecond); try++ {
			key := "pace:" + p.Name + ":" + strconv.Itoa((place+try)%p.PerSecond)
			if err := p.Store.Add(ctx, key, []byte("1"), time.Second); !errors.Is(err, ErrExists) {
				return ctx.Err()
			}
		}
		if time.Since(begin) > patience {
			return ErrNotAsked
		}
		wait := time.NewTimer(pacePoll/2 + rand.N(pacePoll))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}
