package membership

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// shared is a Shared in memory.
type shared struct {
	store.Memory
	mu       sync.Mutex
	profiles map[identity.Key]Profile
}

func (s *shared) Lease(key identity.Key, named bool) (store.Store, string) {
	return &s.Memory, fmt.Sprint(key.Text, named)
}

func (s *shared) ReadProfile(_ context.Context, key identity.Key) (*Profile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.profiles[key]; ok {
		return &p, nil
	}
	return nil, nil
}

func (s *shared) WriteProfile(_ context.Context, key identity.Key, p Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.profiles[key] = p
}

// checker makes one lookup per second and slot; looked is the people, in order.
type checker struct {
	Checker[string]
	mu     sync.Mutex
	looked []string
}

func newChecker(t *testing.T, places int) *checker {
	c := &checker{}
	c.Checker = Checker[string]{
		Members: NewMembers(1000),
		Recheck: 5 * time.Minute,
		Grace:   15 * time.Minute,
		Now:     time.Now,
		Context: t.Context(),
		Fit:     func(u identity.User) (identity.User, error) { return u, nil },
		KeyOf:   func(u *identity.User) identity.Key { return identity.KeyOf(u, false) },
		Refused: func(context.Context, string, *Member, string) {},
		Changed: func(*Member, time.Time, bool) {},
		Start:   func(f func()) bool { go f(); return true },
	}
	c.Lookup = func(_ context.Context, s string) (identity.User, error) {
		c.mu.Lock()
		c.looked = append(c.looked, s)
		c.mu.Unlock()
		time.Sleep(time.Second)
		return person(s), nil
	}
	c.Limit(places)
	return c
}

func person(name string) identity.User {
	return identity.User{UnionID: "union-" + name, UserID: name, Username: name}
}

// member returns a person whose confirmation has this age, and when it was made.
func (c *checker) member(name string, age time.Duration) (*Member, time.Time) {
	u, at := person(name), time.Now().Add(-age)
	p := c.Members.Of(identity.KeyOf(&u, false), time.Now())
	c.Learn(p, Profile{User: u, Checked: at})
	return p, at
}

// TestChecker_OldestFirst: if more people are due than there are slots, they are looked up in the
// order of their confirmations, whatever the order of their requests, and one slot of four is free
// for a request that waits.
func TestChecker_OldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 4)
		var want []string
		for i := range 40 {
			name := fmt.Sprintf("m%02d", i)
			minutes := 6 + (i*17)%40*13/40
			p, at := c.member(name, time.Duration(minutes)*time.Minute+time.Duration((i*17)%40)*time.Second)
			c.LookUp(p, name, at, time.Now())
			c.LookUp(p, name, at, time.Now()) // a second request changes nothing
			want = append(want, name)
		}
		time.Sleep(time.Millisecond)
		if got := c.Running(); got != 3 {
			t.Errorf("%d lookups run, want 3 of 4 places", got)
		}
		p, at := c.member("waits", 30*time.Minute)
		began := time.Now()
		c.Await(t.Context(), p, "waits", at, time.Now())
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("a request waited %v for its lookup, want the second that it takes", waited)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		begin := slices.Clone(c.looked[:3]) // they came first
		for _, name := range append(begin, "waits") {
			c.looked = slices.DeleteFunc(c.looked, func(a string) bool { return a == name })
			want = slices.DeleteFunc(want, func(a string) bool { return a == name })
		}
		age := func(name string) int { var i int; fmt.Sscanf(name, "m%d", &i); return (i * 17) % 40 }
		slices.SortFunc(want, func(a, b string) int { return age(b) - age(a) })
		// Slots are released in any order within a second.
		if len(c.looked) != len(want) {
			t.Fatalf("%d people were looked up, want %d", len(c.looked), len(want))
		}
		for i, name := range c.looked {
			if at := slices.Index(want, name); at < i-3 || at > i+3 {
				t.Errorf("%s was looked up as number %d, want %d", name, i, at)
			}
		}
		if c.backlog.len() != 0 {
			t.Errorf("%d people are left over", c.backlog.len())
		}
	})
}

