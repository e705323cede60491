package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/ratelimit"
	"dinggate/store"
)

const bearer = "Authorization: Bearer "

// knows lets the service give somebody an access token.
func (s *documentService) knows(token, username string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = documentUser{username, username + "@yunfan.example"}
}

// hangs makes userinfo answer nothing until its caller has gone, and counts those
// that went.
func (s *documentService) hangs(t *testing.T) (gone *atomic.Int32) {
	gone = &atomic.Int32{}
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	s.hang.Store(func(r *http.Request) {
		select {
		case <-r.Context().Done():
			gone.Add(1)
		case <-end:
		}
	})
	return gone
}

// TestInventedToken: many requests with one invented token, while the service
// hangs, wait for one question and not for each other; the failure is remembered
// for a moment; a public route asks nobody and hands nothing on (threats D12, T31).
func TestInventedToken(t *testing.T) {
	h, s := behindService(t, apiTokens, publicToo)
	s.hangs(t)
	codes := make(chan int, 50)
	for range cap(codes) {
		go func() {
			codes <- h.from("192.0.2.1", "GET", "/api/x", "", bearer+"invented", "Accept: application/json").Code
		}()
	}
	for range cap(codes) { // one after another they would take a question each
		if code := <-codes; code != 503 {
			t.Errorf("one of fifty = %d, want 503", code)
		}
	}
	if w := h.from("192.0.2.1", "GET", "/api/x", "", bearer+"invented"); w.Code != 503 ||
		w.Header().Get("Retry-After") == "" {
		t.Errorf("the next one = %d with Retry-After %q, want 503", w.Code, w.Header().Get("Retry-After"))
	}
	if n := s.userinfos.Load(); n != 1 {
		t.Errorf("userinfo was asked %d times, want once", n)
	}
	for _, token := range []string{"invented", "never seen"} {
		if w := h.from("192.0.2.1", "GET", "/public/x", "", bearer+token); w.Code != 200 ||
			len(h.app.last(t).Header["Authorization"]) > 0 {
			t.Errorf("a public page with the token %q = %d, handed on %d Authorization headers; want 200 and none",
				token, w.Code, len(h.app.last(t).Header["Authorization"]))
		}
	}
	if n := s.userinfos.Load(); n != 1 {
		t.Errorf("a public page asked the service: %d calls, want 1", n)
	}
}

func publicToo(c *config.Config) {
	r := config.DefaultRoute()
	r.Path, r.Upstream, r.Access = "/public/", c.Routes[0].Upstream, demoConfig("", "", "").Routes[0].Access
	c.Routes = append([]config.Route{r}, c.Routes...)
}

// TestClientsThatLeave: the calls that a client caused end with it, for Bearer and
// for Basic.
func TestClientsThatLeave(t *testing.T) {
	h, s := behindService(t, apiTokens)
	gone := s.hangs(t)
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			h.fromWith(ctx, fmt.Sprint("192.0.2.", 1+i%10), "GET", "/api/x", "", bearer+fmt.Sprint("invented", i%15))
		})
	}
	waitFor(t, "questions to the service", func() bool { return s.userinfos.Load() == 15 })
	leave()
	all.Wait()
	waitFor(t, "the calls of those who left", func() bool { return gone.Load() == 15 })
	if n := h.state.InFlight.Load(); n != 0 {
		t.Errorf("%d requests are in flight", n)
	}
	s.hang.Store(func(*http.Request) {})
	s.knows("invented1", "zhangsan")
	if w := h.from("192.0.2.1", "GET", "/api/x", "", bearer+"invented1"); w.Code != 200 {
		t.Errorf("a token whose first client hung up = %d, want 200: that said nothing", w.Code)
	}
}

// TestFloodOfTokens: what a stranger invents is limited by the stranger's address;
// tokens that were good go on, from that address too, and live on in
// session.grace while the service is away; a newcomer's good token is taken
// (threats D13).
func TestFloodOfTokens(t *testing.T) {
	h, s := behindService(t, apiTokens, func(c *config.Config) { c.Session.Recheck = 50 * time.Millisecond })
	s.knows("good", "zhangsan")
	good := func(when string) {
		t.Helper()
		if w := h.from("192.0.2.1", "GET", "/api/x", "", bearer+"good"); w.Code != 200 {
			t.Fatalf("%s: a token that was good = %d, want 200", when, w.Code)
		}
	}
	good("before the flood")
	limited := 0
	flood := func(from string, n int) {
		for i := range n {
			switch w := h.from(from, "GET", "/api/x", "", bearer+fmt.Sprint(from, "-", i)); w.Code {
			case 429:
				limited++
				if w.Header().Get("Retry-After") == "" {
					t.Fatal("429 without Retry-After")
				}
			case 401, 503:
			default:
				t.Fatalf("an invented token = %d", w.Code)
			}
		}
	}
	flood("192.0.2.1", 300)
	if limited < 100 {
		t.Errorf("%d of 300 invented tokens of one address were limited, want most", limited)
	}
	for i := range 20 {
		flood(fmt.Sprint("198.51.100.", i+1), 40)
		good("during the flood")
	}
	s.knows("new", "lisi")
	if w := h.from("203.0.113.1", "GET", "/api/x", "", bearer+"new"); w.Code != 200 {
		t.Errorf("a newcomer's good token during the flood = %d, want 200", w.Code)
	}
	s.answerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	for i := range 3 {
		flood(fmt.Sprint("198.51.101.", i+1), 100)
		good("while the service is away")
	}
	for i := range 2 * ratelimit.MaxKeys / 10 { // more tokens than are remembered
		h.from(addressOf(i), "GET", "/api/x", "", bearer+fmt.Sprint(i, "a"))
		if i%500 == 0 {
			good("beside more tokens than are remembered")
		}
	}
	good("at last")
}

