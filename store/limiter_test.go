package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSharedLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(Memory)
		var went atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		var held atomic.Int32
		for range 3 { // replicas
			p := &SharedLimiter{Store: store, Name: "test", PerSecond: 15}
			for range 100 {
				all.Go(func() {
					for ctx.Err() == nil {
						switch err := p.Wait(ctx, time.Second/2); {
						case err == nil:
							went.Add(1)
						case errors.Is(err, ErrLimited):
							held.Add(1)
						case ctx.Err() == nil:
							t.Errorf("Wait = %v", err)
						}
					}
				})
			}
		}
		all.Wait()
		if held.Load() == 0 {
			t.Error("300 callers for 15 places a second, and nobody is told that there is none")
		}
		if n := went.Load(); n < 110 || n > 15*11 {
			t.Errorf("300 callers in 3 replicas went %d times in 10 s, want almost 150 and no more than 165", n)
		}
	})
}

func TestSharedLimiter_LimitsNothing(t *testing.T) {
	for name, p := range map[string]*SharedLimiter{
		"without a store":   {PerSecond: 1},
		"without a limit":   {Store: new(Memory)},
		"with an ill store": {Store: sick{}, PerSecond: 1},
	} {
		for range 5 {
			if err := p.Wait(t.Context(), time.Second); err != nil {
				t.Errorf("Wait(%s) = %v, want nil", name, err)
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&SharedLimiter{Store: new(Memory), PerSecond: 1}).Wait(ended, time.Second); !errors.Is(err,
		context.Canceled) {
		t.Errorf("Wait(ended) = %v, want Canceled", err)
	}
}

// sick is a Store that fails at everything.
type sick struct{ Store }

func (sick) Add(context.Context, string, []byte, time.Duration) error { return errors.New("ill") }
