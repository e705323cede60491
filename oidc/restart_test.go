package oidc

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errDead = errors.New("the process is dead")

// TestLogoutSurvivesDeath: whatever the last step of a process was that drew the
// consequences of a sign-out, the next one tells the application, and no token lives.
func TestLogoutSurvivesDeath(t *testing.T) {
	for last := range 16 {
		e := newEnv(t)
		cookie := e.login(zhangsan)
		_, tokens := e.tokens(redemption(e.code(cookie)), "app", appSecret)
		steps := 0
		e.store.bad = func(string) error {
			if steps++; steps > last {
				return errDead
			}
			return nil
		}
		e.Deliver = func(context.Context, string, string) error { return errDead }
		e.revoke(t.Context(), cookie)
		dying, die := context.WithCancel(t.Context())
		die() // the pause before another try ends at once
		e.people().endings(dying)
		e.logouts.mu.Lock()
		e.logouts.closed = true
		close(e.logouts.stop)
		e.logouts.mu.Unlock()
		e.logouts.all.Wait()
		e.store.bad = nil

		e.Provider = e.provider(testClients())
		e.people().visitAll(t.Context(), 0)
		e.logouts.drain()
		if len(e.told()) != 1 {
			t.Errorf("death after step %d: the application was told %d times, want once", last, len(e.told()))
		}
		if a, v := e.tokens("grant_type=refresh_token&refresh_token="+tokens["refresh_token"].(string), "app", appSecret); v["error"] != "invalid_grant" {
			t.Errorf("death after step %d: a refresh = %d %v", last, a.status, v)
		}
		e.people().visitAll(t.Context(), 0)
		e.logouts.drain()
		if len(e.told()) != 1 {
			t.Errorf("death after step %d: told again", last)
		}
	}
}

// told is what applications were told.
func (e *env) told() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.delivered
}

// TestReceiverAway: an application that is away when the process ends is told by the
// next one, and one that stays away is owed nothing after a day.
func TestReceiverAway(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	e.tokens(redemption(e.code(cookie)), "app", appSecret)
	e.Deliver = func(context.Context, string, string) error { return errors.New("away") }
	e.revoke(t.Context(), cookie)
	e.people().endings(t.Context())
	e.logouts.mu.Lock()
	e.logouts.closed = true
	close(e.logouts.stop)
	e.logouts.mu.Unlock()
	e.logouts.all.Wait()
	for range 2 {
		e.Provider = e.provider(testClients())
		e.offset += owedFor + time.Minute
		e.people().visitAll(t.Context(), 0)
		e.logouts.drain()
	}
	if len(e.told()) != 0 {
		t.Errorf("told after two days: %d", len(e.told()))
	}
}
