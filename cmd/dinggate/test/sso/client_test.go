package sso

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"

	"github.com/alicebob/miniredis/v2"
)

// TestBehindService: dinggate signs a person in through a service written from the
// document alone, with the literal requests of its steps 3 and 4.
func TestBehindService(t *testing.T) {
	for _, naive := range []bool{false, true} {
		h, s := servertest.NewBehindService(t)
		s.Naive = naive
		v := h.NewClient()
		back := v.SignInAtService(h.URL+"/reports?q=1", "zhangsan")
		if back.StatusCode != 302 || back.Header.Get("Location") != "/reports?q=1" {
			t.Fatalf("the callback = %d to %q %s", back.StatusCode, back.Header.Get("Location"), back.Text)
		}
		if a := v.Get(h.URL + "/reports?q=1"); a.StatusCode != 200 {
			t.Fatalf("the page = %d %s", a.StatusCode, a.Text)
		}
		got := h.Upstream.Last(t).Header
		if got.Get("X-Forwarded-User") != "zhangsan" || got.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" {
			t.Errorf("the application got %q, %q, want zhangsan", got.Get("X-Forwarded-User"),
				got.Get("X-Forwarded-Email"))
		}
		token, user := s.Requests("/dingtalk/token"), s.Requests("/dingtalk/userinfo")
		if len(token) != 1 || len(user) != 1 {
			t.Fatalf("%d token calls and %d userinfo calls, want one each", len(token), len(user))
		}
		if token[0].ContentType != "text/plain" || !strings.HasPrefix(token[0].Body, "code=") ||
			!strings.Contains(token[0].Body, "&state=") || strings.HasPrefix(user[0].Authorization, "Bearer") ||
			user[0].Authorization == "" {
			t.Errorf("the calls are %+v and %+v, want the document's", token[0], user[0])
		}
		if n := h.Platform.Calls("/v1.0/oauth2/userAccessToken"); n != 1 {
			t.Errorf("%d exchanges at DingTalk, want the service's one", n)
		}
		for _, secret := range []string{s.Password, strings.TrimPrefix(token[0].Body, "code=")[:20],
			user[0].Authorization} {
			if strings.Contains(h.Log.String(), secret) {
				t.Errorf("the log holds the secret %.8s…", secret)
			}
		}
	}
}

// TestServiceCallbackWithoutAttempt checks that the service is not called without an attempt
// of this browser (login CSRF, threats S1–S4).
func TestServiceCallbackWithoutAttempt(t *testing.T) {
	h, s := servertest.NewBehindService(t)
	attacker, victim := h.NewClient(), h.NewClient()
	stolen := attacker.ServiceCallback(h.URL+"/", "zhangsan")
	victim.Get(h.URL + "/")
	u := servertest.ParseURL(t, stolen)
	q := u.Query()
	for _, address := range []string{
		stolen, h.URL + "/oauth2/callback?code=" + q.Get("code") + "&state=" + q.Get("state"),
		h.URL + "/oauth2/callback?code=" + q.Get("code") + "&state=" + q.Get("attempt"),
		stolen + "&attempt=" + q.Get("attempt"), stolen + "&code=x",
		strings.Replace(stolen, "attempt=", "attempt[]=", 1), strings.Replace(stolen, "code=", "c=", 1),
	} {
		if a := victim.Get(address); a.StatusCode < 400 || a.StatusCode >= 500 || servertest.SessionOf(a) != "" {
			t.Errorf("GET %.90s in another browser = %d, want a refusal", address, a.StatusCode)
		}
	}
	if n := len(s.Requests("/dingtalk/token")); n != 0 {
		t.Errorf("the service received %d unneeded calls", n)
	}
	if a := attacker.Get(stolen); a.StatusCode != 302 || servertest.SessionOf(a) == "" {
		t.Errorf("the right browser = %d %s, want signed in", a.StatusCode, a.Text)
	}
	if a := attacker.Get(stolen); a.StatusCode < 400 || len(s.Requests("/dingtalk/token")) != 1 {
		t.Errorf("the same callback twice = %d with %d token calls", a.StatusCode, len(s.Requests("/dingtalk/token")))
	}
}

