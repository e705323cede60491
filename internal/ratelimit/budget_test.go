package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// calls records when calls of a name were made.
type calls struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (c *calls) made(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[string][]time.Time{}
	}
	c.at[name] = append(c.at[name], time.Now())
}

// most is the largest number of calls of a name in any second.
func (c *calls) most(name string) (most int) {
	all := c.at[name]
	for i := range all {
		n := 0
		for _, t := range all[i:] {
			if t.Sub(all[i]) >= time.Second {
				break
			}
			n++
		}
		most = max(most, n)
	}
	return most
}

var signInCalls = []string{"token", "me", "member", "record"}

// signIn waits for its turn, as often as necessary, then makes its calls.
func signIn(b *Budget, id string, c *calls) (waited time.Duration, err error) {
	began := time.Now()
	for {
		turn, err := b.Enter(context.Background(), id, signInCalls, 8*time.Second)
		if err != nil {
			return 0, err
		}
		if turn.Mine {
			break
		}
		time.Sleep(min(max(turn.Wait/2, 2*time.Second), 10*time.Second))
	}
	waited = time.Since(began)
	for i, name := range signInCalls {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		err := b.Wait(ctx, name, SignIn, true)
		cancel()
		if err != nil {
			return waited, err
		}
		c.made(name)
		time.Sleep(time.Duration(40+len(id)*i%30) * time.Millisecond)
	}
	return waited, nil
}

// TestBudget_Monday: 33 people a second for a minute, at three replicas, while the other classes
// request more than is allowed. All people are served, at 17 a second or more, no call fails, and
// DingTalk never gets more than 20 a second.
func TestBudget_Monday(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &Local{}
		var replicas []*Budget
		for range 3 {
			replicas = append(replicas, &Budget{Shared: shared, Rate: 18})
		}
		var made calls
		var all sync.WaitGroup
		background, stop := context.WithCancel(context.Background())
		for i := range 30 { // rechecks without end
			all.Go(func() {
				for background.Err() == nil {
					ctx, cancel := context.WithTimeout(background, 8*time.Second)
					if replicas[i%3].Wait(ctx, "record", Due, false) == nil {
						made.made("record")
					}
					cancel()
				}
			})
		}
		begin := time.Now()
		var mu sync.Mutex
		var in []time.Duration
		var waits []time.Duration
		var people sync.WaitGroup
		const arrivals = 33 * 60 // test/scale has the whole five minutes
		for i := range arrivals {
			people.Go(func() {
				waited, err := signIn(replicas[i%3], fmt.Sprint("person ", i), &made)
				if err != nil {
					t.Errorf("person %d: %v", i, err)
				}
				mu.Lock()
				defer mu.Unlock()
				in, waits = append(in, time.Since(begin)), append(waits, waited)
			})
			time.Sleep(time.Second / 33)
		}
		people.Wait()
		stop()
		all.Wait()
		slices.Sort(waits)
		slowest := arrivals
		for from := 30 * time.Second; from+30*time.Second <= in[len(in)-1]; from += 10 * time.Second {
			n := 0
			for _, at := range in {
				if at >= from && at < from+30*time.Second {
					n++
				}
			}
			slowest = min(slowest, n)
		}
		t.Logf(
			"%d in after %v; the slowest 30 s: %.1f a second; waits: median %v, p99 %v; rechecks %d; most calls "+
				"in a second: %d",
			len(in), in[len(in)-1].Round(time.Second), float64(slowest)/30, waits[len(waits)/2].Round(time.Second),
			waits[len(waits)*99/100].Round(time.Second),
			len(made.at["record"])-arrivals, made.most("record"),
		)
		if len(in) != arrivals || slowest < 17*30-2 {
			t.Errorf("%d of %d in, %d in the slowest 30 s, want all and 17 a second", len(in), arrivals, slowest)
		}
		for _, name := range signInCalls {
			if most := made.most(name); most > 20 {
				t.Errorf("%s: %d calls in a second, want at most 20", name, most)
			}
		}
		if got := len(made.at["record"]) - arrivals; got < int(in[len(in)-1].Seconds())*8/10 {
			t.Errorf("%d calls for the others in %v, want about one a second", got, in[len(in)-1])
		}
	})
}

