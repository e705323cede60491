package main

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

// reloadWith puts another dinggate in the place of the one that serves.
func (h *testEnv) reloadWith(change func(*config.Config)) {
	h.t.Helper()
	cfg := *h.cfg
	change(&cfg)
	next, err := server.New(&cfg, h.state)
	if err != nil {
		h.t.Fatal(err)
	}
	h.cfg, h.gate = &cfg, next
	h.state.Serve(next)
}

func same(*config.Config) {}

// TestReloadGivesNothingBack: anyone who has used up their sign-ins, or guesses at
// a client's secret, goes on where they were (threats D6, T5, V27).
func TestReloadGivesNothingBack(t *testing.T) {
	h, p, _ := signedIn(t)
	v := h.visitor()
	most := 5000 // 600 at once, and 20 more in every second that this takes
	tries := func(limit int) (n int) {
		for ; n < limit; n++ {
			if v.get(h.base+"/oauth2/start", "X-Forwarded-For: 192.0.2.9").StatusCode == http.StatusTooManyRequests {
				return n
			}
		}
		return n
	}
	used := tries(most)
	if used == most {
		t.Fatalf("%d sign-ins were begun from one address without a limit", used)
	}
	h.reloadWith(same)
	if n := tries(300); n == 300 {
		t.Errorf("after a reload %d more sign-ins are begun from an address that had used up its %d", n, used)
	}
	guess := func() time.Duration {
		began := time.Now()
		if a := h.visitor().do("POST", h.base+"/dingtalk/token", "code=x&state=y", basicHeader(p.id+":wrong"),
			"Content-Type: text/plain", "X-Forwarded-For: 192.0.2.1"); a.StatusCode != 401 {
			t.Fatalf("a wrong secret = %d, want 401", a.StatusCode)
		}
		return time.Since(began)
	}
	for range 20 {
		guess()
	}
	h.reloadWith(same)
	if took := guess(); took < 95*time.Millisecond {
		t.Errorf("after a reload the next of 20 wrong secrets takes %v, want it slowed down as before", took)
	}
}

// TestReloadAsksNothingAgain: the app's token, and DingTalk's wish to be left
// alone, are the app's; another app begins anew.
func TestReloadAsksNothingAgain(t *testing.T) {
	h := newTestEnv(t, func(c *config.Config) { c.DingTalk.Events = false })
	h.visitor().signIn(h.base+"/", "zhangsan")
	const token = "/v1.0/oauth2/accessToken"
	asked := h.platform.Calls(token)
	h.reloadWith(func(c *config.Config) { c.SignIn.Title = config.BothLanguages("another") })
	if a := h.visitor().signIn(h.base+"/", "lisi"); a.StatusCode != http.StatusFound {
		t.Errorf("a sign-in after the reload = %d", a.StatusCode)
	}
	if n := h.platform.Calls(token); asked == 0 || n != asked {
		t.Errorf("the app's token was asked for %d times before and %d times after a reload, want it kept", asked, n)
	}
	before := h.gate.Client
	h.reloadWith(func(c *config.Config) { c.DingTalk.ClientSecret = conf.NewSecret(canary + "-renewed") })
	if h.gate.Client == before {
		t.Error("with another secret the calls still bear the old one")
	}
}

// TestReloadKeepsAPIClients: those who were verified are let in after a reload,
// also while nobody could verify them, and under the headers of now; those who
// guess are limited as before.
func TestReloadKeepsAPIClients(t *testing.T) {
	renamed := func(c *config.Config) {
		c.Headers.Request = config.HeaderFields{identity.HeaderRule{Name: "X-Who", Field: "username"}}
	}
	t.Run("token", func(t *testing.T) {
		h, s := behindService(t, apiTokens)
		s.mu.Lock()
		s.tokens["api-token-1"] = documentUser{"zhangsan", ""}
		s.mu.Unlock()
		api := h.visitor()
		get := func() int { return api.get(h.base+"/api/x", "Authorization: Bearer api-token-1").StatusCode }
		if got := get(); got != 200 {
			t.Fatalf("a service's token = %d", got)
		}
		s.answerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
		h.reloadWith(renamed)
		for range 2 {
			if got := get(); got != 200 || h.app.last(t).Header.Get("X-Who") != "zhangsan" {
				t.Errorf("after a reload, the service away: %d as %q, want 200 under the new header", got,
					h.app.last(t).Header.Get("X-Who"))
			}
		}
		h.reloadWith(func(c *config.Config) { c.SSO.ClientID = "another" })
		if got := get(); got != 503 {
			t.Errorf("with another service: %d, want 503: it was never asked", got)
		}
	})
	t.Run("password", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "htpasswd")
		htpasswd(t, file, "ci")
		h := newTestEnv(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
		h.gate.Accounts.File.Pair = ratelimit.Rate{Every: time.Hour, Burst: 3}
		api := h.visitor()
		get := func(password string) answer { return api.get(h.base+"/api/x", basic("ci", password)) }
		get("pw-ci")
		for range 3 {
			refusedAPI(t, "a guess", get("guess"))
		}
		h.reloadWith(renamed)
		if a := get("guess"); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the fourth guess, after a reload, = %d, want 429", a.StatusCode)
		}
		for range 2 {
			if a := get("pw-ci"); a.StatusCode != 200 || h.app.last(t).Header.Get("X-Who") != "ci" {
				t.Errorf("who was verified before the reload = %d as %q, want in under the new header", a.StatusCode,
					h.app.last(t).Header.Get("X-Who"))
			}
		}
		htpasswd(t, file, "other")
		for range 2 {
			h.gate.Accounts.File.Look()
		}
		if a := get("pw-ci"); a.StatusCode == 200 {
			t.Error("an account that is gone is let in")
		}
	})
}
