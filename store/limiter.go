package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"
)

// SharedLimiter keeps all replicas together below a number of calls a second.
// The zero value limits nothing. Safe for concurrent use.
//
// The Store has one record for each call of a second; a caller adds one, which
// expires after a second. No clocks are compared.
type SharedLimiter struct {
	Store     Store  // if nil, nothing is limited
	Name      string // of what is limited; all replicas give the same
	PerSecond int
}

const limiterPoll = 200 * time.Millisecond

// ErrLimited means that the call was not made, because too many others are. It
// says nothing about its subject; try again soon.
var ErrLimited = errors.New("store: not asked: the shared rate is used up")

// Wait returns when the caller may go on. After patience without that it is
// ErrLimited; otherwise the only error is the context's. A Store that is
// unavailable limits nothing: what must be bounded even then has a limit in each
// process besides.
func (p *SharedLimiter) Wait(ctx context.Context, patience time.Duration) error {
	if p.Store == nil || p.PerSecond <= 0 {
		return nil
	}
	for begin := time.Now(); ; {
		for try, slot := 0, rand.IntN(p.PerSecond); try < min(4, p.PerSecond); try++ {
			key := "pace:" + p.Name + ":" + strconv.Itoa((slot+try)%p.PerSecond)
			if err := p.Store.Add(ctx, key, []byte("1"), time.Second); !errors.Is(err, ErrExists) {
				return ctx.Err()
			}
		}
		if time.Since(begin) > patience {
			return ErrLimited
		}
		wait := time.NewTimer(limiterPoll/2 + rand.N(limiterPoll))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}
