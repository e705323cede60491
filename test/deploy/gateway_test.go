package deploy_test

import (
	"slices"
	"strings"
	"testing"
)

// forgedIdentity holds the claims that a client may make about itself, in several spellings.
var forgedIdentity = []string{
	"X-Auth-Request-User: boss", "x-auth-request-user: boss", "X_Auth_Request_User: boss",
	"X-Auth_Request-User: boss", "X-Auth.Request.User: boss",
	"X-Auth-Request-Email: boss@yunfan.example", "X_AUTH_REQUEST_EMAIL: boss@yunfan.example",
	"X-Auth-Request-Groups: admin", "X-Auth-Request-Groups: root",
	"X-Auth-Request-Preferred-Username: boss", "X-Auth-Request-Access-Token: boss", "X-Forwarded-Access-Token: boss",
	"X-Forwarded-User: boss", "x_forwarded_user: boss", "X-Forwarded-Email: boss",
	"X-Forwarded-Preferred-Username: boss", "X-Forwarded-Groups: admin", "X_Forwarded_Groups: admin",
	"Remote-User: boss", "REMOTE_USER: boss", "Remote-Groups: admin",
	"X-Forwarded-For: 192.0.2.66", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher",
}

// forgedOriginal holds a client's descriptions of the original request. All of them describe a public
// page.
var forgedOriginal = []string{
	"X-Original-URL: /public/x", "X-Original-URI: /public/x", "X-Forwarded-Uri: /public/x", "X-Original-Method: GET",
	"X-Forwarded-Method: GET",
	"X-Rewrite-URL: /public/x", "X_Forwarded_Uri: /public/x", "X_Original_URI: /public/x",
	"X-Forwarded-Prefix: /public", "X-HTTP-Method-Override: GET",
}

const acceptHTML = "Accept: text/html"

// gatewayPeople are the identity headers that an application receives for three people and for an
// anonymous client.
var gatewayPeople = map[string]map[string]string{
	"": {"user": "", "email": "", "preferredusername": "", "groups": ""},
	"zhangsan": {"user": "zhangsan", "email": "zhangsan@yunfan.example", "preferredusername": "%E5%BC%A0%E4%B8%89",
		"groups": "%E4%B8%BB%E7%AE%A1"},
	"zhaoliu": {"user": "zhaoliu", "email": "zhaoliu@yunfan.example", "preferredusername": "%E8%B5%B5%E5%85%AD",
		"groups": "%E8%B4%A2%E5%8A%A1"},
	"wangwu": {"user": "wangwu", "email": "", "preferredusername": "%E7%8E%8B%E4%BA%94", "groups": ""},
}

// TestGateways runs each real gateway with its example, the real dinggate and an application, and
// makes the same checks with all of them (threats F12, B3, H, P16). zhangsan and wangwu may open
// /admin/, zhaoliu may not.
func TestGateways(t *testing.T) {
	for _, g := range realGateways {
		t.Run(g.name, func(t *testing.T) {
			h := newGatewayEnv(t, g)
			people := map[string]*gatewayVisitor{"": h.visitor()}
			for _, person := range []string{"zhangsan", "zhaoliu", "wangwu"} {
				people[person] = h.member(person)
			}
			t.Run("requests", func(t *testing.T) { gatewayRequests(t, h, people, g) })
			t.Run("claims", func(t *testing.T) { gatewayClaims(t, h, people) })
			t.Run("port", func(t *testing.T) { gatewayPort(t, h, people["zhangsan"]) })
			t.Run("deep link", func(t *testing.T) { gatewayDeepLink(t, h) })
			if !g.keepsCookie {
				t.Run("cookies", func(t *testing.T) { gatewayCookies(t, h, people["zhangsan"]) })
			}
			t.Run("body", func(t *testing.T) { gatewayBodies(t, h, people) })
			t.Run("websocket", func(t *testing.T) { gatewaySockets(t, h, people) })
			t.Run("upgrades", func(t *testing.T) { gatewayUpgrades(t, h, people) })
			t.Run("foreign host", func(t *testing.T) { gatewayForeignHost(t, h, people["zhangsan"], g.foreign) })
			t.Run("assertion", func(t *testing.T) { gatewayAssertion(t, h, people["zhangsan"]) })
			t.Run("sign-out", func(t *testing.T) { gatewaySignOut(t, h, people["wangwu"]) })
			t.Run("renewal", func(t *testing.T) { gatewayRenewal(t, h, people["zhangsan"], g.renews) })
			t.Run("DingTalk down", func(t *testing.T) { gatewayDingTalkDown(t, h, people["zhangsan"]) })
			t.Run("dinggate down", func(t *testing.T) { gatewayDinggateDown(t, h, people["zhangsan"]) })
		})
	}
}

