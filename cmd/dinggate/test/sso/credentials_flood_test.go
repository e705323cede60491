package sso

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/ratelimit"
	"dinggate/store/storetest"
)

const bearer = "Authorization: Bearer "

// TestInventedToken: many requests with one invented token, while the service hangs, share
// one call and do not wait for each other. The failure is cached for a moment. A public
// route makes no call and forwards no token (threats D12, T31).
func TestInventedToken(t *testing.T) {
	h, s := servertest.NewBehindService(t, servertest.APITokens, publicToo)
	s.Hang(t)
	codes := make(chan int, 50)
	for range cap(codes) {
		go func() {
			codes <- h.From("192.0.2.1", "GET", "/api/x", "", bearer+"invented", "Accept: application/json").Code
		}()
	}
	for range cap(codes) { // sequentially they would need a call each
		if code := <-codes; code != 503 {
			t.Errorf("one of fifty = %d, want 503", code)
		}
	}
	if w := h.From("192.0.2.1", "GET", "/api/x", "", bearer+"invented"); w.Code != 503 ||
		w.Header().Get("Retry-After") == "" {
		t.Errorf("the next one = %d with Retry-After %q, want 503", w.Code, w.Header().Get("Retry-After"))
	}
	if n := s.UserInfos.Load(); n != 1 {
		t.Errorf("userinfo received %d calls, want one", n)
	}
	for _, token := range []string{"invented", "never seen"} {
		if w := h.From("192.0.2.1", "GET", "/public/x", "", bearer+token); w.Code != 200 ||
			len(h.Upstream.Last(t).Header["Authorization"]) > 0 {
			t.Errorf("a public page with the token %q = %d, handed on %d Authorization headers; want 200 and none",
				token, w.Code, len(h.Upstream.Last(t).Header["Authorization"]))
		}
	}
	if n := s.UserInfos.Load(); n != 1 {
		t.Errorf("a public page caused calls to the service: %d, want 1", n)
	}
}

func publicToo(c *config.Config) {
	r := config.DefaultRoute()
	r.Path, r.Upstream, r.Access = "/public/", c.Routes[0].Upstream, demo.Config("", "", "").Routes[0].Access
	c.Routes = append([]config.Route{r}, c.Routes...)
}

// TestClientsThatLeave checks that the calls for a client's request end when the client
// disconnects, for Bearer and for Basic.
func TestClientsThatLeave(t *testing.T) {
	h, s := servertest.NewBehindService(t, servertest.APITokens)
	gone := s.Hang(t)
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			h.FromWith(ctx, fmt.Sprint("192.0.2.", 1+i%10), "GET", "/api/x", "", bearer+fmt.Sprint("invented", i%15))
		})
	}
	servertest.Eventually(t, "calls to the service", func() bool { return s.UserInfos.Load() == 15 })
	leave()
	all.Wait()
	servertest.Eventually(t, "the calls of clients that disconnected", func() bool { return gone.Load() == 15 })
	if n := h.State.InFlight.Load(); n != 0 {
		t.Errorf("%d requests are in flight", n)
	}
	s.HangUserInfo.Store(func(*http.Request) {})
	s.AddToken("invented1", "zhangsan")
	if w := h.From("192.0.2.1", "GET", "/api/x", "", bearer+"invented1"); w.Code != 200 {
		t.Errorf("a token whose first client hung up = %d, want 200: that was no answer", w.Code)
	}
}

