package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
)

// apiTokens lets API clients in; where dinggate is the service, with the tokens of
// the platform alone.
func apiTokens(c *config.Config) {
	if c.APITokens = true; c.SSOServer.On() {
		c.APITokenClients = []string{"platform"}
	}
}

// refusedAPI checks the answer to a wrong credential: 401 in JSON, no redirect,
// no cookie, nothing at the application.
func refusedAPI(t *testing.T, what string, a answer) {
	t.Helper()
	if a.StatusCode != 401 || a.Header.Get("Location") != "" || len(a.Header["Set-Cookie"]) > 0 ||
		strings.Contains(a.body, "UPSTREAM-MARK") || !strings.Contains(a.body, `"error":"invalid_credentials"`) ||
		strings.Contains(a.body, "login_url") {
		t.Errorf("%s = %d to %q %s, want 401 JSON", what, a.StatusCode, a.Header.Get("Location"), a.body)
	}
}

// TestOwnTokens: access tokens of our own SSO service replace a cookie.
func TestOwnTokens(t *testing.T) {
	h, p, v := signedIn(t, apiTokens)
	given := p.redeem(v.codeFor(p))
	api := h.visitor()
	for _, scheme := range []string{"Bearer ", "bearer "} {
		a := api.get(h.base+"/api/x", "Authorization: "+scheme+given.AccessToken)
		if a.StatusCode != 200 || !strings.Contains(a.body, "UPSTREAM-MARK") {
			t.Fatalf("a page with %s= %d %s, want the application's", scheme, a.StatusCode, a.body)
		}
		got := h.app.last(t).Header
		if got.Get("X-Forwarded-User") != "zhangsan" || got.Get("Authorization") != "" {
			t.Errorf("the application got user %q and Authorization %q, want zhangsan and none",
				got.Get("X-Forwarded-User"), got.Get("Authorization"))
		}
	}
	question := []string{"X-Original-URI: /api/x", "X-Original-Method: GET", "X-Forwarded-Uri: /api/x",
		"X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
		"X-Forwarded-Host: " + strings.TrimPrefix(h.base, "http://")}
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/api/x"} {
		if a := api.get(h.base+path,
			append(question, "Authorization: Bearer "+given.AccessToken)...); a.StatusCode != 200 ||
			a.Header.Get("X-Auth-Request-User") != "zhangsan" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s with a token = %d for %q %s", path, a.StatusCode, a.Header.Get("X-Auth-Request-User"), a.body)
		}
		refusedAPI(t, path+" with a wrong token",
			v.get(h.base+path, append(question, "Authorization: Bearer wrong")...))
	}
	if a := api.get(h.base+"/oauth2/userinfo", "Authorization: Bearer "+given.AccessToken); a.StatusCode != 200 ||
		!strings.Contains(a.body, `"user":"zhangsan"`) {
		t.Errorf("userinfo with a token = %d %s", a.StatusCode, a.body)
	}
	refusedAPI(t, "userinfo with a wrong token", v.get(h.base+"/oauth2/userinfo", "Authorization: Bearer wrong"))
	for name, headers := range map[string][]string{
		"wrong": {"Bearer wrong"}, "empty": {"Bearer"}, "refresh": {"Bearer " + given.RefreshToken},
		"cut":   {"Bearer " + given.AccessToken[1:]},
		"two":   {"Bearer " + given.AccessToken, "Bearer " + given.AccessToken},
		"basic": {"Basic " + given.AccessToken}, "longer": {"Bearer " + given.AccessToken + "A"},
		"quotes": {`Bearer "` + given.AccessToken + `"`},
	} {
		var lines []string
		for _, line := range headers {
			lines = append(lines, "Authorization: "+line)
		}
		// no falling through to the cookie
		for who, client := range map[string]*visitor{"nobody": h.visitor(), "a browser that is signed in": v} {
			before := h.app.count()
			refusedAPI(t, name+" of "+who, client.get(h.base+"/api/x", lines...))
			refusedAPI(t, name+" of "+who+", fetch",
				client.get(h.base+"/api/x", append(lines, "Accept: application/json")...))
			if h.app.count() != before {
				t.Errorf("%s of %s reached the application", name, who)
			}
		}
	}
	if a := v.get(h.base+"/", "Authorization: Digest x"); a.StatusCode != 200 ||
		h.app.last(t).Header.Get("Authorization") != "Digest x" {
		t.Errorf("a scheme of the application's own = %d, want it passed on with the cookie's session", a.StatusCode)
	}
	// no falling through to the cookie here either
	for who, client := range map[string]*visitor{"nobody": api, "a browser that is signed in": v} {
		a := client.get(h.base+"/public/x", "Authorization: Bearer theirs")
		if got := h.app.last(t).Header; a.StatusCode != 200 || got.Get("X-Forwarded-User") != "" ||
			got.Get("Authorization") != "Bearer theirs" {
			t.Errorf("a public page with the application's own token, of %s = %d as %q, want nobody", who,
				a.StatusCode, got.Get("X-Forwarded-User"))
		}
	}
	v.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	refusedAPI(t, "after the sign-out", api.get(h.base+"/api/x", "Authorization: Bearer "+given.AccessToken))
	if strings.Contains(h.log.String(), given.AccessToken) {
		t.Errorf("the log holds a token")
	}
}

