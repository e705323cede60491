package sso

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestOwnTokens checks that access tokens of our own SSO service replace a cookie.
func TestOwnTokens(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t, servertest.APITokens)
	given := p.Redeem(v.SSOCode(p))
	api := h.NewClient()
	for _, scheme := range []string{"Bearer ", "bearer "} {
		a := api.Get(h.URL+"/api/x", "Authorization: "+scheme+given.AccessToken)
		if a.StatusCode != 200 || !strings.Contains(a.Text, "UPSTREAM-MARK") {
			t.Fatalf("a page with %s= %d %s, want the application's", scheme, a.StatusCode, a.Text)
		}
		got := h.Upstream.Last(t).Header
		if got.Get("X-Forwarded-User") != "zhangsan" || got.Get("Authorization") != "" {
			t.Errorf("the application got user %q and Authorization %q, want zhangsan and none",
				got.Get("X-Forwarded-User"), got.Get("Authorization"))
		}
	}
	original := servertest.OriginalRequest(h.URL, "/api/x")
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/api/x"} {
		if a := api.Get(h.URL+path,
			append(original, "Authorization: Bearer "+given.AccessToken)...); a.StatusCode != 200 ||
			a.Header.Get("X-Auth-Request-User") != "zhangsan" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s with a token = %d for %q %s", path, a.StatusCode, a.Header.Get("X-Auth-Request-User"), a.Text)
		}
		servertest.WantRefusedAPI(t, path+" with a wrong token",
			v.Get(h.URL+path, append(original, "Authorization: Bearer wrong")...))
	}
	if a := api.Get(h.URL+"/oauth2/userinfo", "Authorization: Bearer "+given.AccessToken); a.StatusCode != 200 ||
		!strings.Contains(a.Text, `"user":"zhangsan"`) {
		t.Errorf("userinfo with a token = %d %s", a.StatusCode, a.Text)
	}
	servertest.WantRefusedAPI(t, "userinfo with a wrong token", v.Get(h.URL+"/oauth2/userinfo", "Authorization: Bearer wrong"))
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
		// no fallback to the cookie
		for who, client := range map[string]*servertest.Client{"no session": h.NewClient(), "a browser that is signed in": v} {
			before := h.Upstream.Count()
			servertest.WantRefusedAPI(t, name+" of "+who, client.Get(h.URL+"/api/x", lines...))
			servertest.WantRefusedAPI(t, name+" of "+who+", fetch",
				client.Get(h.URL+"/api/x", append(lines, "Accept: application/json")...))
			if h.Upstream.Count() != before {
				t.Errorf("%s of %s reached the application", name, who)
			}
		}
	}
	if a := v.Get(h.URL+"/", "Authorization: Digest x"); a.StatusCode != 200 ||
		h.Upstream.Last(t).Header.Get("Authorization") != "Digest x" {
		t.Errorf("a scheme of the application's own = %d, want it passed on with the cookie's session", a.StatusCode)
	}
	// no fallback to the cookie here either
	for who, client := range map[string]*servertest.Client{"no session": api, "a browser that is signed in": v} {
		a := client.Get(h.URL+"/public/x", "Authorization: Bearer theirs")
		if got := h.Upstream.Last(t).Header; a.StatusCode != 200 || got.Get("X-Forwarded-User") != "" ||
			got.Get("Authorization") != "Bearer theirs" {
			t.Errorf("a public page with the application's own token, of %s = %d as %q, want no user", who,
				a.StatusCode, got.Get("X-Forwarded-User"))
		}
	}
	v.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	servertest.WantRefusedAPI(t, "after the sign-out", api.Get(h.URL+"/api/x", "Authorization: Bearer "+given.AccessToken))
	if strings.Contains(h.Log.String(), given.AccessToken) {
		t.Errorf("the log holds a token")
	}
}

// TestServiceTokens tests access tokens of the SSO service that people sign in at:
// userinfo is called once for each token, also for 30 concurrent requests.
func TestServiceTokens(t *testing.T) {
	h, s := servertest.NewBehindService(t, servertest.APITokens)
	s.Mu.Lock()
	s.Tokens["api-token-1"] = servertest.SSOUser{Username: "zhangsan", Email: "zhangsan@yunfan.example"}
	s.Mu.Unlock()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			r, _ := http.NewRequest("GET", h.URL+"/api/x", nil)
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
	if got := h.Upstream.Last(t).Header; got.Get("X-Forwarded-User") != "zhangsan" ||
		got.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" || got.Get("Authorization") != "" {
		t.Errorf("the application got %q, %q and Authorization %q", got.Get("X-Forwarded-User"),
			got.Get("X-Forwarded-Email"), got.Get("Authorization"))
	}
	if n := s.UserInfos.Load(); n != 1 {
		t.Errorf("userinfo received %d calls, want one", n)
	}
	api := h.NewClient()
	for range 3 {
		servertest.WantRefusedAPI(t, "a token the service does not know", api.Get(h.URL+"/api/x", "Authorization: Bearer unknown"))
	}
	if n := s.UserInfos.Load(); n != 2 {
		t.Errorf("userinfo received %d calls for an unknown token, want one", n-1)
	}
	s.AnswerUser.Store(func(w http.ResponseWriter) { w.WriteHeader(503) })
	if a := api.Get(h.URL+"/api/x", "Authorization: Bearer another"); a.StatusCode != 503 ||
		a.Header.Get("Retry-After") == "" {
		t.Errorf("a new token while the service is down = %d, want 503", a.StatusCode)
	}
	if a := api.Get(h.URL+"/api/x", "Authorization: Bearer api-token-1"); a.StatusCode != 200 {
		t.Errorf("a known token while the service is down = %d, want 200", a.StatusCode)
	}
}

// TestServiceTokenRevoked checks that a token that the service revoked is refused after
// session.recheck.
func TestServiceTokenRevoked(t *testing.T) {
	h, s := servertest.NewBehindService(t, servertest.APITokens, func(c *config.Config) { c.Session.Recheck = 50 * time.Millisecond })
	s.Mu.Lock()
	s.Tokens["api-token-1"] = servertest.SSOUser{Username: "zhangsan", Email: ""}
	s.Mu.Unlock()
	api := h.NewClient()
	if a := api.Get(h.URL+"/", "Authorization: Bearer api-token-1"); a.StatusCode != 200 {
		t.Fatalf("a service's token = %d", a.StatusCode)
	}
	s.Revoke("zhangsan")
	servertest.Eventually(t, "a token that was taken back", func() bool {
		return api.Get(h.URL+"/", "Authorization: Bearer api-token-1").StatusCode == 401
	})
}

// TestTokensOff checks that without api_tokens an Authorization header belongs to the
// application.
func TestTokensOff(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t)
	given := p.Redeem(v.SSOCode(p))
	if a := h.NewClient().Get(h.URL+"/", "Authorization: Bearer "+given.AccessToken); a.StatusCode != 302 {
		t.Errorf("a token with api_tokens off = %d, want 302 as without a credential", a.StatusCode)
	}
	if a := v.Get(h.URL+"/", "Authorization: Bearer theirs"); a.StatusCode != 200 ||
		h.Upstream.Last(t).Header.Get("Authorization") != "Bearer theirs" {
		t.Errorf("the application's own token = %d, want it passed on", a.StatusCode)
	}
}
