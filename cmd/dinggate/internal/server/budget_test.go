package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/session"
	"dinggate/store/redisstore"
)

// TestUrgency checks that people are overdue in the last third of grace, and then precede
// those whom an event names.
func TestUrgency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		usual := session.Defaults()
		short := usual
		short.Grace = 30 * time.Second
		for _, tt := range []struct {
			config session.Config
			age    time.Duration
			named  bool
			want   ratelimit.Class
		}{
			{usual, time.Second, true, ratelimit.Event},
			{usual, 4*time.Minute + 30*time.Second, true, ratelimit.Event}, // within the fifth by which some are due sooner
			{usual, 4*time.Minute + 30*time.Second, false, ratelimit.Due},
			{usual, 15 * time.Minute, false, ratelimit.Due}, // recheck and two thirds of grace
			{usual, 15 * time.Minute, true, ratelimit.Event},
			{usual, 15*time.Minute + time.Second, false, ratelimit.Overdue},
			{usual, 15*time.Minute + time.Second, true, ratelimit.Overdue},
			{short, 5*time.Minute + 30*time.Second, false, ratelimit.Due}, // never before 30 s
			{short, 5*time.Minute + 31*time.Second, false, ratelimit.Overdue},
		} {
			s := &session.Session{Checked: time.Now().Add(-tt.age)}
			if got := urgency(s, tt.config, tt.named); got != tt.want {
				t.Errorf("urgency of %v, grace %v, named %v = %v, want %v", tt.age, tt.config.Grace, tt.named, got, tt.want)
			}
		}
	})
}

// TestEventsWhileOverdue: the limit of DingTalk allows lookups of half of the people in
// time, so that some people are overdue all the time and have priority. The event of a
// leaver still ends the sessions at once. A person whom the leave records or another event
// name is looked up within seconds, whichever replica waits with an older lookup of that
// person.
func TestEventsWhileOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, 600, 3, func(c *config.Config) {
			c.DingTalk.Rate, c.DingTalk.Directory = 4, dingtalk.DirectoryLookup
			c.Session.Recheck, c.Session.Grace = 30*time.Second, 90*time.Second
		})
		f.minute = 6 * time.Second
		began, seed := time.Now(), rand.Uint64()
		t.Logf("seed %d", seed)
		people := f.people()[:f.size]
		cookies := f.work(nil)
		ctx, stop := context.WithCancel(t.Context())
		var working sync.WaitGroup
		for i := range people { // a request every six seconds
			working.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				time.Sleep(time.Duration(random.Int64N(int64(f.minute))))
				for ; ctx.Err() == nil; time.Sleep(f.minute) {
					on := f.replicas[random.IntN(len(f.replicas))].gateway.Sessions
					_, _ = on.Load(ctx, []string{cookies[i]}, gatewayMaxWait)
				}
			})
		}
		defer working.Wait()
		defer stop()
		time.Sleep(3 * time.Minute)

		out := func(r *replica, cookie string) bool {
			_, err := r.gateway.Sessions.Load(ctx, []string{cookie}, time.Millisecond)
			return errors.Is(err, session.ErrRevoked)
		}
		for _, tt := range []struct {
			name, person string
			learn        func(userID string) error
			within       time.Duration
		}{
			{"user_leave_org", "m00001", func(id string) error {
				e := dingtalk.Event{ID: "1", Effect: dingtalk.Left, UserIDs: []string{id}}
				return (&eventHandler{sessions: f.replicas[0].gateway.Sessions, st: f.replicas[0].State}).apply(ctx, e)
			}, time.Second},
			{"user_modify_org", "m00002", func(id string) error {
				e := dingtalk.Event{ID: "2", Effect: dingtalk.Recheck, UserIDs: []string{id}}
				return (&eventHandler{sessions: f.replicas[1].gateway.Sessions, st: f.replicas[1].State}).apply(ctx, e)
			}, 10 * time.Second},
			{"the records of leavers", "m00003", func(string) error {
				r := f.replicas[2]
				gone := leavers{&dingtalk.Directory{Client: r.gateway.Client}, r.gateway.Sessions, r.leaversGrants}
				return gone.signOut(ctx, began)
			}, 10 * time.Second},
		} {
			i := slices.IndexFunc(people, func(u identity.User) bool { return u.UserID == tt.person })
			overdue := 0
			for _, r := range f.replicas {
				overdue += r.gateway.Client.Budget.Stats().Waiting[ratelimit.Overdue]
			}
			if overdue == 0 {
				t.Errorf("%s: no user is overdue, the test tests nothing", tt.name)
			}
			if err := f.platform.Leave(tt.person); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			if err := tt.learn(tt.person); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			for _, r := range f.replicas {
				for !out(r, cookies[i]) && time.Since(at) < 5*time.Minute {
					time.Sleep(50 * time.Millisecond)
				}
			}
			took := time.Since(at)
			t.Logf("%s: out on all replicas after %v, while %d lookups of people overdue waited", tt.name, took, overdue)
			if took > tt.within {
				t.Errorf("%s: the sessions of a leaver ended after %v, want at most %v", tt.name, took, tt.within)
			}
		}
	})
}

// TestSharesBudget checks that a replica without calls to DingTalk reports a shared budget
// exactly while Redis answers, and not the result of its last call.
func TestSharesBudget(t *testing.T) {
	s := &Stores{Redis: &redisstore.Store{}}
	shares := func(step string, b ratelimit.BudgetStats, want bool) {
		t.Helper()
		if got := s.sharesBudget(b); got != want {
			t.Errorf("%s: shared = %v, want %v", step, got, want)
		}
	}
	up, down := redisstore.Health{Writes: 1, Reads: 1}, redisstore.Health{}
	s.watch.set(up)
	shares("Redis answers", ratelimit.BudgetStats{}, true)
	refused := ratelimit.BudgetStats{Alone: true, FailedAt: time.Now().Add(time.Hour)}
	shares("Redis refuses the draw alone", refused, false)
	s.watch.set(down)
	shares("Redis is away, no call since", ratelimit.BudgetStats{}, false)
	failed := ratelimit.BudgetStats{Alone: true, FailedAt: time.Now().Add(-time.Second)}
	shares("Redis is away", failed, false)
	s.watch.set(up)
	shares("Redis is back, no call since", failed, true)
}
