package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"

	"github.com/alicebob/miniredis/v2"
)

// behindService is an environment whose gate signs people in at a service that was
// written from the document, which in turn signs them in at the simulator.
func behindService(t testing.TB, change ...func(*config.Config)) (*testEnv, *documentService) {
	var s *documentService
	h := newTestEnv(t, func(c *config.Config) {
		s = newDocumentService(t, c.DingTalk.APIURL, simulator.DemoClientID, canary+"-app-secret")
		c.DingTalk = config.Default().DingTalk
		c.SSO.URL, c.SSO.ClientID, c.SSO.ClientSecret = s.base, s.id, conf.NewSecret(s.password)
		c.Routes = c.Routes[2:] // the service tells of no departments
		for _, f := range change {
			f(c)
		}
	})
	return h, s
}

// signInSSO goes from a page of dinggate through service and DingTalk to
// dinggate's callback, and gives its answer.
func (v *visitor) signInSSO(address, person string) answer {
	v.t.Helper()
	return v.get(v.throughService(address, person))
}

// throughService gives the address of the callback.
func (v *visitor) throughService(address, person string) string {
	v.t.Helper()
	a := v.get(address)
	if a.StatusCode != http.StatusFound || !strings.Contains(a.Header.Get("Location"), "/dingtalk/authorize?") {
		v.t.Fatalf("GET %s = %d to %q, want 302 to the service", address, a.StatusCode, a.Header.Get("Location"))
	}
	a = v.get(a.Header.Get("Location"))
	a = v.get(v.choose(a.Header.Get("Location"), person))
	if a.StatusCode != http.StatusFound {
		v.t.Fatalf("the service's callback = %d %s", a.StatusCode, a.body)
	}
	return a.Header.Get("Location")
}

// TestBehindService: dinggate signs a person in through a service written from
// the document alone, with the literal requests of its steps 3 and 4.
func TestBehindService(t *testing.T) {
	for _, naive := range []bool{false, true} {
		h, s := behindService(t)
		s.naive = naive
		v := h.visitor()
		back := v.signInSSO(h.base+"/reports?q=1", "zhangsan")
		if back.StatusCode != 302 || back.Header.Get("Location") != "/reports?q=1" {
			t.Fatalf("the callback = %d to %q %s", back.StatusCode, back.Header.Get("Location"), back.body)
		}
		if a := v.get(h.base + "/reports?q=1"); a.StatusCode != 200 {
			t.Fatalf("the page = %d %s", a.StatusCode, a.body)
		}
		got := h.app.last(t).Header
		if got.Get("X-Forwarded-User") != "zhangsan" || got.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" {
			t.Errorf("the application got %q, %q, want zhangsan", got.Get("X-Forwarded-User"),
				got.Get("X-Forwarded-Email"))
		}
		token, user := s.asks("/dingtalk/token"), s.asks("/dingtalk/userinfo")
		if len(token) != 1 || len(user) != 1 {
			t.Fatalf("%d token calls and %d userinfo calls, want one each", len(token), len(user))
		}
		if token[0].contentType != "text/plain" || !strings.HasPrefix(token[0].body, "code=") ||
			!strings.Contains(token[0].body, "&state=") || strings.HasPrefix(user[0].authorization, "Bearer") ||
			user[0].authorization == "" {
			t.Errorf("the calls are %+v and %+v, want the document's", token[0], user[0])
		}
		if n := h.platform.Calls("/v1.0/oauth2/userAccessToken"); n != 1 {
			t.Errorf("%d exchanges at DingTalk, want the service's one", n)
		}
		for _, secret := range []string{s.password, strings.TrimPrefix(token[0].body, "code=")[:20],
			user[0].authorization} {
			if strings.Contains(h.log.String(), secret) {
				t.Errorf("the log holds the secret %.8s…", secret)
			}
		}
	}
}