// TestServiceTokens: access tokens of the SSO service that people sign in at:
// userinfo is asked once for each, also by 30 requests at once.
func TestServiceTokens(t *testing.T) {
	h, s := behindService(t, apiTokens)
	s.mu.Lock()
	s.tokens["api-token-1"] = documentUser{"zhangsan", "zhangsan@yunfan.example"}
	s.mu.Unlock()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			r, _ := http.NewRequest("GET", h.base+"/api/x", nil)
			r.Header.Set("Authorization", "Bearer api-token-1")
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("a page with a service's token = %d, want 200", res.StatusCode)
			}
		})
	}
	all.Wait()
	if got := h.app.last(t).Header; got.Get("X-Forwarded-User") != "zhangsan" ||
		got.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" || got.Get("Authorization") != "" {
		t.Errorf("the application got %q, %q and Authorization %q", got.Get("X-Forwarded-User"),
			got.Get("X-Forwarded-Email"), got.Get("Authorization"))
	}
	if n := s.userinfos.Load(); n != 1 {
		t.Errorf("userinfo was asked %d times, want once", n)
	}
	api := h.visitor()
	for range 3 {
		refusedAPI(t, "a token the service does not know", api.get(h.base+"/api/x", "Authorization: Bearer unknown"))
	}
	if n := s.userinfos.Load(); n != 2 {
		t.Errorf("userinfo was asked %d times for an unknown token, want once", n-1)
	}
	s.answerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	if a := api.get(h.base+"/api/x", "Authorization: Bearer another"); a.StatusCode != 503 ||
		a.Header.Get("Retry-After") == "" {
		t.Errorf("a new token while the service is down = %d, want 503", a.StatusCode)
	}
	if a := api.get(h.base+"/api/x", "Authorization: Bearer api-token-1"); a.StatusCode != 200 {
		t.Errorf("a known token while the service is down = %d, want 200", a.StatusCode)
	}
}

// TestServiceTokenRevoked: a token that the service took back opens nothing
// after session.recheck.
func TestServiceTokenRevoked(t *testing.T) {
	h, s := behindService(t, apiTokens, func(c *config.Config) { c.Session.Recheck = 50 * time.Millisecond })
	s.mu.Lock()
	s.tokens["api-token-1"] = documentUser{"zhangsan", ""}
	s.mu.Unlock()
	api := h.visitor()
	if a := api.get(h.base+"/", "Authorization: Bearer api-token-1"); a.StatusCode != 200 {
		t.Fatalf("a service's token = %d", a.StatusCode)
	}
	s.revoke("zhangsan")
	waitFor(t, "a token that was taken back", func() bool {
		return api.get(h.base+"/", "Authorization: Bearer api-token-1").StatusCode == 401
	})
}

// TestTokensOff: without api_tokens an Authorization header is the
// application's.
func TestTokensOff(t *testing.T) {
	h, p, v := signedIn(t)
	given := p.redeem(v.codeFor(p))
	if a := h.visitor().get(h.base+"/", "Authorization: Bearer "+given.AccessToken); a.StatusCode != 302 {
		t.Errorf("a token with api_tokens off = %d, want 302 as for anybody", a.StatusCode)
	}
	if a := v.get(h.base+"/", "Authorization: Bearer theirs"); a.StatusCode != 200 ||
		h.app.last(t).Header.Get("Authorization") != "Bearer theirs" {
		t.Errorf("the application's own token = %d, want it passed on", a.StatusCode)
	}
}
