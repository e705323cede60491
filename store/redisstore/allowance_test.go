package redisstore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/realtool"
)

// TestAllowanceOnRedis: two replicas share the allowance of Redis, by class; ratelimit.Local has
// the same rules, which its own tests check in detail.
func TestAllowanceOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	one, two := open(t, server.URL()), open(t, server.URL())
	app := "ding-app"
	replicas := []*ratelimit.Budget{{Shared: one.Allowance(app), Rate: 40}, {Shared: two.Allowance(app), Rate: 40}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	got, last := map[ratelimit.Class]int{}, map[int]int{}
	took := func(class ratelimit.Class) {
		mu.Lock()
		defer mu.Unlock()
		got[class]++
	}
	for i, b := range replicas {
		for j := range 5 {
			all.Go(func() {
				for n := 0; ; n++ {
					if turn, err := b.Enter(ctx, fmt.Sprint(i, j, n), []string{"a", "b"}, time.Hour); err != nil ||
						!turn.Mine {
						return
					}
					took(ratelimit.SignIn)
					if b.Wait(ctx, "a", ratelimit.SignIn, true) != nil {
						return
					}
					mu.Lock()
					last[i]++
					mu.Unlock()
				}
			})
			all.Go(func() {
				for b.Wait(ctx, "b", ratelimit.Due, false) == nil {
					took(ratelimit.Due)
				}
			})
		}
	}
	all.Wait()
	if n := got[ratelimit.SignIn]; n < 130 || n > 165 || got[ratelimit.Due] < 3 || got[ratelimit.Due] > 14 {
		t.Errorf("in 4 s: %v, want about 156 sign-ins and 4 others", got)
	}
	if last[0] < 30 || last[1] < 30 {
		t.Errorf("sign-ins by replica: %v, want both about the same", last)
	}
	if s := replicas[0].Stats(); s.Alone {
		t.Error("the replica counts for itself, though Redis answers")
	}
	place, err := one.Allowance(app).Place(t.Context(), "person", 0)
	again, err2 := two.Allowance(app).Place(t.Context(), "person", 0)
	if err != nil || err2 != nil || place.Ticket == 0 || place.Ticket != again.Ticket {
		t.Errorf("Place = %+v, %v, then %+v, %v, want the same ticket", place, err, again, err2)
	}
}

// TestAllowanceEventsOnRedis: overdue people get all calls except one a second for events;
// people who are due get none.
func TestAllowanceEventsOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	one, two := open(t, server.URL()), open(t, server.URL())
	replicas := []*ratelimit.Budget{{Shared: one.Allowance("e"), Rate: 40}, {Shared: two.Allowance("e"), Rate: 40}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	got := map[ratelimit.Class]int{}
	for _, b := range replicas {
		for _, class := range []ratelimit.Class{ratelimit.Overdue, ratelimit.Event, ratelimit.Due} {
			for range 5 {
				all.Go(func() {
					for b.Wait(ctx, "a", class, false) == nil {
						mu.Lock()
						got[class]++
						mu.Unlock()
					}
				})
			}
		}
	}
	all.Wait()
	if o, e, d := got[ratelimit.Overdue], got[ratelimit.Event], got[ratelimit.Due]; o < 130 || o > 165 || e < 3 || e > 6 || d > 3 {
		t.Errorf("in 4 s: %v, want about 156 for people overdue, 4 for events, none for people due", got)
	}
}

// TestAllowanceNamedOnRedis: an overdue person whom an event named has the call a second of events
// while sign-ins wait.
func TestAllowanceNamedOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	one, two := open(t, server.URL()), open(t, server.URL())
	here := &ratelimit.Budget{Shared: one.Allowance("n"), Rate: 40}
	elsewhere := &ratelimit.Budget{Shared: two.Allowance("n"), Rate: 40}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var overdue, named int
	for i := range 5 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, _ = elsewhere.Enter(ctx, fmt.Sprint(i, n), []string{"a"}, time.Hour)
			}
		})
	}
	all.Go(func() {
		for elsewhere.Wait(ctx, "a", ratelimit.Overdue, false) == nil {
			overdue++
		}
	})
	all.Go(func() {
		for here.WaitFirst(ctx, "a", ratelimit.Overdue) == nil {
			named++
		}
	})
	all.Wait()
	if named < 3 || named > 6 || overdue > 3 {
		t.Errorf("in 4 s: %d calls of the person whom an event named, want about 4; %d of others, want none", named, overdue)
	}
}

// TestAllowanceThrottledOnRedis: one replica's refusal pauses the other.
func TestAllowanceThrottledOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	one, two := open(t, server.URL()).Allowance("x"), open(t, server.URL()).Allowance("x")
	draw := ratelimit.Draw{Replica: "two", Names: []string{"a"}, Class: ratelimit.Due, Rate: 18}
	if got, err := two.Draw(t.Context(), draw); err != nil || !got.OK {
		t.Fatalf("Draw = %+v, %v", got, err)
	}
	for _, want := range []time.Duration{500 * time.Millisecond, time.Second} {
		for range 2 {
			if err := one.Throttled(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		got, err := two.Draw(t.Context(), draw)
		if err != nil || got.OK || got.Wait > want || got.Wait < want*9/10 {
			t.Errorf("Draw after a refusal = %+v, %v, want to wait %v", got, err, want)
		}
		server.Await("the hold to end", func() bool {
			got, err := two.Draw(t.Context(), draw)
			return err == nil && got.OK
		})
	}
}