// TestChecker_Yields: a person whom another replica has confirmed is postponed: others go first,
// and a request that waits continues.
func TestChecker_Yields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 1)
		s := &shared{profiles: map[identity.Key]Profile{}}
		c.Shared = s
		busy, at := c.member("busy", 6*time.Minute)
		c.LookUp(busy, "busy", at, time.Now())
		elsewhere, at := c.member("elsewhere", 15*time.Minute)
		s.WriteProfile(t.Context(), elsewhere.Key(), Profile{User: person("elsewhere"), Checked: time.Now().Add(-7 * time.Minute)})
		c.LookUp(elsewhere, "elsewhere", at, time.Now())
		old, at := c.member("old", 12*time.Minute)
		c.LookUp(old, "old", at, time.Now())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []string{"busy", "old", "elsewhere"}; !slices.Equal(c.looked, want) {
			t.Errorf("looked up %v, want %v", c.looked, want)
		}
		waits, at := c.member("waits", 30*time.Minute)
		s.WriteProfile(t.Context(), waits.Key(), Profile{User: person("waits"), Checked: time.Now().Add(-7 * time.Minute)})
		began := time.Now()
		c.Await(t.Context(), waits, "waits", at, time.Now())
		if waited := time.Since(began); waited != 0 || c.Standing(waits, waits.Profile().Checked, c.Recheck, time.Now()) != Stale {
			t.Errorf("a request waited %v for a person whom another replica has confirmed, want no time", waited)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if last := c.looked[len(c.looked)-1]; last != "waits" {
			t.Errorf("the last lookup was for %s, want the one that gave way", last)
		}
	})
}

// TestChecker_Round: people whom an event names go before everybody in a round, these before people
// who are due. When a round begins again, the lookups that run are repeated, and no other before
// all people were looked up once. A person waits once, and one slot of four stays free.
func TestChecker_Round(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 4)
		subject := func(p *Profile) string { return p.User.Username }
		all := func(identity.User) bool { return true }
		for i := range 30 {
			c.member(fmt.Sprintf("m%02d", i), time.Duration(i+1)*time.Second)
		}
		late, at := c.member("late", 10*time.Minute)
		for range 5 {
			now := time.Now()
			c.Round(func(u identity.User) bool { return u.Username != "late" }, now, now, subject)
			if n := c.Running(); n != 3 {
				t.Fatalf("%d lookups run, want 3 of 4 places", n)
			}
			c.LookUp(late, "late", at, now)
			time.Sleep(2*time.Second + time.Millisecond)
		}
		if n := c.backlog.len(); n > 31 {
			t.Errorf("%d people are queued, want each once", n)
		}
		now := time.Now()
		c.Invalidate(func(u identity.User) bool { return u.Username == "m00" }, now, now, subject)
		c.Round(all, now, now, subject) // changes nothing for m00
		time.Sleep(time.Second)
		c.mu.Lock()
		before := slices.Clone(c.looked)
		c.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !slices.Contains(before[len(before)-4:], "m00") {
			t.Errorf("m00, whom an event named, was not next: %v", before)
		}
		first, again := map[string]bool{}, 0
		for _, name := range c.looked {
			if first[name] && len(first) < 30 && name != "m00" {
				again++
			}
			first[name] = true
		}
		if again > 6*3 { // lookups that ran when a round began
			t.Errorf("%d lookups were repeated before all people were looked up once", again)
		}
		if len(first) != 31 {
			t.Errorf("%d people were looked up, want 31", len(first))
		}
		if c.backlog.len() != 0 {
			t.Errorf("%d people are left over", c.backlog.len())
		}
	})
}

// TestMembers_Count: the oldest confirmation is that of a person with a recent request.
func TestMembers_Count(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, 1)
		for name, age := range map[string]time.Duration{"fresh": time.Minute, "late": 7 * time.Minute, "later": 9 * time.Minute} {
			c.member(name, age)
		}
		gone, _ := c.member("gone", time.Hour)
		gone.used.Store(time.Now().Add(-time.Hour).UnixMilli())
		local, _ := c.member("local", 0)
		u := person("local")
		u.Local = true
		local.profile.Store(&Profile{User: u, Checked: time.Now().Add(-time.Hour)})
		got := c.Members.Count(time.Now(), c.Recheck)
		if want := (Counts{All: 5, Overdue: 2, Oldest: 9 * time.Minute}); got != want {
			t.Errorf("Count() = %+v, want %+v", got, want)
		}
	})
}
