package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/proxy/access"
	"dinggate/store/grant"
)

// TestAuthorizeErrors: those about client and address are pages, the others go back
// to the application.
func TestAuthorizeErrors(t *testing.T) {
	_, challenge := pkce()
	for _, c := range []struct {
		change []string
		want   string // an error; "page" for our error page
	}{
		{[]string{"client_id", "-"}, "page"},
		{[]string{"client_id", "nobody"}, "page"},
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
		a := e.browser("GET", PathAuthorize+"?"+ask(c.change...), e.login(zhangsan), "")
		q := a.location(t).Query()
		switch {
		case c.want == "page" && (a.status != 400 || a.header.Get("Location") != ""):
			t.Errorf("%.80q = %d %s, want a page", c.change, a.status, a.header.Get("Location"))
		case c.want != "page" && (q.Get("error") != c.want || q.Get("state") == "" || q.Get("iss") != e.url || q.Get("code") != ""):
			t.Errorf("%.80q = %d %s, want %s", c.change, a.status, a.header.Get("Location"), c.want)
		}
	}
	e := newEnv(t)
	cookie := e.login(zhangsan)
	for _, raw := range []string{ask() + "&client_id=app", ask() + "&redirect_uri=" + url.QueryEscape(callback), "%zz&" + ask(), ask() + "&scope=%ff"} {
		if a := e.browser("GET", PathAuthorize+"?"+raw, cookie, ""); a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("%q = %d %s, want a page", raw, a.status, a.header.Get("Location"))
		}
	}
	if a := e.browser("GET", PathAuthorize+"?"+ask()+"&state=2", cookie, ""); a.location(t).Query().Get("error") != "invalid_request" {
		t.Errorf("state twice = %d %s", a.status, a.header.Get("Location"))
	}
	if a := e.browser("GET", PathAuthorize+"?"+ask(), cookie, "", "Sec-Purpose", "prefetch"); a.status != 400 {
		t.Errorf("a prefetch = %d", a.status)
	}
}

// TestRule: who may not sign in to an application learns why, and gets no code.
func TestRule(t *testing.T) {
	e := newEnv(t)
	few := []string{"client_id", "few", "redirect_uri", "https://few.test/cb"}
	a := e.browser("GET", PathAuthorize+"?"+ask(few...), e.login(zhangsan), "")
	if a.status != 403 || a.header.Get("Location") != "" || !strings.Contains(a.body, "张三") {
		t.Errorf("not admitted = %d %s", a.status, a.body)
	}
	a = e.browser("GET", PathAuthorize+"?"+ask(append(slices.Clone(few), "prompt", "none")...), e.login(zhangsan), "")
	if q := a.location(t).Query(); q.Get("error") != "access_denied" {
		t.Errorf("not admitted, prompt=none = %v", q)
	}
	lisi := identity.User{UnionID: "U2", UserID: "ls", Username: "lisi"}
	if a := e.browser("GET", PathAuthorize+"?"+ask(few...), e.login(lisi), ""); a.location(t).Query().Get("code") == "" {
		t.Errorf("admitted = %d", a.status)
	}
	if a := e.browser("GET", PathAuthorize+"?"+ask(), e.login(identity.User{Username: "nobody"}), ""); a.status != 403 || !strings.Contains(a.body, "oidc_no_subject") {
		t.Errorf("without any id = %d", a.status)
	}
}

