package oidc

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConsent(t *testing.T) {
	verifier, challenge := pkce()
	e := newEnv(t)
	cookie := e.login(zhangsan)
	change := []string{
		"client_id",
		"strict",
		"redirect_uri",
		"https://strict.test/cb",
		"code_challenge",
		challenge,
		"code_challenge_method",
		"S256",
		"scope",
		"openid profile",
	}
	get := func(more ...string) answer {
		return e.browser("GET", PathAuthorize+"?"+authorizeURL(append(slices.Clone(change), more...)...), cookie, "")
	}
	if q := get("prompt", "none").location(t).Query(); q.Get("error") != "consent_required" {
		t.Errorf("prompt=none = %v", q)
	}
	a := get()
	form := fields(a.body)
	csp := a.header.Get("Content-Security-Policy")
	if a.status != 200 || form.Get(consentField) == "" || !strings.Contains(csp, "frame-ancestors 'none'") ||
		!strings.Contains(csp, "form-action 'self' https://strict.test") ||
		a.header.Get("Referrer-Policy") != "strict-origin" {
		t.Fatalf("the page: %d %s\n%s", a.status, csp, a.body)
	}
	post := func(cookie string, f url.Values, headers ...string) answer {
		return e.browser("POST", PathAuthorize, cookie, f.Encode(),
			append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
	}
	form.Set(decision, "deny")
	if q := post(cookie, form).location(t).Query(); q.Get("error") != "access_denied" || q.Get("state") == "" {
		t.Errorf("denied: %v", q)
	}
	form.Set(decision, allow)
	if a := e.browser("POST", PathAuthorize, cookie, form.Encode(), "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("another site's form = %d", a.status)
	}
	if a := e.browser("POST", PathAuthorize, cookie, form.Encode(), "Origin", "https://evil.test"); a.status != 403 {
		t.Errorf("another site's form, of an old browser = %d", a.status)
	}
	if a := post(e.login(zhangsan), form); a.status != 400 {
		t.Errorf("in another session = %d", a.status)
	}
	if a := e.browser("GET", PathAuthorize+"?"+form.Encode(), cookie, ""); a.status == 302 {
		t.Errorf("consent by GET = %d", a.status)
	}
	code := post(cookie, form).location(t).Query().Get("code")
	if a, v := e.tokens(redemption(code, "redirect_uri", "https://strict.test/cb", "code_verifier", verifier), "strict",
		appSecret); a.status != 200 {
		t.Fatalf("token = %v", v)
	}
	if q := get().location(t).Query(); q.Get("code") == "" {
		t.Errorf("consent required again: %v", q)
	}
	if a := get("scope", "openid profile email"); a.status != 200 {
		t.Errorf("with more scope, no consent required: %d", a.status)
	}
	if a := get("claims", `{"userinfo":{"groups":null}}`); a.status != 200 {
		t.Errorf("with more claims, no consent required: %d", a.status)
	}
	if a := get("prompt", "consent"); a.status != 200 {
		t.Errorf("prompt=consent, no consent required: %d", a.status)
	}
	e.offset = questionLife + time.Second
	if a := post(cookie, form); a.status != 400 {
		t.Errorf("a quarter of an hour later = %d", a.status)
	}
}