// TestServiceAnswers checks that every response that violates the contract leads to a
// clear page and a log line, and to no session.
func TestServiceAnswers(t *testing.T) {
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); fmt.Fprint(w, body) }
	}
	const token = `{"access_token":"x","expiry_in":"7200","token_type":"bearer"}`
	for _, row := range []struct {
		name        string
		token, user func(http.ResponseWriter)
		status      int
		page, log   string
	}{
		{"numeric strings", answer(200, token), answer(200, "\ufeff"+`{"username":"zhangsan","email":null}`), 302, "", ""},
		{"no json", answer(200, "<html>"), nil, 502, "answer was not right", "not the contract"},
		{"empty", answer(200, ""), nil, 502, "answer was not right", "not the contract"},
		{"doubled", answer(200, `{"access_token":"a","access_token":"b"}`), nil, 502, "answer was not right",
			"not the contract"},
		{"huge", answer(200, strings.Repeat(" ", 1<<20)+token), nil, 502, "answer was not right", "larger than"},
		{"code refused", answer(400, `{"error":"invalid_grant","error_description":"canary-description"}`), nil, 403,
			"sign in again", "invalid_grant"},
		{"client unknown", answer(401, `{"error":"invalid_client"}`), nil, 503, "administrator", "sso.client_secret"},
		{"not there", answer(404, "no"), nil, 502, "answer was not right", "sso.url"},
		{"redirect",
			func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(302) },
			nil, 502, "answer was not right", "status 302"},
		{"down", answer(503, "busy"), nil, 503, "reach the sign-in service", "status 503"},
		{"throttled", answer(429, "busy"), nil, 503, "reach the sign-in service", "status 429"},
		{"cut", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); fmt.Fprint(w, "{") }, nil, 503,
			"reach the sign-in service", "EOF"},
		{"no username", nil, answer(200, `{"username":"","email":""}`), 502, "answer was not right", "not the contract"},
		{"two lines", nil, answer(200, `{"username":"a\r\nX-Forwarded-User: admin"}`), 502, "answer was not right",
			"not the contract"},
		{"userinfo refused", nil, answer(401, `{}`), 502, "answer was not right", "status 401"},
		{"userinfo down", nil, answer(500, ``), 503, "reach the sign-in service", "status 500"},
	} {
		h, s := servertest.NewBehindService(t)
		s.AnswerToken.Store(row.token)
		s.AnswerUser.Store(row.user)
		v := h.NewClient()
		a := v.SignInAtService(h.URL+"/", "zhangsan")
		if a.StatusCode != row.status || !strings.Contains(a.Text, row.page) ||
			(servertest.SessionOf(a) != "") != (row.status == 302) {
			t.Errorf("%s = %d, session %q, want %d with %q:\n%s", row.name, a.StatusCode, servertest.SessionOf(a), row.status,
				row.page, a.Text)
		}
		servertest.Eventually(t, row.name+": a log line with "+row.log, func() bool {
			return strings.Contains(h.Log.String(), row.log)
		})
		if strings.Contains(h.Log.String(), "canary") {
			t.Errorf("%s: the log has a secret:\n%s", row.name, h.Log)
		}
		if strings.Contains(a.Text, "not the contract") || strings.Contains(a.Text, "127.0.0.1:1") {
			t.Errorf("%s: the page shows what is for the operator", row.name)
		}
	}
}

// TestServiceAway: a service that closes the connection leads to a page that reports it,
// and the code is sent once.
func TestServiceAway(t *testing.T) {
	h, s := servertest.NewBehindService(t)
	v := h.NewClient()
	callback := v.ServiceCallback(h.URL+"/", "zhangsan")
	s.AnswerToken.Store(func(w http.ResponseWriter) { panic(http.ErrAbortHandler) })
	if a := v.Get(callback); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("an aborted token call = %d, want 503 with Retry-After", a.StatusCode)
	}
	if n := len(s.Requests("/dingtalk/token")); n != 1 {
		t.Errorf("the code was sent %d times, want once", n)
	}
}

// TestServiceRecheck checks that membership is looked up again through userinfo, and that
// the session of a person who is not a member there any more ends here.
func TestServiceRecheck(t *testing.T) {
	h, s := servertest.NewBehindService(t, func(c *config.Config) {
		c.Session.Recheck = 50 * time.Millisecond
		c.Session.Grace = time.Hour
	})
	v, other := h.NewClient(), h.NewClient()
	v.SignInAtService(h.URL+"/", "zhangsan")
	other.SignInAtService(h.URL+"/", "lisi")
	s.Revoke("zhangsan")
	servertest.Eventually(t, "the recheck of a person whose token is gone", func() bool {
		return v.Get(h.URL+"/").StatusCode == 302
	})
	if a := other.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("another person = %d, want 200", a.StatusCode)
	}
	s.AnswerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	before := s.UserInfos.Load()
	servertest.Eventually(t, "a recheck while the service is down", func() bool {
		other.Get(h.URL + "/")
		return s.UserInfos.Load() > before
	})
	if a := other.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("while the service is down / = %d, want 200 for the grace", a.StatusCode)
	}
}

