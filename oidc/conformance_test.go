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
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(body) + "."
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
	info := c.e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+v["access_token"].(string))
	return claimsOf(c.t, v["id_token"].(string), keys.TypeID), object(c.t, info)
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
	a := c.e.browser("GET", PathAuthorize+"?"+authorizeURL(change...), c.cookie, "")
	q := a.location(c.t).Query()
	if !strings.HasPrefix(a.header.Get("Location"), callback+"?") || q.Get("error") != want ||
		q.Get("state") != "S&t=1 ä" || q.Get("code") != "" || q.Get("iss") != c.e.url {
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

// again signs in twice; the second time the person has to sign in again, and auth_time changes.
func (c *conformant) again(change ...string) {
	c.t.Helper()
	first := c.succeeds()
	c.e.offset += 2 * time.Second
	a := c.e.browser("GET", PathAuthorize+"?"+authorizeURL(change...), c.cookie, "")
	if len(c.e.signIns) != 1 {
		c.t.Fatalf("no sign-in was required: %d %s", a.status, a.header.Get("Location"))
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
	q := c.e.browser("GET", PathAuthorize+"?"+authorizeURL("prompt", "none"), c.cookie, "").location(c.t).Query()
	return q.Get("error") == "login_required"
}

// logout requires that the browser is signed out at once, and redirected to back, or, if that is
// "", shown our page.
func (c *conformant) logout(back string, params ...string) {
	c.t.Helper()
	a := c.endSession(params)
	if a.header.Get("Location") != back || back == "" && a.status != http.StatusOK || !c.signedOut() {
		c.t.Errorf("end_session = %d %s, signed out: %v", a.status, a.header.Get("Location"), c.signedOut())
	}
}

// logoutConfirms requires a confirmation page, and a sign-out only by its form.
func (c *conformant) logoutConfirms(params ...string) {
	c.t.Helper()
	a := c.endSession(params)
	form := fields(a.body)
	if a.status != http.StatusOK || a.header.Get("Location") != "" || form.Get(logoutField) == "" || c.signedOut() {
		c.t.Fatalf("end_session = %d %s, signed out: %v", a.status, a.header.Get("Location"), c.signedOut())
	}
	form.Set(decision, allow)
	if a := c.e.browser("POST", PathEndSession, c.cookie, form.Encode(), "Sec-Fetch-Site",
		"cross-site"); a.status != 403 || c.signedOut() {
		c.t.Errorf("another site's form = %d", a.status)
	}
	if a := c.e.browser("POST", PathEndSession, c.cookie, form.Encode(), "Sec-Fetch-Site",
		"same-origin"); a.status != 200 || !c.signedOut() {
		c.t.Errorf("the form = %d %s, signed out: %v", a.status, a.header.Get("Location"), c.signedOut())
	}
}

func (c *conformant) logoutFails(params ...string) {
	c.t.Helper()
	if a := c.endSession(params); a.status != 400 || a.header.Get("Location") != "" || c.signedOut() {
		c.t.Errorf("end_session = %d %s", a.status, a.header.Get("Location"))
	}
}