// TestUnjudgedCredentials: what could not be judged does not travel to the
// application of a page that everybody may see: it may be right (threats T31).
func TestUnjudgedCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci", "cold")
	h, p := ssoTestEnv(t, apiTokens, func(c *config.Config) { c.Accounts.HtpasswdFile = file })
	v := h.visitor()
	v.signIn(h.base+"/oauth2/start", "zhangsan")
	h.gate.Accounts.File.Pair = ratelimit.Rate{Every: time.Hour, Burst: 3}
	token := p.redeem(v.codeFor(p)).AccessToken
	for range 3 {
		h.from("192.0.2.1", "GET", "/api/x", "", basic("ci", "guess"))
		h.from("192.0.2.1", "GET", "/api/x", "", basic("theirs", "guess"))
	}
	ill := &illStore{Swapper: h.stores.SSO}
	h.stores.SSO = ill
	replica := h.replica(func(*config.Config) {})
	ill.ill.Store(true)
	api := h.visitor()
	for _, tt := range []struct {
		what, base string
		lines      []string
		travels    bool
	}{
		{"the right password of an account that is guessed at", h.base, []string{basic("ci", "pw-ci")}, false},
		{"a wrong password of an account that is guessed at", h.base, []string{basic("ci", "pw-x")}, false},
		{"a password of no account", h.base, []string{basic("theirs", "own")}, true},
		{"a password that cannot be read", h.base, []string{"Authorization: Basic !"}, false},
		{"two credentials", h.base, []string{basic("theirs", "own"), bearer + token}, false},
		{"a token while the store is ill", replica, []string{bearer + token}, false},
		{"a token that is not ours while the store is ill", replica, []string{bearer + "theirs"}, true},
		{"a scheme of the application's own", h.base, []string{"Authorization: Digest x"}, true},
	} {
		a := api.get(tt.base+"/public/x", append(tt.lines, "X-Forwarded-For: 192.0.2.1")...)
		got := h.app.last(t).Header
		if a.StatusCode != 200 || len(got["Authorization"]) > 0 != tt.travels || got.Get("X-Forwarded-User") != "" {
			t.Errorf("%s on a public page = %d as %q, handed on: %v, want 200 as nobody and %v", tt.what,
				a.StatusCode, got.Get("X-Forwarded-User"), len(got["Authorization"]) > 0, tt.travels)
		}
	}
	if a := api.get(replica+"/api/x", bearer+token); a.StatusCode != 503 {
		t.Errorf("a page with a token while the store is ill = %d, want 503", a.StatusCode)
	}
}

// illStore fails while ill.
type illStore struct {
	store.Swapper
	ill atomic.Bool
}

func (s *illStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.ill.Load() {
		return nil, errors.New("connection refused")
	}
	return s.Swapper.Get(ctx, key)
}