// TestServiceCallbackCallsNobody: without an attempt of this browser the
// service is asked nothing (login CSRF, threats S1–S4).
func TestServiceCallbackCallsNobody(t *testing.T) {
	h, s := behindService(t)
	attacker, victim := h.visitor(), h.visitor()
	stolen := attacker.throughService(h.base+"/", "zhangsan")
	victim.get(h.base + "/")
	u := mustURL(t, stolen)
	q := u.Query()
	for _, address := range []string{
		stolen, h.base + "/oauth2/callback?code=" + q.Get("code") + "&state=" + q.Get("state"),
		h.base + "/oauth2/callback?code=" + q.Get("code") + "&state=" + q.Get("attempt"),
		stolen + "&attempt=" + q.Get("attempt"), stolen + "&code=x",
		strings.Replace(stolen, "attempt=", "attempt[]=", 1), strings.Replace(stolen, "code=", "c=", 1),
	} {
		if a := victim.get(address); a.StatusCode < 400 || a.StatusCode >= 500 || sessionOf(a) != "" {
			t.Errorf("GET %.90s in another browser = %d, want a refusal", address, a.StatusCode)
		}
	}
	if n := len(s.asks("/dingtalk/token")); n != 0 {
		t.Errorf("the service was asked %d times for nothing", n)
	}
	if a := attacker.get(stolen); a.StatusCode != 302 || sessionOf(a) == "" {
		t.Errorf("the right browser = %d %s, want signed in", a.StatusCode, a.body)
	}
	if a := attacker.get(stolen); a.StatusCode < 400 || len(s.asks("/dingtalk/token")) != 1 {
		t.Errorf("the same callback twice = %d with %d token calls", a.StatusCode, len(s.asks("/dingtalk/token")))
	}
}

// TestServiceAnswers: whatever a service says instead of the contract is a
// clear page and a log line, and nobody is signed in.
func TestServiceAnswers(t *testing.T) {
	say := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); fmt.Fprint(w, body) }
	}
	const token = `{"access_token":"x","expiry_in":"7200","token_type":"bearer"}`
	for _, row := range []struct {
		name        string
		token, user func(http.ResponseWriter)
		status      int
		page, log   string
	}{
		{"numeric strings", say(200, token), say(200, "\ufeff"+`{"username":"zhangsan","email":null}`), 302, "", ""},
		{"no json", say(200, "<html>"), nil, 502, "answer was not right", "not the contract"},
		{"empty", say(200, ""), nil, 502, "answer was not right", "not the contract"},
		{"doubled", say(200, `{"access_token":"a","access_token":"b"}`), nil, 502, "answer was not right",
			"not the contract"},
		{"huge", say(200, strings.Repeat(" ", 1<<20)+token), nil, 502, "answer was not right", "larger than"},
		{"code refused", say(400, `{"error":"invalid_grant","error_description":"canary-told"}`), nil, 403,
			"sign in again", "invalid_grant"},
		{"client unknown", say(401, `{"error":"invalid_client"}`), nil, 503, "administrator", "sso.client_secret"},
		{"not there", say(404, "no"), nil, 502, "answer was not right", "sso.url"},
		{"redirect",
			func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(302) },
			nil, 502, "answer was not right", "status 302"},
		{"down", say(503, "busy"), nil, 503, "reach the sign-in service", "status 503"},
		{"throttled", say(429, "busy"), nil, 503, "reach the sign-in service", "status 429"},
		{"cut", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); fmt.Fprint(w, "{") }, nil, 503,
			"reach the sign-in service", "EOF"},
		{"nobody", nil, say(200, `{"username":"","email":""}`), 502, "answer was not right", "not the contract"},
		{"two lines", nil, say(200, `{"username":"a\r\nX-Forwarded-User: admin"}`), 502, "answer was not right",
			"not the contract"},
		{"userinfo refused", nil, say(401, `{}`), 502, "answer was not right", "status 401"},
		{"userinfo down", nil, say(500, ``), 503, "reach the sign-in service", "status 500"},
	} {
		h, s := behindService(t)
		s.answerToken.Store(row.token)
		s.answerUser.Store(row.user)
		v := h.visitor()
		a := v.signInSSO(h.base+"/", "zhangsan")
		if a.StatusCode != row.status || !strings.Contains(a.body, row.page) ||
			(sessionOf(a) != "") != (row.status == 302) {
			t.Errorf("%s = %d, session %q, want %d with %q:\n%s", row.name, a.StatusCode, sessionOf(a), row.status,
				row.page, a.body)
		}
		waitFor(t, row.name+": a log line with "+row.log, func() bool {
			return strings.Contains(h.log.String(), row.log)
		})
		if strings.Contains(h.log.String(), "canary") {
			t.Errorf("%s: the log has a secret:\n%s", row.name, h.log)
		}
		if strings.Contains(a.body, "not the contract") || strings.Contains(a.body, "127.0.0.1:1") {
			t.Errorf("%s: the page shows what is for the operator", row.name)
		}
	}
}

