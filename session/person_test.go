package session

import (
	"context"
	"encoding/hex"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
	"dinggate/store"
)

// passwords are Accounts whose fingerprints a test sets.
type passwords struct {
	mu      sync.Mutex
	version uint64
	now     map[string]uint64
	first   map[string]bool
}

func (p *passwords) set(name string, fingerprint uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		p.now, p.first = map[string]uint64{}, map[string]bool{}
	}
	_, known := p.now[name]
	p.now[name], p.first[name] = fingerprint, !known
	p.version++
}

func (p *passwords) Version() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version
}

func (p *passwords) Holds(name string, fingerprint uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, ok := p.now[name]
	return ok && (now == fingerprint || fingerprint == 0 && p.first[name])
}

var local = identity.User{Username: "zs", Name: "zs", Local: true}

// begin signs a person in, as of the time in in.Since.
func begin(t testing.TB, m *Manager, in SignIn) (*Session, string) {
	t.Helper()
	s, c, err := m.Begin(t.Context(), in)
	if err != nil {
		t.Fatalf("Begin(%s) = %v", in.User.Username, err)
	}
	return s, c.Value
}

// TestKindsOfPeople: a local account, a person without a unionid and two people to whom a service
// assigns one unionid share no facts and no revocations, whatever their names are (threats T32,
// T36).
func TestKindsOfPeople(t *testing.T) {
	all := []identity.User{
		{Username: "zs", Local: true}, {Username: "ZS", Local: true}, {Username: "zs"}, {Username: "ZS"},
		{UnionID: "0", Username: "zs"}, {UnionID: "0", Username: "ls"}, {UnionID: "1", Username: "zs"},
	}
	for shared := range 2 {
		for i, leaver := range all {
			synctest.Test(t, func(t *testing.T) {
				accounts := new(passwords)
				accounts.set("zs", 1)
				accounts.set("ZS", 2)
				m := manager(t)
				m.Service, m.Accounts = true, accounts
				m.Recheck = func(_ context.Context, s *Session) (identity.User, error) {
					u := s.User
					if u.Email = "looked-up@" + s.Token.Access; s.User.Username == leaver.Username && s.User.UnionID == leaver.UnionID && s.User.Local == leaver.Local {
						return u, &identity.Failure{Class: identity.Refused, Code: "left"}
					}
					return u, nil
				}
				replica := m
				if shared == 1 {
					m.Config.Store, m.Store = StoreRedis, new(store.Memory)
					replica = manager(t)
					replica.Service, replica.Accounts, replica.Recheck, replica.Config, replica.Store = true, accounts, m.Recheck, m.Config, m.Store
				}
				cookies := make([]string, len(all))
				for i, u := range all {
					in := SignIn{User: u, Fingerprint: accounts.now[u.Username]}
					if !u.Local {
						in.Token, in.Fingerprint = identity.Token{Access: u.UnionID + u.Username}, 0
					}
					_, cookies[i] = begin(t, m, in)
				}
				time.Sleep(m.Config.Recheck + time.Second)
				for _, text := range cookies { // each person is looked up once, on one replica or the other
					_, _ = load(t, m, text)
					synctest.Wait()
				}
				for j, text := range cookies {
					s, err := load(t, replica, text)
					if j == i {
						if !is(err, ErrRevoked) {
							t.Errorf("%+v left: Load() = %v, %v, want ErrRevoked", leaver, s, err)
						}
					} else if want := "looked-up@" + s.Token.Access; err != nil || s.User.Email != want && replica == m {
						t.Errorf("%+v left: Load(%+v) = %v, %v, want %s", leaver, all[j], s, err, want)
					}
				}
			})
		}
	}
}

// TestNamesOfPeople: whom a revocation affects.
func TestNamesOfPeople(t *testing.T) {
	people := map[string]identity.User{
		"local zs": {Username: "zs", Local: true}, "zs": {Username: "zs", UserID: "z1"},
		"0 zs": {UnionID: "0", Username: "zs", UserID: "z2"}, "0 ls": {UnionID: "0", Username: "ls"},
	}
	for _, tt := range []struct {
		who     Person
		service bool
		want    string
	}{
		{Person{Account: "zs"}, true, "local zs"}, {Person{Username: "zs"}, true, "zs"},
		{Person{UnionID: "0"}, true, "0 ls, 0 zs"}, {Person{UserID: "z2"}, true, "0 zs"},
		{revocation.PersonOf(identity.Key{Kind: identity.KeyBoth, Text: "0\x00zs"}), true, "0 zs"},
		{Person{UnionID: "0"}, false, "0 ls, 0 zs"}, {Person{Account: "0 zs"}, true, ""}, {Person{UnionID: "zs"}, true, ""},
	} {
		m := manager(t)
		m.Service = tt.service
		got := ""
		for _, one := range []string{"0 ls", "0 zs", "local zs", "zs"} {
			if tt.who.Matches(m.Service)(people[one]) {
				got += ", " + one
			}
		}
		if got != "" {
			got = got[2:]
		}
		if got != tt.want {
			t.Errorf("%+v, service %v: %q, want %q", tt.who, tt.service, got, tt.want)
		}
	}
}

