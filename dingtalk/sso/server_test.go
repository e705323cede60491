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
	"dinggate/store"
)

// shelf is a store.Store that keeps everything that was ever written.
type shelf struct {
	mu  sync.Mutex
	all map[string][]byte
	log bytes.Buffer
	ill bool
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.all[key]
	switch {
	case s.ill:
		return nil, errors.New("connection refused")
	case !ok:
		return nil, store.ErrNotFound
	}
	return v, nil
}

func (s *shelf) Put(_ context.Context, key string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[key] = value
	fmt.Fprintf(&s.log, "%s %s\n", key, value)
	return nil
}

func (s *shelf) Add(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if _, err := s.Get(ctx, key); err == nil {
		return store.ErrExists
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return s.Put(ctx, key, value, ttl)
}

func (s *shelf) Take(ctx context.Context, key string) ([]byte, error) {
	v, err := s.Get(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
	return v, err
}

func (s *shelf) Swap(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	now, err := s.Get(ctx, key)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(now, old):
		return store.ErrExists
	}
	return s.Put(ctx, key, value, ttl)
}

const canaryRef = "canary-session-cookie"

func newServer(t *testing.T, keys ...string) (*Server, *shelf) {
	codes := &shelf{all: map[string][]byte{}}
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

// over makes the server one over another store.
func (s *Server) over(t *testing.T, codes *shelf) {
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

// TestStoreDump: who reads the store can redeem nothing and be nobody
// (threats C17).
func TestStoreDump(t *testing.T) {
	s, codes := newServer(t, "k")
	code, state := s.code(t)
	access, refresh := s.tokens(t, "code="+code+"&state="+state)
	next, again := s.tokens(t, "grant_type=refresh_token&refresh_token="+refresh)
	dump := codes.log.String()
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

// TestKeyRotation: the first key makes, all are accepted; with a key goes what
// it made.
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
	if w := alone.do(t, "GET", PathUserinfo, "", newest); w.Code != 200 { // a refresh seals the family anew
		t.Errorf("a refreshed token after the old key is gone = %d, want 200", w.Code)
	}
}

// TestIllStore: an failing store is 503 and uses nothing up; it is never 400 or 401.
func TestIllStore(t *testing.T) {
	s, codes := newServer(t, "k")
	code, state := s.code(t)
	access, refresh := s.tokens(t, "code="+code+"&state="+state)
	waiting, theirs := s.code(t)
	ill := func(yes bool) { codes.mu.Lock(); codes.ill = yes; codes.mu.Unlock() }
	ill(true)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"code": s.do(t, "POST", PathToken, "code="+waiting+"&state="+theirs, basic("app", "app-secret")),
		"refresh": s.do(t, "POST", PathToken, "grant_type=refresh_token&refresh_token="+refresh,
			basic("app", "app-secret")),
		"userinfo": s.do(t, "GET", PathUserinfo, "", access),
	} {
		if w.Code != 503 || w.Header().Get("Retry-After") == "" ||
			!strings.Contains(w.Body.String(), "temporarily_unavailable") {
			t.Errorf("%s with an ill store = %d %s, want 503", name, w.Code, w.Body)
		}
	}
	ill(false)
	s.tokens(t, "code="+waiting+"&state="+theirs)
	s.tokens(t, "grant_type=refresh_token&refresh_token="+refresh)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestKnown: both readings of an id and of a secret count, nothing else.
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

// TestWrongSecretsCost reports the medians of threats T6; `go test -v` shows them.
// That they are the same follows from clientauth.Secrets.Match, which does the same steps: no
// machine that does something else besides could say more.
func TestWrongSecretsCost(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	all := newApps([]App{{ClientID: "app", ClientSecret: conf.NewSecret(secret)}})
	tries := map[string][2]string{
		"wrong first byte": {"app", "x" + secret[1:]}, "wrong last byte": {"app", secret[:31] + "x"},
		"unknown client": {"ppa", secret}, "right": {"app", secret},
	}
	took := map[string][]time.Duration{}
	for range 2000 {
		for name, try := range tries { // in turns: what slows the machine down slows all of them
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
