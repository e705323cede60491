package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/session/membership"
)

// TestRounds: a cause after a quiet time begins a round at once; causes in the pause after a round
// share the next one, and the pauses grow.
func TestRounds(t *testing.T) {
	every := func(from, to int) (all []int) {
		for s := from; s < to; s++ {
			all = append(all, s)
		}
		return all
	}
	for _, tt := range []struct {
		name           string
		causes, rounds []int // seconds
	}{
		{"none", nil, nil},
		{"one", []int{5}, []int{5}},
		{"ten at once", []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []int{0, 2}},
		{"one in a pause", []int{0, 1}, []int{0, 2}},
		{"one after it", []int{0, 10}, []int{0, 10}},
		{"every second of a minute", every(0, 60), []int{0, 2, 6, 14, 30, 62}},
		{"every second of five", every(0, 300), []int{0, 2, 6, 14, 30, 62, 122, 182, 242, 302}},
		{"again after a quiet time", []int{0, 1, 200, 201}, []int{0, 2, 200, 202}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r rounds
			var got []int
			base := time.UnixMilli(1_700_000_000_000)
			begin := func(s int) {
				now := base.Add(time.Duration(s) * time.Second)
				if cause := r.begin(now); !cause.IsZero() {
					got = append(got, s)
					if cause.After(now) {
						t.Errorf("at %d s the cause is %v", s, cause.Sub(base))
					}
				}
			}
			for s := range 600 {
				for _, c := range tt.causes {
					if c == s {
						r.want(base.Add(time.Duration(s) * time.Second))
						begin(s)
					}
				}
				begin(s)
			}
			if !slices.Equal(got, tt.rounds) {
				t.Errorf("rounds begin at %v s, want %v", got, tt.rounds)
			}
		})
	}
	t.Run("the clock is set back", func(t *testing.T) {
		var r rounds
		now := time.UnixMilli(1_700_000_000_000)
		for _, at := range []time.Time{now, now.Add(-time.Hour)} {
			r.want(at)
			if r.begin(at).IsZero() {
				t.Errorf("no round at %v", at)
			}
		}
	})
}

// TestManager_RoundsOfReplicas: ten causes, each received by one of three replicas, cost two
// lookups of each person, of all replicas together, and a person who lost access by the first or
// by the last is out at every replica within 5 s.
func TestManager_RoundsOfReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people = 20
		f := newFleet(t, 3)
		var cookies []string
		for i := range people {
			id := fmt.Sprintf("m%02d", i)
			_, c := signIn(t, f.all[i%3], identity.User{UnionID: "u" + id, UserID: id, Username: id})
			for _, m := range f.all {
				allows(t, m, c.Value)
			}
			cookies = append(cookies, c.Value)
		}
		var gone sync.Map
		f.people.answers(func(_ context.Context, s *Session) (identity.User, error) {
			_, out := gone.Load(s.User.UserID) // as of the beginning of the call
			time.Sleep(100 * time.Millisecond)
			if out {
				return identity.User{}, errLeft
			}
			return s.User, nil
		})
		time.Sleep(time.Minute)
		wantCalls(t, f.people, 0)
		for i := range 10 {
			switch i {
			case 0:
				gone.Store("m00", true)
			case 9:
				gone.Store("m01", true)
			}
			f.all[i%3].RecheckPlaces(Everybody())
			time.Sleep(180 * time.Millisecond)
		}
		time.Sleep(5*time.Second - 10*180*time.Millisecond)
		for _, m := range f.all {
			refuses(t, m, ErrRevoked, cookies[0])
		}
		time.Sleep(9 * 180 * time.Millisecond)
		for _, m := range f.all {
			refuses(t, m, ErrRevoked, cookies[1])
			for _, c := range cookies[2:] {
				allows(t, m, c)
			}
		}
		time.Sleep(time.Minute)
		if n := f.people.calls.Load(); n < 2*(people-2) || n > 2*people+8 { // each replica looks those up who are out
			t.Errorf("%d lookups for ten causes, want two of each of %d people", n, people)
		}
	})
}