// TestServiceAway: a service that hangs up is a page that says so, and the code
// is sent once.
func TestServiceAway(t *testing.T) {
	h, s := behindService(t)
	v := h.visitor()
	callback := v.throughService(h.base+"/", "zhangsan")
	s.answerToken.Store(func(w http.ResponseWriter) { panic(http.ErrAbortHandler) })
	if a := v.get(callback); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("an aborted token call = %d, want 503 with Retry-After", a.StatusCode)
	}
	if n := len(s.asks("/dingtalk/token")); n != 1 {
		t.Errorf("the code was sent %d times, want once", n)
	}
}

// TestServiceRecheck: membership is looked up again through userinfo, and who
// is nobody there any more is nobody here.
func TestServiceRecheck(t *testing.T) {
	h, s := behindService(t, func(c *config.Config) {
		c.Session.Recheck = 50 * time.Millisecond
		c.Session.Grace = time.Hour
	})
	v, other := h.visitor(), h.visitor()
	v.signInSSO(h.base+"/", "zhangsan")
	other.signInSSO(h.base+"/", "lisi")
	s.revoke("zhangsan")
	waitFor(t, "the recheck of somebody whose token is gone", func() bool {
		return v.get(h.base+"/").StatusCode == 302
	})
	if a := other.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("somebody else = %d, want 200", a.StatusCode)
	}
	s.answerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	before := s.userinfos.Load()
	waitFor(t, "a recheck while the service is down", func() bool {
		other.get(h.base + "/")
		return s.userinfos.Load() > before
	})
	if a := other.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("while the service is down / = %d, want 200 for the grace", a.StatusCode)
	}
}

// TestServiceRefresh: the session goes on with refreshed tokens where the
// service has the call, and ends where it has none: then the person signs in
// again.
func TestServiceRefresh(t *testing.T) {
	for _, none := range []bool{false, true} {
		h, s := behindService(t)
		s.life, s.noRefresh = 2, none
		v := h.visitor()
		v.signInSSO(h.base+"/", "zhangsan")
		refreshes := func() (n int) {
			for _, ask := range s.asks("/dingtalk/token") {
				if strings.HasPrefix(ask.body, "grant_type=refresh_token&refresh_token=") &&
					ask.contentType == "text/plain" {
					n++
				}
			}
			return n
		}
		want := 200
		if none {
			want = 302
		}
		waitFor(t, "a refresh", func() bool {
			a := v.get(h.base + "/")
			return refreshes() > 0 && a.StatusCode == want
		})
		if !none {
			waitFor(t, "a second refresh, with the token of the first", func() bool {
				return v.get(h.base+"/").StatusCode == 200 && refreshes() > 1
			})
		} else if a := v.signInSSO(h.base+"/", "zhangsan"); a.StatusCode != 302 || sessionOf(a) == "" {
			t.Errorf("signing in again = %d %s", a.StatusCode, a.body)
		}
	}
}