func TestRedirectURIs(t *testing.T) {
	list := []string{"https://app.test/cb", "http://127.0.0.1/cb", "http://[::1]:9/cb", "http://localhost:8000/cb?a=b", "com.example.app:/cb"}
	for uri, want := range map[string]bool{
		"https://app.test/cb": true, "https://app.test/cb/": false, "https://app.test/cb?": false, "https://app.test": false, "http://app.test/cb": false, "https://app.test.evil/cb": false,
		"https://app.test@evil/cb": false, "https://app.test/cb#": false, "https://app.test/cb\\": false, "https://app.test%2fcb": false, "https://app.test./cb": false, "https://аpp.test/cb": false,
		"http://127.0.0.1/cb": true, "http://127.0.0.1:1/cb": true, "http://127.0.0.1:65535/cb": true, "http://127.0.0.1:65536/cb": false, "http://127.0.0.1:0/cb": false, "http://127.0.0.1:01/cb": false,
		"http://127.0.0.1:/cb": false, "http://127.0.0.1:80@evil/cb": false, "http://127.0.0.1.evil/cb": false, "http://127.0.0.1:1/cb2": false, "https://127.0.0.1:1/cb": false, "http://127.1:1/cb": false,
		"http://[::1]:1234/cb": true, "http://[::1]/cb": true, "http://[::2]/cb": false, "http://localhost:1/cb?a=b": true, "http://localhost/cb": false, "http://localhostevil:1/cb?a=b": false,
		"com.example.app:/cb": true, "com.example.app:/cb2": false, "": false, " https://app.test/cb": false, "https://app.test/cb\n": false,
	} {
		if got := registered(list, uri); got != want {
			t.Errorf("registered(%q) = %v, want %v", uri, got, want)
		}
	}
}

func FuzzRegistered(f *testing.F) {
	f.Add("http://127.0.0.1:80/cb")
	list := []string{"http://127.0.0.1/cb", "https://app.test/cb"}
	f.Fuzz(func(t *testing.T, uri string) {
		if !registered(list, uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.User != nil || u.Path != "/cb" || u.RawQuery != "" || u.Fragment != "" || !(u.Hostname() == "127.0.0.1" && u.Scheme == "http" || uri == list[1]) {
			t.Errorf("registered(%q), which net/url reads as %+v", uri, u)
		}
	})
}

// TestClientAuthentication is threats E9.
func TestClientAuthentication(t *testing.T) {
	e := newEnv(t)
	basic := func(id, secret string) []string {
		req, _ := http.NewRequest("POST", "http://x", nil)
		req.SetBasicAuth(id, secret)
		return []string{"Authorization", req.Header.Get("Authorization")}
	}
	refresh := "grant_type=refresh_token&refresh_token=x"
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
		want             string
	}{
		{"basic", PathToken, refresh, basic("app", appSecret), 400, "invalid_grant"},
		{"post", PathToken, refresh + "&client_id=app&client_secret=" + appSecret, nil, 400, "invalid_grant"},
		{"public", PathToken, refresh + "&client_id=spa", nil, 400, "invalid_grant"},
		{"public, as basic", PathToken, refresh, basic("spa", ""), 400, "invalid_grant"},
		{"two methods", PathToken, refresh + "&client_id=app&client_secret=" + appSecret, basic("app", appSecret), 400, "invalid_request"},
		{"two clients", PathToken, refresh + "&client_id=other", basic("app", appSecret), 400, "invalid_request"},
		{"secret in the address", PathToken + "?client_secret=" + appSecret, refresh + "&client_id=app", nil, 400, "invalid_request"},
		{"public with a secret", PathToken, refresh + "&client_id=spa&client_secret=x", nil, 401, "invalid_client"},
		{"no secret", PathToken, refresh + "&client_id=app", nil, 401, "invalid_client"},
		{"wrong secret", PathToken, refresh, basic("app", "wrong"), 401, "invalid_client"},
		{"another's secret", PathToken, refresh, basic("other", appSecret), 401, "invalid_client"},
		{"unknown", PathToken, refresh, basic("nobody", appSecret), 401, "invalid_client"},
		{"nobody", PathToken, refresh, nil, 401, "invalid_client"},
		{"bearer", PathToken, refresh, []string{"Authorization", "Bearer x"}, 401, "invalid_client"},
		{"no base64", PathToken, refresh, []string{"Authorization", "Basic !!"}, 401, "invalid_client"},
		{"JSON", PathToken, refresh, append(basic("app", appSecret), "Content-Type", "application/json"), 400, "invalid_request"},
		{"twice", PathToken, refresh + "&grant_type=refresh_token", basic("app", appSecret), 400, "invalid_request"},
		{"long", PathToken, refresh + "&x=" + strings.Repeat("x", maxForm), basic("app", appSecret), 400, "invalid_request"},
		{"introspection, public", PathIntrospect, "token=x&client_id=spa", nil, 401, "invalid_client"},
		{"introspection without a token", PathIntrospect, "x=y", basic("app", appSecret), 400, "invalid_request"},
		{"revocation, unknown client", PathRevoke, "token=x&client_id=nobody", nil, 401, "invalid_client"},
		{"device, unknown client", PathDeviceCode, "client_id=nobody", nil, 401, "invalid_client"},
	} {
		a := e.call("POST", c.path, c.body, c.headers...)
		if v := object(t, a); a.status != c.status || v["error"] != c.want || v["error_description"] == "" {
			t.Errorf("%s = %d %v, want %d %s", c.name, a.status, v, c.status, c.want)
		}
		if challenge := a.header.Get("WWW-Authenticate"); (a.status == 401) != strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s: WWW-Authenticate = %q", c.name, challenge)
		}
	}
	if a := e.call("GET", PathToken, ""); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("GET token = %d", a.status)
	}
	for _, event := range e.events {
		if event.What == "oidc_wrong_secret" && event.Application != "app" && event.Application != "other" && event.Application != "spa" && event.Application != "" {
			t.Errorf("audit names an unknown client: %+v", event)
		}
	}
}

