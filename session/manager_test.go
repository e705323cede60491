package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

func TestCookieAttributes(t *testing.T) { // threats O5
	for _, c := range []struct {
		secure           bool
		domain, sameSite string
		want             string
	}{
		{true, "", "", "__Host-dinggate=X; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax"},
		{true, "", "strict", "__Host-dinggate=X; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Strict"},
		{true, "example.com", "none", "dinggate=X; Path=/; Domain=example.com; Max-Age=86400; HttpOnly; Secure; SameSite=None"},
		{false, "", "Lax", "dinggate=X; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"},
		{false, "", "none", "dinggate=X; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=None"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := manager(t)
			m.Secure, m.Cookie = c.secure, CookieConfig{Domain: c.domain, SameSite: c.sameSite}
			s, cookie := signIn(t, m, zhangsan)
			if !cookie.Expires.Equal(s.SignedIn.Add(24 * time.Hour)) {
				t.Errorf("Expires = %v, want %v", cookie.Expires, s.SignedIn.Add(24*time.Hour))
			}
			clear := m.Clear()
			wantClear := strings.Replace(strings.Replace(c.want, "=X", "=", 1), "Max-Age=86400", "Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0", 1)
			if got := clear.String(); got != wantClear {
				t.Errorf("Clear() = %s, want %s", got, wantClear)
			}
			cookie.Value, cookie.Expires = "X", time.Time{}
			if got := cookie.String(); got != c.want {
				t.Errorf("Create() = %s, want %s", got, c.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	m := manager(t)
	made, c := signIn(t, m, zhangsan)
	_, c2 := signIn(t, m, zhangsan)
	other := manager(t)
	other.Realm = "dingother"
	_, foreign := signIn(t, other, zhangsan)
	plainName := manager(t)
	plainName.Secure = false
	_, plain := signIn(t, plainName, zhangsan)
	attempt, _ := m.Keyring.Seal("login attempt", m.CookieName(), []byte("x"))
	short, _ := m.Keyring.Seal(purpose, m.CookieName(), []byte("x"))
	newer, _ := m.Keyring.Seal(purpose, m.CookieName(), append([]byte{version + 1}, make([]byte, 100)...))
	good := c.Value
	for _, l := range []struct {
		name  string
		texts []string
		want  error
	}{
		{"one", []string{good}, nil},
		{"none", nil, ErrNone},
		{"empty", []string{""}, ErrForged},
		{"junk", []string{"junk"}, ErrForged},
		{"C3 one of two verifies", []string{"junk", good}, nil},
		{"C3 one of two verifies", []string{good, flip(good, 9)}, nil},
		{"C3 both verify", []string{good, c2.Value}, ErrForged},
		{"C3 the same twice", []string{good, good}, ErrForged},
		{"C12 many", append(make([]string, 8), good), ErrForged},
		{"C9 another organisation", []string{foreign.Value}, ErrForged},
		{"another name", []string{plain.Value}, ErrForged},
		{"S8 another purpose", []string{attempt}, ErrForged},
		{"a short payload", []string{short}, ErrForged},
		{"V33 a newer payload", []string{newer}, ErrForged},
		{"C4 quoted", []string{`"` + good + `"`}, ErrForged},
	} {
		for range 2 { // from the text, then from the cache
			s, err := load(t, m, l.texts...)
			if !isError(err, l.want) || (s != nil) != (l.want == nil) {
				t.Errorf("%s: Load() = %v, %v, want %v", l.name, s, err, l.want)
			}
		}
	}
	m2 := manager(t) // a restart: everything is in the cookie
	got := allows(t, m2, good)
	if got.ID != made.ID || got.User.Username != "zhangsan" || got.Token != made.Token || !got.SignedIn.Equal(made.SignedIn) ||
		got.Headers.Request[0].Value[0] != "zhangsan" {
		t.Errorf("Load() = %+v, want %+v", *got, *made)
	}
	if allows(t, m2, good) != got {
		t.Error("Load() again made another session, want the one in the cache")
	}
	refuses(t, &Manager{}, ErrForged, good) // the zero value refuses every session
	if _, _, err := (&Manager{}).Create(t.Context(), zhangsan, identity.Token{}); err == nil {
		t.Error("the zero Manager accepts a session")
	}
	if _, _, err := m.Create(t.Context(), identity.User{UnionID: "u"}, identity.Token{}); err == nil {
		t.Error("Create(no username) = nil, want an error")
	}
}

func TestEachSignInHasItsOwnID(t *testing.T) { // threats C1
	m := manager(t)
	seen := map[string]bool{}
	for range 100 {
		s, _ := signIn(t, m, zhangsan)
		if raw, err := base64.RawURLEncoding.DecodeString(s.ID); err != nil || len(raw) != idLength || seen[s.ID] {
			t.Fatalf("Create() has id %q", s.ID)
		}
		seen[s.ID] = true
	}
}

func TestTimes(t *testing.T) { // threats C7
	for _, c := range []struct {
		name                      string
		idle                      time.Duration
		signedIn, checked, sealed time.Duration // relative to now
		want                      error
	}{
		{"fresh", 0, 0, 0, 0, nil},
		{"just in its lifetime", 0, -24*time.Hour + time.Millisecond, 0, 0, nil},
		{"past its lifetime", 0, -24 * time.Hour, 0, 0, ErrExpired},
		{"long past it", 0, -25 * time.Hour, 0, 0, ErrExpired},
		{"idle", time.Hour, -3 * time.Hour, 0, -time.Hour - time.Millisecond, ErrExpired},
		{"not yet idle", time.Hour, -3 * time.Hour, 0, -time.Hour, nil},
		{"no idle limit", 0, -3 * time.Hour, 0, -3 * time.Hour, nil},
		{"1 minute ahead", 0, time.Minute, time.Minute, time.Minute, nil},
		{"1 minute and a bit ahead", 0, time.Minute + time.Millisecond, 0, 0, ErrForged},
		{"10 minutes ahead", 0, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute, ErrForged},
		{"checked in the future", 0, 0, 10 * time.Minute, 0, ErrForged},
		{"sealed in the future", time.Hour, 0, 0, 10 * time.Minute, ErrForged},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := manager(t)
			m.Config.Idle = c.idle
			now := time.Now()
			s := sample()
			s.SignedIn, s.Checked = now.Add(c.signedIn), now.Add(c.checked)
			m.init()
			text, err := m.records.sealCookie(m.CookieName(), s, nil, now.Add(c.sealed))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := load(t, m, text); !isError(err, c.want) || (got != nil) != (c.want == nil) {
				t.Errorf("%s: Load() = %v, %v, want %v", c.name, got, err, c.want)
			}
			if c.want != nil && m.cache.get(text) != nil {
				t.Errorf("%s: the cache holds a cookie that did not pass", c.name)
			}
		})
	}
}

func TestLifetimeAndIdleFromTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		m.Config.Idle = time.Hour
		_, c := signIn(t, m, zhangsan)
		_, lazy := signIn(t, m, lisi)
		for range 47 { // the same old cookie: a gateway does not forward renewals
			time.Sleep(30 * time.Minute)
			allows(t, m, c.Value)
		}
		refuses(t, m, ErrExpired, lazy.Value)
		time.Sleep(30*time.Minute - time.Millisecond)
		allows(t, m, c.Value)
		time.Sleep(time.Millisecond)
		refuses(t, m, ErrExpired, c.Value)
		refuses(t, m, ErrExpired, "junk", c.Value)
	})
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		m.Config.Idle = time.Hour
		s, c := signIn(t, m, zhangsan)
		time.Sleep(15 * time.Minute)
		if got := m.Renew(allows(t, m, c.Value)); got != nil {
			t.Errorf("Renew(after a quarter of idle) = %v, want nil", got)
		}
		time.Sleep(time.Millisecond)
		again := m.Renew(allows(t, m, c.Value))
		if again == nil {
			t.Fatal("Renew(after more than a quarter of idle) = nil, want a cookie")
		}
		if m.Renew(allows(t, m, c.Value)) != nil {
			t.Error("Renew() again at once = a cookie, want nil")
		}
		got := allows(t, m, again.Value)
		if got.ID != s.ID || !got.SignedIn.Equal(s.SignedIn) || !again.Expires.Equal(c.Expires) || got.Token != s.Token {
			t.Errorf("Renew() changed the session: %+v, %v", *got, again.Expires)
		}
		if m.Renew(got) != nil {
			t.Error("Renew(renewed) = a cookie, want nil")
		}
		allows(t, m, c.Value) // C15: the old one stays valid
		time.Sleep(time.Minute)
		if m.Renew(allows(t, m, c.Value)) == nil {
			t.Error("Renew() a minute after a lost cookie = nil, want it again")
		}
		if m.Renew(&Session{}) != nil {
			t.Error("Renew(of no cookie) = a cookie, want nil")
		}
		// The end of the lifetime does not change.
		for range 3 * 24 {
			time.Sleep(20 * time.Minute)
			s, err := load(t, m, again.Value)
			if err != nil {
				if !is(err, ErrExpired) || time.Since(got.SignedIn) < 24*time.Hour {
					t.Fatalf("Load() = %v after %v", err, time.Since(got.SignedIn))
				}
				return
			}
			if c := m.Renew(s); c != nil {
				again = c
			}
		}
		t.Error("a renewed session outlives session.lifetime")
	})
}

