package session

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
	"dinggate/store/storetest"
)

// TestSessionsLeaveNothingBehind creates and ends sessions, more than every bound allows, in all
// the ways a session ends. SCALE=1 makes 100,000 of each kind.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	rounds, each := 4, 4_000
	if os.Getenv("SCALE") != "" {
		rounds, each = 10, 10_000
	}
	for _, kind := range []string{StoreCookie, StoreRedis} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := new(service)
				m := manager(t)
				m.Config.Store, m.Config.Lifetime, m.Refresh = kind, time.Hour, v.refresh
				m.MaxSessions, m.MaxRevoked, m.MaxPeople = 2000, 3000, 2500
				memory, journal := &store.Memory{Max: 10 * each}, new(storetest.FakeJournal)
				if kind == StoreRedis {
					m.Store, m.Journal = memory, journal
				}
				(&fleet{}).run(t, m)
				goroutines, heap := runtime.NumGoroutine(), heapInUse()
				for round := range rounds {
					for i := range each {
						comeAndGo(t, m, fmt.Sprint(round, "-", i), i)
					}
					journal.Lose()                         // a bounded list loses entries, too
					time.Sleep(m.Config.Lifetime + 3*skew) // all marks have expired
				}
				time.Sleep(2*time.Hour + m.Config.Recheck + m.Config.Grace)
				synctest.Wait()
				*memory = store.Memory{} // Redis is in another process
				if s := m.Stats(); s.Cached+s.People+s.Revoked+s.Watched+s.Lookups+s.Unsent+m.tokens.states.Len() != 0 {
					t.Errorf("after all sessions have ended: %+v and %d tokens, want nothing", s, m.tokens.states.Len())
				}
				if n := runtime.NumGoroutine(); n > goroutines {
					t.Errorf("%d goroutines after all sessions have ended, %d before", n, goroutines)
				}
				after := heapInUse()
				t.Logf("%d sessions came and went: heap %d KiB before, %d KiB after", rounds*each, heap>>10, after>>10)
				if after > heap+2<<20+uint64(rounds*each)*60 { // 60 bytes of each is less than any entry of a map
					t.Errorf("the heap grew from %d to %d KiB", heap>>10, after>>10)
				}
			})
		})
	}
}

// comeAndGo is one session, seen twice; every third is signed out, every seventh person ended,
// every tenth has an open connection.
func comeAndGo(t *testing.T, m *Manager, id string, i int) {
	u := identity.User{UnionID: "u" + id, UserID: "i" + id, Username: "n" + id}
	s, c, err := m.Create(t.Context(), u, identity.Token{Access: "a", Refresh: "r" + id, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if i%10 == 0 {
		_, stop := m.Watch(s)
		defer stop()
	}
	for range 2 {
		if _, err := m.Load(t.Context(), []string{c.Value}, 0); err != nil && err != ErrRevoked { // the full set ends other sessions
			t.Fatalf("Load() = %v", err)
		}
	}
	switch {
	case i%3 == 0:
		m.Revoke(t.Context(), s.ID)
	case i%7 == 0:
		m.RevokeUser(t.Context(), Person{UserID: u.UserID}, "left")
	}
}

func heapInUse() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
