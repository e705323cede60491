package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/realtool"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// clocked is an Allowance whose script reads the clock of a synctest bubble instead of Redis's,
// so that a busy machine delays no waiter. Redis is asked outside the bubble.
type clocked struct {
	mu   sync.Mutex // a waiter for it does not let the clock advance
	work chan func(context.Context, *Allowance)
	done chan struct{}
}

func newClocked(t *testing.T, s *Store, app string) *clocked {
	const ofRedis, ofTest = "redis.call('TIME')", "{0, redis.call('GET', 'clock')}"
	if strings.Count(allowanceSource, ofRedis) != 1 {
		t.Fatalf("the script does not read its clock by %s", ofRedis)
	}
	a := s.Allowance(app)
	a.script = redis.NewScript(strings.Replace(allowanceSource, ofRedis, ofTest, 1))
	c := &clocked{work: make(chan func(context.Context, *Allowance)), done: make(chan struct{})}
	t.Cleanup(func() { close(c.work) })
	go func() {
		for f := range c.work {
			f(context.Background(), a)
			c.done <- struct{}{}
		}
	}()
	return c
}

func (c *clocked) do(f func(context.Context, *Allowance)) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixMicro()
	c.work <- func(ctx context.Context, a *Allowance) {
		if err = a.store.client.Set(ctx, "clock", now, 0).Err(); err == nil {
			f(ctx, a)
		}
	}
	<-c.done
	return err
}

func (c *clocked) Draw(_ context.Context, d ratelimit.Draw) (got ratelimit.Drawn, err error) {
	failed := c.do(func(ctx context.Context, a *Allowance) { got, err = a.Draw(ctx, d) })
	return got, errors.Join(failed, err)
}

func (c *clocked) Place(_ context.Context, id string, ticket int64) (p ratelimit.Place, err error) {
	failed := c.do(func(ctx context.Context, a *Allowance) { p, err = a.Place(ctx, id, ticket) })
	return p, errors.Join(failed, err)
}

func (c *clocked) Throttled(_ context.Context, name string) (err error) {
	failed := c.do(func(ctx context.Context, a *Allowance) { err = a.Throttled(ctx, name) })
	return errors.Join(failed, err)
}

// onRedis runs f in virtual time with two replicas on one Redis.
func onRedis(t *testing.T, app string, f func(t *testing.T, one, two *clocked)) {
	server := realtool.StartRedis(t)
	one, two := newClocked(t, open(t, server.URL()), app), newClocked(t, open(t, server.URL()), app)
	synctest.Test(t, func(t *testing.T) { f(t, one, two) })
}

// TestAllowanceOnRedis: two replicas share the allowance of Redis, by class; ratelimit.Local has
// the same rules, which its own tests check in detail.
func TestAllowanceOnRedis(t *testing.T) {
	onRedis(t, "ding-app", func(t *testing.T, one, two *clocked) {
		replicas := []*ratelimit.Budget{{Shared: one, Rate: 40}, {Shared: two, Rate: 40}}
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
		place, err := one.Place(t.Context(), "person", 0)
		again, err2 := two.Place(t.Context(), "person", 0)
		if err != nil || err2 != nil || place.Ticket == 0 || place.Ticket != again.Ticket {
			t.Errorf("Place = %+v, %v, then %+v, %v, want the same ticket", place, err, again, err2)
		}
	})
}

// TestAllowanceEventsOnRedis: overdue people get all calls except one a second for events;
// people who are due get none.
func TestAllowanceEventsOnRedis(t *testing.T) {
	onRedis(t, "e", func(t *testing.T, one, two *clocked) {
		replicas := []*ratelimit.Budget{{Shared: one, Rate: 40}, {Shared: two, Rate: 40}}
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
	})
}

// TestAllowanceNamedOnRedis: an overdue person whom an event named has the call a second of events
// while sign-ins wait.
func TestAllowanceNamedOnRedis(t *testing.T) {
	onRedis(t, "n", func(t *testing.T, one, two *clocked) {
		here := &ratelimit.Budget{Shared: one, Rate: 40}
		elsewhere := &ratelimit.Budget{Shared: two, Rate: 40}
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
	})
}

// TestAllowanceThrottledOnRedis: one replica's refusal pauses the other.
func TestAllowanceThrottledOnRedis(t *testing.T) {
	onRedis(t, "x", func(t *testing.T, one, two *clocked) {
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
			if err != nil || got.OK || got.Wait != want {
				t.Errorf("Draw after a refusal = %+v, %v, want to wait %v", got, err, want)
			}
			time.Sleep(want)
			if got, err := two.Draw(t.Context(), draw); err != nil || !got.OK {
				t.Errorf("Draw at the end of the hold = %+v, %v", got, err)
			}
		}
	})
}

// TestAllowanceAcrossAStep: calls and sign-ins go on when the clock of Redis is set back, or a master
// takes over whose clock is behind (threats V16, V18).
func TestAllowanceAcrossAStep(t *testing.T) {
	server := miniredis.RunT(t)
	a := open(t, "redis://"+server.Addr()+"/0").Allowance("s")
	now := time.UnixMilli(1_800_000_000_000)
	for round, step := range []time.Duration{0, -time.Hour, -2 * time.Minute, 24 * time.Hour, -63 * time.Second} {
		now = now.Add(step)
		server.SetTime(now)
		id := fmt.Sprint(round)
		for i := range 2 { // the second has to wait for the first
			if err := a.Throttled(t.Context(), "throttled"); err != nil {
				t.Fatal(err)
			}
			p, err := a.Place(t.Context(), fmt.Sprint(id, i), 0)
			if err != nil || i == 0 && round != 3 && p.Ahead > 0 {
				t.Fatalf("step %v: Place() = %+v, %v, want the first", step, p, err)
			}
			d := ratelimit.Draw{Replica: id, Names: []string{"a", "b"}, Class: ratelimit.SignIn, Mode: ratelimit.Reserve,
				Rate: 1, Ticket: p.Ticket, ID: fmt.Sprint(id, i)}
			if i == 1 {
				d.Names = append(d.Names, "throttled")
			}
			got, err := a.Draw(t.Context(), d)
			if err != nil || got.OK != (i == 0) || got.Wait > 5*time.Second {
				t.Errorf("step %v: Draw() %d = %+v, %v, want the turn for the first, soon for the second", step, i, got, err)
			}
			due := ratelimit.Draw{Replica: id, Names: []string{"due"}, Class: ratelimit.Due, Rate: 1}
			if got, err := a.Draw(t.Context(), due); err != nil || i == 0 && !got.OK {
				t.Errorf("step %v: Draw(due) = %+v, %v, want a call", step, got, err)
			}
		}
		now = now.Add(time.Minute)
	}
}
