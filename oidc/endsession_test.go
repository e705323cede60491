package oidc

import (
	"net/url"
	"testing"
)

// TestEndSession_FormOfAnotherSite: a form of another site is sent without the session cookie. The
// navigation that follows signs the person out, and only then redirects back.
func TestEndSession_FormOfAnotherSite(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	const back = "https://app.test/bye"
	form := url.Values{
		"id_token_hint":            {v["id_token"].(string)},
		"post_logout_redirect_uri": {back},
		"state":                    {"s t"},
	}
	a := e.browser("POST", PathEndSession, "", form.Encode(), "Sec-Fetch-Site", "cross-site")
	to := a.location(t)
	if a.status != 303 || to.Path != PathEndSession {
		t.Fatalf("the form = %d to %v, want the same request as a navigation", a.status, to)
	}
	a = e.browser("GET", to.RequestURI(), cookie, "")
	if got := a.header.Get("Location"); a.status != 302 || got != back+"?state=s+t" {
		t.Errorf("the navigation = %d to %q", a.status, got)
	}
	q := e.browser("GET", PathAuthorize+"?"+authorizeURL("prompt", "none"), cookie, "").location(t).Query()
	if q.Get("error") != "login_required" {
		t.Errorf("afterwards prompt=none gives %v, want no session", q)
	}
}