func TestIntrospectionAndRevocation(t *testing.T) {
	e := newEnv(t)
	_, v := e.tokens(redemption(e.code(e.login(zhangsan))), "app", appSecret)
	post := func(path, token, id, secret string) answer {
		req, _ := http.NewRequest("POST", "http://x", nil)
		req.SetBasicAuth(id, secret)
		return e.call("POST", path, "token="+url.QueryEscape(token), "Authorization", req.Header.Get("Authorization"))
	}
	for _, name := range []string{"access_token", "refresh_token"} {
		if got := object(t, post(PathIntrospect, v[name].(string), "app", appSecret)); got["active"] != true || got["client_id"] != "app" || got["username"] != "zhangsan" || got["sub"] == nil {
			t.Errorf("introspection of the %s = %v", name, got)
		}
		if got := object(t, post(PathIntrospect, v[name].(string), "other", "another-secret-of-another")); len(got) != 1 || got["active"] != false {
			t.Errorf("introspection of the %s by another client = %v", name, got)
		}
		if a := post(PathRevoke, v[name].(string), "other", "another-secret-of-another"); a.status != 400 {
			t.Errorf("revocation of the %s by another client = %d", name, a.status)
		}
	}
	for _, token := range []string{"x", strings.Repeat("A", 64), v["id_token"].(string)} {
		if got := object(t, post(PathIntrospect, token, "app", appSecret)); got["active"] != false {
			t.Errorf("introspection of %.10q = %v", token, got)
		}
		if a := post(PathRevoke, token, "app", appSecret); a.status != 200 {
			t.Errorf("revocation of %.10q = %d", token, a.status)
		}
	}
	if a := post(PathRevoke, v["refresh_token"].(string), "app", appSecret); a.status != 200 {
		t.Errorf("revocation = %d", a.status)
	}
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string)); a.status != 401 {
		t.Errorf("userinfo after the revocation = %d", a.status)
	}
}

