package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestRevokeOwn: a session that its person ends from another one is over, whatever was ended before,
// and also after it had to make room (threats C10, D14).
func TestRevokeOwn(t *testing.T) {
	for name, before := range map[string]func(*Manager){
		"nothing":   func(*Manager) {},
		"everybody": func(m *Manager) { m.RevokeAll(t.Context(), "x") },
		"everywhere": func(m *Manager) {
			m.RevokeUser(t.Context(), Person{UnionID: zhangsan.UnionID}, "sign_out")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := manager(t)
				m.MaxRevoked = 2
				before(m)
				time.Sleep(time.Second)
				s, _ := signIn(t, m, zhangsan)
				other, text := signIn(t, m, zhangsan)
				allows(t, m, text.Value)
				if err := RevokeOwn(t.Context(), m, s, other.ID); err != nil {
					t.Fatal(err)
				}
				refuses(t, m, ErrRevoked, text.Value)
				for range 3 { // they take the room
					one, _ := signIn(t, m, zhangsan)
					m.RevokeSession(t.Context(), one)
				}
				refuses(t, m, ErrRevoked, text.Value)
			})
		})
	}
}

// TestReloadShortensTheLifetime: open connections of sessions that are past it are closed too.
func TestReloadShortensTheLifetime(t *testing.T) { // threats W2, V27
	synctest.Test(t, func(t *testing.T) {
		old := manager(t)
		_, c := signIn(t, old, zhangsan)
		gone, stop := old.Watch(allows(t, old, c.Value))
		defer stop()
		time.Sleep(2 * time.Hour)
		m := manager(t)
		m.Config.Lifetime = time.Hour
		m.Inherit(old)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		refuses(t, m, ErrExpired, c.Value)
		time.Sleep(time.Minute)
		wantClosed(t, "a connection past the new lifetime", gone, true)
		cancel()
		<-done
	})
}

// TestNoticeMakesRoom: a notice of an account's password, in a full set, revives no session of the
// account that was signed out (threats D14, T34).
func TestNoticeMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := manager(t), new(passwords)
		p.set("zs", 1)
		m.MaxRevoked, m.Accounts = 4, p
		var out []string
		for range m.MaxRevoked {
			s, text := begin(t, m, SignIn{User: local, Fingerprint: 1})
			if err := m.RevokeSession(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			out = append(out, text)
			time.Sleep(time.Second)
		}
		if err := m.RevokeUser(t.Context(), Person{Account: "zs", Spare: 1}, "account_changed"); err != nil {
			t.Fatal(err)
		}
		for _, text := range out {
			refuses(t, m, ErrRevoked, text)
		}
		_, again := begin(t, m, SignIn{User: local, Fingerprint: 1})
		allows(t, m, again)
	})
}