// TestServiceRefresh checks that the session continues with refreshed tokens if the
// service has the call, and otherwise ends: then the person signs in again.
func TestServiceRefresh(t *testing.T) {
	for _, none := range []bool{false, true} {
		h, s := servertest.NewBehindService(t)
		s.Life, s.NoRefresh = 2, none
		v := h.NewClient()
		v.SignInAtService(h.URL+"/", "zhangsan")
		refreshes := func() (n int) {
			for _, r := range s.Requests("/dingtalk/token") {
				if strings.HasPrefix(r.Body, "grant_type=refresh_token&refresh_token=") &&
					r.ContentType == "text/plain" {
					n++
				}
			}
			return n
		}
		want := 200
		if none {
			want = 302
		}
		servertest.Eventually(t, "a refresh", func() bool {
			a := v.Get(h.URL + "/")
			return refreshes() > 0 && a.StatusCode == want
		})
		if !none {
			servertest.Eventually(t, "a second refresh, with the token of the first", func() bool {
				return v.Get(h.URL+"/").StatusCode == 200 && refreshes() > 1
			})
		} else if a := v.SignInAtService(h.URL+"/", "zhangsan"); a.StatusCode != 302 || servertest.SessionOf(a) == "" {
			t.Errorf("signing in again = %d %s", a.StatusCode, a.Text)
		}
	}
}

// TestServiceLongTokens: tokens that do not fit into a cookie are logged at the first
// sign-in. Without the refresh token the session lasts as long as its access token and is
// rechecked with it. Without that too it ends at the first recheck. With Redis all tokens
// are stored.
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
			h, s := servertest.NewBehindService(t, func(c *config.Config) {
				c.Session.Recheck, c.Session.Grace = 50*time.Millisecond, time.Hour
				if tt.redis {
					c.Session.Store, c.Redis.URL = "redis", conf.NewSecret("redis://"+miniredis.RunT(t).Addr())
				}
			})
			s.LongAccess, s.LongRefresh = tt.access, tt.refresh
			v := h.NewClient()
			if a := v.SignInAtService(h.URL+"/", "zhangsan"); a.StatusCode != 302 || servertest.SessionOf(a) == "" {
				t.Fatalf("signing in = %d %s", a.StatusCode, a.Text)
			}
			before := s.UserInfos.Load()
			if tt.lives {
				servertest.Eventually(t, "two rechecks", func() bool {
					return v.Get(h.URL+"/").StatusCode == 200 && s.UserInfos.Load() > before+1
				})
			} else {
				servertest.Eventually(t, "the end of a session without a token", func() bool {
					return v.Get(h.URL+"/").StatusCode == 302
				})
				if s.UserInfos.Load() > before {
					t.Error("the service received a call without a token")
				}
			}
			if tt.says != "" {
				servertest.Eventually(t, "the log's word on it", func() bool { return strings.Contains(h.Log.String(), tt.says) })
			} else if strings.Contains(h.Log.String(), "are too long for the cookie") {
				t.Error("the log says that something does not fit")
			}
		})
	}
}

// TestChain tests application ← dinggate (client) ← dinggate (server) ← DingTalk.
func TestChain(t *testing.T) {
	h, s := chain(t)
	v := h.NewClient()
	a := v.Get(h.URL + "/deep?x=1")
	at := servertest.ParseURL(t, a.Header.Get("Location"))
	if a.StatusCode != 302 || at.Host != servertest.ParseURL(t, s.URL).Host || at.Path != "/dingtalk/authorize" {
		t.Fatalf("the page = %d to %s, want the service", a.StatusCode, at)
	}
	back := v.Get(v.Choose(v.StartSignIn(at.String()), "zhangsan")) // the service's callback
	end := v.Get(back.Header.Get("Location"))                       // dinggate's
	if end.StatusCode != 302 || end.Header.Get("Location") != "/deep?x=1" {
		t.Fatalf("dinggate's callback = %d %s", end.StatusCode, end.Text)
	}
	if a := v.Get(h.URL + "/deep?x=1"); a.StatusCode != 200 {
		t.Fatalf("the page = %d", a.StatusCode)
	}
	got := h.Upstream.Last(t).Header
	if got.Get("X-Forwarded-User") != "zhangsan" || got.Get("X-Forwarded-Groups") != "%E4%B8%BB%E7%AE%A1" {
		t.Errorf("the application got user %q, groups %q", got.Get("X-Forwarded-User"), got.Get("X-Forwarded-Groups"))
	}
}

// chain is a dinggate that signs people in at another dinggate, and the other dinggate.
// Cookies ignore ports, so the service has another host name.
func chain(t testing.TB, change ...func(*config.Config)) (h, service *servertest.Env) {
	secret := conf.NewSecret(servertest.Canary + "-chain-secret")
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	base := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	h = servertest.New(t, func(c *config.Config) {
		c.DingTalk = config.Default().DingTalk
		c.SSO.URL, c.SSO.ClientID, c.SSO.ClientSecret = base, "gate", secret
		c.Routes = c.Routes[2:]
		for _, f := range change {
			f(c)
		}
	})
	service = servertest.New(t, func(c *config.Config) {
		c.PublicURL = base
		c.SSOServer.Clients = []sso.App{{ClientID: "gate", ClientSecret: secret,
			RedirectURLs: []string{h.URL + "/oauth2/callback"}, AllowQuery: true}}
	})
	service.URL, handler = base, service.Gateway
	return h, service
}
