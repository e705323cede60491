package signin

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/ratelimit"
)

// TestBasic checks that a local account's name and password replace a cookie, on routes
// and in gateways' subrequests. A wrong password is 401 JSON, with or without a cookie,
// and no password is forwarded.
func TestBasic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci", "张三")
	h := servertest.New(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	api := h.NewClient()
	for _, name := range []string{"ci", "ci", "张三"} {
		a := api.Get(h.URL+"/api/x", servertest.BasicAuth(name, "pw-"+name))
		got := h.Upstream.Last(t).Header
		want := map[string]string{"ci": "ci", "张三": "%E5%BC%A0%E4%B8%89"}[name]
		if a.StatusCode != 200 || got.Get("X-Forwarded-User") != want || len(got["Authorization"]) > 0 ||
			len(a.Header["Set-Cookie"]) != 1 {
			t.Errorf("%s = %d as %q with Authorization %q, cookies %v", name, a.StatusCode,
				got.Get("X-Forwarded-User"), got["Authorization"], a.Header["Set-Cookie"])
		}
	}
	original := servertest.OriginalRequest(h.URL, "/api/x")
	browser := h.NewClient()
	browser.SignIn(h.URL+"/oauth2/start", "zhangsan")
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/api/x"} {
		if a := api.Get(h.URL+path, append(original, servertest.BasicAuth("ci", "pw-ci"))...); a.StatusCode != 200 ||
			a.Header.Get("X-Auth-Request-User") != "ci" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s = %d for %q", path, a.StatusCode, a.Header.Get("X-Auth-Request-User"))
		}
		servertest.WantRefusedAPI(t, path+" with a wrong password",
			browser.Get(h.URL+path, append(original, servertest.BasicAuth("ci", "wrong"))...))
	}
	for what, lines := range map[string][]string{
		"wrong": {servertest.BasicAuth("ci", "pw-c")}, "unknown": {servertest.BasicAuth("unknown", "pw-ci")}, "no password": {servertest.BasicAuth("ci", "")},
		"no name": {servertest.BasicAuth("", "pw-ci")}, "other case": {servertest.BasicAuth("CI", "pw-ci")},
		"twice": {servertest.BasicAuth("ci", "pw-ci"), servertest.BasicAuth("ci", "pw-ci")}, "no base64": {"Authorization: Basic !"},
		"nothing": {"Authorization: Basic"}, "no colon": {"Authorization: Basic Y2k="},
		"bearer": {"Authorization: Bearer pw-ci"},
		"NUL":    {servertest.BasicAuth("ci", "pw-ci\x00")}, "moved colon": {servertest.BasicAuth("ci:p", "w-ci")},
		"moved letters": {servertest.BasicAuth("cip", "w-ci")},
	} {
		for who, v := range map[string]*servertest.Client{"no session": h.NewClient(), "a signed-in user": browser} {
			before := h.Upstream.Count()
			servertest.WantRefusedAPI(t, what+" of "+who, v.Get(h.URL+"/api/x", lines...))
			if h.Upstream.Count() != before {
				t.Errorf("%s of %s reached the application", what, who)
			}
		}
	}
	if a := api.Get(h.URL+"/admin/x", servertest.BasicAuth("ci", "pw-ci")); a.StatusCode != 403 {
		t.Errorf("a rule by department = %d, want 403", a.StatusCode)
	}
	if a := api.Get(h.URL+"/public/x", servertest.BasicAuth("theirs", "own")); a.StatusCode != 200 ||
		h.Upstream.Last(t).Header.Get("X-Forwarded-User") != "" || h.Upstream.Last(t).Header.Get("Authorization") == "" {
		t.Errorf("a public page with the application's own credential = %d as %q", a.StatusCode,
			h.Upstream.Last(t).Header.Get("X-Forwarded-User"))
	}
	// The file changes, with immediate effect.
	servertest.WriteHtpasswd(t, file, "other")
	h.Gateway.Accounts.File.Look()
	h.Gateway.Accounts.File.Look()
	servertest.WantRefusedAPI(t, "after the account is gone", api.Get(h.URL+"/api/x", servertest.BasicAuth("ci", "pw-ci")))
	if a := api.Get(h.URL+"/api/x", servertest.BasicAuth("other", "pw-other")); a.StatusCode != 200 {
		t.Errorf("a new account = %d", a.StatusCode)
	}
	for _, secret := range []string{"pw-ci", base64.StdEncoding.EncodeToString([]byte("ci:pw-ci"))} {
		if strings.Contains(h.Log.String(), secret) {
			t.Errorf("the log holds a password")
		}
	}
}

// TestBasicOff checks that without api_tokens credentials belong to the application.
func TestBasicOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci")
	h := servertest.New(t, func(c *config.Config) { c.Accounts.HtpasswdFile = file })
	if a := h.NewClient().Get(h.URL+"/api/x", "Accept: application/json", servertest.BasicAuth("ci", "pw-ci")); a.StatusCode == 200 {
		t.Errorf("a password without api_tokens = %d", a.StatusCode)
	}
}

// TestBasicTries checks that wrong passwords are limited with 429, and that this locks out
// neither another account nor a client that was verified before. A public page of an
// application stays accessible.
func TestBasicTries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci", "other")
	h := servertest.New(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	h.Gateway.Accounts.File.Pair = ratelimit.Rate{Every: time.Hour, Burst: 3}
	api := h.NewClient()
	api.Header = http.Header{}
	get := func(path, name, password string) servertest.Response {
		return api.Get(h.URL+path, servertest.BasicAuth(name, password))
	}
	get("/api/x", "ci", "pw-ci")
	for range 3 {
		servertest.WantRefusedAPI(t, "a guess", get("/api/x", "ci", "guess"))
	}
	if a := get("/api/x", "ci", "another guess"); a.StatusCode != 429 || a.Header.Get("Retry-After") == "" ||
		!strings.Contains(a.Text, `"error":"too_many_attempts"`) {
		t.Errorf("the fourth guess = %d %s, want 429", a.StatusCode, a.Text)
	}
	if a := get("/api/x", "ci", "pw-ci"); a.StatusCode != 200 {
		t.Errorf("a client that was verified before = %d, want in", a.StatusCode)
	}
	if a := get("/api/x", "other", "pw-other"); a.StatusCode != 200 {
		t.Errorf("another account = %d, want in", a.StatusCode)
	}
	if a := get("/public/x", "ci", "another guess"); a.StatusCode != 200 {
		t.Errorf("a public page = %d, want the application's", a.StatusCode)
	}
}

// TestBasicManyAtOnce: a client that begins with many concurrent requests is verified
// once: its requests share one verification.
func TestBasicManyAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci")
	h := servertest.New(t, func(c *config.Config) {
		c.APITokens, c.Accounts.HtpasswdFile, c.Accounts.Binding = true, file, account.Off
	})
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if a := h.NewClient().Get(h.URL+"/api/x", servertest.BasicAuth("ci", "pw-ci")); a.StatusCode != 200 {
				t.Errorf("one of many = %d %s", a.StatusCode, a.Text)
			}
		})
	}
	all.Wait()
}
