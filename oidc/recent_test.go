package oidc

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/proxy/access"
)

// freshEnv is an env whose clients app and strict require a sign-in within 15 minutes.
func freshEnv(t *testing.T) *env {
	e := newEnv(t)
	list := testClients()
	for i := range list {
		switch list[i].ClientID {
		case "app", "strict":
			list[i].Access = &access.RuleConfig{Fresh: 15 * time.Minute}
		case "other":
			list[i].Access = &access.RuleConfig{Fresh: 15 * time.Minute, FreshSilent: true}
		}
	}
	e.Provider = e.provider(list)
	return e
}

// leads requires a redirect to the sign-in, and returns where that leads back to.
func (e *env) leads(what string, a answer) string {
	e.t.Helper()
	if a.status != 302 || !strings.HasPrefix(a.header.Get("Location"), "https://login.dingtalk.test/") {
		e.t.Fatalf("%s = %d to %q, want the sign-in: %s", what, a.status, a.header.Get("Location"), a.body)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.signIns[len(e.signIns)-1]
}

// TestFresh_Authorize: an old sign-in gives no code before the person signed in again.
func TestFresh_Authorize(t *testing.T) {
	e := freshEnv(t)
	old := e.login(zhangsan)
	_, tokens := e.tokens(redemption(e.code(old)), "app", appSecret)
	e.offset = 16 * time.Minute
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL("prompt", "none"), old, ""); a.location(t).Query().Get("error") != "login_required" {
		t.Errorf("prompt=none with an old sign-in leads to %s", a.location(t))
	}
	back := e.leads("an old sign-in", e.browser("GET", PathAuthorize+"?"+authorizeURL(), old, ""))
	if !strings.HasPrefix(back, PathAuthorize+"?"+clickParam+"=") || !WantsClick(strings.TrimPrefix(back, PathAuthorize+"?")) {
		t.Errorf("the sign-in comes back to %s", back)
	}
	e.leads("back without a new sign-in", e.browser("GET", back, old, ""))
	again := e.login(zhangsan)
	if a := e.browser("GET", back, again, ""); a.location(t).Query().Get("code") == "" {
		t.Errorf("after a new sign-in = %d to %q %s", a.status, a.header.Get("Location"), a.body)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
	if a, got := e.tokens(refresh.Encode(), "app", appSecret); a.status != 200 || got["access_token"] == nil {
		t.Errorf("a refresh depends on the age of the sign-in: %d %s", a.status, a.body)
	}
}

// TestFresh_Silent: a silent sign-in counts with fresh_silent alone, also the one that
// the request itself led to.
func TestFresh_Silent(t *testing.T) {
	e := freshEnv(t)
	silent := func() string {
		cookie := e.login(zhangsan)
		e.mu.Lock()
		in := e.sessions[cookie]
		in.Silent = true
		e.sessions[cookie] = in
		e.mu.Unlock()
		return cookie
	}
	back := e.leads("a silent session", e.browser("GET", PathAuthorize+"?"+authorizeURL(), silent(), ""))
	e.leads("another silent session", e.browser("GET", back, silent(), ""))
	if a := e.browser("GET", back, e.login(zhangsan), ""); a.location(t).Query().Get("code") == "" {
		t.Errorf("after a click = %d to %q", a.status, a.header.Get("Location"))
	}
	quiet := authorizeURL("client_id", "other", "redirect_uri", "https://other.test/cb")
	if a := e.browser("GET", PathAuthorize+"?"+quiet, silent(), ""); a.location(t).Query().Get("code") == "" {
		t.Errorf("fresh_silent = %d to %q", a.status, a.header.Get("Location"))
	}
	if back := e.leads("no session", e.browser("GET", PathAuthorize+"?"+authorizeURL(), "", "")); !WantsClick(back[strings.Index(back, "?")+1:]) {
		t.Errorf("no silent sign-in would follow: %s", back)
	}
	if back := e.leads("no session, fresh_silent", e.browser("GET", PathAuthorize+"?"+quiet, "", "")); strings.Contains(back, clickParam) {
		t.Errorf("fresh_silent requires a click: %s", back)
	}
}

// TestFresh_Short: a time shorter than the way back ends at a code all the same.
func TestFresh_Short(t *testing.T) {
	e := freshEnv(t)
	list := testClients()
	list[0].Access = &access.RuleConfig{Fresh: time.Nanosecond}
	e.Provider = e.provider(list)
	back := e.leads("a session", e.browser("GET", PathAuthorize+"?"+authorizeURL(), e.login(zhangsan), ""))
	again := e.login(zhangsan)
	if a := e.browser("GET", back, again, ""); a.location(t).Query().Get("code") == "" {
		t.Errorf("after a new sign-in = %d to %q", a.status, a.header.Get("Location"))
	}
	e.offset = 2 * time.Minute
	e.leads("the same address later", e.browser("GET", back, again, ""))
}

// TestFresh_Consent: the consent counts while the sign-in is recent.
func TestFresh_Consent(t *testing.T) {
	e := freshEnv(t)
	cookie := e.login(zhangsan)
	q := authorizeURL("client_id", "strict", "redirect_uri", "https://strict.test/cb", "code_challenge", strings.Repeat("A", 43),
		"code_challenge_method", "S256")
	a := e.browser("GET", PathAuthorize+"?"+q, cookie, "")
	form := fields(a.body)
	form.Set(decision, allow)
	if form.Get(consentField) == "" {
		t.Fatalf("no consent page: %d %s", a.status, a.body)
	}
	e.offset = 14 * time.Minute
	if a := e.browser("POST", PathAuthorize, cookie, form.Encode(), "Sec-Fetch-Site", "same-origin"); a.location(t).Query().Get("code") == "" {
		t.Errorf("an answer within the time = %d to %q %s", a.status, a.header.Get("Location"), a.body)
	}
	again := authorizeURL("client_id", "strict", "redirect_uri", "https://strict.test/cb", "code_challenge", strings.Repeat("A", 43),
		"code_challenge_method", "S256", "prompt", "consent")
	form = fields(e.browser("GET", PathAuthorize+"?"+again, cookie, "").body)
	form.Set(decision, allow)
	e.offset = 16 * time.Minute
	a = e.browser("POST", PathAuthorize, cookie, form.Encode(), "Sec-Fetch-Site", "same-origin")
	if a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), PathAuthorize+"?"+clickParam+"=") {
		t.Fatalf("a late answer = %d to %q, want the request again", a.status, a.header.Get("Location"))
	}
	e.leads("the request again", e.browser("GET", a.header.Get("Location"), cookie, ""))
}

