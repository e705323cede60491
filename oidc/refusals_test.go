package oidc

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/identity"
)

// TestAuthorizeErrors: those about client and redirect URI are pages, the others are sent to the
// application.
func TestAuthorizeErrors(t *testing.T) {
	_, challenge := pkce()
	for _, c := range []struct {
		change []string
		want   string // an error; "page" for our error page
	}{
		{[]string{"client_id", "-"}, "page"},
		{[]string{"client_id", "unknown"}, "page"},
		{[]string{"redirect_uri", "-"}, "page"},
		{[]string{"redirect_uri", ""}, "page"},
		{[]string{"redirect_uri", "https://app.test/callbac"}, "page"},
		{[]string{"redirect_uri", "https://app.test/callback#x"}, "page"},
		{[]string{"redirect_uri", "https://APP.test/callback"}, "page"},
		{[]string{"redirect_uri", "https://user@app.test/callback"}, "page"},
		{[]string{"redirect_uri", "https://app.test:443/callback"}, "page"},
		{[]string{"redirect_uri", "javascript:alert(1)"}, "page"},
		{[]string{"scope", strings.Repeat("x", 9000)}, "page"},
		{[]string{"response_type", "token"}, "unsupported_response_type"},
		{[]string{"response_type", "code id_token"}, "unsupported_response_type"},
		{[]string{"response_type", "-"}, "invalid_request"},
		{[]string{"response_mode", "fragment"}, "invalid_request"},
		{[]string{"code_challenge", "x", "code_challenge_method", "S256"}, "invalid_request"},
		{[]string{"code_challenge", challenge, "code_challenge_method", "plain"}, "invalid_request"},
		{[]string{"code_challenge", challenge}, "invalid_request"},
		{[]string{"code_challenge_method", "S256"}, "invalid_request"},
		{[]string{"client_id", "spa", "redirect_uri", "https://spa.test/"}, "invalid_request"},
		{[]string{"client_id", "strict", "redirect_uri", "https://strict.test/cb"}, "invalid_request"},
		{[]string{"prompt", "none login"}, "invalid_request"},
		{[]string{"max_age", "-1"}, "invalid_request"},
		{[]string{"max_age", "soon"}, "invalid_request"},
		{[]string{"claims", "{"}, "invalid_request"},
		{[]string{"resource", "https://app.test/mcp"}, "invalid_target"},
		{[]string{"registration", "{}"}, "registration_not_supported"},
		{[]string{"id_token_hint", "nothing", "prompt", "none"}, "login_required"},
	} {
		e := newEnv(t)
		a := e.browser("GET", PathAuthorize+"?"+authorizeURL(c.change...), e.login(zhangsan), "")
		q := a.location(t).Query()
		switch {
		case c.want == "page" && (a.status != 400 || a.header.Get("Location") != ""):
			t.Errorf("%.80q = %d %s, want a page", c.change, a.status, a.header.Get("Location"))
		case c.want != "page" && (q.Get("error") != c.want || q.Get("state") == "" || q.Get("iss") != e.url ||
			q.Get("code") != ""):
			t.Errorf("%.80q = %d %s, want %s", c.change, a.status, a.header.Get("Location"), c.want)
		}
	}
	e := newEnv(t)
	cookie := e.login(zhangsan)
	for _, raw := range []string{authorizeURL() + "&client_id=app", authorizeURL() + "&redirect_uri=" + url.QueryEscape(callback),
		"%zz&" + authorizeURL(), authorizeURL() + "&scope=%ff"} {
		if a := e.browser("GET", PathAuthorize+"?"+raw, cookie, ""); a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("%q = %d %s, want a page", raw, a.status, a.header.Get("Location"))
		}
	}
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL()+"&state=2", cookie,
		""); a.location(t).Query().Get("error") != "invalid_request" {
		t.Errorf("state twice = %d %s", a.status, a.header.Get("Location"))
	}
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL(), cookie, "", "Sec-Purpose", "prefetch"); a.status != 400 {
		t.Errorf("a prefetch = %d", a.status)
	}
}

// TestRule: a person who may not sign in to an application sees the reason, and the application
// gets no code.
func TestRule(t *testing.T) {
	e := newEnv(t)
	few := []string{"client_id", "few", "redirect_uri", "https://few.test/cb"}
	a := e.browser("GET", PathAuthorize+"?"+authorizeURL(few...), e.login(zhangsan), "")
	if a.status != 403 || a.header.Get("Location") != "" || !strings.Contains(a.body, "张三") {
		t.Errorf("not admitted = %d %s", a.status, a.body)
	}
	a = e.browser("GET", PathAuthorize+"?"+authorizeURL(append(slices.Clone(few), "prompt", "none")...), e.login(zhangsan), "")
	if q := a.location(t).Query(); q.Get("error") != "access_denied" {
		t.Errorf("not admitted, prompt=none = %v", q)
	}
	lisi := identity.User{UnionID: "U2", UserID: "ls", Username: "lisi"}
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL(few...), e.login(lisi), ""); a.location(t).Query().Get("code") == "" {
		t.Errorf("admitted = %d", a.status)
	}
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL(), e.login(identity.User{Username: "unknown"}), ""); a.status != 403 ||
		!strings.Contains(a.body, "oidc_no_subject") {
		t.Errorf("without any id = %d", a.status)
	}
}

func TestFormPost(t *testing.T) {
	e := newEnv(t)
	a := e.browser("GET", PathAuthorize+"?"+authorizeURL("response_mode", "form_post"), e.login(zhangsan), "")
	form := fields(a.body)
	csp := a.header.Get("Content-Security-Policy")
	if a.status != 200 || form.Get("code") == "" || form.Get("state") != "S&t=1 ä" || form.Get("iss") != e.url ||
		!strings.Contains(a.body, `action="`+callback+`"`) {
		t.Fatalf("form_post = %d %s", a.status, a.body)
	}
	if !strings.Contains(csp, "form-action https://app.test;") || !strings.Contains(csp, "script-src 'self'") ||
		!strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy: %s", csp)
	}
	a = e.browser("GET", PathAuthorize+"?"+authorizeURL("response_mode", "form_post", "prompt", "none"), "", "")
	if form := fields(a.body); form.Get("error") != "login_required" {
		t.Errorf("an error by form_post: %s", a.body)
	}
}

// TestStoreAway: nothing is issued while the store does not answer, and no client or person is
// refused for it.
func TestStoreAway(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	code := e.code(cookie)
	e.store.bad = func(string) error { return errors.New("away") }
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL(), cookie, ""); a.status != 503 {
		t.Errorf("authorize = %d", a.status)
	}
	for name, body := range map[string]string{"code": redemption(code),
		"refresh": "grant_type=refresh_token&refresh_token=" + v["refresh_token"].(string)} {
		if a, got := e.tokens(body, "app", appSecret); a.status != 503 || got["error"] != "temporarily_unavailable" ||
			a.header.Get("Retry-After") == "" {
			t.Errorf("%s = %d %v", name, a.status, got)
		}
	}
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string)); a.status != 503 {
		t.Errorf("userinfo = %d", a.status)
	}
	e.store.bad = nil
	for name, body := range map[string]string{"code": redemption(code),
		"refresh": "grant_type=refresh_token&refresh_token=" + v["refresh_token"].(string)} {
		if a, got := e.tokens(body, "app", appSecret); a.status != 200 {
			t.Errorf("%s afterwards = %v", name, got)
		}
	}
}
