package oidc

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/oidc/keys"
)

// The modules of the OpenID Foundation's certification plans for Basic OP, Config
// OP, RP-Initiated Logout OP and Back-Channel OP, told again by their names. The
// suite itself needs a browser, a public name and a certificate.
//
// One module of the 52 does not apply: see "oidcc-idtoken-unsigned".
var modules = []struct {
	name string
	test func(t *testing.T, c *conformant)
}{
	// Basic OP
	{"oidcc-server", func(t *testing.T, c *conformant) { c.succeeds() }},
	{"oidcc-response-type-missing", func(t *testing.T, c *conformant) { c.fails("invalid_request", "response_type", "-") }},
	{"oidcc-idtoken-signature", func(t *testing.T, c *conformant) { c.succeeds() }}, // claimsOf verifies with the published keys, by kid
	{"oidcc-idtoken-unsigned", func(t *testing.T, c *conformant) {
		// The module registers a client for `alg: none` and skips itself where discovery does not offer that.
		if slices.Contains(c.metadata("id_token_signing_alg_values_supported"), any("none")) {
			t.Errorf("unsigned ID tokens are on offer")
		}
	}},
	{"oidcc-userinfo-get", func(t *testing.T, c *conformant) { c.userinfo("GET", "", "header") }},
	{"oidcc-userinfo-post-header", func(t *testing.T, c *conformant) { c.userinfo("POST", "", "header") }},
	{"oidcc-userinfo-post-body", func(t *testing.T, c *conformant) { c.userinfo("POST", "access_token=", "body") }},
	{"oidcc-ensure-request-without-nonce-succeeds-for-code-flow", func(t *testing.T, c *conformant) {
		if id := c.succeeds("nonce", "-"); id["nonce"] != nil {
			t.Errorf("nonce = %v", id["nonce"])
		}
	}},
	{"oidcc-scope-profile", func(t *testing.T, c *conformant) { c.scope("openid profile", "name", "preferred_username") }},
	{"oidcc-scope-email", func(t *testing.T, c *conformant) { c.scope("openid email", "email", "email_verified") }},
	{"oidcc-scope-address", func(t *testing.T, c *conformant) { c.scope("openid address") }},
	{"oidcc-scope-phone", func(t *testing.T, c *conformant) { c.scope("openid phone") }},
	{"oidcc-scope-all", func(t *testing.T, c *conformant) {
		c.scope("openid profile email address phone", "name", "preferred_username", "email", "email_verified")
	}},
	{"oidcc-ensure-other-scope-order-succeeds", func(t *testing.T, c *conformant) { c.scope("email openid", "email", "email_verified") }},
	{"oidcc-display-page", func(t *testing.T, c *conformant) { c.succeeds("display", "page") }},
	{"oidcc-display-popup", func(t *testing.T, c *conformant) { c.succeeds("display", "popup") }},
	{"oidcc-prompt-login", func(t *testing.T, c *conformant) { c.again("prompt", "login") }},
	{"oidcc-prompt-none-not-logged-in", func(t *testing.T, c *conformant) { c.cookie = ""; c.fails("login_required", "prompt", "none") }},
	{"oidcc-prompt-none-logged-in", func(t *testing.T, c *conformant) {
		first := c.succeeds()
		if second := c.succeeds("prompt", "none"); second["auth_time"] != first["auth_time"] || second["sub"] != first["sub"] {
			t.Errorf("prompt=none: %v, after %v", second, first)
		}
	}},
	{"oidcc-max-age-1", func(t *testing.T, c *conformant) { c.again("max_age", "1") }},
	{"oidcc-max-age-10000", func(t *testing.T, c *conformant) {
		first := c.succeeds()
		if second := c.succeeds("max_age", "10000"); second["auth_time"] != first["auth_time"] || second["auth_time"] == nil {
			t.Errorf("max_age=10000: %v, after %v", second, first)
		}
	}},
	{"oidcc-ensure-request-with-unknown-parameter-succeeds", func(t *testing.T, c *conformant) { c.succeeds("extra", "foobar") }},
	{"oidcc-id-token-hint", func(t *testing.T, c *conformant) {
		c.succeeds("prompt", "none", "id_token_hint", c.idToken())
	}},
	{"oidcc-login-hint", func(t *testing.T, c *conformant) { c.succeeds("login_hint", "zhangsan@corp.test") }},
	{"oidcc-ui-locales", func(t *testing.T, c *conformant) { c.succeeds("ui_locales", "se en") }},
	{"oidcc-claims-locales", func(t *testing.T, c *conformant) { c.succeeds("claims_locales", "se") }},
	{"oidcc-ensure-request-with-acr-values-succeeds", func(t *testing.T, c *conformant) { c.succeeds("acr_values", "1 2") }},
	{"oidcc-codereuse", func(t *testing.T, c *conformant) { c.reuse(0) }},
	{"oidcc-codereuse-30seconds", func(t *testing.T, c *conformant) { c.reuse(30 * time.Second) }},
	{"oidcc-ensure-registered-redirect-uri", func(t *testing.T, c *conformant) {
		if a := c.e.browser("GET", PathAuthorize+"?"+ask("redirect_uri", callback+"/more"), c.cookie, ""); a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("an unregistered redirect_uri = %d %s", a.status, a.header.Get("Location"))
		}
	}},
	{"oidcc-ensure-post-request-succeeds", func(t *testing.T, c *conformant) {
		a := c.e.browser("POST", PathAuthorize, c.cookie, ask())
		if a = c.e.browser("GET", a.header.Get("Location"), c.cookie, ""); a.location(t).Query().Get("code") == "" {
			t.Errorf("a posted request = %d %s", a.status, a.header.Get("Location"))
		}
	}},
	{"oidcc-server-client-secret-post", func(t *testing.T, c *conformant) {
		a := c.e.call("POST", PathToken, redemption(c.e.code(c.cookie), "client_id", "app", "client_secret", appSecret))
		if a.status != 200 {
			t.Errorf("client_secret_post = %d %s", a.status, a.body)
		}
	}},
	{"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", func(t *testing.T, c *conformant) {
		c.fails("request_uri_not_supported", "request_uri", "https://app.test/request.jwt")
	}},
	{"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", func(t *testing.T, c *conformant) {
		c.fails("request_not_supported", "request", unsigned(map[string]any{"scope": "openid"}))
	}},
	{"oidcc-claims-essential", func(t *testing.T, c *conformant) {
		_, u := c.signIn("scope", "openid", "claims", `{"userinfo":{"name":{"essential":true}}}`)
		if u["name"] != "张三" {
			t.Errorf("userinfo = %v", u)
		}
	}},
	{"oidcc-ensure-request-object-with-redirect-uri", func(t *testing.T, c *conformant) {
		c.fails("request_not_supported", "request", unsigned(map[string]any{"redirect_uri": "https://evil.test/"}))
	}},
	{"oidcc-refresh-token", func(t *testing.T, c *conformant) {
		_, v := c.e.tokens(redemption(c.e.code(c.cookie)), "app", appSecret)
		old := claimsOf(t, v["id_token"].(string), keys.TypeID)
		a, next := c.e.tokens("grant_type=refresh_token&refresh_token="+v["refresh_token"].(string), "app", appSecret)
		if a.status != 200 {
			t.Fatalf("refresh = %v", next)
		}
		id := claimsOf(t, next["id_token"].(string), keys.TypeID)
		for _, name := range []string{"iss", "sub", "aud", "auth_time", "azp"} {
			if id[name] != old[name] {
				t.Errorf("after the refresh %s = %v, want %v", name, id[name], old[name])
			}
		}
	}},
	{"oidcc-ensure-request-with-valid-pkce-succeeds", func(t *testing.T, c *conformant) {
		verifier, challenge := pkce()
		code := c.e.code(c.cookie, "code_challenge", challenge, "code_challenge_method", "S256")
		if a, _ := c.e.tokens(redemption(code, "code_verifier", verifier), "app", appSecret); a.status != 200 {
			t.Errorf("with PKCE = %d %s", a.status, a.body)
		}
	}},

	// Config OP
	{"oidcc-discovery-endpoint-verification", func(t *testing.T, c *conformant) {
		for _, path := range []string{PathConfiguration, PathMetadata} {
			m := object(t, c.e.call("GET", path, ""))
			if m["issuer"] != c.e.url {
				t.Errorf("%s: issuer = %v", path, m["issuer"])
			}
			for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
				if !strings.HasPrefix(m[name].(string), c.e.url+"/oidc/") {
					t.Errorf("%s: %s = %v", path, name, m[name])
				}
			}
		}
		for name, want := range map[string]string{"response_types_supported": "code", "subject_types_supported": "public", "id_token_signing_alg_values_supported": "RS256", "scopes_supported": "openid"} {
			if !slices.Contains(c.metadata(name), any(want)) {
				t.Errorf("%s = %v", name, c.metadata(name))
			}
		}
		set := object(t, c.e.call("GET", PathJWKS, ""))
		for _, k := range set["keys"].([]any) {
			k := k.(map[string]any)
			if k["d"] != nil || k["kid"] == "" || k["use"] != "sig" || k["alg"] == nil {
				t.Errorf("a key: %v", k)
			}
		}
	}},

	// RP-Initiated Logout OP
	{"oidcc-rp-initiated-logout-discovery-endpoint-verification", func(t *testing.T, c *conformant) {
		if m := object(t, c.e.call("GET", PathConfiguration, "")); m["end_session_endpoint"] != c.e.url+PathEndSession {
			t.Errorf("end_session_endpoint = %v", m["end_session_endpoint"])
		}
	}},
	{"oidcc-rp-initiated-logout", func(t *testing.T, c *conformant) {
		c.logout("https://app.test/bye?state=S", "id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-no-state", func(t *testing.T, c *conformant) {
		c.logout("https://app.test/bye", "id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/bye")
	}},
	{"oidcc-rp-initiated-logout-bad-id-token-hint", func(t *testing.T, c *conformant) {
		c.logoutAsks("id_token_hint", "bad", "post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-modified-id-token-hint", func(t *testing.T, c *conformant) {
		parts := strings.Split(c.idToken(), ".")
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
		c.logoutAsks("id_token_hint", none, "post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-no-id-token-hint", func(t *testing.T, c *conformant) {
		c.logoutAsks("post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", func(t *testing.T, c *conformant) {
		c.logoutFails("id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/byee", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", func(t *testing.T, c *conformant) {
		c.logoutFails("id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/bye?foo=bar", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-no-params", func(t *testing.T, c *conformant) { c.logoutAsks() }},
	{"oidcc-rp-initiated-logout-no-post-logout-redirect-uri", func(t *testing.T, c *conformant) {
		c.logout("", "id_token_hint", c.idToken(), "state", "S")
	}},
	{"oidcc-rp-initiated-logout-only-state", func(t *testing.T, c *conformant) { c.logoutAsks("state", "S") }},

	// Back-Channel OP
	{"oidcc-backchannel-logout-discovery-endpoint-verification", func(t *testing.T, c *conformant) {
		m := object(t, c.e.call("GET", PathConfiguration, ""))
		if m["backchannel_logout_supported"] != true || m["backchannel_logout_session_supported"] != true {
			t.Errorf("metadata: %v", m)
		}
	}},
	{"oidcc-backchannel-rp-initiated-logout", func(t *testing.T, c *conformant) {
		hint := c.idToken()
		id := claimsOf(t, hint, keys.TypeID)
		c.logout("https://app.test/bye?state=S", "id_token_hint", hint, "post_logout_redirect_uri", "https://app.test/bye", "state", "S")
		if got := c.e.settle(); !slices.Equal(got, []string{"https://app.test/logout"}) {
			t.Fatalf("told %v", got)
		}
		_, token, _ := strings.Cut(c.e.delivered[0], " ")
		claims := claimsOf(t, token, keys.TypeLogout)
		if claims["sid"] != id["sid"] || claims["sub"] != id["sub"] || claims["aud"] != "app" || claims["iss"] != c.e.url || claims["iat"] == nil || claims["jti"] == nil || claims["nonce"] != nil {
			t.Errorf("the logout token: %v", claims)
		}
	}},
}

func TestConformanceModules(t *testing.T) {
	if len(modules) != 52 {
		t.Fatalf("%d modules, want 52", len(modules))
	}
	for _, m := range modules {
		t.Run(m.name, func(t *testing.T) {
			e := newEnv(t)
			m.test(t, &conformant{t: t, e: e, cookie: e.login(zhangsan)})
		})
	}
}

func unsigned(claims map[string]any) string {
	body, _ := json.Marshal(claims)
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + "."
}

// conformant does what the modules' client does.
type conformant struct {
	t      *testing.T
	e      *env
	cookie string
}

func (c *conformant) metadata(name string) []any {
	list, _ := object(c.t, c.e.call("GET", PathConfiguration, ""))[name].([]any)
	return list
}

func (c *conformant) signIn(change ...string) (id, userinfo map[string]any) {
	c.t.Helper()
	a, v := c.e.tokens(redemption(c.e.code(c.cookie, change...)), "app", appSecret)
	if a.status != 200 {
		c.t.Fatalf("token = %v", v)
	}
	return claimsOf(c.t, v["id_token"].(string), keys.TypeID), object(c.t, c.e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string)))
}

func (c *conformant) succeeds(change ...string) map[string]any {
	c.t.Helper()
	id, u := c.signIn(change...)
	if id["sub"] == nil || id["sub"] != u["sub"] {
		c.t.Errorf("sub = %v, in userinfo %v", id["sub"], u["sub"])
	}
	return id
}

func (c *conformant) fails(want string, change ...string) {
	c.t.Helper()
	a := c.e.browser("GET", PathAuthorize+"?"+ask(change...), c.cookie, "")
	q := a.location(c.t).Query()
	if !strings.HasPrefix(a.header.Get("Location"), callback+"?") || q.Get("error") != want || q.Get("state") != "S&t=1 ä" || q.Get("code") != "" || q.Get("iss") != c.e.url {
		c.t.Errorf("authorize = %d %s, want %s", a.status, a.header.Get("Location"), want)
	}
}

func (c *conformant) scope(scope string, want ...string) {
	c.t.Helper()
	id, u := c.signIn("scope", scope)
	for _, claims := range []map[string]any{id, u} {
		for _, name := range personal {
			if _, there := claims[name]; there != slices.Contains(want, name) && name != "username" {
				c.t.Errorf("scope %q: claim %s is there: %v", scope, name, there)
			}
		}
	}
}

func (c *conformant) userinfo(method, body, where string) {
	c.t.Helper()
	_, v := c.e.tokens(redemption(c.e.code(c.cookie)), "app", appSecret)
	token := v["access_token"].(string)
	var headers []string
	if where == "header" {
		headers = []string{"Authorization", "Bearer " + token}
	} else {
		body += url.QueryEscape(token)
	}
	a := c.e.call(method, PathUserinfo, body, headers...)
	if u := object(c.t, a); a.status != 200 || u["sub"] == nil || a.header.Get("Content-Type") != "application/json" {
		c.t.Errorf("userinfo = %d %v", a.status, u)
	}
}

// again signs in twice; the second time the person has to be asked, and auth_time
// moves.
func (c *conformant) again(change ...string) {
	c.t.Helper()
	first := c.succeeds()
	c.e.offset += 2 * time.Second
	a := c.e.browser("GET", PathAuthorize+"?"+ask(change...), c.cookie, "")
	if len(c.e.signIns) != 1 {
		c.t.Fatalf("nobody was asked: %d %s", a.status, a.header.Get("Location"))
	}
	cookie := c.e.login(zhangsan)
	a = c.e.browser("GET", c.e.signIns[0], cookie, "")
	_, v := c.e.tokens(redemption(a.location(c.t).Query().Get("code")), "app", appSecret)
	second := claimsOf(c.t, v["id_token"].(string), keys.TypeID)
	if second["auth_time"].(float64) <= first["auth_time"].(float64) || second["sub"] != first["sub"] {
		c.t.Errorf("the second sign-in: %v, after %v", second, first)
	}
}

func (c *conformant) reuse(after time.Duration) {
	c.t.Helper()
	code := c.e.code(c.cookie)
	_, first := c.e.tokens(redemption(code), "app", appSecret)
	c.e.offset = after
	if a, v := c.e.tokens(redemption(code), "app", appSecret); a.status != 400 || v["error"] != "invalid_grant" {
		c.t.Errorf("second use = %v", v)
	}
	if a := c.e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+first["access_token"].(string)); a.status != 401 {
		c.t.Errorf("the first access token afterwards = %d", a.status)
	}
}

func (c *conformant) idToken() string {
	_, v := c.e.tokens(redemption(c.e.code(c.cookie)), "app", appSecret)
	return v["id_token"].(string)
}

func (c *conformant) endSession(params []string) answer {
	v := url.Values{}
	for i := 0; i < len(params); i += 2 {
		v.Set(params[i], params[i+1])
	}
	return c.e.browser("GET", PathEndSession+"?"+v.Encode(), c.cookie, "")
}

func (c *conformant) signedOut() bool {
	q := c.e.browser("GET", PathAuthorize+"?"+ask("prompt", "none"), c.cookie, "").location(c.t).Query()
	return q.Get("error") == "login_required"
}

// logout wants the browser signed out at once, and back at the address, or, with
// "", on our page.
func (c *conformant) logout(back string, params ...string) {
	c.t.Helper()
	a := c.endSession(params)
	if a.header.Get("Location") != back || back == "" && a.status != http.StatusOK || !c.signedOut() {
		c.t.Errorf("end_session = %d %s, signed out: %v", a.status, a.header.Get("Location"), c.signedOut())
	}
}

// logoutAsks wants a page that asks, and the person signed out by its form alone.
func (c *conformant) logoutAsks(params ...string) {
	c.t.Helper()
	a := c.endSession(params)
	form := fields(a.body)
	if a.status != http.StatusOK || a.header.Get("Location") != "" || form.Get(logoutField) == "" || c.signedOut() {
		c.t.Fatalf("end_session = %d %s, signed out: %v", a.status, a.header.Get("Location"), c.signedOut())
	}
	form.Set(decision, allow)
	if a := c.e.browser("POST", PathEndSession, c.cookie, form.Encode(), "Sec-Fetch-Site", "cross-site"); a.status != 403 || c.signedOut() {
		c.t.Errorf("another site's form = %d", a.status)
	}
	if a := c.e.browser("POST", PathEndSession, c.cookie, form.Encode(), "Sec-Fetch-Site", "same-origin"); a.status != 200 || !c.signedOut() {
		c.t.Errorf("the form = %d %s, signed out: %v", a.status, a.header.Get("Location"), c.signedOut())
	}
}

func (c *conformant) logoutFails(params ...string) {
	c.t.Helper()
	if a := c.endSession(params); a.status != 400 || a.header.Get("Location") != "" || c.signedOut() {
		c.t.Errorf("end_session = %d %s", a.status, a.header.Get("Location"))
	}
}
