package main

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
	"dinggate/internal/ratelimit"
)

func basic(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// TestBasic: a local account's name and password replace a cookie, on
// routes and on gateways' questions; a wrong one is 401 JSON, whatever cookie
// comes with it, and none travels on.
func TestBasic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci", "张三")
	h := newTestEnv(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	api := h.visitor()
	for _, name := range []string{"ci", "ci", "张三"} {
		a := api.get(h.base+"/api/x", basic(name, "pw-"+name))
		got := h.app.last(t).Header
		want := map[string]string{"ci": "ci", "张三": "%E5%BC%A0%E4%B8%89"}[name]
		if a.StatusCode != 200 || got.Get("X-Forwarded-User") != want || len(got["Authorization"]) > 0 ||
			len(a.Header["Set-Cookie"]) != 1 {
			t.Errorf("%s = %d as %q with Authorization %q, cookies %v", name, a.StatusCode,
				got.Get("X-Forwarded-User"), got["Authorization"], a.Header["Set-Cookie"])
		}
	}
	question := []string{"X-Original-URI: /api/x", "X-Original-Method: GET", "X-Forwarded-Uri: /api/x",
		"X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
		"X-Forwarded-Host: " + strings.TrimPrefix(h.base, "http://")}
	browser := h.visitor()
	browser.signIn(h.base+"/oauth2/start", "zhangsan")
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/api/x"} {
		if a := api.get(h.base+path, append(question, basic("ci", "pw-ci"))...); a.StatusCode != 200 ||
			a.Header.Get("X-Auth-Request-User") != "ci" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s = %d for %q", path, a.StatusCode, a.Header.Get("X-Auth-Request-User"))
		}
		refusedAPI(t, path+" with a wrong password",
			browser.get(h.base+path, append(question, basic("ci", "wrong"))...))
	}
	for what, lines := range map[string][]string{
		"wrong": {basic("ci", "pw-c")}, "unknown": {basic("nobody", "pw-ci")}, "no password": {basic("ci", "")},
		"no name": {basic("", "pw-ci")}, "other case": {basic("CI", "pw-ci")},
		"twice": {basic("ci", "pw-ci"), basic("ci", "pw-ci")}, "no base64": {"Authorization: Basic !"},
		"nothing": {"Authorization: Basic"}, "no colon": {"Authorization: Basic Y2k="},
		"bearer": {"Authorization: Bearer pw-ci"},
		"NUL":    {basic("ci", "pw-ci\x00")}, "moved colon": {basic("ci:p", "w-ci")},
		"moved letters": {basic("cip", "w-ci")},
	} {
		for who, v := range map[string]*visitor{"nobody": h.visitor(), "somebody signed in": browser} {
			before := h.app.count()
			refusedAPI(t, what+" of "+who, v.get(h.base+"/api/x", lines...))
			if h.app.count() != before {
				t.Errorf("%s of %s reached the application", what, who)
			}
		}
	}
	if a := api.get(h.base+"/admin/x", basic("ci", "pw-ci")); a.StatusCode != 403 {
		t.Errorf("a rule by department = %d, want 403", a.StatusCode)
	}
	if a := api.get(h.base+"/public/x", basic("theirs", "own")); a.StatusCode != 200 ||
		h.app.last(t).Header.Get("X-Forwarded-User") != "" || h.app.last(t).Header.Get("Authorization") == "" {
		t.Errorf("a public page with the application's own credential = %d as %q", a.StatusCode,
			h.app.last(t).Header.Get("X-Forwarded-User"))
	}
	// The file changes: at once.
	htpasswd(t, file, "other")
	h.gate.Accounts.File.Look()
	h.gate.Accounts.File.Look()
	refusedAPI(t, "after the account is gone", api.get(h.base+"/api/x", basic("ci", "pw-ci")))
	if a := api.get(h.base+"/api/x", basic("other", "pw-other")); a.StatusCode != 200 {
		t.Errorf("a new account = %d", a.StatusCode)
	}
	for _, secret := range []string{"pw-ci", base64.StdEncoding.EncodeToString([]byte("ci:pw-ci"))} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds a password")
		}
	}
}

// TestBasicOff: without api_tokens a credential is the application's own.
func TestBasicOff(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci")
	h := newTestEnv(t, func(c *config.Config) { c.Accounts.HtpasswdFile = file })
	if a := h.visitor().get(h.base+"/api/x", "Accept: application/json", basic("ci", "pw-ci")); a.StatusCode == 200 {
		t.Errorf("a password without api_tokens = %d", a.StatusCode)
	}
}

// TestBasicTries: guessing is slowed down with 429, and neither another account
// nor who was verified before is locked out; an application's page that is open
// to everybody stays open.
func TestBasicTries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci", "other")
	h := newTestEnv(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	h.gate.Accounts.File.Pair = ratelimit.Rate{Every: time.Hour, Burst: 3}
	api := h.visitor()
	api.header = http.Header{}
	get := func(path, name, password string) answer { return api.get(h.base+path, basic(name, password)) }
	get("/api/x", "ci", "pw-ci")
	for range 3 {
		refusedAPI(t, "a guess", get("/api/x", "ci", "guess"))
	}
	if a := get("/api/x", "ci", "another guess"); a.StatusCode != 429 || a.Header.Get("Retry-After") == "" ||
		!strings.Contains(a.body, `"error":"too_many_attempts"`) {
		t.Errorf("the fourth guess = %d %s, want 429", a.StatusCode, a.body)
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

// TestBasicManyAtOnce: a client that begins with many requests at once is
// verified once: nobody waits in line behind their own password.
func TestBasicManyAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci")
	h := newTestEnv(t, func(c *config.Config) {
		c.APITokens, c.Accounts.HtpasswdFile, c.Accounts.Binding = true, file, account.Off
	})
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if a := h.visitor().get(h.base+"/api/x", basic("ci", "pw-ci")); a.StatusCode != 200 {
				t.Errorf("one of many = %d %s", a.StatusCode, a.body)
			}
		})
	}
	all.Wait()
}