// TestLeftMeanwhile: a person who leaves, or whose organisation or binding ends, while the
// provider is called, is signed out (threats K18), on every replica and after a restart.
func TestLeftMeanwhile(t *testing.T) {
	for how, leave := range map[string]func(m *Manager) error{
		"the person by userid":  func(m *Manager) error { return m.RevokeUser(t.Context(), Person{UserID: zhangsan.UserID}, "left") },
		"the person by unionid": func(m *Manager) error { return m.RevokeUser(t.Context(), Person{UnionID: zhangsan.UnionID}, "unbound") },
		"all users":             func(m *Manager) error { return m.RevokeAll(t.Context(), "organisation_gone") },
	} {
		for shared := range 2 {
			synctest.Test(t, func(t *testing.T) {
				a, b := manager(t), manager(t)
				if a.Store = new(store.Memory); shared == 1 {
					a.Config.Store, b.Config.Store = StoreRedis, StoreRedis
				}
				b.Store = a.Store
				t.Log(how, shared)
				_, before := begin(t, a, SignIn{User: zhangsan})
				time.Sleep(time.Second)
				since := a.Time()
				time.Sleep(3 * time.Second)
				if err := leave(b); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				_, meanwhile := begin(t, a, SignIn{User: zhangsan, Since: since})
				_, colleague := begin(t, a, SignIn{User: lisi})
				_, later := begin(t, a, SignIn{User: zhangsan, Since: a.Time()})
				for _, m := range []*Manager{a, b} {
					refuses(t, m, ErrRevoked, before)
					refuses(t, m, ErrRevoked, meanwhile)
					allows(t, m, colleague)
					allows(t, m, later)
				}
			})
		}
	}
	m := manager(t)
	for _, since := range []time.Time{{}, time.Now().Add(time.Hour)} { // of no clock
		if s, _ := begin(t, m, SignIn{User: lisi, Since: since}); time.Since(s.SignedIn).Abs() > time.Minute {
			t.Errorf("Begin since %v is signed in at %v", since, s.SignedIn)
		}
	}
}

// TestPasswordChanges: a session ends with the password that began it, wherever and however late
// it was begun (threats T34); one of the new password stays valid, also if a replica that reads
// its file late ends the account's sessions.
func TestPasswordChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(store.Memory)
		replica := func(fingerprint uint64) (*Manager, *passwords) {
			m, p := manager(t), new(passwords)
			p.set("zs", fingerprint)
			m.Config.Store, m.Store, m.Accounts = StoreRedis, store, p
			return m, p
		}
		in := func(m *Manager, fingerprint uint64) string {
			_, text := begin(t, m, SignIn{User: local, Fingerprint: fingerprint})
			time.Sleep(time.Second)
			return text
		}
		a, fileOfA := replica(1)
		b, fileOfB := replica(1)
		var ended []string
		a.OnRevoked = func(_ *Session, reason string) { ended = append(ended, reason) }
		before := in(a, 1)
		allows(t, a, before)
		allows(t, b, before)

		fileOfA.set("zs", 2)
		refuses(t, a, ErrRevoked, before)
		loop := in(a, 1) // verified before the file changed
		refuses(t, a, ErrRevoked, loop)
		after := in(a, 2)
		allows(t, a, after)
		if err := a.RevokeUser(t.Context(), Person{Account: "zs", Spare: 2}, "account_changed"); err != nil {
			t.Fatal(err)
		}
		refuses(t, b, ErrRevoked, before) // although its file is the old one
		time.Sleep(time.Second)
		late := in(b, 1)
		allows(t, b, late)
		refuses(t, a, ErrRevoked, late)

		fileOfB.set("zs", 2)
		if err := b.RevokeUser(t.Context(), Person{Account: "zs", Spare: 2}, "account_changed"); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*Manager{a, b} {
			allows(t, m, after)
			for _, text := range []string{before, loop, late} {
				refuses(t, m, ErrRevoked, text)
			}
		}
		c, _ := replica(2) // it has never read the old password
		allows(t, c, after)
		refuses(t, c, ErrRevoked, late)
		c.Accounts = nil
		refuses(t, c, ErrRevoked, after)
		if len(ended) == 0 || ended[0] != "account_changed" {
			t.Errorf("OnRevoked got %q", ended)
		}
	})
}

// TestOlderSessionOfAnAccount: a cookie without a fingerprint, of an older release, is valid as
// long as the account's password stays (threats V33, T34).
func TestOlderSessionOfAnAccount(t *testing.T) {
	m, p := manager(t), new(passwords)
	p.set("zs", 1)
	p.set("ls", 1)
	m.Accounts = p
	plain := unhex(t, version1Local)
	old, err := m.Keyring.Seal(purpose, m.CookieName(), plain)
	if err != nil {
		t.Fatal(err)
	}
	m.Now = func() time.Time { return time.UnixMilli(1_800_000_000_123).Add(time.Minute) }
	if s := allows(t, m, old); !s.User.Local || s.Fingerprint != 0 {
		t.Errorf("Load(an older release's) = %+v, want a local account of unknown fingerprint", s.User)
	}
	p.set("ls", 2)
	allows(t, m, old)
	p.set("zs", 2)
	refuses(t, m, ErrRevoked, old)
}

// TestWatchEndsWithThePassword: an open connection ends with the password.
func TestWatchEndsWithThePassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := manager(t), new(passwords)
		p.set("zs", 1)
		m.Accounts = p
		ctx, cancel := context.WithCancel(t.Context())
		running := make(chan struct{})
		go func() { m.Run(ctx); close(running) }()
		s, _ := begin(t, m, SignIn{User: local, Fingerprint: 1})
		gone, stop := m.Watch(s)
		defer stop()
		p.set("zs", 2)
		time.Sleep(20 * time.Second) // a replica that was not notified of the change finds it by itself
		synctest.Wait()
		select {
		case <-gone:
		default:
			t.Error("an open connection outlives its password")
		}
		if gone, _ := m.Watch(s); !closed(gone) {
			t.Error("a connection of the old password was opened")
		}
		cancel()
		<-running
	})
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func closed(gone <-chan struct{}) bool {
	select {
	case <-gone:
		return true
	default:
		return false
	}
}