// TestBudget_Classes: the wait of each class.
func TestBudget_Classes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		demand []Class
		want   map[Class][2]int // calls in 20 s, at least and at most
	}{
		{"alone", []Class{Due}, map[Class][2]int{Due: {355, 365}}},
		{"overdue before due", []Class{Overdue, Due}, map[Class][2]int{Overdue: {350, 365}, Due: {0, 5}}},
		{"event before due", []Class{Event, Due}, map[Class][2]int{Event: {350, 365}, Due: {0, 5}}},
		{"overdue before event, which has one a second", []Class{Overdue, Event},
			map[Class][2]int{Overdue: {330, 350}, Event: {15, 22}}},
		{"event before due while both wait for overdue", []Class{Overdue, Event, Due},
			map[Class][2]int{Overdue: {330, 350}, Event: {15, 22}, Due: {0, 2}}},
		{"sign-ins leave one a second", []Class{SignIn, Due}, map[Class][2]int{SignIn: {330, 350}, Due: {15, 22}}},
		{"which is for events first",
			[]Class{SignIn, Overdue, Event, Due}, map[Class][2]int{
				SignIn:  {330, 350},
				Event:   {15, 22},
				Overdue: {0, 5},
				Due:     {0, 2},
			}},
	} {
		synctest.Test(t, func(t *testing.T) {
			shared := &Local{}
			got := map[Class]int{}
			var mu sync.Mutex
			var all sync.WaitGroup
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			for _, class := range tt.demand {
				for i := range 6 {
					b := &Budget{Shared: shared, Rate: 18}
					all.Go(func() {
						for j := 0; ; j++ {
							if class == SignIn {
								if turn, err := b.Enter(ctx, fmt.Sprint(i, j), []string{"record"},
									time.Hour); err != nil || !turn.Mine {
									return
								}
							} else if b.Wait(ctx, "record", class, false) != nil {
								return
							}
							mu.Lock()
							got[class]++
							mu.Unlock()
						}
					})
				}
			}
			all.Wait()
			for class, want := range tt.want {
				if n := got[class]; n < want[0] || n > want[1] {
					t.Errorf("%s: class %d had %d calls, want %v (all: %v)", tt.name, class, n, want, got)
				}
			}
		})
	}
}

// TestBudget_Named: an overdue person whom an event named has the call a second that events have,
// although sign-ins and overdue people of nine replicas wait.
func TestBudget_Named(t *testing.T) {
	for _, signIns := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			shared := &Local{}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			var all sync.WaitGroup
			for i := range 9 {
				b := &Budget{Shared: shared, Rate: 18}
				all.Go(func() {
					for b.Wait(ctx, "record", Overdue, false) == nil {
					}
				})
				if signIns {
					all.Go(func() {
						for j := 0; ctx.Err() == nil; j++ {
							_, _ = b.Enter(ctx, fmt.Sprint(i, j), []string{"record"}, time.Hour)
						}
					})
				}
			}
			time.Sleep(2 * time.Second)
			b, longest := &Budget{Shared: shared, Rate: 18}, time.Duration(0)
			for range 10 {
				began := time.Now()
				if err := b.WaitFirst(ctx, "record", Overdue); err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Since(began))
			}
			if longest > 1200*time.Millisecond {
				t.Errorf("sign-ins %v: a person whom an event named waited %v for a call, want a second", signIns, longest)
			}
			cancel()
			all.Wait()
		})
	}
}

// TestBudget_Throttled: throttling pauses all callers, and longer the next time.
func TestBudget_Throttled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &Local{}
		one, two := &Budget{Shared: shared, Rate: 18}, &Budget{Shared: shared, Rate: 18}
		for _, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
			one.Throttled(t.Context(), "record")
			one.Throttled(t.Context(), "record") // of a call that was made before
			began := time.Now()
			if err := two.Wait(t.Context(), "record", Due, false); err != nil {
				t.Fatal(err)
			}
			if held := time.Since(began); held < want || held > want+50*time.Millisecond {
				t.Errorf("the other replica was held for %v, want %v", held, want)
			}
			began = time.Now()
			if err := two.Wait(t.Context(), "other", Due, false); err != nil || time.Since(began) > 0 {
				t.Errorf("another API was held for %v, %v", time.Since(began), err)
			}
		}
	})
}

