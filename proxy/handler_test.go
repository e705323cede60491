package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"dinggate/proxy/access"
)

func TestServe(t *testing.T) {
	d := open(t,
		plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "UPSTREAM-MARK")
		})})
	_, member := d.signIn("zhangsan")
	_, boss := d.signIn("boss")
	forged := member[:len(member)-4] + "AAAA"
	for i, c := range []struct {
		line, cookie, header string
		status               int
		body, verdict, route string // body: a part
	}{
		{"GET /public/x", "", "", 200, "UPSTREAM-MARK", "allow", "public"},
		{"GET /public/x", forged, "", 200, "UPSTREAM-MARK", "allow", "public"},
		{"GET /", member, "", 200, "UPSTREAM-MARK", "allow", "app"},
		{"HEAD /", member, "", 200, "", "allow", "app"},
		{"POST /", member, "", 200, "UPSTREAM-MARK", "allow", "app"},
		{"GET /?a=1&b=//x", "", page, 302, "", "sign_in", "app"},
		{"GET /x", forged, page, 302, "", "sign_in", "app"},
		// of two it is unknown which one was planted (C3)
		{"GET /x", member + "; " + boss, page, 302, "", "sign_in", "app"},
		{"GET /x", member + "; " + forged, "", 200, "UPSTREAM-MARK", "allow", "app"},
		{"GET /x", "", "", 401, `"unauthenticated"`, "sign_in", "app"},
		{"POST /x", "", page, 401, `"unauthenticated"`, "sign_in", "app"},
		{"GET /admin/", member, page, 403, `"not_allowed"`, "deny", "admin"},
		{"GET /admin/", boss, page, 200, "UPSTREAM-MARK", "allow", "admin"},
		{"GET /gateway/", member, "", 404, `"no_route"`, "deny", "gateway"},
		{"GET /gateway/", "", page, 404, `"no_route"`, "deny", "gateway"},
		{"GET /public//x", "", "", 200, "UPSTREAM-MARK", "allow", "public"},
		{"GET //public/x", "", "", 400, `"ambiguous_path"`, "deny", ""},
		{"GET /public/..;/admin/", "", "", 400, `"bad_path"`, "", ""},
		{"GET /public%2f..%2fadmin/", "", "", 400, `"bad_path"`, "", ""},
	} {
		res, body := d.do(c.line, "Cookie: "+c.cookie, c.header+"\r\nX-Nothing: 1")
		x := d.last(i + 1)
		if res.StatusCode != c.status || !strings.Contains(body, c.body) ||
			strings.Contains(body, "UPSTREAM-MARK") != (c.body == "UPSTREAM-MARK") {
			t.Errorf("%s (cookie %t) = %d %q, want %d with %q", c.line, c.cookie != "", res.StatusCode, body,
				c.status, c.body)
		}
		if x.Verdict != c.verdict || x.Route != c.route || x.Status != c.status {
			t.Errorf("%s: record %q %q %d, want %q %q %d", c.line, x.Verdict, x.Route, x.Status, c.verdict, c.route,
				c.status)
		}
		if len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: Set-Cookie %q", c.line, res.Header["Set-Cookie"])
		}
	}
}

func TestTarget(t *testing.T) {
	d := open(t, plan{app: echo, policy: []access.Route{{Name: "app", Path: "/", Rule: access.Rule{SignedIn: true}}}})
	for _, c := range []struct{ host, uri, want string }{
		{"app.test", "/a?b=c&d", "/a?b=c&d"},
		{"app.test", "/a?", "/a?"},
		{"app.test:8443", "/a", "/a"}, // public_url's own port is compared
		{"other.test", "/a?b", "https://other.test/a?b"},
		{"evil.test", "/a", "/a"},
		{"app.test", "//evil.test/", "/"},
		{"app.test", "http://app.test/a?b", "/a?b"},
		{"app.test", "/" + strings.Repeat("a", 2000), "/"},
	} {
		conn := d.speak("GET " + c.uri + " HTTP/1.1\r\nHost: " + c.host + "\r\n" + page +
			"\r\nConnection: close\r\n\r\n")
		res, _ := answered(t, conn, "GET")
		if got := res.Header.Get("Location"); got != "https://login.test/?target="+c.want {
			t.Errorf("target of %s %.40s = %q, want %q", c.host, c.uri, got, c.want)
		}
	}
}