func gatewayRequests(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor, g realGateway) {
	const signIn = "/oauth2/start?rd="
	for _, c := range []struct {
		name, who, method, path string
		headers                 []string
		status                  int    // 0: any refusal
		want                    string // in Location or body; for 200 the application's mark is expected
	}{
		{"page without session", "", "GET", "/", []string{acceptHTML}, 302, signIn + "%2F"},
		{"page by fetch metadata", "", "GET", "/a", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"},
			302, signIn + "%2Fa"},
		{"HEAD without session", "", "HEAD", "/a", []string{acceptHTML}, 302, signIn + "%2Fa"},
		{"call without session", "", "GET", "/api?x=1&y=2", []string{"Accept: application/json"}, 401,
			`"login_url":"` + h.base + signIn + `%2Fapi%3Fx%3D1%26y%3D2"`},
		{"call by fetch metadata", "", "GET", "/api", []string{acceptHTML, "Sec-Fetch-Mode: cors"}, 401,
			`"error":"unauthenticated"`},
		{"call by X-Requested-With", "", "GET", "/api", []string{acceptHTML, "X-Requested-With: XMLHttpRequest"},
			401, `"error":"unauthenticated"`},
		{"POST without session", "", "POST", "/a", []string{acceptHTML}, 401, `"error":"unauthenticated"`},
		{"DELETE without session", "", "DELETE", "/a", nil, 401, `"error":"unauthenticated"`},
		{"preflight is not exempt", "", "OPTIONS", "/a",
			[]string{"Origin: https://evil.example", "Access-Control-Request-Method: GET"}, 401, ""},
		{"page with session", "zhangsan", "GET", "/a?x=1&y=%2F", []string{acceptHTML}, 200, ""},
		{"call with session", "zhaoliu", "GET", "/api", []string{"Accept: application/json"}, 200, ""},
		{"person without mail and roles", "wangwu", "GET", "/", []string{acceptHTML}, 200, ""},
		{"HEAD with session", "zhangsan", "HEAD", "/a", []string{acceptHTML}, 200, ""},
		{"PUT with session", "zhangsan", "PUT", "/a", nil, 200, ""},
		{"right", "zhangsan", "GET", "/admin/x", []string{acceptHTML}, 200, ""},
		{"no right, page", "zhaoliu", "GET", "/admin/x", []string{acceptHTML, "Accept-Language: en"}, 403,
			"<html lang=\"en\""},
		{"no right, call", "zhaoliu", "GET", "/admin/", []string{"Accept: application/json"}, 403,
			`"error":"not_allowed"`},
		{"no right, POST", "zhaoliu", "POST", "/admin/", []string{"Accept: application/json"}, 403,
			`"error":"not_allowed"`},
		{"public without session", "", "GET", "/public/x", []string{acceptHTML}, 200, ""},
		{"public with session", "zhangsan", "GET", "/public/x", []string{acceptHTML}, 200, ""},

		// Class H: a client claims an identity.
		{"forged without session", "", "GET", "/a", forgedIdentity, 401, ""},
		{"forged with session", "zhangsan", "GET", "/a", forgedIdentity, 200, ""},
		{"forged by a person without mail", "wangwu", "GET", "/a", forgedIdentity, 200, ""},
		{"forged on a public path", "", "GET", "/public/x", forgedIdentity, 200, ""},
		{"forged on a public path with session", "zhaoliu", "POST", "/public/x", forgedIdentity, 200, ""},
		{"forged without the right", "zhaoliu", "GET", "/admin/", forgedIdentity, 403, ""},
		{"named in Connection", "zhangsan", "GET", "/a",
			[]string{"Connection: close, X-Auth-Request-User, X-Auth-Request-Groups"}, 200, ""},
		{"named in Connection beside upgrade", "zhangsan", "GET", "/a",
			[]string{"Connection: upgrade, X-Auth-Request-User", "Connection: X-Auth-Request-Groups"}, 200, ""},
		{"named in Connection without session", "", "GET", "/a",
			[]string{"Connection: close, X-Forwarded-Uri, X-Original-URL, X-Forwarded-Method"}, 401, ""},

		// Class F: a client describes another request.
		{"forged original request without session", "", "GET", "/private", append([]string{acceptHTML}, forgedOriginal...), 302,
			signIn + "%2Fprivate"},
		{"forged original request by POST", "", "POST", "/private", forgedOriginal, 401, ""},
		{"forged original request without the right", "zhaoliu", "GET", "/admin/", forgedOriginal, 403, ""},
		{"forged original request changes no page", "zhangsan", "GET", "/a", forgedOriginal, 200, ""},

		// Class P: paths that two programs may parse differently.
		{"double slash", "", "GET", "//admin/", nil, 0, ""},
		{"double slash without the right", "zhaoliu", "GET", "//admin/", nil, 0, ""},
		{"encoded letter", "", "GET", "/%61dmin/", nil, 0, ""},
		{"encoded letter without the right", "zhaoliu", "GET", "/%61dmin/", nil, 403, ""},
		{"encoded letter with the right", "zhangsan", "GET", "/%61dmin/", nil, 200, ""},
		{"dot segments", "", "GET", "/public/../admin/", nil, 0, ""},
		{"dot segments without the right", "zhaoliu", "GET", "/public/../admin/", nil, 0, ""},
		{"encoded dot segments", "", "GET", "/public/%2e%2e/admin/", nil, 0, ""},
		{"encoded dot segments without the right", "zhaoliu", "GET", "/public/%2e%2e/admin/", nil, 0, ""},
		{"half encoded dot segments", "", "GET", "/public/.%2E/admin/", nil, 0, ""},
		{"parameter on dot segments", "", "GET", "/public/..;/admin", nil, 0, ""},
		{"parameter on dot segments without the right", "zhaoliu", "GET", "/public/..;/admin", nil, 0, ""},
		{"encoded slash", "", "GET", "/public/..%2fadmin/", nil, 0, ""},
		{"encoded slash without the right", "zhaoliu", "GET", "/public%2f..%2fadmin/", nil, 0, ""},
		{"encoded back slash", "", "GET", "/public/..%5cadmin/", nil, 0, ""},
		{"encoded twice", "zhaoliu", "GET", "/public/%252e%252e/admin/", nil, 0, ""},
		{"public text in the query", "", "GET", "/admin/?x=/public/", nil, 401, ""},
		{"public text behind an encoded mark", "zhaoliu", "GET", "/admin/%3f/public/", nil, 403, ""},
		{"another letter case of public", "", "GET", "/PUBLIC/x", nil, 403, ""},
		{"out of our own prefix", "", "GET", "/oauth2/../admin/", nil, 0, ""},
		{"out of our own prefix, encoded", "zhaoliu", "GET", "/oauth2/%2e%2e/admin/", nil, 0, ""},
		{"out of our own prefix by a parameter", "zhaoliu", "GET", "/oauth2/..;/admin/", nil, 0, ""},
		{"our own prefix, odd", "zhangsan", "GET", "/%6fauth2/auth", nil, 0, ""},
		{"our own prefix, doubled", "zhangsan", "GET", "//oauth2/auth", nil, 0, ""},
		{"our own prefix, bare", "zhangsan", "GET", "/oauth2", nil, 0, ""},
	} {
		if g.folds && strings.HasPrefix(c.name, "our own prefix, ") && c.path != "/oauth2" {
			continue // this gateway forwards it as /oauth2/auth, which returns the caller's identity
		}
		h.app.takeRequests()
		res := people[c.who].do(c.method, c.path, "", c.headers...)
		got := h.app.takeRequests()
		if c.status != 0 && res.StatusCode != c.status || c.status == 0 && res.StatusCode < 300 {
			t.Errorf("%s: %s %s = %d, want %d: %s", c.name, c.method, c.path, res.StatusCode, c.status, res.body)
		}
		if text := res.Header.Get("Location") + res.body; !strings.Contains(text, c.want) && c.method != "HEAD" {
			t.Errorf("%s: %s %s = %q, want %q in it", c.name, c.method, c.path, text, c.want)
		}
		if c.status != 200 {
			if len(got) > 0 || strings.Contains(res.body, "UPSTREAM-MARK") {
				t.Errorf("%s: %s %s reached the application: %v", c.name, c.method, c.path, got)
			}
			gatewayRefusal(t, c.name, res)
			continue
		}
		sent := c.path
		if g.cleans {
			_, sent, _ = cleanMerged(sent)
		}
		if len(got) != 1 || got[0].method != c.method || got[0].uri != sent {
			t.Errorf("%s: %s %s: the application got %v, want it once and as sent", c.name, c.method, c.path, got)
			continue
		}
		gatewayIdentity(t, h, c.name, got[0], gatewayPeople[c.who])
		if len(res.Header["Set-Cookie"]) != 1 || res.Header.Get("Set-Cookie") != "app=own; Path=/" {
			t.Errorf("%s: the browser got cookies %q, want the application's own", c.name, res.Header["Set-Cookie"])
		}
	}
}

