package membership

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// event calls Invalidate for an event that names this person.
func (c *checker) event(name string) {
	c.Invalidate(func(u identity.User) bool { return u.UserID == name }, time.Now(), time.Now(),
		func(p *Profile) string { return p.User.UserID })
}

// seen returns c.looked.
func (c *checker) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.looked)
}

// noTurn is a Lookup that waits for a turn in the budget until its context ends.
func noTurn(ctx context.Context) (identity.User, error) {
	<-ctx.Done()
	return identity.User{}, ErrPostponed
}

// lookups sets a Lookup that takes a second for a person whom an event named. For others it never
// has a turn. The start of each is recorded in c.looked, with a ! for an event.
func (c *checker) lookups() {
	c.Lookup = func(ctx context.Context, s string) (identity.User, error) {
		named := Named(ctx)
		c.mu.Lock()
		if named {
			c.looked = append(c.looked, s+"!")
		} else {
			c.looked = append(c.looked, s)
		}
		c.mu.Unlock()
		if !named {
			return noTurn(ctx)
		}
		time.Sleep(time.Second)
		return person(s), nil
	}
}

// answered waits until a lookup since the event at began has confirmed the person, and fails the
// test after most.
func (c *checker) answered(t *testing.T, p *Member, began time.Time, most time.Duration) {
	t.Helper()
	for p.Profile().Checked.Before(began) || p.invalidated.Load() != 0 {
		if time.Since(began) > most {
			t.Fatalf("an event is not answered after %v, looked up %v", most, c.seen())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestChecker_EventDuringLookup: an event is answered by a lookup that began after it, not after
// the one that runs, whichever replica runs it.
func TestChecker_EventDuringLookup(t *testing.T) {
	for _, tt := range []struct {
		name             string
		here, elsewhere  bool // where a lookup runs that began before the event
		want, wantOthers []string
	}{
		{"here", true, false, []string{"a", "a!"}, nil},
		{"on another replica", false, true, []string{"a!"}, []string{"a"}},
		{"waiting here for another replica", true, true, []string{"a!"}, []string{"a"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &shared{profiles: map[identity.Key]Profile{}}
			c, other := newChecker(t, 4), newChecker(t, 4)
			for _, c := range []*checker{c, other} {
				c.Shared = s
				c.lookups()
			}
			if tt.elsewhere {
				p, at := other.member("a", 6*time.Minute)
				other.LookUp(p, "a", at, time.Now())
				time.Sleep(time.Second)
			}
			p, at := c.member("a", 6*time.Minute)
			if tt.here {
				c.LookUp(p, "a", at, time.Now())
			}
			time.Sleep(time.Second)
			began := time.Now()
			c.event("a")
			c.answered(t, p, began, 1100*time.Millisecond)
			if p.Failing() {
				t.Errorf("%s: the lookup that the event ended counts as a failure", tt.name)
			}
			if got, others := c.seen(), other.seen(); !slices.Equal(got, tt.want) || !slices.Equal(others, tt.wantOthers) {
				t.Errorf("%s: lookups %v, on the other replica %v, want %v, %v", tt.name, got, others, tt.want, tt.wantOthers)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestChecker_EventOfAll: all replicas learn of an event, and one of them looks the person up.
func TestChecker_EventOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{profiles: map[identity.Key]Profile{}}
		var all []*checker
		var people []*Member
		for range 3 {
			c := newChecker(t, 4)
			c.Shared = s
			p, at := c.member("a", 6*time.Minute)
			c.lookups()
			c.LookUp(p, "a", at, time.Now())
			all, people = append(all, c), append(people, p)
		}
		time.Sleep(time.Second)
		began := time.Now()
		for _, c := range all {
			c.event("a")
		}
		looked := map[string]int{}
		for i, c := range all {
			c.answered(t, people[i], began, 2*time.Second)
			for _, name := range c.seen() {
				looked[name]++
			}
		}
		// The event ends the lookup "a" that one of them has begun. Another begins it again if it
		// learns of the event after that.
		if len(looked) != 2 || looked["a"] == 0 || looked["a!"] != 1 {
			t.Errorf("three replicas looked up %v, want a! once", looked)
		}
	})
}

// TestChecker_EventWithoutTurn: a lookup that an event asked for and that had no turn is repeated
// without a request of the person; one of another lookup is not.
func TestChecker_EventWithoutTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 4)
		var turns atomic.Int32
		c.Lookup = func(ctx context.Context, s string) (identity.User, error) {
			if turns.Add(1) < 4 {
				return noTurn(ctx)
			}
			return person(s), nil
		}
		p, at := c.member("a", 6*time.Minute)
		c.LookUp(p, "a", at, time.Now())
		time.Sleep(10 * LookupTimeout)
		if n := turns.Load(); n != 1 {
			t.Errorf("%d lookups of a person without a request, want 1", n)
		}
		began := time.Now()
		c.event("a")
		c.answered(t, p, began, 2*LookupTimeout+time.Second)
	})
}

// TestChecker_EventSeries: events that name a person again and again do not prevent the answer.
func TestChecker_EventSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 4)
		p, _ := c.member("a", time.Minute)
		c.lookups()
		began := time.Now()
		for time.Since(began) < 5*time.Second {
			c.event("a")
			time.Sleep(100 * time.Millisecond)
		}
		if age := time.Since(p.Profile().Checked); age > 2500*time.Millisecond {
			t.Errorf("after 5 s of events the confirmation is %v old", age)
		}
		c.answered(t, p, time.Now().Add(-100*time.Millisecond), 3*time.Second)
		if n := len(c.seen()); n > 7 {
			t.Errorf("%d lookups in about 6 s, each takes one", n)
		}
	})
}