func TestUserinfoRefusals(t *testing.T) {
	e := newEnv(t)
	_, v := e.tokens(redemption(e.code(e.login(zhangsan), "scope", "-")), "app", appSecret)
	if v["id_token"] != nil || v["access_token"] == nil {
		t.Fatalf("without a scope: %v", v)
	}
	token := v["access_token"].(string)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     string
	}{
		{"no token", "GET", PathUserinfo, "", nil, 401, "Bearer realm"},
		{"in the address", "GET", PathUserinfo + "?access_token=" + token, "", nil, 401, "Bearer realm"},
		{"bad", "GET", PathUserinfo, "", []string{"Authorization", "Bearer x"}, 401, "invalid_token"},
		{"basic", "GET", PathUserinfo, "", []string{"Authorization", "Basic eDp5"}, 401, "invalid_token"},
		{"two", "POST", PathUserinfo, "access_token=" + token, []string{"Authorization", "Bearer " + token}, 400, ""},
		{"without openid", "GET", PathUserinfo, "", []string{"Authorization", "Bearer " + token}, 403, "insufficient_scope"},
		{"PUT", "PUT", PathUserinfo, "", []string{"Authorization", "Bearer " + token}, 405, ""},
		{"a refresh token", "GET", PathUserinfo, "", []string{"Authorization", "Bearer " + e.Grants.Refresh(mustGrant(e, token))}, 401, "invalid_token"},
	} {
		a := e.call(c.method, c.path, c.body, c.headers...)
		if a.status != c.status || !strings.Contains(a.header.Get("WWW-Authenticate"), c.want) {
			t.Errorf("%s = %d %q, want %d %q", c.name, a.status, a.header.Get("WWW-Authenticate"), c.status, c.want)
		}
	}
}

func mustGrant(e *env, token string) *grant.Grant {
	g, _, err := e.Grants.ByAccess(context.Background(), token)
	if err != nil {
		e.t.Fatal(err)
	}
	return g
}

func TestCORS(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		path, origin, want string
	}{
		{PathConfiguration, "https://anybody.test", "*"}, {PathMetadata, "https://anybody.test", "*"}, {PathJWKS, "https://anybody.test", "*"},
		{PathToken, "https://spa.test", "https://spa.test"}, {PathToken, "https://app.test", ""}, {PathToken, "https://evil.test", ""}, {PathToken, "null", ""},
		{PathUserinfo, "https://spa.test", "https://spa.test"}, {PathRevoke, "https://spa.test", "https://spa.test"}, {PathIntrospect, "https://spa.test", ""}, {PathAuthorize, "https://spa.test", ""},
	} {
		a := e.call("OPTIONS", c.path, "", "Origin", c.origin, "Access-Control-Request-Method", "POST")
		if got := a.header.Get("Access-Control-Allow-Origin"); got != c.want || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight of %s from %s = %d %q, want %q", c.path, c.origin, a.status, got, c.want)
		}
	}
}

func TestFormPost(t *testing.T) {
	e := newEnv(t)
	a := e.browser("GET", PathAuthorize+"?"+ask("response_mode", "form_post"), e.login(zhangsan), "")
	form := fields(a.body)
	csp := a.header.Get("Content-Security-Policy")
	if a.status != 200 || form.Get("code") == "" || form.Get("state") != "S&t=1 ä" || form.Get("iss") != e.url || !strings.Contains(a.body, `action="`+callback+`"`) {
		t.Fatalf("form_post = %d %s", a.status, a.body)
	}
	if !strings.Contains(csp, "form-action https://app.test;") || !strings.Contains(csp, "script-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy: %s", csp)
	}
	a = e.browser("GET", PathAuthorize+"?"+ask("response_mode", "form_post", "prompt", "none"), "", "")
	if form := fields(a.body); form.Get("error") != "login_required" {
		t.Errorf("an error by form_post: %s", a.body)
	}
}

