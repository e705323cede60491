package deploy_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
)

// Everything that a client may claim about itself, in several spellings.
var gatewayForged = []string{
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

// Somebody else's words for the original request, all saying that it is public.
var gatewayDetour = []string{
	"X-Original-URL: /public/x", "X-Original-URI: /public/x", "X-Forwarded-Uri: /public/x", "X-Original-Method: GET",
	"X-Forwarded-Method: GET",
	"X-Rewrite-URL: /public/x", "X_Forwarded_Uri: /public/x", "X_Original_URI: /public/x",
	"X-Forwarded-Prefix: /public", "X-HTTP-Method-Override: GET",
}

const gatewayPage = "Accept: text/html"

// What an application is told about three people and about nobody.
var gatewayPeople = map[string]map[string]string{
	"": {"user": "", "email": "", "preferredusername": "", "groups": ""},
	"zhangsan": {"user": "zhangsan", "email": "zhangsan@yunfan.example", "preferredusername": "%E5%BC%A0%E4%B8%89",
		"groups": "%E4%B8%BB%E7%AE%A1"},
	"zhaoliu": {"user": "zhaoliu", "email": "zhaoliu@yunfan.example", "preferredusername": "%E8%B5%B5%E5%85%AD",
		"groups": "%E8%B4%A2%E5%8A%A1"},
	"wangwu": {"user": "wangwu", "email": "", "preferredusername": "%E7%8E%8B%E4%BA%94", "groups": ""},
}

// TestGateways runs each real gateway with its example, the real gate and an
// application, and asks the same of all of them (threats F12, B3, H, P16).
// zhangsan and wangwu may enter /admin/, zhaoliu may not.
func TestGateways(t *testing.T) {
	for _, g := range realGateways {
		t.Run(g.name, func(t *testing.T) {
			h := newGatewayHouse(t, g)
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
			t.Run("proof", func(t *testing.T) { gatewayProof(t, h, people["zhangsan"]) })
			t.Run("sign-out", func(t *testing.T) { gatewaySignOut(t, h, people["wangwu"]) })
			t.Run("renewal", func(t *testing.T) { gatewayRenewal(t, h, people["zhangsan"], g.renews) })
			t.Run("doubt", func(t *testing.T) { gatewayDoubt(t, h, people["zhangsan"]) })
			t.Run("gate gone", func(t *testing.T) { gatewayGone(t, h, people["zhangsan"]) })
		})
	}
}

func gatewayRequests(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor, g realGateway) {
	const signIn = "/oauth2/start?rd="
	for _, c := range []struct {
		name, who, method, path string
		headers                 []string
		status                  int    // 0: any refusal
		want                    string // in Location or body; for 200 the application's mark is wanted
	}{
		{"page without session", "", "GET", "/", []string{gatewayPage}, 302, signIn + "%2F"},
		{"page by fetch metadata", "", "GET", "/a", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"},
			302, signIn + "%2Fa"},
		{"HEAD without session", "", "HEAD", "/a", []string{gatewayPage}, 302, signIn + "%2Fa"},
		{"call without session", "", "GET", "/api?x=1&y=2", []string{"Accept: application/json"}, 401,
			`"login_url":"` + h.base + signIn + `%2Fapi%3Fx%3D1%26y%3D2"`},
		{"call by fetch metadata", "", "GET", "/api", []string{gatewayPage, "Sec-Fetch-Mode: cors"}, 401,
			`"error":"unauthenticated"`},
		{"call by X-Requested-With", "", "GET", "/api", []string{gatewayPage, "X-Requested-With: XMLHttpRequest"},
			401, `"error":"unauthenticated"`},
		{"POST without session", "", "POST", "/a", []string{gatewayPage}, 401, `"error":"unauthenticated"`},
		{"DELETE without session", "", "DELETE", "/a", nil, 401, `"error":"unauthenticated"`},
		{"preflight is no free pass", "", "OPTIONS", "/a",
			[]string{"Origin: https://evil.example", "Access-Control-Request-Method: GET"}, 401, ""},
		{"page with session", "zhangsan", "GET", "/a?x=1&y=%2F", []string{gatewayPage}, 200, ""},
		{"call with session", "zhaoliu", "GET", "/api", []string{"Accept: application/json"}, 200, ""},
		{"person without mail and roles", "wangwu", "GET", "/", []string{gatewayPage}, 200, ""},
		{"HEAD with session", "zhangsan", "HEAD", "/a", []string{gatewayPage}, 200, ""},
		{"PUT with session", "zhangsan", "PUT", "/a", nil, 200, ""},
		{"right", "zhangsan", "GET", "/admin/x", []string{gatewayPage}, 200, ""},
		{"no right, page", "zhaoliu", "GET", "/admin/x", []string{gatewayPage, "Accept-Language: en"}, 403,
			"<html lang=\"en\""},
		{"no right, call", "zhaoliu", "GET", "/admin/", []string{"Accept: application/json"}, 403,
			`"error":"not_allowed"`},
		{"no right, POST", "zhaoliu", "POST", "/admin/", []string{"Accept: application/json"}, 403,
			`"error":"not_allowed"`},
		{"public without session", "", "GET", "/public/x", []string{gatewayPage}, 200, ""},
		{"public with session", "zhangsan", "GET", "/public/x", []string{gatewayPage}, 200, ""},

		// class H: a client names itself
		{"forged without session", "", "GET", "/a", gatewayForged, 401, ""},
		{"forged with session", "zhangsan", "GET", "/a", gatewayForged, 200, ""},
		{"forged by somebody without mail", "wangwu", "GET", "/a", gatewayForged, 200, ""},
		{"forged on a public path", "", "GET", "/public/x", gatewayForged, 200, ""},
		{"forged on a public path with session", "zhaoliu", "POST", "/public/x", gatewayForged, 200, ""},
		{"forged without the right", "zhaoliu", "GET", "/admin/", gatewayForged, 403, ""},
		{"named in Connection", "zhangsan", "GET", "/a",
			[]string{"Connection: close, X-Auth-Request-User, X-Auth-Request-Groups"}, 200, ""},
		{"named in Connection beside upgrade", "zhangsan", "GET", "/a",
			[]string{"Connection: upgrade, X-Auth-Request-User", "Connection: X-Auth-Request-Groups"}, 200, ""},
		{"named in Connection without session", "", "GET", "/a",
			[]string{"Connection: close, X-Forwarded-Uri, X-Original-URL, X-Forwarded-Method"}, 401, ""},

		// class F: a client describes another request
		{"detour without session", "", "GET", "/private", append([]string{gatewayPage}, gatewayDetour...), 302,
			signIn + "%2Fprivate"},
		{"detour by POST", "", "POST", "/private", gatewayDetour, 401, ""},
		{"detour without the right", "zhaoliu", "GET", "/admin/", gatewayDetour, 403, ""},
		{"detour changes no page either", "zhangsan", "GET", "/a", gatewayDetour, 200, ""},

		// class P: paths that two programs may read differently
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
			continue // to this gateway it is /oauth2/auth itself, which tells people who they are
		}
		h.app.took()
		res := people[c.who].do(c.method, c.path, "", c.headers...)
		got := h.app.took()
		if c.status != 0 && res.StatusCode != c.status || c.status == 0 && res.StatusCode < 300 {
			t.Errorf("%s: %s %s = %d, want %d: %s", c.name, c.method, c.path, res.StatusCode, c.status, res.body)
		}
		if told := res.Header.Get("Location") + res.body; !strings.Contains(told, c.want) && c.method != "HEAD" {
			t.Errorf("%s: %s %s = %q, want %q in it", c.name, c.method, c.path, told, c.want)
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

// gatewayRefusal checks what a browser learns from a no.
func gatewayRefusal(t *testing.T, name string, res gatewayAnswer) {
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

// gatewayIdentity checks that a request says of the person what dinggate says,
// once, and nothing else. A header without a value may be left out.
func gatewayIdentity(t *testing.T, h *gatewayEnv, name string, got gatewayRequest, want map[string]string) {
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
			t.Errorf("%s: %s = %q, which the client made up", name, header, have)
		}
	}
}

// gatewayDeepLink signs in from a page deep inside and comes back to exactly it.
func gatewayDeepLink(t *testing.T, h *gatewayEnv) {
	for _, path := range []string{
		"/reports/%E5%BC%A0%E4%B8%89?x=1&y=2&name=%E5%BC%A0%E4%B8%89",
		"/a%2Fb/c?next=%2Fpublic%2F&u=https://example.com//x&e=%26%3D%25",
		"/a/b+c%20d?q=a+b%20c&q=2&&=&rd=//evil.example/",
	} {
		v := h.visitor()
		back := v.signIn(path, "zhangsan")
		if back != h.base+path {
			t.Errorf("signing in from %s leads to %s, want back to it", path, back)
		}
		h.app.took()
		res := v.open(back)
		if got := h.app.took(); res.StatusCode != 200 || len(got) != 1 || got[0].uri != path {
			t.Errorf("GET %s after the sign-in = %d, the application got %v, want it as sent", path, res.StatusCode,
				got)
		}
	}
}

// gatewayCookies: the application gets its own cookies whole and nothing of
// ours, wherever ours stands (threats B2, C13).
func gatewayCookies(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	ours := ""
	for pair := range strings.SplitSeq(v.cookies(), "; ") {
		if strings.HasPrefix(strings.TrimPrefix(pair, "Cookie: "), "dinggate=") {
			ours = strings.TrimPrefix(pair, "Cookie: ")
		}
	}
	if ours == "" {
		t.Fatalf("no session among the visitor's cookies")
	}
	for _, c := range []struct{ sent, want string }{
		{ours, ""},
		{"a=1; " + ours, "a=1"},
		{ours + "; a=1", "a=1"},
		{"a=1; " + ours + "; b=x=y", "a=1; b=x=y"},
		{"a-dinggate=1; " + ours + "; dinggatex=2", "a-dinggate=1; dinggatex=2"},
		{`a="q; r"; ` + ours, `a="q; r"`},
		{"a=1; " + ours + "; dinggate=planted", "a=1"},
		{"dinggate=planted; " + ours + "; a=1", "a=1"},
		{"__Host-dinggate=planted; a=1; " + ours, "a=1"},
	} {
		h.app.took()
		res := h.visitor().do("GET", "/a", "", "Cookie: "+c.sent)
		got := h.app.took()
		if res.StatusCode != 200 || len(got) != 1 {
			t.Errorf(
				"GET /a with the session among %d bytes of cookies = %d, the application got %d requests, want "+
					"200 and one", len(c.sent), res.StatusCode, len(got),
			)
		} else if have := strings.TrimRight(strings.Join(got[0].header["Cookie"], "; "), "; "); have != c.want {
			t.Errorf("the application got the cookies %q, want %q", have, c.want)
		}
	}
}

// gatewayBodies sends uploads smaller and larger than every gateway's buffers.
func gatewayBodies(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, c := range []struct {
		size    int
		who     string
		chunked bool
		status  int
	}{
		{300 << 10, "zhangsan", false, 200},
		{2 << 20, "zhangsan", false, 200},
		{300 << 10, "zhangsan", true, 200},
		{2 << 20, "zhangsan", true, 200},
		{300 << 10, "", false, 401},
		{2 << 20, "", false, 401},
		{2 << 20, "", true, 401},
	} {
		body := strings.Repeat("钉钉 upload ", c.size/14+1)[:c.size]
		var reader io.Reader = strings.NewReader(body)
		if c.chunked {
			reader = io.MultiReader(reader) // of unknown length
		}
		r, err := http.NewRequest("POST", h.base+"/upload", reader)
		if err != nil {
			t.Fatal(err)
		}
		h.app.took()
		res, err := people[c.who].client.Do(r)
		if err != nil {
			if c.status == 401 { // refused and closed before all was sent: a client may see either
				t.Logf("POST of %d bytes without session: %v", c.size, err)
			} else {
				t.Errorf("POST of %d bytes, chunked %v: %v", c.size, c.chunked, err)
			}
		} else {
			res.Body.Close()
			if res.StatusCode != c.status {
				t.Errorf("POST of %d bytes, chunked %v, by %q = %d, want %d", c.size, c.chunked, c.who,
					res.StatusCode, c.status)
			}
		}
		got := h.app.took()
		if c.status != 200 {
			if len(got) > 0 {
				t.Errorf("POST of %d bytes without session reached the application", c.size)
			}
			continue
		}
		if want := fmt.Sprintf("%d %x", c.size, sha256.Sum256([]byte(body))); len(got) != 1 || got[0].body != want {
			t.Errorf("POST of %d bytes, chunked %v: the application got %v, want %s", c.size, c.chunked, got, want)
		}
	}
}

func gatewaySockets(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, c := range []struct {
		who, path string
		status    int
	}{
		{"zhangsan", "/socket", 101},
		{"zhangsan", "/admin/socket", 101},
		{"", "/public/socket", 101},
		{"", "/socket", 401},
		{"zhaoliu", "/admin/socket", 403},
	} {
		h.app.took()
		echo, status := people[c.who].echo(c.path, "钉钉 ping")
		got := h.app.took()
		if status != c.status || (status == 101) != (echo == "钉钉 ping") {
			t.Errorf("WebSocket %s by %q = %d %q, want %d", c.path, c.who, status, echo, c.status)
		}
		if (c.status == 101) != (len(got) == 1) {
			t.Errorf("WebSocket %s by %q: the application got %v", c.path, c.who, got)
		} else if c.status == 101 {
			gatewayIdentity(t, h, "WebSocket "+c.path, got[0], gatewayPeople[c.who])
		}
	}
}

// gatewayUpgrades: no protocol but WebSocket gets through to an application,
// behind which nobody would be asked any more (threats M6).
func gatewayUpgrades(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, token := range []string{"h2c", "H2C", "websocket, h2c", "TLS/1.0", "websocket2", "foo",
		"h2c\nUpgrade: websocket", "websocket\nUpgrade: h2c", "foo\nUpgrade: websocket", "websocket\nUpgrade: foo",
		"websocket, foo"} {
		for who, path := range map[string]string{"": "/public/x", "zhangsan": "/a"} {
			h.app.took()
			res := people[who].do("GET", path, "",
				append(strings.Split("Upgrade: "+token, "\n"), "Connection: Upgrade, HTTP2-Settings",
					"HTTP2-Settings: AAMAAABkAAQAAP__")...)
			for _, got := range h.app.took() {
				if v := strings.Join(got.header["Upgrade"], ", "); v != "" && !strings.EqualFold(v, "websocket") {
					t.Errorf("Upgrade: %s by %q = %d, and the application got %q", token, who, res.StatusCode, v)
				}
			}
			if res.StatusCode == 101 {
				t.Errorf("Upgrade: %s by %q became a tunnel", token, who)
			}
		}
	}
}

// gatewayForeignHost claims another host, for which another rule might hold.
func gatewayForeignHost(t *testing.T, h *gatewayEnv, member *gatewayVisitor, status int) {
	h.app.took()
	res := member.page("/public/x", "Host: evil.example")
	if got := h.app.took(); res.StatusCode != status || len(got) > 0 {
		t.Errorf("GET with Host evil.example = %d, the application got %v, want %d and nothing", res.StatusCode, got,
			status)
	}
}

// gatewaySignOut ends a session, also for a copy of its cookie.
func gatewaySignOut(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	kept := v.cookies()
	if res := v.page("/oauth2/sign_out"); res.StatusCode != 200 || !strings.Contains(res.body, "<form") {
		t.Errorf("GET /oauth2/sign_out = %d, want a page that asks", res.StatusCode)
	}
	if res := v.page("/"); res.StatusCode != 200 {
		t.Errorf("GET / after looking at the sign-out page = %d, want 200", res.StatusCode)
	}
	if res := v.do("POST", "/oauth2/sign_out", "", gatewayPage, "Sec-Fetch-Site: same-origin"); res.StatusCode != 303 {
		t.Errorf("POST /oauth2/sign_out = %d %s, want 303", res.StatusCode, res.body)
	}
	h.app.took()
	for _, headers := range [][]string{nil, {kept}} {
		if res := v.page("/", headers...); res.StatusCode != 302 || len(h.app.took()) > 0 {
			t.Errorf("GET / after the sign-out, cookie kept %v = %d, want 302", headers != nil, res.StatusCode)
		}
	}
}

// gatewayRenewal puts a new cookie secret in front: the old cookie still
// serves, and browsers get one under the new secret where the gateway can
// carry it (nothing may depend on that).
func gatewayRenewal(t *testing.T, h *gatewayEnv, v *gatewayVisitor, carries bool) {
	old := v.cookies()
	h.startGate("DINGGATE_COOKIE_SECRETS=" + gatewaySecret("new") + "," + gatewaySecret("old"))
	res := v.page("/")
	cookies := slices.DeleteFunc(slices.Clone(res.Header["Set-Cookie"]), func(c string) bool {
		return c == "app=own; Path=/"
	})
	if res.StatusCode != 200 || (len(cookies) == 1) != carries || len(cookies) > 1 ||
		carries && !strings.HasPrefix(cookies[0], "dinggate=") {
		t.Errorf("GET / after a change of secrets = %d with our cookies %q, want 200, renewed %v", res.StatusCode,
			cookies, carries)
	}
	if renewed := v.cookies() != old; renewed != carries {
		t.Errorf("the browser's cookie changed: %v, want %v", renewed, carries)
	}
	if res := v.page("/"); res.StatusCode != 200 {
		t.Errorf("GET / with the newest cookie = %d, want 200", res.StatusCode)
	}
	if !carries {
		return
	}
	// Only a cookie under the new secret lives through the end of the old one.
	h.startGate("DINGGATE_COOKIE_SECRETS=" + gatewaySecret("new"))
	if res := v.page("/"); res.StatusCode != 200 {
		t.Errorf("GET / without the old secret = %d, want 200", res.StatusCode)
	}
}

// gatewayDoubt makes every membership overdue while DingTalk is away: nobody
// is let in, and nobody is sent through a sign-in that cannot work either.
func gatewayDoubt(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	h.platform.Fault(simulator.Fault{Do: simulator.Status(503)})
	defer h.platform.ClearFaults()
	h.startGate("DINGGATE_COOKIE_SECRETS="+gatewaySecret("new")+","+gatewaySecret("old"),
		"DINGGATE_SESSION_RECHECK=1ms", "DINGGATE_SESSION_GRACE=0s")
	h.app.took()
	if res := v.page("/"); res.StatusCode != 503 || !strings.Contains(res.body, "<html") || len(h.app.took()) > 0 {
		t.Errorf("GET / by somebody who cannot be confirmed = %d %.200q, want 503 with the page", res.StatusCode,
			res.body)
	}
	if res := v.do("POST", "/", "x", "Accept: application/json"); res.StatusCode != 503 ||
		!strings.Contains(res.body, `"error"`) || len(h.app.took()) > 0 {
		t.Errorf("POST / by somebody who cannot be confirmed = %d %.200q, want 503 with JSON", res.StatusCode, res.body)
	}
	if res := v.page("/public/x"); res.StatusCode != 200 || len(h.app.took()) != 1 {
		t.Errorf("GET /public/x meanwhile = %d, want 200", res.StatusCode)
	}
}

// gatewayGone stops dinggate: everything is closed, public pages too, since
// only dinggate knows which they are.
func gatewayGone(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	h.gate.end()
	h.app.took()
	for _, c := range [][2]string{{"GET", "/"}, {"POST", "/a"}, {"GET", "/public/x"}, {"GET", "/oauth2/start"}} {
		res := v.do(c[0], c[1], "", append([]string{gatewayPage}, gatewayForged...)...)
		if got := h.app.took(); res.StatusCode < 500 || len(got) > 0 {
			t.Errorf("%s %s without a dinggate = %d, the application got %v, want 5xx and nothing", c[0], c[1],
				res.StatusCode, got)
		}
	}
}