func TestRenewAfterRotation(t *testing.T) { // threats C6
	m := manager(t)
	_, c := signIn(t, m, zhangsan)
	if again := m.Renew(allows(t, m, c.Value)); again != nil {
		t.Errorf("Renew(nothing new) = %v, want nil", again)
	}
	rotated := manager(t)
	rotated.Keyring = newKeyring(t, 9, 1)
	again := rotated.Renew(allows(t, rotated, c.Value))
	if again == nil {
		t.Fatal("Renew(old secret) = nil, want a cookie")
	}
	alone := manager(t)
	alone.Keyring = newKeyring(t, 9)
	allows(t, alone, again.Value)
	refuses(t, alone, ErrForged, c.Value)
}

func TestNothingSecretPrints(t *testing.T) { // threats L1
	m := manager(t)
	s, c := signIn(t, m, zhangsan)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "session", s, "keyring", m.Keyring)
	_, forged := load(t, m, flip(c.Value, 3))
	_, several := load(t, m, c.Value, c.Value)
	text := fmt.Sprintf("%v %+v %#v %s %v %v %v", s, s, s, m.Keyring, log.String(), forged, several)
	for _, canary := range []string{"CANARY", c.Value, flip(c.Value, 3)} {
		if strings.Contains(text, canary) {
			t.Errorf("%q is in %s", canary, text)
		}
	}
}