// TestDeviceFlow is threats E10.
func TestDeviceFlow(t *testing.T) {
	e := newEnv(t)
	begin := func() map[string]any {
		return object(t, e.call("POST", PathDeviceCode, "client_id=spa&scope=openid+profile+offline_access"))
	}
	poll := func(code any) map[string]any {
		return object(t, e.call("POST", PathToken, url.Values{"grant_type": {grantDevice}, "client_id": {"spa"}, "device_code": {code.(string)}}.Encode()))
	}
	d := begin()
	if d["verification_uri"] != e.url+PathDevice || d["interval"] != 5.0 || d["expires_in"] != 600.0 || len(d["user_code"].(string)) != 9 {
		t.Fatalf("device_authorization = %v", d)
	}
	if v := poll(d["device_code"]); v["error"] != "authorization_pending" {
		t.Errorf("first poll = %v", v)
	}
	e.offset = 2 * time.Second
	if v := poll(d["device_code"]); v["error"] != "slow_down" {
		t.Errorf("too soon = %v", v)
	}
	e.offset += 7 * time.Second
	if v := poll(d["device_code"]); v["error"] != "slow_down" {
		t.Errorf("too soon after a slow_down = %v", v)
	}
	e.offset += 20 * time.Second
	if v := poll(d["device_code"]); v["error"] != "authorization_pending" {
		t.Errorf("in time = %v", v)
	}
	if a, v := e.tokens(redemption(d["device_code"].(string)), "app", appSecret); a.status != 400 {
		t.Errorf("a device code as authorization code = %v", v)
	}
	complete := strings.TrimPrefix(d["verification_uri_complete"].(string), e.url)
	if a := e.browser("GET", complete, "", ""); a.status != 302 || e.signIns[len(e.signIns)-1] != complete {
		t.Errorf("without a session = %d, sign-ins %v", a.status, e.signIns)
	}
	cookie := e.login(zhangsan)
	if a := e.browser("GET", PathDevice, cookie, ""); !strings.Contains(a.body, `name="user_code"`) {
		t.Errorf("the page = %s", a.body)
	}
	a := e.browser("POST", PathDevice, cookie, "user_code="+strings.ToLower(strings.ReplaceAll(d["user_code"].(string), "-", " ")), "Sec-Fetch-Site", "same-origin")
	form := fields(a.body)
	if !strings.Contains(a.body, "spa") || !strings.Contains(a.body, d["user_code"].(string)) || !strings.Contains(a.body, `id="place"`) || form.Get(deviceField) == "" {
		t.Fatalf("the confirmation = %s", a.body)
	}
	form.Set(decision, allow)
	if a := e.browser("POST", PathDevice, cookie, form.Encode(), "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("another site's form = %d", a.status)
	}
	if a := e.browser("POST", PathDevice, e.login(zhangsan), form.Encode(), "Sec-Fetch-Site", "same-origin"); a.status != 400 {
		t.Errorf("in another session = %d", a.status)
	}
	if a := e.browser("GET", PathDevice+"?"+form.Encode(), cookie, ""); strings.Contains(a.body, "is signed in</h1>") && a.status != 200 {
		t.Errorf("by GET = %d", a.status)
	}
	if a := e.browser("POST", PathDevice, cookie, form.Encode(), "Sec-Fetch-Site", "same-origin"); a.status != 200 {
		t.Fatalf("allow = %d %s", a.status, a.body)
	}
	v := poll(d["device_code"])
	if v["access_token"] == nil || v["id_token"] == nil || v["refresh_token"] == nil {
		t.Fatalf("after the confirmation = %v", v)
	}
	e.revoke(t.Context(), cookie)
	e.settle()
	next := object(t, e.call("POST", PathToken, "grant_type=refresh_token&client_id=spa&refresh_token="+v["refresh_token"].(string)))
	if next["access_token"] == nil {
		t.Errorf("a sign-out of the browser ended the device's grant: %v", next)
	}
	e.left["U1"] = true
	if v := object(t, e.call("POST", PathToken, "grant_type=refresh_token&client_id=spa&refresh_token="+next["refresh_token"].(string))); v["error"] != "invalid_grant" {
		t.Errorf("a leaver's device = %v", v)
	}
	delete(e.left, "U1")

	denied := begin()
	in := e.login(zhangsan)
	form = fields(e.browser("GET", PathDevice+"?user_code="+denied["user_code"].(string), in, "").body)
	form.Set(decision, "deny")
	e.browser("POST", PathDevice, in, form.Encode(), "Sec-Fetch-Site", "same-origin")
	if v := poll(denied["device_code"]); v["error"] != "access_denied" {
		t.Errorf("denied = %v", v)
	}
	late := begin()
	e.offset += deviceLife + 2*time.Second
	if v := poll(late["device_code"]); v["error"] != "expired_token" {
		t.Errorf("too late = %v", v)
	}
	in = e.login(zhangsan)
	limited := 0
	for range 15 {
		if a := e.browser("POST", PathDevice, in, "user_code=BBBB-BBBB", "Sec-Fetch-Site", "same-origin"); a.status == 429 {
			limited++
		}
	}
	if limited != 5 {
		t.Errorf("%d of 15 guesses were limited, want 5", limited)
	}
}

