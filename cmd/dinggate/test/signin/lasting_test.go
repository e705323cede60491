package signin

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

// TestReloadGivesNothingBack checks that a client that has reached its limit of sign-ins,
// or sends wrong client secrets, has the same counts after a reload (threats D6, T5, V27).
func TestReloadGivesNothingBack(t *testing.T) {
	h, p, _ := servertest.NewSSOSignedIn(t)
	v := h.NewClient()
	most := 5000 // 600 at once, and 20 more in every second of the test
	tries := func(limit int) (n int) {
		for ; n < limit; n++ {
			if v.Get(h.URL+"/oauth2/start", "X-Forwarded-For: 192.0.2.9").StatusCode == http.StatusTooManyRequests {
				return n
			}
		}
		return n
	}
	used := tries(most)
	if used == most {
		t.Fatalf("%d sign-ins were begun from one address without a limit", used)
	}
	h.ReloadWith(servertest.Unchanged)
	if n := tries(300); n == 300 {
		t.Errorf("after a reload %d more sign-ins are begun from an address that had used up its %d", n, used)
	}
	guess := func() time.Duration {
		began := time.Now()
		if a := h.NewClient().Do("POST", h.URL+"/dingtalk/token", "code=x&state=y", servertest.BasicAuth(p.ID, "wrong"),
			"Content-Type: text/plain", "X-Forwarded-For: 192.0.2.1"); a.StatusCode != 401 {
			t.Fatalf("a wrong secret = %d, want 401", a.StatusCode)
		}
		return time.Since(began)
	}
	for range 20 {
		guess()
	}
	h.ReloadWith(servertest.Unchanged)
	if took := guess(); took < 95*time.Millisecond {
		t.Errorf("after a reload the next of 20 wrong secrets takes %v, want it slowed down as before", took)
	}
}

// TestReloadRequestsNothingAgain checks that the app's token and the state of its circuit
// breaker are reused; another app starts without them.
func TestReloadRequestsNothingAgain(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.DingTalk.Events = false })
	h.NewClient().SignIn(h.URL+"/", "zhangsan")
	const token = "/v1.0/oauth2/accessToken"
	requested := h.Platform.Calls(token)
	h.ReloadWith(func(c *config.Config) { c.SignIn.Title = config.BothLanguages("another") })
	if a := h.NewClient().SignIn(h.URL+"/", "lisi"); a.StatusCode != http.StatusFound {
		t.Errorf("a sign-in after the reload = %d", a.StatusCode)
	}
	if n := h.Platform.Calls(token); requested == 0 || n != requested {
		t.Errorf("the app's token was requested %d times before and %d times after a reload, want it reused", requested, n)
	}
	before := h.Gateway.Client
	h.ReloadWith(func(c *config.Config) { c.DingTalk.ClientSecret = conf.NewSecret(servertest.Canary + "-renewed") })
	if h.Gateway.Client == before {
		t.Error("with another secret the calls still bear the old one")
	}
}

// TestReloadKeepsAPIClients checks that verified clients are accepted after a reload, also
// while they cannot be verified, and get the current headers. Clients with wrong
// credentials are limited as before.
func TestReloadKeepsAPIClients(t *testing.T) {
	renamed := func(c *config.Config) {
		c.Headers.Request = config.HeaderFields{identity.HeaderRule{Name: "X-Who", Field: "username"}}
	}
	t.Run("token", func(t *testing.T) {
		h, s := servertest.NewBehindService(t, servertest.APITokens)
		s.Mu.Lock()
		s.Tokens["api-token-1"] = servertest.SSOUser{Username: "zhangsan", Email: ""}
		s.Mu.Unlock()
		api := h.NewClient()
		get := func() int { return api.Get(h.URL+"/api/x", "Authorization: Bearer api-token-1").StatusCode }
		if got := get(); got != 200 {
			t.Fatalf("a service's token = %d", got)
		}
		s.AnswerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
		h.ReloadWith(renamed)
		for range 2 {
			if got := get(); got != 200 || h.Upstream.Last(t).Header.Get("X-Who") != "zhangsan" {
				t.Errorf("after a reload, the service away: %d as %q, want 200 under the new header", got,
					h.Upstream.Last(t).Header.Get("X-Who"))
			}
		}
		h.ReloadWith(func(c *config.Config) { c.SSO.ClientID = "another" })
		if got := get(); got != 503 {
			t.Errorf("with another service: %d, want 503: it received no call", got)
		}
	})
	t.Run("password", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "htpasswd")
		servertest.WriteHtpasswd(t, file, "ci")
		h := servertest.New(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
		h.Gateway.Accounts.File.Pair = ratelimit.Rate{Every: time.Hour, Burst: 3}
		api := h.NewClient()
		get := func(password string) servertest.Response {
			return api.Get(h.URL+"/api/x", servertest.BasicAuth("ci", password))
		}
		get("pw-ci")
		for range 3 {
			servertest.WantRefusedAPI(t, "a guess", get("guess"))
		}
		h.ReloadWith(renamed)
		if a := get("guess"); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the fourth guess, after a reload, = %d, want 429", a.StatusCode)
		}
		for range 2 {
			if a := get("pw-ci"); a.StatusCode != 200 || h.Upstream.Last(t).Header.Get("X-Who") != "ci" {
				t.Errorf("who was verified before the reload = %d as %q, want in under the new header", a.StatusCode,
					h.Upstream.Last(t).Header.Get("X-Who"))
			}
		}
		h.ReloadWith(func(c *config.Config) { c.Limits.Passwords = ratelimit.Rate{Every: time.Hour, Burst: 1} })
		if a := api.Get(h.URL+"/api/x", servertest.BasicAuth("other", "guess")); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("a guess at another account under a lower limits.passwords = %d, want 429", a.StatusCode)
		}
		servertest.WriteHtpasswd(t, file, "other")
		for range 2 {
			h.Gateway.Accounts.File.Look()
		}
		if a := get("pw-ci"); a.StatusCode == 200 {
			t.Error("an account that is gone is accepted")
		}
	})
}