// TestStoreFails: a store outage denies, keeps the cookie, and does not affect public pages (V14,
// F14).
func TestStoreFails(t *testing.T) {
	good := open(t, plan{app: echo})
	_, cookie := good.signIn("zhangsan")
	d := open(t, plan{app: echo, store: failing()})
	for _, c := range []struct {
		line   string
		status int
	}{{"GET /", 503}, {"POST /", 503}, {"GET /public/", 200}, {"GET //public/", 400}} {
		res, body := d.do(c.line, "Cookie: "+cookie, page)
		if res.StatusCode != c.status || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s = %d, Set-Cookie %q, want %d and none", c.line, res.StatusCode, res.Header["Set-Cookie"],
				c.status)
		}
		if c.status == 503 && (res.Header.Get("Retry-After") == "" || !strings.Contains(body, "store_unavailable")) {
			t.Errorf("%s = %q %q, want Retry-After and store_unavailable", c.line, res.Header, body)
		}
	}
	h := http.Header{"Cookie": {cookie}}
	if a, err := d.handler.Authorize(t.Context(), access.Target{Method: "GET", Host: host, Path: "/"}, h,
		0); err == nil || a.Decision.Verdict != access.Deny || a.Route != "app" {
		t.Errorf("Authorize() = %+v, %v, want a denial with an error", a.Decision, err)
	}
}

func TestAuthorize(t *testing.T) {
	d := open(t, plan{app: echo, policy: []access.Route{
		{Name: "public", Path: "/public/", Rule: access.Rule{Public: true}},
		{Name: "lan", Path: "/lan/", Rule: access.Rule{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		{Name: "app", Path: "/", Rule: access.Rule{SignedIn: true}}}})
	_, cookie := d.signIn("zhangsan")
	signedIn, noSession := http.Header{"Cookie": {cookie}}, http.Header{}
	for _, c := range []struct {
		path    string
		h       http.Header
		client  string
		verdict access.Verdict
		user    string
	}{
		{"/", signedIn, "", access.Allow, "zhangsan"},
		{"/", noSession, "", access.SignIn, ""},
		{"/public/", noSession, "", access.Allow, ""},
		{"/public/", signedIn, "", access.Allow, "zhangsan"},
		{"/lan/", noSession, "10.1.2.3", access.Allow, ""},
		{"/lan/", signedIn, "", access.Deny, "zhangsan"},
	} {
		target := access.Target{Method: "GET", Host: host, Path: c.path}
		if c.client != "" {
			target.Client = netip.MustParseAddr(c.client)
		}
		a, err := d.handler.Authorize(t.Context(), target, c.h, 0)
		if err != nil || a.Decision.Verdict != c.verdict || a.Username() != c.user {
			t.Errorf("Ask(%s) = %v %q, %v, want %v %q", c.path, a.Decision.Verdict, a.Username(), err, c.verdict, c.user)
		}
		if h := a.Headers; len(h) != 2 || h[0].Name != "X-Auth-Request-User" || h[0].Value[0] != c.user {
			t.Errorf("Authorize(%s).Headers = %v, want every name of headers.response with %q", c.path, h, c.user)
		}
	}
}

// TestRefusedBeforeReading: the body of a request without a session is not read (V23, M12).
func TestRefusedBeforeReading(t *testing.T) {
	d := open(t, plan{app: echo})
	conn := d.speak("POST /x HTTP/1.1\r\nHost: " + host +
		"\r\nContent-Length: 104857600\r\nExpect: 100-continue\r\n\r\n")
	res, body := answered(t, conn, "POST")
	if res.StatusCode != 401 || !strings.Contains(body, "unauthenticated") {
		t.Errorf("POST of 100 MiB without a session = %d %q, want 401 before any 100", res.StatusCode, body)
	}
}