// TestManager_RoundOfThousands: a budget of 18 calls per second looks 10,000 people up in less
// than ten minutes, also if everybody is to be looked up again every few seconds meanwhile. No one
// is looked up twice before all were once, and a person whom an event names does not wait for the
// round.
func TestManager_RoundOfThousands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people, rate = 10_000, 18
		m, d := checked(t)
		m.Config.Recheck, m.Config.Grace = 72*time.Hour, time.Hour
		budget := &ratelimit.Budget{Rate: rate}
		var moved atomic.Bool
		d.answers(func(ctx context.Context, s *Session) (identity.User, error) {
			wait := func() error { return budget.Wait(ctx, "user/get", ratelimit.Event, false) }
			if membership.Named(ctx) {
				wait = func() error { return budget.WaitFirst(ctx, "user/get", ratelimit.Event) }
			}
			if err := wait(); err != nil {
				return identity.User{}, errors.Join(membership.ErrPostponed, err)
			}
			u := s.User
			if moved.Load() && u.UserID == "m09999" {
				u.Departments = []int64{7}
			}
			return u, nil
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		defer func() { stop(); <-done }()
		var last string
		for i := range people {
			id := fmt.Sprintf("m%05d", i)
			_, c := signIn(t, m, identity.User{UnionID: "u" + id, UserID: id, Username: id})
			allows(t, m, c.Value)
			last = c.Value
		}
		time.Sleep(time.Minute)
		began := time.Now()
		for range 10 {
			m.RecheckPlaces(Everybody())
			time.Sleep(5 * time.Second)
		}
		caused := time.Now()
		moved.Store(true)
		m.RecheckUser(Person{UserID: "m09999"})
		time.Sleep(2 * time.Second)
		if s := allows(t, m, last); !slices.Equal(s.User.Departments, []int64{7}) {
			t.Error("a person whom an event names waits for the round")
		}
		old := func(since time.Time) (n int) {
			for _, p := range m.members.Matching(member) {
				if p.Profile().Checked.Before(since) {
					n++
				}
			}
			return n
		}
		time.Sleep(time.Until(began.Add(people*time.Second/rate + 10*time.Second)))
		if n := old(began); n > 0 {
			t.Errorf("%d people were not looked up since the first cause", n)
		}
		time.Sleep(time.Until(caused.Add(longestPause + people*time.Second/rate)))
		if n := old(caused.Add(-5 * time.Second)); n > 0 {
			t.Errorf("%d people were not looked up since the last cause", n)
		}
		if n := d.calls.Load(); n > people*12/10 {
			t.Errorf("%d lookups for ten causes of %d people", n, people)
		}
		t.Logf("%d lookups", d.calls.Load())
	})
}

// TestManager_RoundSurvivesAReload: a round that was still to begin, or whose reading was under
// way, begins after a reload.
func TestManager_RoundSurvivesAReload(t *testing.T) {
	for _, reading := range []bool{false, true} {
		t.Run(fmt.Sprint("reading ", reading), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := []identity.User{zhangsan, lisi}
				start := func(old *Manager) (*Manager, *directory, func()) {
					m, d := mirrored(t, &all)
					if m.MaxSingly = 100; reading {
						m.MaxSingly = 1
					}
					m.Config.Recheck, m.Config.Grace = 72*time.Hour, time.Hour
					m.Mirror.Every = func() time.Duration { return 0 }
					if old != nil {
						m.Inherit(old)
					}
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan struct{})
					go func() { defer close(done); m.Run(ctx) }()
					return m, d, func() { stop(); <-done }
				}
				old, _, stop := start(nil)
				for _, u := range all {
					_, c := signIn(t, old, u)
					allows(t, old, c.Value)
				}
				if !reading {
					RecheckEverybody(old)
					synctest.Wait()
				}
				_, c := signIn(t, old, zhangsan)
				allows(t, old, c.Value)
				time.Sleep(time.Second / 2)
				RecheckEverybody(old) // has to wait, or for its reading of a minute
				synctest.Wait()
				all = all[1:]
				m, d, stopped := start(old)
				defer stopped()
				d.fails(errLeft)
				stop()
				time.Sleep(2 * time.Minute)
				refuses(t, m, ErrRevoked, c.Value)
			})
		})
	}
}
