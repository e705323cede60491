package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// TestAssertion checks that applications and gateways receive a token for their route
// only, and that a client's copy of the header is never forwarded, whether signing is on
// or off.
func TestAssertion(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.Assertion.Enabled = true })
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	forged := []string{"X-Dinggate-Assertion: forged", "x_dinggate_assertion: forged", "X-DINGGATE.ASSERTION: forged"}
	tokens := map[string]string{}
	for path, audience := range map[string]string{"/x": "/", "/y": "/", "/admin/x": "/admin/",
		"/public/x": "/public/"} {
		v.Get(h.URL+path, forged...)
		got := h.Upstream.Last(t).Header["X-Dinggate-Assertion"]
		if len(got) != 1 {
			t.Fatalf("%s: the application got %q", path, got)
		}
		claims := servertest.VerifyAssertion(t, h, got[0], h.URL+audience)
		if claims["sub"] != "zhangsan" || claims["email"] != "zhangsan@yunfan.example" || claims["name"] != "张三" {
			t.Errorf("%s: the token says %v", path, claims)
		}
		tokens[path] = got[0]
		for name, values := range h.Upstream.Last(t).Header {
			if slices.Contains(values, "forged") {
				t.Errorf("%s: the application got %s: %q", path, name, values)
			}
		}
	}
	if tokens["/x"] != tokens["/y"] || tokens["/x"] == tokens["/admin/x"] {
		t.Errorf("one route has two tokens, or two routes have one")
	}
	h.NewClient().Get(h.URL+"/public/x", forged...)
	if got := h.Upstream.Last(t).Header["X-Dinggate-Assertion"]; got != nil {
		t.Errorf("without a session on a public page: the application got %q", got)
	}
	original := servertest.OriginalRequest(h.URL, "/admin/x")
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/admin/x"} {
		a := v.Get(h.URL+path, append(original, forged...)...)
		if got := a.Header["X-Dinggate-Assertion"]; a.StatusCode != 200 || len(got) != 1 ||
			got[0] != tokens["/admin/x"] {
			t.Errorf("%s = %d with %q, want the route's token", path, a.StatusCode, got)
		}
	}
	public := append(servertest.OriginalRequest(h.URL, "/public/x"), forged...)
	if a := h.NewClient().Get(h.URL+"/oauth2/auth", public...); a.StatusCode != 200 ||
		!slices.Equal(a.Header["X-Dinggate-Assertion"], []string{""}) {
		t.Errorf("an authorization subrequest without a session = %d with %q, want it empty", a.StatusCode,
			a.Header["X-Dinggate-Assertion"])
	}
	if strings.Contains(h.Log.String(), tokens["/x"]) {
		t.Errorf("the log holds a token")
	}

	// If a gateway does not report the page and there is one route, the token is for that
	// route.
	one := servertest.New(t, func(c *config.Config) { c.Assertion.Enabled, c.Routes = true, nil })
	v = one.NewClient()
	v.SignIn(one.URL+"/oauth2/start", "zhangsan")
	if a := v.Get(one.URL + "/oauth2/auth"); a.StatusCode != 200 ||
		servertest.VerifyAssertion(t, one, a.Header.Get("X-Dinggate-Assertion"), one.URL+"/")["sub"] != "zhangsan" {
		t.Errorf("one route, no page reported = %d with %q", a.StatusCode, a.Header.Get("X-Dinggate-Assertion"))
	}

	// A route of another host has a token for that host.
	hosts := servertest.New(t, func(c *config.Config) {
		r := c.Routes[len(c.Routes)-1]
		r.Host, r.Path = "Wiki.test", "/"
		c.Assertion.Enabled, c.Routes = true, append([]config.Route{r}, c.Routes...)
	})
	v = hosts.NewClient()
	signedIn := v.SignIn(hosts.URL+"/oauth2/start", "zhangsan")
	s, err := hosts.Gateway.Sessions.Load(t.Context(), []string{servertest.SessionOf(signedIn)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	there, err := hosts.Gateway.Sessions.At("wiki.test").Of(s) // as after a transfer of the session
	if err != nil {
		t.Fatal(err)
	}
	a := hosts.NewClient().Get(hosts.URL+"/oauth2/forward-auth", "X-Forwarded-Host: wiki.test", "X-Forwarded-Proto: http",
		"X-Forwarded-Uri: /x", "X-Forwarded-Method: GET", "Cookie: "+there.Name+"="+there.Value)
	if a.StatusCode != 200 ||
		servertest.VerifyAssertion(t, hosts, a.Header.Get("X-Dinggate-Assertion"), "http://wiki.test/")["sub"] != "zhangsan" {
		t.Errorf("a route of another host = %d with %q", a.StatusCode, a.Header.Get("X-Dinggate-Assertion"))
	}

	off := servertest.New(t, nil)
	v = off.NewClient()
	v.SignIn(off.URL+"/", "zhangsan")
	v.Get(off.URL+"/x", forged...)
	for name, values := range off.Upstream.Last(t).Header {
		if slices.Contains(values, "forged") {
			t.Errorf("off: the application got %s: %q", name, values)
		}
	}
	if a := v.Get(off.URL+"/oauth2/auth", "X-Original-URI: /x"); len(a.Header["X-Dinggate-Assertion"]) > 0 {
		t.Errorf("off: a gateway got %q", a.Header["X-Dinggate-Assertion"])
	}
	if a := v.Get(off.URL + "/oauth2/jwks.json"); a.StatusCode != 404 {
		t.Errorf("off: jwks.json = %d, want 404", a.StatusCode)
	}
}

// TestAssertionKeysRotate checks that keys derived from cookie.secrets are the same on
// every replica and after a restart, and that a token signed with the old secret verifies
// as long as the list contains that secret.
func TestAssertionKeysRotate(t *testing.T) {
	old, fresh := conf.NewSecret(config.NewSecret()), conf.NewSecret(config.NewSecret())
	run := func(secrets ...conf.Secret) (h *servertest.Env, token string) {
		h = servertest.New(t, func(c *config.Config) {
			c.Assertion.Enabled, c.Assertion.Issuer, c.Cookie.Secrets = true, "https://issuer.test", secrets
		})
		v := h.NewClient()
		v.SignIn(h.URL+"/", "zhangsan")
		v.Get(h.URL + "/x")
		return h, h.Upstream.Last(t).Header.Get("X-Dinggate-Assertion")
	}
	verifies := func(h *servertest.Env, token string) bool {
		var keys jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(h.NewClient().Get(h.URL+"/oauth2/jwks.json").Text), &keys); err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Claims(keys, &map[string]any{}) == nil
	}
	before, signedOld := run(old)
	during, signedNew := run(fresh, old)
	after, _ := run(fresh)
	for what, got := range map[string]struct{ got, want bool }{
		"the old token, before":    {verifies(before, signedOld), true},
		"the old token, with both": {verifies(during, signedOld), true},
		"the old token, after":     {verifies(after, signedOld), false},
		"the new token, with both": {verifies(during, signedNew), true},
		"the new token, after":     {verifies(after, signedNew), true},
		"the new token, before":    {verifies(before, signedNew), false},
	} {
		if got.got != got.want {
			t.Errorf("%s verifies: %v, want %v", what, got.got, got.want)
		}
	}
}
