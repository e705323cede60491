package session

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// settable is a wall clock that a test sets. Like the times in a cookie it has no monotonic
// reading.
type settable struct{ ahead atomic.Int64 }

func (c *settable) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(c.ahead.Load()))
}

// TestClockIsSet: the state of a session after the clock was set, known to the process or new to
// it (threats V18).
func TestClockIsSet(t *testing.T) {
	for _, c := range []struct {
		name          string
		idle          time.Duration
		step          time.Duration
		down          bool  // DingTalk is unreachable
		cached, fresh error // of a known cookie, and of the same in a new process
		lookups       int32
	}{
		{"30 s ahead", 0, 30 * time.Second, false, nil, nil, 0},
		{"30 s back", 0, -30 * time.Second, false, nil, nil, 0},
		{"an hour ahead: confirmed before it passes", 0, time.Hour, false, nil, nil, 2},
		{"an hour ahead, DingTalk away", 0, time.Hour, true, ErrUnconfirmed, ErrUnconfirmed, 2},
		{"an hour ahead with an idle limit", 30 * time.Minute, time.Hour, false, ErrExpired, ErrExpired, 0},
		{"a day ahead: past its lifetime", 0, 24 * time.Hour, false, ErrExpired, ErrExpired, 0},
		{"an hour back: signed in in the future", 0, -time.Hour, false, ErrExpired, ErrForged, 0},
		{"a day back", 0, -24 * time.Hour, false, ErrExpired, ErrForged, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			clock := &settable{}
			m, d := checked(t)
			again := manager(t)
			again.Recheck, again.Now, m.Now = d.recheck, clock.now, clock.now
			m.Config.Idle, again.Config.Idle = c.idle, c.idle
			_, cookie := signIn(t, m, zhangsan)
			allows(t, m, cookie.Value)
			if c.down {
				d.answers(func(context.Context, *Session) (identity.User, error) { return identity.User{}, errDown })
			}
			clock.ahead.Store(int64(c.step))
			if _, err := load(t, m, cookie.Value); !is(err, c.cached) {
				t.Errorf("%s: of a known cookie Load() = %v, want %v", c.name, err, c.cached)
			}
			if _, err := load(t, again, cookie.Value); !is(err, c.fresh) {
				t.Errorf("%s: of a cookie that is new here Load() = %v, want %v", c.name, err, c.fresh)
			}
			wantCalls(t, d, c.lookups)
			clock.ahead.Store(0) // the clock is corrected
			if got, err := load(t, m, cookie.Value); err != nil {
				t.Errorf("%s: set right again, Load() = %v, %v, want the session", c.name, got, err)
			}
		})
	}
}

// TestFactsOfTheFuture: facts found while the clock was ahead are not valid after it is set back:
// a person is looked up at the usual interval, a change takes effect, and a leaver is signed out
// (threats V18).
func TestFactsOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &settable{}
		m, d := checked(t)
		m.Now = clock.now
		_, cookie := signIn(t, m, zhangsan)
		clock.ahead.Store(int64(12 * time.Hour))
		allows(t, m, cookie.Value) // confirmed, in the future
		wantCalls(t, d, 1)
		_, ahead := signIn(t, m, zhangsan)
		clock.ahead.Store(0)
		refuses(t, m, ErrExpired, ahead.Value)

		moved := zhangsan
		moved.Departments = []int64{7}
		d.knows(moved)
		for range 100 {
			allows(t, m, cookie.Value)
			synctest.Wait()
		}
		wantCalls(t, d, 2)
		if s := allows(t, m, cookie.Value); !slices.Equal(s.User.Departments, moved.Departments) {
			t.Errorf("the person is in %v, want %v, which was found after the clock was set", s.User.Departments, moved.Departments)
		}
		time.Sleep(time.Second)
		_, now := signIn(t, m, zhangsan) // whose facts apply to all sessions
		if s := allows(t, m, cookie.Value); !slices.Equal(s.User.Departments, zhangsan.Departments) {
			t.Errorf("the person is in %v, want %v, as the sign-in after that found", s.User.Departments, zhangsan.Departments)
		}
		d.answers(func(context.Context, *Session) (identity.User, error) { return identity.User{}, errLeft })
		time.Sleep(6 * time.Minute)
		allows(t, m, now.Value) // and looked up
		synctest.Wait()
		for _, text := range []string{cookie.Value, now.Value} {
			refuses(t, m, ErrRevoked, text)
		}
	})
}

// TestIdleAcrossAStep: the idle time of a person whose last request is in the future is unknown.
func TestIdleAcrossAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &settable{}
		m := manager(t)
		m.Now, m.Config.Idle = clock.now, 2*time.Hour
		_, cookie := signIn(t, m, zhangsan)
		clock.ahead.Store(int64(time.Hour))
		allows(t, m, cookie.Value)
		clock.ahead.Store(0)
		refuses(t, m, ErrExpired, cookie.Value)
	})
}

// TestConnectionsAcrossAStep: an open connection ends with its session by the present clock, too:
// otherwise a leaver's would stay open.
func TestConnectionsAcrossAStep(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, 25 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			clock := &settable{}
			m := manager(t)
			m.Now = clock.now
			ctx, cancel := context.WithCancel(t.Context())
			go m.Run(ctx)
			_, cookie := signIn(t, m, zhangsan)
			open, stop := m.Watch(allows(t, m, cookie.Value))
			defer stop()
			time.Sleep(time.Minute)
			wantClosed(t, "a connection", open, false)
			clock.ahead.Store(int64(step))
			time.Sleep(time.Minute)
			wantClosed(t, "a connection after the clock was set", open, true)
			cancel()
			synctest.Wait()
		})
	}
}