func TestFullCacheStopsRemembering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := manager(t)
		m.MaxSessions, m.MaxPeople = 2, 2
		m.Config.Idle = 0
		var cookies []*http.Cookie
		for i := range 5 {
			_, c := signIn(t, m, identity.User{UnionID: fmt.Sprint(i), Username: fmt.Sprint(i)})
			cookies = append(cookies, c)
		}
		for range 3 {
			for i, c := range cookies {
				if s := allows(t, m, c.Value); s.User.Username != fmt.Sprint(i) {
					t.Errorf("Load(%d) = %v", i, s)
				}
			}
		}
		if got := m.Stats(); got.Cached != 2 || got.People > 2 {
			t.Errorf("Stats() = %+v, want 2 cached and at most 2 people", got)
		}
		time.Sleep(2 * time.Hour) // the entries have expired: there is space again
		allows(t, m, cookies[4].Value)
		if m.cache.get(cookies[4].Value) == nil {
			t.Error("a swept cache does not store")
		}
	})
}

func TestForgeriesLeaveNothingBehind(t *testing.T) { // threats D4
	m := manager(t)
	_, c := signIn(t, m, zhangsan)
	for i := range len(c.Value) - 2 {
		refuses(t, m, ErrForged, flip(c.Value, i))
	}
	if got := m.Stats(); got.Cached != 1 || got.People != 1 || got.Revoked != 0 {
		t.Errorf("Stats() = %+v after forgeries, want 1 session of 1 person", got)
	}
}

func TestEndedContext(t *testing.T) { // threats V17: without a store no call depends on the client
	m := manager(t)
	_, c := signIn(t, m, zhangsan)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Load(ctx, []string{c.Value}, 0); err != nil {
		t.Errorf("Load(ended) = %v", err)
	}
	if errors.Is(ErrStore, ErrNone) {
		t.Error("ErrStore is ErrNone")
	}
}
