package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// service is an SSO service that accepts each refresh token once.
type service struct {
	mu    sync.Mutex
	calls int
	spent map[string]bool
	err   error
	takes time.Duration
}

const tokenLife = 10 * time.Minute

func (v *service) refresh(ctx context.Context, refresh string) (identity.Token, error) {
	v.mu.Lock()
	v.calls++
	n, err, takes := v.calls, v.err, v.takes
	spent := v.spent[refresh]
	if v.spent == nil {
		v.spent = map[string]bool{}
	}
	v.spent[refresh] = err == nil
	v.mu.Unlock()
	pause, cancel := context.WithTimeout(ctx, takes) // not a timer of zero: two of them crash Go 1.26's race detector
	<-pause.Done()
	cancel()
	if ctx.Err() != nil {
		return identity.Token{}, ctx.Err()
	}
	if err == nil && spent {
		err = &identity.Failure{Class: identity.Refused, Code: "sso_over"}
	}
	if err != nil {
		return identity.Token{}, err
	}
	return identity.Token{Access: fmt.Sprint("access ", n), Refresh: fmt.Sprint("refresh ", n), Expires: time.Now().Add(tokenLife)}, nil
}

func (v *service) set(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *service) wantCalls(t *testing.T, n int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.calls != n {
		t.Fatalf("Refresh was called %d times, want %d", v.calls, n)
	}
}

func enter(t *testing.T, m *Manager) (*Session, *http.Cookie) {
	t.Helper()
	s, c, err := m.Create(t.Context(), zhangsan, identity.Token{Access: "access 0", Refresh: "refresh 0", Expires: time.Now().Add(tokenLife)})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func holds(t *testing.T, m *Manager, text, access string) *Session {
	t.Helper()
	s := allows(t, m, text)
	if s.Token.Access != access {
		t.Fatalf("Load() has the token %q, want %q", s.Token.Access, access)
	}
	return s
}

func TestOneRefreshForAllTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, v := manager(t), &service{takes: time.Second}
		m.Refresh = v.refresh
		m.Headers.Request = identity.HeaderRules{{Name: "X-Access-Token", Field: "access_token"}}
		_, c := enter(t, m)
		time.Sleep(tokenLife - time.Minute)
		holds(t, m, c.Value, "access 0")
		v.wantCalls(t, 0)
		time.Sleep(time.Minute)
		var all sync.WaitGroup
		var mu sync.Mutex
		var fresh []*http.Cookie
		for range 50 {
			all.Go(func() {
				s := holds(t, m, c.Value, "access 1")
				if got := s.Headers.Request[0].Value[0]; got != "access 1" {
					t.Errorf("the header holds %q, want the new token", got)
				}
				if again := m.Renew(s); again != nil {
					mu.Lock()
					fresh = append(fresh, again)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		v.wantCalls(t, 1)
		if len(fresh) != 1 {
			t.Fatalf("%d cookies were renewed, want 1, at once", len(fresh))
		}
		holds(t, m, c.Value, "access 1") // a tab that still sends the old cookie
		again := manager(t)              // after a restart
		again.Refresh = v.refresh
		holds(t, again, fresh[0].Value, "access 1")
		time.Sleep(tokenLife - refreshEarly) // due, not expired: no request waits
		holds(t, m, fresh[0].Value, "access 1")
		time.Sleep(2 * time.Second)
		s := holds(t, m, fresh[0].Value, "access 2")
		if m.Renew(s) == nil {
			t.Error("Renew(second token) = nil, want a cookie at once")
		}
		holds(t, m, c.Value, "access 2")
		v.wantCalls(t, 2)
	})
}

func TestOneRefreshForAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, v := newFleet(t, 0), &service{takes: 2 * time.Second}
		for range 3 {
			m := replica(t, f.store, f.people)
			m.Journal, m.Refresh = f.journal, v.refresh
			f.run(t, m)
			f.all = append(f.all, m)
		}
		_, c := enter(t, f.all[0])
		for _, m := range f.all {
			holds(t, m, c.Value, "access 0")
		}
		for round := 1; round <= 3; round++ {
			time.Sleep(tokenLife)
			var all sync.WaitGroup
			for i := range 51 {
				all.Go(func() { holds(t, f.all[i%3], c.Value, fmt.Sprint("access ", round)) })
			}
			all.Wait()
			v.wantCalls(t, round)
		}
		late := replica(t, f.store, f.people)
		late.Refresh = v.refresh
		time.Sleep(tokenLife / 2)
		allows(t, late, c.Value)
		holds(t, late, c.Value, "access 3")
		v.wantCalls(t, 3)
		if c := f.all[0].Renew(allows(t, f.all[0], c.Value)); c != nil {
			t.Error("Renew(ticket) after a refresh = a cookie, want nil: the token is in the store")
		}
	})
}

func TestRefusedRefreshEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, v := manager(t), new(service)
		m.Refresh = v.refresh
		var ends []string
		m.OnRevoked = func(s *Session, reason string) { ends = append(ends, s.ID+" "+reason) }
		s, c := enter(t, m)
		gone, stop := m.Watch(s)
		defer stop()
		time.Sleep(tokenLife / 2)
		_, other := enter(t, m)
		v.set(&identity.Failure{Class: identity.Refused, Code: "sso_over"})
		time.Sleep(tokenLife / 2)
		refuses(t, m, ErrRevoked, c.Value)
		refuses(t, m, ErrRevoked, c.Value)
		wantClosed(t, "its connection", gone, true)
		allows(t, m, other.Value)
		v.wantCalls(t, 1)
		if len(ends) != 1 || ends[0] != s.ID+" sso_over" {
			t.Errorf("OnRevoked got %q, want this session once", ends)
		}
	})
}

func TestSilenceLivesOnGrace(t *testing.T) { // threats V9
	synctest.Test(t, func(t *testing.T) {
		m, v := manager(t), new(service)
		m.Refresh = v.refresh
		m.Config.Recheck = time.Minute
		calls := 0
		m.Recheck = func(_ context.Context, s *Session) (identity.User, error) {
			if s.Token.Access == "access 0" && time.Now().After(s.Token.Expires) {
				calls++
			}
			return s.User, nil
		}
		_, c := enter(t, m)
		v.set(errors.New("502"))
		time.Sleep(tokenLife - refreshEarly)
		allows(t, m, c.Value)
		failed := time.Now()
		synctest.Wait()
		for time.Since(failed) < m.Config.Grace-time.Second {
			allows(t, m, c.Value)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		refuses(t, m, ErrUnconfirmed, c.Value)
		v.mu.Lock()
		if v.calls > 20 {
			t.Errorf("Refresh was called %d times in %v, want few", v.calls, m.Config.Grace)
		}
		v.mu.Unlock()
		if calls > 0 {
			t.Errorf("Recheck was called %d times with an expired token", calls)
		}
		v.set(nil)
		time.Sleep(3 * time.Minute)
		if s := allows(t, m, c.Value); s.Token.Access == "access 0" {
			t.Error("Load() after the outage has the old token")
		}
	})
}

func TestManager_TokenIsStoredBeforeItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, v := newFleet(t, 0), new(service)
		f.journal.Append(t.Context(), []byte("x"))
		m := replica(t, f.store, f.people)
		m.Journal, m.Refresh = f.journal, v.refresh
		f.run(t, m)
		_, c := enter(t, m)
		time.Sleep(tokenLife - 5*time.Second)
		f.store.setPut(errors.New("OOM"))
		holds(t, m, c.Value, "access 0") // begins the refresh
		time.Sleep(4 * time.Second)
		v.wantCalls(t, 1)
		holds(t, m, c.Value, "access 0")
		f.store.setPut(nil)
		time.Sleep(time.Minute)
		holds(t, m, c.Value, "access 1")
		v.wantCalls(t, 1) // its answer was stored
	})
}

func TestTokensOutliveARestart(t *testing.T) { // state_dir: the cookie with the new token was lost
	synctest.Test(t, func(t *testing.T) {
		store, v := new(faulty), new(service)
		local := func() *Manager {
			m := manager(t)
			m.Store, m.Refresh = store, v.refresh
			return m
		}
		m := local()
		s, c := enter(t, m)
		time.Sleep(tokenLife)
		holds(t, m, c.Value, "access 1")
		holds(t, local(), c.Value, "access 1")
		v.wantCalls(t, 1)
		k, _ := m.tokens.states.Get(s.ID)
		for _, box := range [][]byte{nil, []byte("x"), make([]byte, 200)} {
			if got := m.records.openToken(k, box); got != nil {
				t.Errorf("openToken(%q) = %v, want nil", box, got)
			}
		}
		box, _ := m.Keyring.SealRecord(m.records.key("token", s.ID), []byte{tokenVersion + 1, 0})
		if got := m.records.openToken(k, box); got != nil {
			t.Errorf("openToken(newer) = %v, want nil", got)
		}
	})
}

// TestOneRefreshAcrossAReload: a refresh that began before a reload is not made twice.
func TestOneRefreshAcrossAReload(t *testing.T) { // threats V27
	synctest.Test(t, func(t *testing.T) {
		old, v := manager(t), &service{takes: 2 * time.Second}
		old.Refresh = v.refresh
		_, c := enter(t, old)
		time.Sleep(tokenLife)
		go func() { _, _ = load(t, old, c.Value) }()
		time.Sleep(time.Second)
		reloaded := manager(t)
		reloaded.Refresh = v.refresh
		reloaded.Inherit(old)
		holds(t, reloaded, c.Value, "access 1")
		v.wantCalls(t, 1)
	})
}
