package session

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
)

func TestGraceRunsFromTheFirstFailure(t *testing.T) { // threats V7, V9
	for _, failure := range []error{errDown, errOwner, errors.New("anything"), context.DeadlineExceeded, &identity.Failure{}} {
		synctest.Test(t, func(t *testing.T) {
			m, d := checked(t)
			_, c := signIn(t, m, zhangsan)
			d.fails(failure)
			time.Sleep(5 * time.Minute)
			allows(t, m, c.Value)
			synctest.Wait() // the first failure
			for range 15*60/5 - 1 {
				time.Sleep(5 * time.Second)
				allows(t, m, c.Value)
				synctest.Wait()
			}
			calls := d.calls.Load()
			if calls < 5 || calls > 16 {
				t.Errorf("%d lookups in 15 minutes, want one per interval", calls)
			}
			time.Sleep(5 * time.Second)
			refuses(t, m, ErrUnconfirmed, c.Value)
			time.Sleep(time.Hour)
			refuses(t, m, ErrUnconfirmed, c.Value)
			d.knows(zhangsan)
			time.Sleep(3 * time.Minute) // the pause between attempts is over
			allows(t, m, c.Value)       // never a sign-out
		})
	}
}

func TestFailureForAMoment(t *testing.T) { // threats V7
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		d.fails(errDown)
		time.Sleep(5 * time.Minute)
		for range 100 {
			allows(t, m, c.Value)
			synctest.Wait()
		}
		wantCalls(t, d, 1)
		time.Sleep(15 * time.Second * 6 / 5)
		d.knows(zhangsan)
		allows(t, m, c.Value)
		wantCalls(t, d, 2)
		d.fails(errDown)
		time.Sleep(5 * time.Minute)
		allows(t, m, c.Value)
		wantCalls(t, d, 3)
		time.Sleep(15*time.Minute - time.Second) // a new series of failures has its own grace period
		allows(t, m, c.Value)
	})
}

func TestAfterANight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		d.answers(func(context.Context, *Session) (identity.User, error) { time.Sleep(time.Second); return zhangsan, nil })
		time.Sleep(8 * time.Hour)
		began := time.Now()
		var all sync.WaitGroup
		for range 100 { // V10: one call, all wait for it
			all.Go(func() { allows(t, m, c.Value) })
		}
		all.Wait()
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("Load() waited %v, want 1s", waited)
		}
		wantCalls(t, d, 1)
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		d.answers(func(ctx context.Context, _ *Session) (identity.User, error) {
			<-ctx.Done()
			return identity.User{}, ctx.Err()
		})
		time.Sleep(8 * time.Hour)
		began := time.Now()
		refuses(t, m, ErrUnconfirmed, c.Value)
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("Load() waited %v, want 3s", waited)
		}
		time.Sleep(membership.LookupTimeout)
		wantCalls(t, d, 1)
		began = time.Now()
		refuses(t, m, ErrUnconfirmed, c.Value) // one attempt per interval: no second wait
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Load() waited %v between attempts, want 0", waited)
		}
		d.answers(func(context.Context, *Session) (identity.User, error) { time.Sleep(time.Second); return zhangsan, nil })
		time.Sleep(time.Minute)
		if _, err := m.Load(t.Context(), []string{c.Value}, 0); !isError(err, ErrUnconfirmed) {
			t.Errorf("Load(no patience) = %v, want ErrUnconfirmed", err)
		}
		ctx, cancel := context.WithCancel(t.Context()) // V17: the client disconnects while we wait
		cancel()
		if _, err := m.Load(ctx, []string{c.Value}, time.Minute); !isError(err, ErrUnconfirmed) {
			t.Errorf("Load(client gone) = %v, want ErrUnconfirmed", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		allows(t, m, c.Value) // the lookup continued without the client
		wantCalls(t, d, 2)
	})
}

func TestRestartInAnOutage(t *testing.T) { // restarts do not extend the grace period
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, c := signIn(t, m, zhangsan)
		d.fails(errDown)
		limit := m.Config.Recheck + 2*m.Config.Grace
		for began := time.Now(); time.Since(began) < limit; time.Sleep(3 * time.Minute) {
			m, _ = checked(t)
			m.Recheck = d.recheck
			load(t, m, c.Value)
			synctest.Wait()
		}
		m, _ = checked(t)
		m.Recheck = d.recheck
		refuses(t, m, ErrUnconfirmed, c.Value)
	})
}

// TestManager_LimitedLookupIsNoFailure: a lookup that was limited is no failure of DingTalk; the
// sessions continue, and it is tried again soon.
func TestManager_LimitedLookupIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := checked(t)
		_, text := signIn(t, m, zhangsan)
		d.fails(membership.ErrPostponed)
		time.Sleep(m.Config.Recheck)
		for limit := time.Now().Add(m.Config.Grace - time.Minute); time.Now().Before(limit); time.Sleep(10 * time.Second) {
			allows(t, m, text.Value)
		}
		if n := d.calls.Load(); n < 50 {
			t.Errorf("called %d times in a quarter of an hour, want again and again", n)
		}
		d.knows(zhangsan)
		allows(t, m, text.Value)
		time.Sleep(5 * time.Second)
		allows(t, m, text.Value)
		synctest.Wait()
		d.fails(errors.New("away")) // the grace period begins here, not with a call that was not made
		time.Sleep(m.Config.Recheck)
		for range 14 {
			allows(t, m, text.Value)
			time.Sleep(time.Minute)
		}
	})
}
