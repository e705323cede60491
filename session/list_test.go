package session

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/index"
	"dinggate/store/storetest"
)

// TestList_WithoutIndex: a new configuration begins a new list, and reports since when.
func TestList_WithoutIndex(t *testing.T) {
	first := manager(t)
	at := time.Now()
	first.Now = func() time.Time { return at }
	if got := List(t.Context(), first); !got.Since.Equal(at) || got.Scope != ScopeProcess {
		t.Errorf("List = %+v, want since %v", got, at)
	}
	later := at.Add(time.Hour)
	reloaded := manager(t)
	reloaded.Now = func() time.Time { return later }
	reloaded.Inherit(first)
	if got := List(t.Context(), reloaded); !got.Since.Equal(later) || len(got.Sessions) != 0 {
		t.Errorf("List after a change of configuration = %+v, want none since %v", got, later)
	}
}

// twoReplicas are two managers with one store; their background work ends with the test.
func twoReplicas(t *testing.T) (one, two *Manager, shared *storetest.Faulty) {
	shared = storetest.NewFaulty()
	replica := func() *Manager {
		m := manager(t)
		m.Config.Store, m.Store, m.Index = StoreRedis, shared.Swapper, shared
		t.Cleanup(func() { m.init(); m.tasks.close() })
		return m
	}
	return replica(), replica(), shared
}

var zhang = identity.User{UnionID: "u1", UserID: "zhangsan", Username: "zhangsan", Name: "张三"}
var li = identity.User{UnionID: "u2", UserID: "lisi", Username: "lisi", Name: "李四"}

func beginOn(t *testing.T, m *Manager, u identity.User, device string) *Session {
	t.Helper()
	s, _, err := m.Begin(t.Context(), SignIn{User: u, Device: device, Client: netip.MustParseAddr("192.0.2.7")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listed fails the test unless m lists exactly these sessions, completely.
func listed(t *testing.T, what string, got Listing, want ...*Session) {
	t.Helper()
	ids := map[string]bool{}
	for _, s := range got.Sessions {
		ids[s.ID] = true
	}
	for _, s := range want {
		if !ids[s.ID] {
			t.Errorf("%s: the session of %s is not listed", what, s.User.Username)
		}
	}
	if len(ids) != len(want) || got.Missing != nil {
		t.Errorf("%s: %d sessions listed, missing: %v; want %d", what, len(ids), got.Missing, len(want))
	}
}

// TestList_Replicas: every replica lists the sessions of all, with the client of the sign-in,
// until they end.
func TestList_Replicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, shared := twoReplicas(t)
		third := manager(t) // has seen no request
		third.Config.Store, third.Store, third.Index = StoreRedis, shared.Swapper, shared
		a, b := beginOn(t, one, zhang, "Chrome · Windows"), beginOn(t, one, zhang, "Safari · iPhone")
		c := beginOn(t, two, li, "")
		synctest.Wait()
		for name, m := range map[string]*Manager{"the first": one, "the second": two} {
			listed(t, name, List(t.Context(), m), a, b, c)
			listed(t, name+", one's own", ListOwn(t.Context(), m, a), a, b)
		}
		for _, s := range List(t.Context(), two).Sessions {
			if s.ID == a.ID && (s.Device != "Chrome · Windows" || s.Client.String() != "192.0.2.7" || s.User.Name != "张三" ||
				!s.SignedIn.Equal(a.SignedIn) || !s.Ends.Equal(Ends(two, a.SignedIn)) || s.Person() != PersonOf(one, a)) {
				t.Errorf("listed as %+v", s)
			}
		}
		if got := List(t.Context(), two).Scope; got != ScopeFleet {
			t.Errorf("scope = %s, want fleet", got)
		}
		if err := RevokeOwn(t.Context(), two, a, b.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		listed(t, "after the end of one", List(t.Context(), two), a, c)
		if err := two.RevokeUser(t.Context(), Person{UserID: "zhangsan"}, "left"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the next sign-in begins after the revocation
		synctest.Wait()
		listed(t, "after the end of a person", List(t.Context(), two), c)
		d := beginOn(t, two, zhang, "")
		if err := one.Revoke(t.Context(), c.ID); err != nil { // the owner is not given
			t.Fatal(err)
		}
		synctest.Wait()
		listed(t, "after the end of an id", List(t.Context(), third), d)
		time.Sleep(one.Config.Lifetime)
		listed(t, "after the lifetime", List(t.Context(), third))
	})
}

// TestList_LastAddress: a list has where a session was last seen from, on the replica that
// saw it at once, on others with the time of the last request.
func TestList_LastAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, shared := twoReplicas(t)
		a := beginOn(t, one, zhang, "")
		synctest.Wait()
		for _, address := range []string{"198.51.100.1", "2001:db8::1"} {
			time.Sleep(index.Coarse + time.Minute)
			a.entry.touch(time.Now())
			a.SeenFrom(netip.MustParseAddr(address))
			a.SeenFrom(netip.Addr{}) // a gateway that reports no address
			if got := List(t.Context(), one).Sessions; len(got) != 1 || got[0].Last.String() != address {
				t.Errorf("on the replica itself = %+v, want %s", got, address)
			}
			one.index.noteSeen(false)
			synctest.Wait()
			later := manager(t) // has seen nothing itself
			later.Config.Store, later.Store, later.Index = StoreRedis, shared.Swapper, shared
			for name, m := range map[string]*Manager{"another replica": two, "a later one": later} {
				if got := List(t.Context(), m).Sessions; len(got) != 1 || got[0].Last.String() != address ||
					got[0].Client.String() != "192.0.2.7" {
					t.Errorf("on %s = %+v, want %s, and the sign-in's", name, got, address)
				}
			}
		}
	})
}

