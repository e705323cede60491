package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// proven verifies a token as an application does: keys from jwks.json, issuer,
// audience and time.
func proven(t *testing.T, h *testEnv, token, audience string) (claims map[string]any) {
	t.Helper()
	a := h.visitor().get(h.base + "/oauth2/jwks.json")
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(a.body), &keys); err != nil || a.StatusCode != 200 ||
		a.Header.Get("Content-Type") != "application/json" || strings.Contains(a.body, `"d":`) {
		t.Fatalf("jwks.json = %d %s", a.StatusCode, a.body)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Errorf("%q is no token: %v", token, err)
		return nil
	}
	var standard jwt.Claims
	if err := parsed.Claims(keys, &standard, &claims); err != nil {
		t.Errorf("the token does not verify: %v", err)
		return nil
	}
	if err := standard.ValidateWithLeeway(jwt.Expected{
		Issuer:      h.base,
		AnyAudience: jwt.Audience{audience},
		Time:        time.Now(),
	}, time.Second); err != nil {
		t.Errorf("the token is not for %s now: %v", audience, err)
	}
	return claims
}

// TestAssertion: applications and gateways get a token for their route alone;
// nobody's copy of it travels, whether it is on or off.
func TestAssertion(t *testing.T) {
	h := newTestEnv(t, func(c *config.Config) { c.Assertion.Enabled = true })
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	forged := []string{"X-Dinggate-Assertion: forged", "x_dinggate_assertion: forged", "X-DINGGATE.ASSERTION: forged"}
	tokens := map[string]string{}
	for path, audience := range map[string]string{"/x": "/", "/y": "/", "/admin/x": "/admin/",
		"/public/x": "/public/"} {
		v.get(h.base+path, forged...)
		got := h.app.last(t).Header["X-Dinggate-Assertion"]
		if len(got) != 1 {
			t.Fatalf("%s: the application got %q", path, got)
		}
		claims := proven(t, h, got[0], h.base+audience)
		if claims["sub"] != "zhangsan" || claims["email"] != "zhangsan@yunfan.example" || claims["name"] != "张三" {
			t.Errorf("%s: the token says %v", path, claims)
		}
		tokens[path] = got[0]
		for name, values := range h.app.last(t).Header {
			if slices.Contains(values, "forged") {
				t.Errorf("%s: the application got %s: %q", path, name, values)
			}
		}
	}
	if tokens["/x"] != tokens["/y"] || tokens["/x"] == tokens["/admin/x"] {
		t.Errorf("one route has two tokens, or two routes have one")
	}
	h.visitor().get(h.base+"/public/x", forged...)
	if got := h.app.last(t).Header["X-Dinggate-Assertion"]; got != nil {
		t.Errorf("nobody on a public page: the application got %q", got)
	}
	question := []string{"X-Original-URI: /admin/x", "X-Original-Method: GET", "X-Forwarded-Uri: /admin/x",
		"X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
		"X-Forwarded-Host: " + strings.TrimPrefix(h.base, "http://")}
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/admin/x"} {
		a := v.get(h.base+path, append(question, forged...)...)
		if got := a.Header["X-Dinggate-Assertion"]; a.StatusCode != 200 || len(got) != 1 ||
			got[0] != tokens["/admin/x"] {
			t.Errorf("%s = %d with %q, want the route's token", path, a.StatusCode, got)
		}
	}
	open := []string{"X-Original-URI: /public/x", "X-Original-Method: GET", "X-Forwarded-Uri: /public/x",
		"X-Forwarded-Method: GET", "X-Forwarded-Proto: http", question[5]}
	if a := h.visitor().get(h.base+"/oauth2/auth", append(open, forged...)...); a.StatusCode != 200 ||
		!slices.Equal(a.Header["X-Dinggate-Assertion"], []string{""}) {
		t.Errorf("a gateway's question about nobody = %d with %q, want it empty", a.StatusCode,
			a.Header["X-Dinggate-Assertion"])
	}
	if strings.Contains(h.log.String(), tokens["/x"]) {
		t.Errorf("the log holds a token")
	}

	// A gateway that does not tell the page, and only one route: it is that one's.
	one := newTestEnv(t, func(c *config.Config) { c.Assertion.Enabled, c.Routes = true, nil })
	v = one.visitor()
	v.signIn(one.base+"/oauth2/start", "zhangsan")
	if a := v.get(one.base + "/oauth2/auth"); a.StatusCode != 200 ||
		proven(t, one, a.Header.Get("X-Dinggate-Assertion"), one.base+"/")["sub"] != "zhangsan" {
		t.Errorf("one route, no page told = %d with %q", a.StatusCode, a.Header.Get("X-Dinggate-Assertion"))
	}

	// A route of another host is that host's.
	hosts := newTestEnv(t, func(c *config.Config) {
		r := c.Routes[len(c.Routes)-1]
		r.Host, r.Path = "Wiki.test", "/"
		c.Assertion.Enabled, c.Routes = true, append([]config.Route{r}, c.Routes...)
	})
	v = hosts.visitor()
	signedIn := v.signIn(hosts.base+"/oauth2/start", "zhangsan")
	s, err := hosts.gate.Sessions.Load(t.Context(), []string{sessionOf(signedIn)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	there, err := hosts.gate.Sessions.At("wiki.test").Of(s) // as a hand-over gives it
	if err != nil {
		t.Fatal(err)
	}
	a := hosts.visitor().get(hosts.base+"/oauth2/forward-auth", "X-Forwarded-Host: wiki.test", "X-Forwarded-Proto: http",
		"X-Forwarded-Uri: /x", "X-Forwarded-Method: GET", "Cookie: "+there.Name+"="+there.Value)
	if a.StatusCode != 200 ||
		proven(t, hosts, a.Header.Get("X-Dinggate-Assertion"), "http://wiki.test/")["sub"] != "zhangsan" {
		t.Errorf("a route of another host = %d with %q", a.StatusCode, a.Header.Get("X-Dinggate-Assertion"))
	}

	off := newTestEnv(t, nil)
	v = off.visitor()
	v.signIn(off.base+"/", "zhangsan")
	v.get(off.base+"/x", forged...)
	for name, values := range off.app.last(t).Header {
		if slices.Contains(values, "forged") {
			t.Errorf("off: the application got %s: %q", name, values)
		}
	}
	if a := v.get(off.base+"/oauth2/auth", "X-Original-URI: /x"); len(a.Header["X-Dinggate-Assertion"]) > 0 {
		t.Errorf("off: a gateway got %q", a.Header["X-Dinggate-Assertion"])
	}
	if a := v.get(off.base + "/oauth2/jwks.json"); a.StatusCode != 404 {
		t.Errorf("off: jwks.json = %d, want 404", a.StatusCode)
	}
}

// TestAssertionKeysRotate: keys made from cookie.secrets are the same on every
// replica and after a restart, and what the old secret signed verifies as long
// as that is in the list.
func TestAssertionKeysRotate(t *testing.T) {
	old, fresh := conf.NewSecret(newSecret()), conf.NewSecret(newSecret())
	run := func(secrets ...conf.Secret) (h *testEnv, token string) {
		h = newTestEnv(t, func(c *config.Config) {
			c.Assertion.Enabled, c.Assertion.Issuer, c.Cookie.Secrets = true, "https://issuer.test", secrets
		})
		v := h.visitor()
		v.signIn(h.base+"/", "zhangsan")
		v.get(h.base + "/x")
		return h, h.app.last(t).Header.Get("X-Dinggate-Assertion")
	}
	verifies := func(h *testEnv, token string) bool {
		var keys jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(h.visitor().get(h.base+"/oauth2/jwks.json").body), &keys); err != nil {
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