// TestBudget_ReplicaDies: the waiters of a dead replica delay no other for long.
func TestBudget_ReplicaDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &Local{}
		dying, living := &Budget{Shared: shared, Rate: 18}, &Budget{Shared: shared, Rate: 18}
		ctx, kill := context.WithCancel(t.Context())
		var gone sync.WaitGroup
		for i := range 50 {
			gone.Go(func() { dying.Enter(ctx, fmt.Sprint("dying ", i), signInCalls, time.Minute) })
		}
		time.Sleep(time.Second)
		kill()
		gone.Wait()
		began := time.Now()
		turn, err := living.Enter(t.Context(), "living", signInCalls, 8*time.Second)
		if err != nil || !turn.Mine || time.Since(began) > 2*time.Second {
			t.Errorf("Enter = %+v, %v after %v, want a turn soon", turn, err, time.Since(began))
		}
	})
}

// TestBudget_SharedFails: without the shared allowance each process uses its own share.
func TestBudget_SharedFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Budget{Shared: broken{}, Rate: 18}
		b.init()
		b.replicas.Store(3)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := 0
		for b.Wait(ctx, "record", Due, false) == nil {
			n++
		}
		if n < 58 || n > 64 || !b.Stats().Alone {
			t.Errorf("%d calls in 10 s, want 60, and alone: %+v", n, b.Stats())
		}
	})
}

type broken struct{}

var errBroken = errors.New("away")

func (broken) Draw(context.Context, Draw) (Drawn, error)           { return Drawn{}, errBroken }
func (broken) Place(context.Context, string, int64) (Place, error) { return Place{}, errBroken }
func (broken) Throttled(context.Context, string) error             { return errBroken }

// TestBudget_Place: a caller that returns has its place again, in any order of returns.
func TestBudget_Place(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Budget{Rate: 1}
		b.Rate = 2
		ctx := t.Context()
		for i := range 40 {
			if turn, err := b.Enter(ctx, fmt.Sprint(i), []string{"record"}, 0); err != nil || turn.Mine && i > 2 {
				t.Fatalf("place %d = %+v, %v", i, turn, err)
			}
		}
		before, _ := b.Enter(ctx, "39", []string{"record"}, 0)
		again, _ := b.Enter(ctx, "39", []string{"record"}, 0)
		if before.Ahead != again.Ahead || before.Ahead < 35 || before.Place != again.Place {
			t.Errorf("%+v, then %+v, want the same place", before, again)
		}
		time.Sleep(PlaceLife + time.Second)
		late, _ := b.Enter(ctx, "late", []string{"record"}, 0)
		later, _ := b.Enter(ctx, before.Place, []string{"record"}, 0)
		if late.Ahead != 0 && !late.Mine || later.Ahead != 0 || later.Place != before.Place {
			t.Errorf("after all went away: %+v; one comes back: %+v, want it before", late, later)
		}
	})
}

// TestBudget_First: who is to go first does, whenever they come.
func TestBudget_First(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Budget{Rate: 2}
		var order []string
		var mu sync.Mutex
		var all sync.WaitGroup
		wait := func(name string, first bool) {
			all.Go(func() {
				var turn error
				if first {
					turn = b.WaitFirst(t.Context(), "record", Overdue)
				} else {
					turn = b.Wait(t.Context(), "record", Overdue, false)
				}
				mu.Lock()
				defer mu.Unlock()
				if turn == nil {
					order = append(order, name)
				}
			})
			synctest.Wait()
		}
		for i := range 8 {
			wait(fmt.Sprint(i), false)
		}
		wait("first", true)
		all.Wait()
		if i := slices.Index(order, "first"); i < 0 || i > 5 {
			t.Errorf("the order is %v: those before had had their turn, or not", order)
		}
	})
}
