package sso

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/store/storetest"
)

const canaryRef = "canary-session-cookie"

func newServer(t *testing.T, keys ...string) (*Server, *storetest.Faulty) {
	codes := storetest.NewFaulty()
	s := &Server{
		Config: ServerConfig{Clients: []App{{ClientID: "app", ClientSecret: conf.NewSecret("app-secret"),
			RedirectURLs: []string{"https://o.test/cb"}}}},
		PublicURL: "https://sso.test", Codes: codes,
		WhoIs: func(*http.Request) (Person, error) {
			return Person{
				User:  identity.User{Username: "zhangsan"},
				Ref:   canaryRef,
				Until: time.Now().Add(time.Hour),
			}, nil
		},
		SignIn: func(http.ResponseWriter, *http.Request, string, string) error { return errors.New("not here") },
		Finish: func(http.ResponseWriter, *http.Request, func(string) error) (Person, string, error) {
			return Person{}, "", errors.New("not here")
		},
		Recall: func(_ context.Context, ref string) (Person, error) {
			if ref != canaryRef {
				return Person{}, ErrNobody
			}
			return Person{User: identity.User{Username: "zhangsan"}, Ref: ref, Until: time.Now().Add(time.Hour)}, nil
		},
	}
	for _, key := range keys {
		s.Keys = append(s.Keys, bytes.Repeat([]byte(key), 32)[:32])
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	return s, codes
}

// over returns the server with another store.
func (s *Server) over(t *testing.T, codes *storetest.Faulty) {
	t.Helper()
	s.Codes, s.once = codes, sync.Once{}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) do(t *testing.T, method, target, body, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if authorization != "" {
		r.Header["Authorization"] = []string{authorization}
	}
	w := httptest.NewRecorder()
	if err := s.Handlers()[r.URL.Path](w, r); err != nil {
		t.Fatal(err)
	}
	return w
}

func (s *Server) code(t *testing.T) (code, state string) {
	t.Helper()
	at, err := url.Parse(s.do(t, "GET",
		PathAuthorize+"?client_id=app&redirect_url="+url.QueryEscape("https://o.test/cb"), "",
		"").Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return at.Query().Get("code"), at.Query().Get("state")
}

func (s *Server) tokens(t *testing.T, body string) (access, refresh string) {
	t.Helper()
	w := s.do(t, "POST", PathToken, body, basic("app", "app-secret"))
	access, refresh, _, err := readToken(w.Body.Bytes())
	if err != nil {
		t.Fatalf("token = %d %s", w.Code, w.Body)
	}
	return access, refresh
}

// TestStoreDump checks that an attacker who reads the store can redeem no code and use no
// identity (threats C17).
func TestStoreDump(t *testing.T) {
	s, codes := newServer(t, "k")
	var log strings.Builder
	codes.Wrote = func(key string, value []byte) { fmt.Fprintf(&log, "%s %s\n", key, value) }
	code, state := s.code(t)
	access, refresh := s.tokens(t, "code="+code+"&state="+state)
	next, again := s.tokens(t, "grant_type=refresh_token&refresh_token="+refresh)
	dump := log.String()
	if strings.Count(dump, "sso:") < 3 {
		t.Fatalf("the store holds %q: this test cannot fail", dump)
	}
	for name, secret := range map[string]string{"the session": canaryRef, "the code": code, "the state": state,
		"an access token": access, "a refresh token": refresh, "the next": next, "its refresh token": again,
		"the person": "zhangsan"} {
		if strings.Contains(dump, secret) {
			t.Errorf("the store holds %s", name)
		}
	}
}

// TestKeyRotation checks that the first key seals and all keys open, and that values
// sealed with a removed key are invalid.
func TestKeyRotation(t *testing.T) {
	old, codes := newServer(t, "a")
	code, state := old.code(t)
	access, refresh := old.tokens(t, "code="+code+"&state="+state)
	both, _ := newServer(t, "b", "a")
	both.over(t, codes)
	if w := both.do(t, "GET", PathUserinfo, "", access); w.Code != 200 {
		t.Errorf("an old key's token while both are there = %d, want 200", w.Code)
	}
	newest, _ := both.tokens(t, "grant_type=refresh_token&refresh_token="+refresh)
	alone, _ := newServer(t, "b")
	alone.over(t, codes)
	if w := alone.do(t, "GET", PathUserinfo, "", access); w.Code != 401 {
		t.Errorf("the old key's token after its key is gone = %d, want 401", w.Code)
	}
	if w := alone.do(t, "GET", PathUserinfo, "", newest); w.Code != 200 { // a refresh seals the family again
		t.Errorf("a refreshed token after the old key is gone = %d, want 200", w.Code)
	}
}

// TestFailingStore checks that a failing store leads to 503 and uses no code or token; the
// response is never 400 or 401.
func TestFailingStore(t *testing.T) {
	s, codes := newServer(t, "k")
	code, state := s.code(t)
	access, refresh := s.tokens(t, "code="+code+"&state="+state)
	waiting, theirs := s.code(t)
	codes.Away.Store(true)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"code": s.do(t, "POST", PathToken, "code="+waiting+"&state="+theirs, basic("app", "app-secret")),
		"refresh": s.do(t, "POST", PathToken, "grant_type=refresh_token&refresh_token="+refresh,
			basic("app", "app-secret")),
		"userinfo": s.do(t, "GET", PathUserinfo, "", access),
	} {
		if w.Code != 503 || w.Header().Get("Retry-After") == "" ||
			!strings.Contains(w.Body.String(), "temporarily_unavailable") {
			t.Errorf("%s with a failing store = %d %s, want 503", name, w.Code, w.Body)
		}
	}
	codes.Away.Store(false)
	s.tokens(t, "code="+waiting+"&state="+theirs)
	s.tokens(t, "grant_type=refresh_token&refresh_token="+refresh)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestKnown checks that both readings of an id and of a secret count, and no other
// reading.
func TestKnown(t *testing.T) {
	all := newApps([]App{{ClientID: "a b", ClientSecret: conf.NewSecret("s+cret%41")}, {ClientID: "empty"},
		{ClientID: "c", ClientSecret: conf.NewSecret("secret of c")}})
	for _, tt := range []struct{ id, secret, want string }{
		{"a b", "s+cret%41", "a b"}, {"a+b", "s+cret%41", "a b"}, {"a%20b", "s%2Bcret%2541", "a b"},
		{"a b", "s%2bcret%2541", "a b"},
		{"a b", "s cretA", ""}, {"a b", "secret of c", ""}, {"c", "secret+of+c", "c"}, {"c", "secret of d", ""},
		{"c", "xecret of c", ""}, {"c", "", ""}, {"c", "%", ""},
		{"empty", "", ""}, {"d", "secret of c", ""}, {"", "", ""}, {"%", "%", ""},
		{"c", string(make([]byte, 32)), ""}, {"d", string(make([]byte, 32)), ""},
	} {
		got := ""
		if app := all.known(tt.id, tt.secret); app != nil {
			got = app.ClientID
		}
		if got != tt.want {
			t.Errorf("known(%q, %q) = %q, want %q", tt.id, tt.secret, got, tt.want)
		}
	}
}

// TestWrongSecretsCost reports the medians of threats T6; `go test -v` shows them. That
// they are equal follows from clientauth.Secrets.Match, which executes the same steps: a
// measurement on a machine with other load cannot prove more.
func TestWrongSecretsCost(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	all := newApps([]App{{ClientID: "app", ClientSecret: conf.NewSecret(secret)}})
	tries := map[string][2]string{
		"wrong first byte": {"app", "x" + secret[1:]}, "wrong last byte": {"app", secret[:31] + "x"},
		"unknown client": {"ppa", secret}, "right": {"app", secret},
	}
	took := map[string][]time.Duration{}
	for range 2000 {
		for name, try := range tries { // alternating: other load on the machine affects all of them
			began := time.Now()
			app := all.known(try[0], try[1])
			took[name] = append(took[name], time.Since(began))
			if (app != nil) != (name == "right") {
				t.Fatalf("%s is %v", name, app)
			}
		}
	}
	for name, all := range took {
		slices.Sort(all)
		t.Logf("%s: median %v of %d", name, all[len(all)/2], len(all))
	}
}