// TestChecker_EventFindsSlot: the lookups of overdue people that wait for their turn do not delay
// that of an event, and people whom events name are looked up in the order of the events.
func TestChecker_EventFindsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 4)
		c.lookups()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var requests sync.WaitGroup
		for i := range 20 {
			p, at := c.member(fmt.Sprint("overdue", i), time.Hour)
			requests.Go(func() { c.Await(ctx, p, "overdue", at, time.Now()) })
		}
		time.Sleep(time.Second)
		if got := c.Running(); got != 4 {
			t.Errorf("%d lookups run, want all 4", got)
		}
		var people []*Member
		var want []string
		for i := range 8 {
			p, _ := c.member(fmt.Sprint("named", i), time.Minute)
			people, want = append(people, p), append(want, fmt.Sprintf("named%d!", i))
		}
		began := time.Now()
		for i, p := range people {
			c.event(fmt.Sprint("named", i))
			for range 100 { // requests of the person
				c.LookUp(p, "named", p.Profile().Checked, time.Now())
			}
		}
		if n := c.backlog.len(); n != 16+7 {
			t.Errorf("%d entries wait, want 16 of overdue people and 7 of those whom events named", n)
		}
		c.answered(t, people[7], began, 9*time.Second)
		looked := slices.DeleteFunc(c.seen(), func(s string) bool { return s == "overdue" })
		if !slices.Equal(looked, want) {
			t.Errorf("looked up %v, want %v", looked, want)
		}
		cancel()
		requests.Wait()
	})
}

// TestChecker_OlderResult: the result of a lookup that began before an event does not replace the
// one that answers it.
func TestChecker_OlderResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{profiles: map[identity.Key]Profile{}}
		c, other := newChecker(t, 4), newChecker(t, 4)
		other.Shared, c.Shared = s, s
		other.Lookup = func(context.Context, string) (identity.User, error) {
			u := person("a")
			u.Departments = []int64{42}
			time.Sleep(5 * time.Second)
			return u, nil
		}
		late, at := other.member("a", 6*time.Minute)
		other.LookUp(late, "a", at, time.Now())
		time.Sleep(time.Second)
		p, _ := c.member("a", 6*time.Minute)
		began := time.Now()
		c.event("a")
		c.answered(t, p, began, 2*time.Second)
		time.Sleep(time.Minute)
		if got, _ := s.ReadProfile(t.Context(), p.Key()); got.Checked.Before(began) || len(got.User.Departments) > 0 {
			t.Errorf("the shared profile is %+v, want the one after the event", got)
		}
	})
}