// TestAudience: a token opens what it was given for (threats T30).
func TestAudience(t *testing.T) {
	codeOf := func(h *testEnv, v *visitor, client, callback string) (string, string) {
		q := mustURL(t,
			v.get(h.base+"/dingtalk/authorize?client_id="+client+"&redirect_url="+
				callback).Header.Get("Location")).Query()
		return q.Get("code"), q.Get("state")
	}
	for _, tt := range []struct {
		name            string
		clients         []string
		platform, other bool
	}{{"none", nil, false, false}, {"one", []string{"platform"}, true, false},
		{"the other", []string{"other"}, false, true}, {"both", []string{"other", "platform"}, true, true}} {
		h, p, v := signedIn(t, func(c *config.Config) { c.APITokens, c.APITokenClients = true, tt.clients })
		stranger := p.as("other", "other-secret-0123456789")
		for _, row := range []struct {
			of    string
			token platformToken
			opens bool
		}{{"platform", p.redeem(v.codeFor(p)), tt.platform},
			{"other", stranger.redeem(codeOf(h, v, "other", "https://other.test/callback")), tt.other}} {
			api, header := h.visitor(), bearer+row.token.AccessToken
			for _, path := range []string{"/api/x", "/oauth2/userinfo", "/oauth2/ext-authz/api/x"} {
				if a := api.get(h.base+path, header); row.opens && a.StatusCode != 200 {
					t.Errorf("%s: a token of %s at %s = %d, want 200", tt.name, row.of, path, a.StatusCode)
				} else if !row.opens {
					refusedAPI(t, tt.name+": a token of "+row.of+" at "+path, a)
				}
			}
			a := api.get(h.base+"/public/x", header)
			if got := h.app.last(t).Header; a.StatusCode != 200 || len(got["Authorization"]) > 0 ||
				(got.Get("X-Forwarded-User") != "") != row.opens {
				t.Errorf("%s: a token of %s on a public page = %d as %q, handed on: %v", tt.name, row.of,
					a.StatusCode, got.Get("X-Forwarded-User"), got["Authorization"] != nil)
			}
			if status, _ := p.userinfo(row.token.AccessToken); status != 200 {
				t.Errorf("%s: userinfo with a token of %s = %d, want 200: it is the client's own", tt.name, row.of,
					status)
			}
		}
	}
}

// TestAudienceOfService: as a client, aud is compared wherever the service tells
// it; where it tells none, the log says so.
func TestAudienceOfService(t *testing.T) {
	for _, tt := range []struct {
		aud     string
		clients []string
		opens   bool
	}{
		{``, nil, true}, {`,"aud":null`, nil, true}, {`,"aud":"gate"`, nil, true}, {`,"aud":["x","gate"]`, nil, true},
		{`,"aud":"other"`, nil, false}, {`,"aud":["other"]`, nil, false}, {`,"aud":[]`, nil, false},
		{`,"aud":""`, nil, false}, {`,"aud":[""]`, nil, false}, {`,"aud":[null]`, nil, false},
		{`,"aud":"Gate"`, nil, false}, {`,"aud":"gate "`, nil, false}, {`,"aud":7`, nil, false},
		{`,"aud":{"gate":1}`, nil, false}, {`,"aud":["gate",7]`, nil, false},
		{`,"aud":"gate"`, []string{"other"}, false}, {`,"aud":"other"`, []string{"other"}, true},
		{`,"aud":"gate"`, []string{"other", "gate"}, true},
	} {
		h, s := behindService(t, apiTokens, publicToo, func(c *config.Config) { c.APITokenClients = tt.clients })
		s.answerUser.Store(func(w http.ResponseWriter) {
			fmt.Fprintf(w, `{"username":"zhangsan","email":""%s}`, tt.aud)
		})
		w := h.from("192.0.2.1", "GET", "/api/x", "", bearer+"token")
		if want := map[bool]int{true: 200, false: 401}[tt.opens]; w.Code != want {
			t.Errorf("userinfo with %s for %v = %d, want %d", tt.aud, tt.clients, w.Code, want)
		}
		if h.from("192.0.2.1", "GET", "/public/x", "", bearer+"token"); len(h.app.last(t).Header["Authorization"]) > 0 {
			t.Errorf("userinfo with %s for %v: the token went to the application of a public page", tt.aud, tt.clients)
		}
		warns := func() bool { return strings.Contains(h.log.String(), "names no aud") }
		if tt.aud == "" || strings.HasSuffix(tt.aud, "null") {
			waitFor(t, "a warning about a service that names no aud", warns)
		} else if warns() {
			t.Errorf("userinfo with %s: the log says that none is told", tt.aud)
		}
	}
}

// TestAudienceOfChain: a dinggate behind our own service takes the tokens that this
// gave dinggate's client, and no other's.
func TestAudienceOfChain(t *testing.T) {
	p := newThirdParty(t)
	p.id, p.secret = "other", "other-secret-0123456789"
	h, service := chain(t, apiTokens)
	v := service.visitor()
	v.signIn(service.base+"/", "zhangsan")
	gate := p.as("gate", canary+"-chain-secret")
	gate.service = service.base
	q := mustURL(t,
		v.get(service.base+"/dingtalk/authorize?client_id=gate&redirect_url="+h.base+
			"/oauth2/callback").Header.Get("Location")).Query()
	mine := gate.redeem(q.Get("code"), q.Get("state"))
	if a := h.visitor().get(h.base+"/api/x", bearer+mine.AccessToken); a.StatusCode != 200 {
		t.Errorf("a token of dinggate's own client = %d %s, want 200", a.StatusCode, a.body)
	}
	if strings.Contains(h.log.String(), "names no aud") {
		t.Errorf("our own service is said to name no aud")
	}
}