// TestFresh_Device: a device is confirmed in a recent sign-in, and refused in any.
func TestFresh_Device(t *testing.T) {
	e := freshEnv(t)
	cookie := e.login(zhangsan)
	begin := func() string {
		_, got := e.tokensAt(PathDeviceCode, url.Values{"scope": {"openid"}}.Encode(), "app", appSecret)
		return got["user_code"].(string)
	}
	code := begin()
	form := fields(e.browser("GET", PathDevice+"?user_code="+code, cookie, "").body)
	if form.Get(deviceField) == "" {
		t.Fatal("a recent sign-in gets no consent page")
	}
	e.offset = 16 * time.Minute
	code = begin()
	want := PathDevice + "?user_code=" + code + "&" + clickParam + "=1"
	if back := e.leads("an old sign-in", e.browser("GET", PathDevice+"?user_code="+code, cookie, "")); back != want {
		t.Errorf("the sign-in comes back to %s, want %s", back, want)
	}
	a := e.browser("POST", PathDevice, cookie, url.Values{"user_code": {code}}.Encode(), "Sec-Fetch-Site", "same-origin")
	if a.status != 303 || a.header.Get("Location") != want {
		t.Errorf("a typed code = %d to %q, want %s", a.status, a.header.Get("Location"), want)
	}
	again := e.login(zhangsan)
	if form = fields(e.browser("GET", want, again, "").body); form.Get(deviceField) == "" {
		t.Error("after a new sign-in there is no consent page")
	}
	e.offset += 14 * time.Minute // the code itself lives for ten minutes: another one
	code = begin()
	form = fields(e.browser("GET", PathDevice+"?user_code="+code, again, "").body)
	e.offset += 2 * time.Minute
	form.Set(decision, allow)
	a = e.browser("POST", PathDevice, again, form.Encode(), "Sec-Fetch-Site", "same-origin")
	if a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), PathDevice+"?user_code="+code) {
		t.Errorf("a late yes = %d to %q %s", a.status, a.header.Get("Location"), a.body)
	}
	form.Set(decision, "deny")
	if a := e.browser("POST", PathDevice, again, form.Encode(), "Sec-Fetch-Site", "same-origin"); a.status != 200 {
		t.Errorf("a late no = %d to %q", a.status, a.header.Get("Location"))
	}
}
