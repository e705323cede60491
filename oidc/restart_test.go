package oidc

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errDead = errors.New("the process is dead")

// TestLogoutSurvivesDeath: if a process dies after any step of ending a grant, the next one
// notifies the application, and no token stays valid.
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
		die() // the pause before a retry ends at once
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
		if len(e.notified()) != 1 {
			t.Errorf("death after step %d: the application was notified %d times, want once", last, len(e.notified()))
		}
		if a, v := e.tokens("grant_type=refresh_token&refresh_token="+tokens["refresh_token"].(string), "app",
			appSecret); v["error"] != "invalid_grant" {
			t.Errorf("death after step %d: a refresh = %d %v", last, a.status, v)
		}
		e.people().visitAll(t.Context(), 0)
		e.logouts.drain()
		if len(e.notified()) != 1 {
			t.Errorf("death after step %d: notified again", last)
		}
	}
}

// notified lists the applications that received a logout token.
func (e *env) notified() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.delivered
}

// TestReceiverAway: an application that is unreachable when the process ends is notified by the
// next one; after a day its logout token is dropped.
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
		e.offset += pendingFor + time.Minute
		e.people().visitAll(t.Context(), 0)
		e.logouts.drain()
	}
	if len(e.notified()) != 0 {
		t.Errorf("notified after two days: %d", len(e.notified()))
	}
}

// TestSettleOnce: a logout token that is delivered after a visit has read the person's record is not
// sent a second time.
func TestSettleOnce(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	e.tokens(redemption(e.code(cookie)), "app", appSecret)
	e.revoke(t.Context(), cookie)
	e.settle()
	read, err := e.people().of(t.Context(), &zhangsan)
	if err != nil || read.Sub == "" {
		t.Fatalf("the person is %+v, %v", read, err)
	}
	read.Pending = []pendingLogout{{"app", cookie, e.clock().Unix()}} // before the delivery
	if err := e.people().settle(t.Context(), read.Sub, &read, 0); err != nil {
		t.Fatal(err)
	}
	e.logouts.drain()
	if n := len(e.notified()); n != 1 {
		t.Errorf("the application was notified %d times, want once", n)
	}
	e.logouts.mu.Lock()
	defer e.logouts.mu.Unlock()
	if len(e.logouts.busy) > 0 {
		t.Errorf("%v are still claimed", e.logouts.busy)
	}
}