// TestStoreAway: nothing is given while the store does not answer, and nobody is
// blamed for it.
func TestStoreAway(t *testing.T) {
	e := newEnv(t)
	cookie := e.login(zhangsan)
	_, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
	code := e.code(cookie)
	e.store.bad = func(string) error { return errors.New("away") }
	if a := e.browser("GET", PathAuthorize+"?"+ask(), cookie, ""); a.status != 503 {
		t.Errorf("authorize = %d", a.status)
	}
	for name, body := range map[string]string{"code": redemption(code), "refresh": "grant_type=refresh_token&refresh_token=" + v["refresh_token"].(string)} {
		if a, got := e.tokens(body, "app", appSecret); a.status != 503 || got["error"] != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s = %d %v", name, a.status, got)
		}
	}
	if a := e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string)); a.status != 503 {
		t.Errorf("userinfo = %d", a.status)
	}
	e.store.bad = nil
	for name, body := range map[string]string{"code": redemption(code), "refresh": "grant_type=refresh_token&refresh_token=" + v["refresh_token"].(string)} {
		if a, got := e.tokens(body, "app", appSecret); a.status != 200 {
			t.Errorf("%s afterwards = %v", name, got)
		}
	}
}

// TestHangingReceiver is threats E16: nobody waits for a receiver.
func TestHangingReceiver(t *testing.T) {
	e := newEnv(t)
	release := make(chan struct{})
	var calls atomic.Int32
	e.Deliver = func(ctx context.Context, uri, _ string) error {
		if strings.Contains(uri, "app.test") {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return errors.New("it hangs")
		}
		calls.Add(1)
		return nil
	}
	cookie := e.login(zhangsan)
	e.tokens(redemption(e.code(cookie)), "app", appSecret)
	e.tokens(redemption(e.code(cookie, "client_id", "other", "redirect_uri", "https://other.test/cb"), "redirect_uri", "https://other.test/cb"), "other", "another-secret-of-another")
	e.revoke(t.Context(), cookie)
	e.Provider.people().endings(t.Context())
	for limit := time.Now().Add(3 * time.Second); calls.Load() == 0 && time.Now().Before(limit); {
		e.call("GET", PathJWKS, "")
	}
	if calls.Load() != 1 {
		t.Errorf("the other receiver was told %d times", calls.Load())
	}
	close(release)
	e.Provider.logouts.shutdown()
}

// TestPost is what goes over the wire.
func TestPost(t *testing.T) {
	e := newEnv(t)
	var got atomic.Value
	status := atomic.Int32{}
	status.Store(200)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		got.Store(r.Method + " " + r.Header.Get("Content-Type") + " " + r.PostForm.Get("logout_token"))
		w.Header().Set("Location", e.url)
		w.WriteHeader(int(status.Load()))
	}))
	defer receiver.Close()
	for code, want := range map[int32]bool{200: true, 204: true, 302: false, 400: false, 500: false} {
		status.Store(code)
		if err := e.Provider.logouts.post(t.Context(), receiver.URL, "T"); (err == nil) != want {
			t.Errorf("an answer %d: %v", code, err)
		}
	}
	if got.Load() != "POST application/x-www-form-urlencoded T" {
		t.Errorf("posted %q", got.Load())
	}
}