// BenchmarkSeenFrom is what each request pays for the address.
func BenchmarkSeenFrom(b *testing.B) {
	s, at := &Session{entry: &entry{}}, netip.MustParseAddr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		s.SeenFrom(at)
	}
}

// TestList_StoreAway: an unreachable store ends no session, and the list reports that it is
// incomplete until all changes are written.
func TestList_StoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, shared := twoReplicas(t)
		a := beginOn(t, one, zhang, "")
		synctest.Wait()
		shared.Away.Store(true)
		b := beginOn(t, two, li, "Edge · Windows")
		if err := two.Revoke(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for name, m := range map[string]*Manager{"the first": one, "the second": two} {
			if got := List(t.Context(), m); got.Missing == nil {
				t.Errorf("%s: lists %d sessions and does not say that some may be missing", name, len(got.Sessions))
			}
		}
		if got := List(t.Context(), two).Sessions; len(got) != 1 || got[0].ID != b.ID {
			t.Errorf("without the store = %+v, want what the process knows itself", got)
		}
		shared.Away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		for name, m := range map[string]*Manager{"the first": one, "the second": two} {
			list := List(t.Context(), m)
			if name == "the first" { // it learns of the end by the journal, which is missing here
				list.Sessions = list.Sessions[:0:0]
				for _, s := range List(t.Context(), m).Sessions {
					if s.ID != a.ID {
						list.Sessions = append(list.Sessions, s)
					}
				}
			}
			listed(t, name, list, b)
		}
	})
}

// TestList_Forged: a record that was changed is not read, the list reports that sessions may be
// missing, and those in use are added again (threats G5).
func TestList_Forged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, shared := twoReplicas(t)
		a := beginOn(t, one, zhang, "")
		synctest.Wait()
		key := ""
		for n := range index.Shards {
			if k := one.index.Key(n); k != "" {
				if raw, err := shared.Get(t.Context(), k); err == nil {
					key = k
					if err := shared.Put(t.Context(), k, append(raw[:len(raw)-1:len(raw)-1], raw[len(raw)-1]^1), time.Hour); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if key == "" {
			t.Fatal("nothing is in the store")
		}
		if got := List(t.Context(), two); len(got.Sessions) != 0 || got.Missing == nil {
			t.Errorf("of a forged record = %+v", got)
		}
		one.index.noteSeen(true)
		synctest.Wait()
		if got := List(t.Context(), two); len(got.Sessions) != 1 || got.Sessions[0].ID != a.ID || !errors.Is(got.Missing, index.ErrCut) {
			t.Errorf("after it was seen again = %+v", got)
		}
	})
}

// TestList_Reload: the next configuration writes the pending changes of the previous one; after a
// new first secret the list still contains what the old one sealed.
func TestList_Reload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, shared := twoReplicas(t)
		a := beginOn(t, one, zhang, "")
		synctest.Wait()
		shared.Away.Store(true)
		b := beginOn(t, one, li, "")
		time.Sleep(time.Second)
		next := manager(t)
		next.Keyring = newKeyring(t, 2, 1)
		next.Config.Store, next.Store, next.Index = StoreRedis, shared.Swapper, shared
		next.Inherit(one)
		t.Cleanup(func() { next.init(); next.tasks.close() })
		next.init()
		one.tasks.close()
		shared.Away.Store(false)
		next.index.Resume()
		synctest.Wait()
		listed(t, "the next", List(t.Context(), next), a, b)
		two.Keyring = newKeyring(t, 1, 2)
		listed(t, "another replica", List(t.Context(), two), a, b)
		if err := next.RevokeUser(t.Context(), Person{UnionID: "u1"}, "left"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		listed(t, "another replica, after an end", List(t.Context(), two), b)
	})
}

// TestList_Bounds: a person who signs in without end displaces no one else's sessions, and the
// list reports that it is truncated.
func TestList_Bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, _ := twoReplicas(t)
		other := beginOn(t, one, li, "")
		for range 2 * index.MaxPerson {
			beginOn(t, one, zhang, "")
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		got := List(t.Context(), two)
		if len(got.Sessions) != index.MaxPerson+1 || !errors.Is(got.Missing, index.ErrCut) {
			t.Errorf("%d sessions, missing: %v; want %d and the cut", len(got.Sessions), got.Missing, index.MaxPerson+1)
		}
		listed(t, "another person's own", ListOwn(t.Context(), two, other), other)
	})
}
