package session

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
)

// oversized returns a person whose data does not fit into a cookie.
func oversized() identity.User {
	u := zhangsan
	for i := range int64(200) {
		u.Departments = append(u.Departments, 100_000_000+i)
		u.Ancestors = append(u.Ancestors, 100_000_000+i, 200_000_000+i)
		u.Roles = append(u.Roles, identity.Role{ID: i, Name: fmt.Sprintf("第%d组的主管", i)})
	}
	return u
}

func TestTicketHoldsWhatACookieCannot(t *testing.T) { // threats C16
	synctest.Test(t, func(t *testing.T) {
		a, b, store, d := replicas(t)
		who := oversized()
		d.knows(who)
		token := identity.Token{Access: strings.Repeat("a", 8000), Refresh: strings.Repeat("r", 8000), Expires: time.Now().Add(time.Hour).UTC()}
		_, c, err := a.Create(t.Context(), who, token)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.String()); n > 500 {
			t.Errorf("Set-Cookie has %d bytes, want a ticket", n)
		}
		for _, m := range []*Manager{a, b, replica(t, store, d)} {
			s := allows(t, m, c.Value)
			if !reflect.DeepEqual(s.User, who) || s.Token != token {
				t.Errorf("Load() = %d departments, %d roles, a token of %d bytes; want all there is", len(s.User.Departments), len(s.User.Roles), len(s.Token.Access))
			}
		}
		time.Sleep(6 * time.Minute)
		allows(t, a, c.Value)
		synctest.Wait()
		if s := allows(t, replica(t, store, d), c.Value); !reflect.DeepEqual(s.User, who) || time.Since(s.Checked) > time.Minute {
			t.Errorf("a replica that starts late knows facts of %v ago, want those of the recheck", time.Since(s.Checked))
		}
		wantCalls(t, d, 1)
	})
}

func TestManager_StoreAloneOpensNothing(t *testing.T) { // threats C17
	a, b, store, _ := replicas(t)
	_, c := signIn(t, a, zhangsan)
	s, other := signIn(t, a, lisi)
	find := func(id string) string { return a.records.key("session", id) }
	mine, _ := store.Memory.Get(t.Context(), find(s.ID))
	if _, _, err := a.Keyring.OpenRecord(find(s.ID), mine); err == nil {
		t.Error("the keyring opens a session's record, want the ticket alone to")
	}
	plain, _, _ := a.Keyring.Open(purpose, a.CookieName(), c.Value)
	stolen, _ := decodeTicket(plain)
	if _, err := keyring.OpenBox(stolen.key, find(s.ID), mine); err == nil {
		t.Error("another session's ticket opens the record")
	}
	store.Put(t.Context(), find(stolen.id), mine, time.Hour) // another person's record under our ticket
	refuses(t, b, ErrForged, c.Value)
	store.Put(t.Context(), find(s.ID), mine[:len(mine)-1], time.Hour)
	refuses(t, b, ErrForged, other.Value)
}

func TestTwoReleasesSideBySide(t *testing.T) { // threats V33
	a, b, store, d := replicas(t)
	old := manager(t) // its cookie carries the session, with a mark in the store
	s, whole := signIn(t, old, zhangsan)
	a.init()
	record := a.records.key("session", s.ID)
	store.Put(t.Context(), record, []byte("1"), time.Hour)
	if got := allows(t, a, whole.Value); got.ID != s.ID {
		t.Errorf("Load(older cookie) = %s, want %s", got.ID, s.ID)
	}
	a.Revoke(t.Context(), s.ID)
	refuses(t, b, ErrRevoked, whole.Value)

	_, c := signIn(t, a, zhangsan)
	refuses(t, old, ErrForged, c.Value) // as an older release, or another configuration, reads a ticket
	plain, _, _ := a.Keyring.Open(purpose, a.CookieName(), c.Value)
	for _, v := range []byte{0, 3, 255} {
		plain[0] = v
		newer, _ := a.Keyring.Seal(purpose, a.CookieName(), plain)
		refuses(t, a, ErrForged, newer)
	}

	plain[0] = ticketVersion
	tk, _ := decodeTicket(plain)
	box, _ := store.Memory.Get(t.Context(), a.records.key("session", tk.id))
	inside, _ := keyring.OpenBox(tk.key, a.records.key("session", tk.id), box)
	inside[0]++
	box, _ = keyring.SealBox(tk.key, a.records.key("session", tk.id), inside)
	store.Put(t.Context(), a.records.key("session", tk.id), box, time.Hour)
	refuses(t, replica(t, store, d), ErrForged, c.Value) // a newer record: sign in, without an error
}