// TestFloodOfTokens: invented tokens are limited by the address of the client. Tokens that
// were valid before are accepted, from that address too, and remain valid during
// session.grace while the service is unavailable. A valid token of a new client is
// accepted (threats D13).
func TestFloodOfTokens(t *testing.T) {
	h, s := servertest.NewBehindService(t, servertest.APITokens, func(c *config.Config) { c.Session.Recheck = 50 * time.Millisecond })
	s.AddToken("good", "zhangsan")
	good := func(when string) {
		t.Helper()
		if w := h.From("192.0.2.1", "GET", "/api/x", "", bearer+"good"); w.Code != 200 {
			t.Fatalf("%s: a token that was good = %d, want 200", when, w.Code)
		}
	}
	good("before the flood")
	limited := 0
	flood := func(from string, n int) {
		for i := range n {
			switch w := h.From(from, "GET", "/api/x", "", bearer+fmt.Sprint(from, "-", i)); w.Code {
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
	s.AddToken("new", "lisi")
	if w := h.From("203.0.113.1", "GET", "/api/x", "", bearer+"new"); w.Code != 200 {
		t.Errorf("a newcomer's good token during the flood = %d, want 200", w.Code)
	}
	s.AnswerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	for i := range 3 {
		flood(fmt.Sprint("198.51.101.", i+1), 100)
		good("while the service is away")
	}
	for i := range 2 * ratelimit.MaxKeys / 10 { // more tokens than are cached
		h.From(servertest.AddressOf(i), "GET", "/api/x", "", bearer+fmt.Sprint(i, "a"))
		if i%500 == 0 {
			good("beside more tokens than are stored")
		}
	}
	good("at last")
}

// TestUnverifiedCredentials checks that credentials that could not be verified are not
// forwarded to the application of a public page: they may be valid (threats T31).
func TestUnverifiedCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci", "cold")
	h, p := servertest.NewSSO(t, servertest.APITokens, func(c *config.Config) { c.Accounts.HtpasswdFile = file })
	v := h.NewClient()
	v.SignIn(h.URL+"/oauth2/start", "zhangsan")
	h.Gateway.Accounts.File.Pair = ratelimit.Rate{Every: time.Hour, Burst: 3}
	token := p.Redeem(v.SSOCode(p)).AccessToken
	for range 3 {
		h.From("192.0.2.1", "GET", "/api/x", "", servertest.BasicAuth("ci", "guess"))
		h.From("192.0.2.1", "GET", "/api/x", "", servertest.BasicAuth("theirs", "guess"))
	}
	failing := &storetest.Faulty{Swapper: h.Stores.SSO}
	h.Stores.SSO = failing
	replica := h.Replica(func(*config.Config) {})
	failing.Away.Store(true)
	api := h.NewClient()
	for _, tt := range []struct {
		what, base string
		lines      []string
		travels    bool
	}{
		{"the right password of an account that is guessed at", h.URL, []string{servertest.BasicAuth("ci", "pw-ci")}, false},
		{"a wrong password of an account that is guessed at", h.URL, []string{servertest.BasicAuth("ci", "pw-x")}, false},
		{"a password of no account", h.URL, []string{servertest.BasicAuth("theirs", "own")}, true},
		{"a password that cannot be read", h.URL, []string{"Authorization: Basic !"}, false},
		{"two credentials", h.URL, []string{servertest.BasicAuth("theirs", "own"), bearer + token}, false},
		{"a token while the store fails", replica, []string{bearer + token}, false},
		{"a token that is not ours while the store fails", replica, []string{bearer + "theirs"}, true},
		{"a scheme of the application's own", h.URL, []string{"Authorization: Digest x"}, true},
	} {
		a := api.Get(tt.base+"/public/x", append(tt.lines, "X-Forwarded-For: 192.0.2.1")...)
		got := h.Upstream.Last(t).Header
		if a.StatusCode != 200 || len(got["Authorization"]) > 0 != tt.travels || got.Get("X-Forwarded-User") != "" {
			t.Errorf("%s on a public page = %d as %q, handed on: %v, want 200 without a user and %v", tt.what,
				a.StatusCode, got.Get("X-Forwarded-User"), len(got["Authorization"]) > 0, tt.travels)
		}
	}
	if a := api.Get(replica+"/api/x", bearer+token); a.StatusCode != 503 {
		t.Errorf("a page with a token while the store fails = %d, want 503", a.StatusCode)
	}
}

// TestAudience checks that a token opens only the routes that it was issued for (threats
// T30).
func TestAudience(t *testing.T) {
	codeOf := func(h *servertest.Env, v *servertest.Client, client, callback string) (string, string) {
		q := servertest.ParseURL(t,
			v.Get(h.URL+"/dingtalk/authorize?client_id="+client+"&redirect_url="+
				callback).Header.Get("Location")).Query()
		return q.Get("code"), q.Get("state")
	}
	for _, tt := range []struct {
		name            string
		clients         []string
		platform, other bool
	}{{"none", nil, false, false}, {"one", []string{"platform"}, true, false},
		{"the other", []string{"other"}, false, true}, {"both", []string{"other", "platform"}, true, true}} {
		h, p, v := servertest.NewSSOSignedIn(t, func(c *config.Config) { c.APITokens, c.APITokenClients = true, tt.clients })
		other := p.As("other", "other-secret-0123456789")
		for _, row := range []struct {
			of    string
			token servertest.SSOToken
			opens bool
		}{{"platform", p.Redeem(v.SSOCode(p)), tt.platform},
			{"other", other.Redeem(codeOf(h, v, "other", "https://other.test/callback")), tt.other}} {
			api, header := h.NewClient(), bearer+row.token.AccessToken
			for _, path := range []string{"/api/x", "/oauth2/userinfo", "/oauth2/ext-authz/api/x"} {
				if a := api.Get(h.URL+path, header); row.opens && a.StatusCode != 200 {
					t.Errorf("%s: a token of %s at %s = %d, want 200", tt.name, row.of, path, a.StatusCode)
				} else if !row.opens {
					servertest.WantRefusedAPI(t, tt.name+": a token of "+row.of+" at "+path, a)
				}
			}
			a := api.Get(h.URL+"/public/x", header)
			if got := h.Upstream.Last(t).Header; a.StatusCode != 200 || len(got["Authorization"]) > 0 ||
				(got.Get("X-Forwarded-User") != "") != row.opens {
				t.Errorf("%s: a token of %s on a public page = %d as %q, handed on: %v", tt.name, row.of,
					a.StatusCode, got.Get("X-Forwarded-User"), got["Authorization"] != nil)
			}
			if status, _ := p.UserInfo(row.token.AccessToken); status != 200 {
				t.Errorf("%s: userinfo with a token of %s = %d, want 200: it is the client's own", tt.name, row.of,
					status)
			}
		}
	}
}

// TestAudienceOfService: dinggate as a client compares aud if the service reports it;
// otherwise it logs that aud is missing.
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
		h, s := servertest.NewBehindService(t, servertest.APITokens, publicToo, func(c *config.Config) { c.APITokenClients = tt.clients })
		s.AnswerUser.Store(func(w http.ResponseWriter) {
			fmt.Fprintf(w, `{"username":"zhangsan","email":""%s}`, tt.aud)
		})
		w := h.From("192.0.2.1", "GET", "/api/x", "", bearer+"token")
		if want := map[bool]int{true: 200, false: 401}[tt.opens]; w.Code != want {
			t.Errorf("userinfo with %s for %v = %d, want %d", tt.aud, tt.clients, w.Code, want)
		}
		if h.From("192.0.2.1", "GET", "/public/x", "", bearer+"token"); len(h.Upstream.Last(t).Header["Authorization"]) > 0 {
			t.Errorf("userinfo with %s for %v: the token went to the application of a public page", tt.aud, tt.clients)
		}
		warns := func() bool { return strings.Contains(h.Log.String(), "reports no aud") }
		if tt.aud == "" || strings.HasSuffix(tt.aud, "null") {
			servertest.Eventually(t, "a warning about a service that names no aud", warns)
		} else if warns() {
			t.Errorf("userinfo with %s: the log says that none is reported", tt.aud)
		}
	}
}

// TestAudienceOfChain: a dinggate behind our own service accepts the tokens that were
// issued to its client, and no other client's tokens.
func TestAudienceOfChain(t *testing.T) {
	p := servertest.NewSSOApp(t)
	p.ID, p.Secret = "other", "other-secret-0123456789"
	h, service := chain(t, servertest.APITokens)
	v := service.NewClient()
	v.SignIn(service.URL+"/", "zhangsan")
	client := p.As("gate", servertest.Canary+"-chain-secret")
	client.Service = service.URL
	q := servertest.ParseURL(t,
		v.Get(service.URL+"/dingtalk/authorize?client_id=gate&redirect_url="+h.URL+
			"/oauth2/callback").Header.Get("Location")).Query()
	mine := client.Redeem(q.Get("code"), q.Get("state"))
	if a := h.NewClient().Get(h.URL+"/api/x", bearer+mine.AccessToken); a.StatusCode != 200 {
		t.Errorf("a token of dinggate's own client = %d %s, want 200", a.StatusCode, a.Text)
	}
	if strings.Contains(h.Log.String(), "reports no aud") {
		t.Errorf("our own service is said to name no aud")
	}
}
