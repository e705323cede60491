package oidc

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/oidc/keys"
)

// The modules of the OpenID Foundation's certification plans for Basic OP, Config OP, RP-Initiated
// Logout OP and Back-Channel OP, rewritten under their names. The suite itself needs a browser, a
// public name and a certificate.
//
// One module of the 52 does not apply: see "oidcc-idtoken-unsigned".
var modules = []struct {
	name string
	test func(t *testing.T, c *conformant)
}{
	// Basic OP
	{"oidcc-server", func(t *testing.T, c *conformant) { c.succeeds() }},
	{
		"oidcc-response-type-missing",
		func(t *testing.T, c *conformant) { c.fails("invalid_request", "response_type", "-") },
	},
	{
		"oidcc-idtoken-signature",
		func(t *testing.T, c *conformant) { c.succeeds() },
	}, // claimsOf verifies with the published keys, by kid
	{"oidcc-idtoken-unsigned", func(t *testing.T, c *conformant) {
		// The module registers a client for `alg: none` and skips itself if discovery does not
		// offer that.
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
	{
		"oidcc-ensure-other-scope-order-succeeds",
		func(t *testing.T, c *conformant) { c.scope("email openid", "email", "email_verified") },
	},
	{"oidcc-display-page", func(t *testing.T, c *conformant) { c.succeeds("display", "page") }},
	{"oidcc-display-popup", func(t *testing.T, c *conformant) { c.succeeds("display", "popup") }},
	{"oidcc-prompt-login", func(t *testing.T, c *conformant) { c.again("prompt", "login") }},
	{
		"oidcc-prompt-none-not-logged-in",
		func(t *testing.T, c *conformant) { c.cookie = ""; c.fails("login_required", "prompt", "none") },
	},
	{"oidcc-prompt-none-logged-in", func(t *testing.T, c *conformant) {
		first := c.succeeds()
		if second := c.succeeds("prompt", "none"); second["auth_time"] != first["auth_time"] ||
			second["sub"] != first["sub"] {
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
	{
		"oidcc-ensure-request-with-unknown-parameter-succeeds",
		func(t *testing.T, c *conformant) { c.succeeds("extra", "foobar") },
	},
	{"oidcc-id-token-hint", func(t *testing.T, c *conformant) {
		c.succeeds("prompt", "none", "id_token_hint", c.idToken())
	}},
	{"oidcc-login-hint", func(t *testing.T, c *conformant) { c.succeeds("login_hint", "zhangsan@corp.test") }},
	{"oidcc-ui-locales", func(t *testing.T, c *conformant) { c.succeeds("ui_locales", "se en") }},
	{"oidcc-claims-locales", func(t *testing.T, c *conformant) { c.succeeds("claims_locales", "se") }},
	{
		"oidcc-ensure-request-with-acr-values-succeeds",
		func(t *testing.T, c *conformant) { c.succeeds("acr_values", "1 2") },
	},
	{"oidcc-codereuse", func(t *testing.T, c *conformant) { c.reuse(0) }},
	{"oidcc-codereuse-30seconds", func(t *testing.T, c *conformant) { c.reuse(30 * time.Second) }},
	{"oidcc-ensure-registered-redirect-uri", func(t *testing.T, c *conformant) {
		if a := c.e.browser("GET", PathAuthorize+"?"+authorizeURL("redirect_uri", callback+"/more"), c.cookie, ""); a.status != 400 ||
			a.header.Get("Location") != "" {
			t.Errorf("an unregistered redirect_uri = %d %s", a.status, a.header.Get("Location"))
		}
	}},
	{"oidcc-ensure-post-request-succeeds", func(t *testing.T, c *conformant) {
		a := c.e.browser("POST", PathAuthorize, c.cookie, authorizeURL())
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
		for name, want := range map[string]string{"response_types_supported": "code", "subject_types_supported": "public",
			"id_token_signing_alg_values_supported": "RS256", "scopes_supported": "openid"} {
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
		c.logout(
			"https://app.test/bye?state=S",
			"id_token_hint",
			c.idToken(),
			"post_logout_redirect_uri",
			"https://app.test/bye",
			"state",
			"S",
		)
	}},
	{"oidcc-rp-initiated-logout-no-state", func(t *testing.T, c *conformant) {
		c.logout("https://app.test/bye", "id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/bye")
	}},
	{"oidcc-rp-initiated-logout-bad-id-token-hint", func(t *testing.T, c *conformant) {
		c.logoutConfirms("id_token_hint", "bad", "post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-modified-id-token-hint", func(t *testing.T, c *conformant) {
		parts := strings.Split(c.idToken(), ".")
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
		c.logoutConfirms("id_token_hint", none, "post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-no-id-token-hint", func(t *testing.T, c *conformant) {
		c.logoutConfirms("post_logout_redirect_uri", "https://app.test/bye", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", func(t *testing.T, c *conformant) {
		c.logoutFails("id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/byee", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", func(t *testing.T, c *conformant) {
		c.logoutFails("id_token_hint", c.idToken(), "post_logout_redirect_uri", "https://app.test/bye?foo=bar", "state", "S")
	}},
	{"oidcc-rp-initiated-logout-no-params", func(t *testing.T, c *conformant) { c.logoutConfirms() }},
	{"oidcc-rp-initiated-logout-no-post-logout-redirect-uri", func(t *testing.T, c *conformant) {
		c.logout("", "id_token_hint", c.idToken(), "state", "S")
	}},
	{"oidcc-rp-initiated-logout-only-state", func(t *testing.T, c *conformant) { c.logoutConfirms("state", "S") }},

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
		c.logout(
			"https://app.test/bye?state=S",
			"id_token_hint",
			hint,
			"post_logout_redirect_uri",
			"https://app.test/bye",
			"state",
			"S",
		)
		if got := c.e.settle(); !slices.Equal(got, []string{"https://app.test/logout"}) {
			t.Fatalf("notified %v", got)
		}
		_, token, _ := strings.Cut(c.e.delivered[0], " ")
		claims := claimsOf(t, token, keys.TypeLogout)
		if claims["sid"] != id["sid"] || claims["sub"] != id["sub"] || claims["aud"] != "app" || claims["iss"] != c.e.url ||
			claims["iat"] == nil || claims["jti"] == nil || claims["nonce"] != nil {
			t.Errorf("the logout token: %v", claims)
		}
	}},
}