func TestConfig(t *testing.T) {
	good := ClientConfig{ClientID: "a", ClientSecret: conf.NewSecret(appSecret), RedirectURIs: []string{callback}}
	for name, c := range map[string]struct {
		change func(*Config)
		key    string // of the mistake; "" for none
	}{
		"good":         {func(*Config) {}, ""},
		"no client id": {func(c *Config) { c.Clients[0].ClientID = "" }, "oidc.clients[0].client_id"},
		"a colon":      {func(c *Config) { c.Clients[0].ClientID = "a:b" }, "oidc.clients[0].client_id"},
		"twice":        {func(c *Config) { c.Clients = append(c.Clients, good) }, "oidc.clients[1].client_id"},
		"fragment":     {func(c *Config) { c.Clients[0].RedirectURIs = []string{callback + "#"} }, "oidc.clients[0].redirect_uris"},
		"javascript":   {func(c *Config) { c.Clients[0].RedirectURIs = []string{"javascript:alert(1)"} }, "oidc.clients[0].redirect_uris"},
		"data":         {func(c *Config) { c.Clients[0].RedirectURIs = []string{"data:text/html,x"} }, "oidc.clients[0].redirect_uris"},
		"relative":     {func(c *Config) { c.Clients[0].RedirectURIs = []string{"/callback"} }, "oidc.clients[0].redirect_uris"},
		"native":       {func(c *Config) { c.Clients[0].RedirectURIs = []string{"com.example.app:/cb"} }, ""},
		"loopback": {func(c *Config) {
			c.Clients[0].RedirectURIs = []string{"http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb"}
		}, ""},
		"logout":           {func(c *Config) { c.Clients[0].BackchannelLogoutURI = "com.example.app:/cb" }, "oidc.clients[0].backchannel_logout_uri"},
		"groups":           {func(c *Config) { c.Clients[0].Groups = []string{"teams"} }, "oidc.clients[0].groups"},
		"algorithm":        {func(c *Config) { c.Clients[0].SigningAlg = "HS256" }, "oidc.clients[0].signing_alg"},
		"pkce":             {func(c *Config) { c.Clients[0].PKCE = "plain" }, "oidc.clients[0].pkce"},
		"public rule":      {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{Named: "public"} }, "oidc.clients[0].access"},
		"networks":         {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{Networks: []string{"10.0.0.0/8"}} }, "oidc.clients[0].access"},
		"an empty rule":    {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{} }, "oidc.clients[0].access"},
		"a bad department": {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{Departments: []string{"x"}} }, "oidc.clients[0].access.departments"},
		"code":             {func(c *Config) { c.Code = time.Hour }, "oidc.code"},
		"id token":         {func(c *Config) { c.IDToken = 0 }, "oidc.id_token"},
		"refresh":          {func(c *Config) { c.RefreshToken = time.Second }, "oidc.refresh_token"},
		"keys alone":       {func(c *Config) { c.Clients, c.KeyFiles = nil, []string{"k"} }, "oidc.clients"},
	} {
		config := Defaults()
		config.Clients = []ClientConfig{good}
		c.change(&config)
		var p conf.Problems
		config.Check(&p, "oidc")
		var mistakes []string
		for _, one := range p.All() {
			if !one.Warning {
				mistakes = append(mistakes, one.Key)
			}
		}
		if c.key == "" && len(mistakes) > 0 || c.key != "" && !slices.Equal(mistakes, []string{c.key}) {
			t.Errorf("%s: %v, want %q", name, p.All(), c.key)
		}
	}
}
