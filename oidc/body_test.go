package oidc

import (
	"net/url"
	"strings"
	"testing"
)

// TestLargeBodies: every endpoint that reads a body answers 413 to one that is too large, to
// programs as JSON.
func TestLargeBodies(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	large := "x=" + strings.Repeat("x", maxAnswer)
	for _, tt := range []struct{ path, body string }{
		{PathAuthorize, large}, {PathAuthorize, authorizeURL("x", strings.Repeat("x", maxRequest))},
		{PathAuthorize, "consent=" + strings.Repeat("x", maxAnswer)},
		{PathEndSession, large}, {PathEndSession, "state=" + strings.Repeat("x", maxRequest)},
		{PathDevice, "user_code=" + strings.Repeat("x", maxRequest)},
	} {
		if a := e.browser("POST", tt.path, cookie, tt.body, "Sec-Fetch-Site", "same-origin"); a.status != 413 ||
			!strings.Contains(a.body, "<html") {
			t.Errorf("POST %s with %.20s…, %d bytes = %d", tt.path, tt.body, len(tt.body), a.status)
		}
	}
	for _, path := range []string{PathToken, PathUserinfo, PathRevoke, PathIntrospect, PathDeviceCode} {
		a := e.call("POST", path, "client_id=spa&access_token=a&"+large, "Authorization", "Bearer x")
		if a.status != 413 || object(t, a)["error"] != "invalid_request" {
			t.Errorf("POST %s with %d bytes = %d %s", path, len(large), a.status, a.body)
		}
	}
}

// TestConsentToALongRequest: the answer to our page contains the request, sealed, and may be longer
// than the longest request.
func TestConsentToALongRequest(t *testing.T) {
	verifier, challenge := pkce()
	long := strings.Repeat("&", maxRequest/40) + "pad=" + strings.Repeat("x", maxRequest-maxRequest/40-1000)
	for _, signedIn := range []bool{true, false} {
		e := newEnv(t)
		cookie := ""
		if signedIn {
			cookie = e.login(zhangsan)
		}
		a := e.browser("GET", PathAuthorize+"?"+authorizeURL("client_id", "strict", "redirect_uri", "https://strict.test/cb",
			"code_challenge", challenge, "code_challenge_method", "S256")+"&"+long, cookie, "")
		if !signedIn {
			cookie = e.login(zhangsan)
			a = e.browser("GET", e.signIns[0], cookie, "")
		}
		form := fields(a.body)
		form.Set(decision, allow)
		a = e.browser("POST", PathAuthorize, cookie, form.Encode(), "Sec-Fetch-Site", "same-origin")
		code := a.location(t).Query().Get("code")
		if a, v := e.tokens(redemption(code, "redirect_uri", "https://strict.test/cb", "code_verifier", verifier), "strict",
			appSecret); a.status != 200 {
			t.Errorf("consent to a long request, with a session first %v: %v", signedIn, v)
		}
	}
	e := newEnv(t)
	cookie := e.login(zhangsan)
	_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	lisi := zhangsan
	lisi.UnionID, lisi.Username = "U2", "lisi"
	cookie = e.login(lisi)
	query := url.Values{"id_token_hint": {v["id_token"].(string)}, "post_logout_redirect_uri": {"https://app.test/bye"}}
	state := strings.Repeat("ä", 1000)
	a := e.browser("GET", PathEndSession+"?"+query.Encode()+"&state="+url.QueryEscape(state), cookie, "")
	form := fields(a.body)
	form.Set(decision, allow)
	a = e.browser("POST", PathEndSession, cookie, form.Encode(), "Sec-Fetch-Site", "same-origin")
	if got := a.location(t).Query().Get("state"); a.status != 303 || got != state {
		t.Errorf("a logout with a long state = %d %.80s", a.status, a.header.Get("Location"))
	}
}