// gatewayRefusal checks the headers of a refusal.
func gatewayRefusal(t *testing.T, name string, res gatewayResponse) {
	t.Helper()
	for header := range res.Header {
		if strings.HasPrefix(header, "X-Auth-Request-") {
			t.Errorf("%s: the refusal carries %s", name, header)
		}
	}
	kind := res.Header.Get("Content-Type")
	if strings.HasPrefix(res.body, "{") && !strings.HasPrefix(kind, "application/json") ||
		strings.Contains(res.body, "<html") && !strings.HasPrefix(kind, "text/html") {
		t.Errorf("%s: Content-Type = %q for %.40q", name, kind, res.body)
	}
	if res.StatusCode == 403 && strings.Contains(res.body, "dinggate") &&
		res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control = %q, want no-store", name, res.Header.Get("Cache-Control"))
	}
}

// gatewayIdentity checks that a request carries the identity that dinggate returned exactly once,
// and no other one. A header without a value may be omitted.
func gatewayIdentity(t *testing.T, h *gatewayEnv, name string, got receivedRequest, want map[string]string) {
	t.Helper()
	claims := got.claims()
	for header, value := range want {
		if have := claims[header]; len(have) != 1 && (len(have) > 0 || value != "") ||
			len(have) == 1 && have[0] != value {
			t.Errorf("%s: the application reads %s = %q, want %q once", name, header, have, value)
		}
		delete(claims, header)
	}
	for header, values := range claims {
		if slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
			t.Errorf("%s: the application reads the client's own %s = %q", name, header, values)
		}
	}
	if have := strings.Join(got.header["Cookie"], "; "); strings.Contains(have, "dinggate=") && !h.kind.keepsCookie {
		t.Errorf("%s: the application got our cookie", name)
	}
	if have := got.header["X-Forwarded-For"]; len(have) != 1 || have[0] != "127.0.0.1" {
		t.Errorf("%s: X-Forwarded-For = %q, want the browser's address alone", name, have)
	}
	for _, header := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if have := strings.Join(got.header[header], ","); strings.Contains(have, "evil") ||
			strings.Contains(have, "gopher") {
			t.Errorf("%s: %s = %q, the client's own value", name, header, have)
		}
	}
}