// TestServiceLongTokens: tokens that do not fit into a cookie are logged
// at the first sign-in. Without the refresh token the session lives on its access
// token and is looked up with it; without that too it ends at the first recheck.
// In Redis they all have room.
func TestServiceLongTokens(t *testing.T) {
	for _, tt := range []struct {
		name            string
		access, refresh int
		redis           bool
		says            string
		lives           bool
	}{
		{"short", 0, 0, false, "", true},
		{"a long refresh token", 800, 1200, false, "the refresh token does not fit", true},
		{"a long access token", 1900, 0, false, "the access token does not fit", false},
		{"long ones in Redis", 1500, 1500, true, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, s := behindService(t, func(c *config.Config) {
				c.Session.Recheck, c.Session.Grace = 50*time.Millisecond, time.Hour
				if tt.redis {
					c.Session.Store, c.Redis.URL = "redis", conf.NewSecret("redis://"+miniredis.RunT(t).Addr())
				}
			})
			s.longAccess, s.longRefresh = tt.access, tt.refresh
			v := h.visitor()
			if a := v.signInSSO(h.base+"/", "zhangsan"); a.StatusCode != 302 || sessionOf(a) == "" {
				t.Fatalf("signing in = %d %s", a.StatusCode, a.body)
			}
			asked := s.userinfos.Load()
			if tt.lives {
				waitFor(t, "two rechecks", func() bool {
					return v.get(h.base+"/").StatusCode == 200 && s.userinfos.Load() > asked+1
				})
			} else {
				waitFor(t, "the end of a session without a token", func() bool {
					return v.get(h.base+"/").StatusCode == 302
				})
				if s.userinfos.Load() > asked {
					t.Error("the service was asked without a token")
				}
			}
			if tt.says != "" {
				waitFor(t, "the log's word on it", func() bool { return strings.Contains(h.log.String(), tt.says) })
			} else if strings.Contains(h.log.String(), "do not fit into the cookie") {
				t.Error("the log says that something does not fit")
			}
		})
	}
}

// waitFor polls until ok, as somebody who reloads a page does.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: waited in vain", what)
}

// TestChain: application ← gate (client half) ← gate (server half) ← DingTalk.
func TestChain(t *testing.T) {
	h, s := chain(t)
	v := h.visitor()
	a := v.get(h.base + "/deep?x=1")
	at := mustURL(t, a.Header.Get("Location"))
	if a.StatusCode != 302 || at.Host != mustURL(t, s.base).Host || at.Path != "/dingtalk/authorize" {
		t.Fatalf("the page = %d to %s, want the service", a.StatusCode, at)
	}
	back := v.get(v.choose(v.leave(at.String()), "zhangsan")) // the service's callback
	end := v.get(back.Header.Get("Location"))                 // dinggate's
	if end.StatusCode != 302 || end.Header.Get("Location") != "/deep?x=1" {
		t.Fatalf("dinggate's callback = %d %s", end.StatusCode, end.body)
	}
	if a := v.get(h.base + "/deep?x=1"); a.StatusCode != 200 {
		t.Fatalf("the page = %d", a.StatusCode)
	}
	got := h.app.last(t).Header
	if got.Get("X-Forwarded-User") != "zhangsan" || got.Get("X-Forwarded-Groups") != "%E4%B8%BB%E7%AE%A1" {
		t.Errorf("the application got user %q, groups %q", got.Get("X-Forwarded-User"), got.Get("X-Forwarded-Groups"))
	}
}

// chain is a dinggate that signs people in at another dinggate, and that other dinggate.
// Cookies know no ports, so the service is reached by another name.
func chain(t testing.TB, change ...func(*config.Config)) (h, service *testEnv) {
	secret := conf.NewSecret(canary + "-chain-secret")
	var door http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	base := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	h = newTestEnv(t, func(c *config.Config) {
		c.DingTalk = config.Default().DingTalk
		c.SSO.URL, c.SSO.ClientID, c.SSO.ClientSecret = base, "gate", secret
		c.Routes = c.Routes[2:]
		for _, f := range change {
			f(c)
		}
	})
	service = newTestEnv(t, func(c *config.Config) {
		c.PublicURL = base
		c.SSOServer.Clients = []sso.App{{ClientID: "gate", ClientSecret: secret,
			RedirectURLs: []string{h.base + "/oauth2/callback"}, AllowQuery: true}}
	})
	service.base, door = base, service.gate
	return h, service
}
