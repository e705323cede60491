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

// TestAllowanceOnRedis: two replicas share what Redis gives, by class; the law is
// that of ratelimit.Local, which its own tests look at closely.
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

// TestAllowanceThrottledOnRedis: one replica's refusal holds the other.
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