func TestManager_OneLoadForManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		s, c := signIn(t, f.all[0], zhangsan)
		load50 := func(m *Manager, want error) {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if got, err := load(t, m, c.Value); want == nil && (err != nil || got.ID != s.ID) || want != nil && !isError(err, want) {
						t.Errorf("Load() = %v, %v, want %v", got, err, want)
					}
				})
			}
			all.Wait()
		}
		f.store.set(nil, true)
		load50(f.all[1], ErrStore)
		f.store.set(nil, false)
		f.store.slow(100 * time.Millisecond)
		before := f.reads()
		load50(f.all[1], nil)
		if n := f.reads() - before; n > 5 {
			t.Errorf("50 requests with one ticket read the store %d times, want once each for session, person and all people", n)
		}
		late := f.add(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		go load(t, late, c.Value)
		synctest.Wait()
		if _, err := late.Load(ctx, []string{c.Value}, 0); !isError(err, ErrStore) {
			t.Errorf("Load(client gone) = %v, want ErrStore", err)
		}
		time.Sleep(time.Second)
		allows(t, late, c.Value)
	})
}

func TestTicketTimes(t *testing.T) { // threats C7
	synctest.Test(t, func(t *testing.T) {
		a, b, store, d := replicas(t)
		a.Config.Idle, b.Config.Idle = time.Hour, time.Hour
		a.Recheck, b.Recheck = nil, nil
		_, c := signIn(t, a, zhangsan)
		for range 5 {
			time.Sleep(30 * time.Minute)
			again := a.Renew(allows(t, a, c.Value))
			if again == nil {
				t.Fatal("Renew(worn) = nil, want a cookie")
			}
			allows(t, b, again.Value) // the same ticket, sealed later
			c = again
		}
		gets := store.gets
		time.Sleep(time.Hour + time.Second)
		late := replica(t, store, d)
		late.Config.Idle = time.Hour
		refuses(t, late, ErrExpired, c.Value)
		_, c = signIn(t, a, zhangsan)
		short := replica(t, store, d)
		short.Config.Lifetime = time.Minute
		time.Sleep(time.Minute)
		refuses(t, short, ErrExpired, c.Value)
		if store.gets != gets {
			t.Error("the store was read for expired tickets")
		}
		ahead := replica(t, store, d)
		ahead.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
		_, early := signIn(t, ahead, zhangsan)
		refuses(t, b, ErrForged, early.Value)
	})
}

func TestRotateTwiceUnderLoad(t *testing.T) { // threats C6, V33
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{StoreCookie, StoreRedis} {
			f := newFleet(t, 1)
			next := func(old *Manager, secrets ...byte) *Manager {
				m := replica(t, f.store, f.people)
				m.Keyring, m.Journal, m.Config.Store = newKeyring(t, secrets...), f.journal, kind
				if kind == StoreCookie {
					m.Store, m.Journal = nil, nil
				}
				if old != nil {
					m.Inherit(old)
				}
				f.run(t, m)
				return m
			}
			var jar []string
			m := next(nil, 1)
			for i := range 20 {
				u := identity.User{UnionID: fmt.Sprint("u", i), UserID: fmt.Sprint("i", i), Username: fmt.Sprint("n", i)}
				_, c := signIn(t, m, u)
				jar = append(jar, c.Value)
			}
			for _, ring := range [][]byte{{2, 1}, {3, 2}} { // the second rotation removes the first secret
				m = next(m, ring...)
				for i, text := range jar {
					s := allows(t, m, text)
					c := m.Renew(s)
					if c == nil {
						t.Fatalf("%s: Renew(sealed with the old secret) = nil, want a cookie", kind)
					}
					allows(t, m, text) // running requests lose nothing
					jar[i] = c.Value
				}
				time.Sleep(time.Minute)
			}
			m = next(m, 3)
			for _, text := range jar {
				allows(t, m, text)
			}
		}
	})
}

// TestLoadKnownSharedAllocates: a known session is as cheap with a shared store.
func TestLoadKnownSharedAllocates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		m := f.all[0]
		_, c := signIn(t, m, zhangsan)
		texts, ctx := []string{c.Value}, context.Background()
		if n := testing.AllocsPerRun(100, func() {
			s, _ := m.Load(ctx, texts, time.Second)
			m.Renew(s)
		}); n != 0 {
			t.Errorf("Load of a known session allocates %v times, want 0", n)
		}
	})
}

// FuzzTicket: encoding inverts decoding.
func FuzzTicket(f *testing.F) {
	t, _ := newTicket(&Session{ID: sample().ID, Realm: "dingcorp", SignedIn: time.UnixMilli(1e12)})
	b, _ := t.encode(time.UnixMilli(1e12))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		tk, err := decodeTicket(b)
		if err != nil {
			if !is(err, ErrForged) {
				t.Fatalf("decodeTicket() = %v, want ErrForged", err)
			}
			return
		}
		if again, err := tk.encode(tk.sealed); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encode(decode(%x)) = %x, %v", b, again, err)
		}
	})
}
