package forwardauth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/access"
)

func TestAnswers(t *testing.T) {
	h := newHandler(t)
	for _, c := range []struct {
		name, method, target, remote, headers string
		status                                int
		want                                  string // in Location, X-Login, X-Code or X-Dinggate-Reason
	}{
		// nginx and compatible servers
		{"nginx no session", "GET", "/oauth2/auth", trusted, nurl + "/x", 401, ""},
		{"nginx no session, page", "GET", "/oauth2/auth", trusted, nurl + "/x" + page, 401, ""},
		{"nginx member", "GET", "/oauth2/auth", trusted, nurl + "/x?a=1&b=%2F" + signed, 200, ""},
		{"nginx not allowed", "GET", "/oauth2/auth", trusted, nurl + "/admin/x" + signed, 403, "not_allowed"},
		{"nginx boss", "GET", "/oauth2/auth", trusted, nurl + "/admin" + boss, 200, ""},
		{"nginx public", "GET", "/oauth2/auth", trusted, nurl + "/public/", 200, ""},
		{"nginx public untrusted", "GET", "/oauth2/auth", untrusted, nurl + "/public/", 401, ""},
		{"nginx uri", "GET", "/oauth2/auth", trusted, "X-Original-URI: /public/\nX-Forwarded-Host: app.test", 200, ""},
		{"nginx forwarded uri", "GET", "/oauth2/auth", trusted,
			"X-Forwarded-Uri: /public/\nX-Forwarded-Host: app.test", 200, ""},
		{"nginx same twice", "GET", "/oauth2/auth", trusted, nurl + "/public/a\nX-Original-URI: /public/a", 200, ""},
		{"nginx contradiction", "GET", "/oauth2/auth", trusted, nurl + "/admin/\nX-Original-URI: /public/", 403,
			"bad_forwarded"},
		{"nginx contradiction 2", "GET", "/oauth2/auth", trusted,
			"X-Original-URI: /public/\nX-Forwarded-Uri: /admin/", 403, "bad_forwarded"},
		{"nginx repeated", "GET", "/oauth2/auth", trusted,
			nurl + "/public/\nX-Original-URL: https://app.test/public/", 403, "bad_forwarded"},
		{"nginx methods disagree", "GET", "/oauth2/auth", trusted, nurl + "/read/\nX-Forwarded-Method: POST", 403,
			"bad_forwarded"},
		{"nginx other host", "GET", "/oauth2/auth", trusted, "X-Original-URL: https://other.test/x" + signed, 403,
			"no_route"},
		{"nginx host in capitals", "GET", "/oauth2/auth", trusted, "X-Original-URL: https://APP.test.:443/x" + signed,
			200, ""},
		{"nginx dot segments", "GET", "/oauth2/auth", trusted, nurl + "/public/../admin/" + signed, 403, "bad_path"},
		{"nginx encoded dot segments", "GET", "/oauth2/auth", trusted, nurl + "/public/%2e%2e/admin/", 403, "bad_path"},
		{"nginx double slash", "GET", "/oauth2/auth", trusted, nurl + "//admin/" + signed, 403, "ambiguous_path"},
		{"nginx parameters", "GET", "/oauth2/auth", trusted, nurl + "/public/x;a=1", 401, ""},
		{"nginx encoded slash", "GET", "/oauth2/auth", trusted, nurl + "/public%2f", 403, "ambiguous_path"},
		{"nginx NUL", "GET", "/oauth2/auth", trusted, nurl + "/public/%00", 403, "bad_path"},
		{"nginx garbage", "GET", "/oauth2/auth", trusted, "X-Original-URL: nonsense" + signed, 403, "bad_forwarded"},
		{"nginx empty", "GET", "/oauth2/auth", trusted, "X-Original-URL: " + signed, 403, "bad_forwarded"},
		{"nginx relative", "GET", "/oauth2/auth", trusted, "X-Original-URI: public/\nX-Forwarded-Host: app.test", 403,
			"bad_path"},
		{"nginx nothing, no session", "GET", "/oauth2/auth", trusted, "", 401, ""},
		{"nginx nothing, member", "GET", "/oauth2/auth", trusted, "Host: app.test" + signed, 403, "not_allowed"},
		{"nginx own prefix", "GET", "/oauth2/auth", trusted, nurl + "/oauth2/start" + signed, 403, "own_prefix"},
		{"nginx own prefix encoded", "GET", "/oauth2/auth", trusted, nurl + "/%6fauth2/start" + signed, 403,
			"own_prefix"},
		{"nginx failing store", "GET", "/oauth2/auth", trusted, nurl + "/x\nCookie: s=failing", 403, "store_unavailable"},
		{"nginx panic", "GET", "/oauth2/auth", trusted, nurl + "/x\nCookie: s=panic", 403, "internal"},
		{"nginx HEAD", "HEAD", "/oauth2/auth", trusted, nurl + "/x" + signed, 200, ""},
		{"nginx POST", "POST", "/oauth2/auth", trusted, nurl + "/x" + signed, 200, ""},
		{"nginx odd method", "get", "/oauth2/auth", trusted, nurl + "/x" + signed, 200, ""},
		{"nginx TRACE", "GET", "/oauth2/auth", trusted,
			"X-Original-Method: TRACE\nX-Original-URL: https://app.test/public/" + signed, 403, "method_not_allowed"},
		{"nginx original POST on a GET route", "GET", "/oauth2/auth", trusted,
			"X-Original-Method: POST\nX-Original-URL: https://app.test/read/", 401, ""},
		{"nginx query to our endpoint is ignored", "GET", "/oauth2/auth?rd=/public/&allowed_groups=x", trusted,
			nurl + "/admin/" + signed, 403, "not_allowed"},
		{"nginx bad forwarded host", "GET", "/oauth2/auth", trusted,
			"X-Original-URI: /public/\nX-Forwarded-Host: a, b", 403, "bad_forwarded"},
		{"nginx underscores are no source", "GET", "/oauth2/auth", trusted,
			"X_Original_Url: https://app.test/public/\nX-Forwarded-Host: app.test", 401, ""},
		{"nginx network", "GET", "/oauth2/auth", trusted, nurl + "/net/\nX-Forwarded-For: 198.51.100.7", 200, ""},
		{"nginx network claimed by an untrusted peer", "GET", "/oauth2/auth", trusted,
			nurl + "/net/\nX-Forwarded-For: 198.51.100.7, 192.0.2.9", 401, ""},
		{"nginx network claimed untrusted", "GET", "/oauth2/auth", untrusted,
			nurl + "/net/\nX-Forwarded-For: 198.51.100.7", 401, ""},

		// Traefik, Caddy, APISIX, Higress, scripts
		{"traefik page", "GET", "/oauth2/forward-auth", trusted, ours + "/a?x=1&y=%2F" + page, 302,
			"https://app.test/oauth2/start?rd=%2Fa%3Fx%3D1%26y%3D%252F"},
		{"traefik api", "GET", "/oauth2/forward-auth", trusted, ours + "/a\nAccept: application/json", 401,
			"https://app.test/oauth2/start?rd=%2Fa"},
		{"traefik member", "GET", "/oauth2/forward-auth", trusted, ours + "/a" + signed, 200, ""},
		{"traefik denied", "GET", "/oauth2/forward-auth", trusted, ours + "/admin/" + signed, 403, "not_allowed"},
		{"traefik websocket", "GET", "/oauth2/forward-auth", trusted,
			strings.Replace(ours, "https", "wss", 1) + "/a\nSec-WebSocket-Key: x" + page, 401, ""},
		{"traefik POST", "GET", "/oauth2/forward-auth", trusted,
			strings.Replace(ours, "GET", "POST", 1) + "/a" + page, 401, "rd=%2F"},
		{"traefik CONNECT", "GET", "/oauth2/forward-auth", trusted,
			strings.Replace(ours, "GET", "CONNECT", 1) + "/public/" + page, 403, "method_not_allowed"},
		{"envoy TRACE", "TRACE", "/oauth2/ext-authz/public/", trusted, "", 403, "method_not_allowed"},
		{"traefik behind TLS", "GET", "/oauth2/forward-auth", trusted,
			strings.Replace(ours, "https", "http", 1) + "/a" + page, 302, "https://app.test/oauth2/start?rd=%2Fa"},
		{"traefik foreign host", "GET", "/oauth2/forward-auth", trusted,
			"X-Forwarded-Host: evil.test\nX-Forwarded-Uri: /public/x\nX-Forwarded-Method: GET", 200, ""},
		{"traefik foreign host page", "GET", "/oauth2/forward-auth", trusted,
			"X-Forwarded-Host: evil.test\nX-Forwarded-Uri: /net/\nX-Forwarded-Method: GET" + page, 302,
			"https://app.test/oauth2/start?rd=%2F"},
		{"caddy passes X-Original", "GET", "/oauth2/forward-auth", trusted,
			ours + "/admin/\nX-Original-URL: https://app.test/public/" + page, 302, "rd=%2Fadmin%2F"},
		{"forward-auth untrusted", "GET", "/oauth2/forward-auth", untrusted, ours + "/public/" + page, 302,
			"https://app.test/oauth2/start?rd=%2F"},
		{"forward-auth failing store", "GET", "/oauth2/forward-auth", trusted, ours + "/x\nCookie: s=failing", 503,
			"store_unavailable"},
		{"forward-auth panic", "GET", "/oauth2/forward-auth", trusted, ours + "/x\nCookie: s=panic", 500, "internal"},
		{"forward-auth bad path", "GET", "/oauth2/forward-auth", trusted, ours + "/a/../b" + page, 400, "bad_path"},
		{"forward-auth repeated uri", "GET", "/oauth2/forward-auth", trusted, ours + "/a\nX-Forwarded-Uri: /public/",
			400, "bad_forwarded"},
		{"forward-auth own prefix", "GET", "/oauth2/forward-auth", trusted, ours + "/oauth2/start" + page, 403,
			"own_prefix"},
		{"forward-auth query ignored", "GET", "/oauth2/forward-auth?uri=/public/", trusted, ours + "/a", 401, ""},

		// Envoy, Istio, Gateway API
		{"envoy page", "GET", "/oauth2/ext-authz/a?x=1&y=2", trusted, "Host: app.test" + page, 302,
			"https://app.test/oauth2/start?rd=%2Fa%3Fx%3D1%26y%3D2"},
		{"envoy member", "POST", "/oauth2/ext-authz/a", trusted, "Host: app.test" + signed, 200, ""},
		{"envoy public", "GET", "/oauth2/ext-authz/public/x", trusted, "Host: app.test", 200, ""},
		{"envoy method", "POST", "/oauth2/ext-authz/read/", trusted, "Host: app.test", 401, ""},
		{"envoy denied", "GET", "/oauth2/ext-authz/admin/", trusted, "Host: app.test" + signed, 403, "not_allowed"},
		{"envoy dot segments", "GET", "/oauth2/ext-authz/public/../admin/", trusted, "Host: app.test", 400, "bad_path"},
		{"envoy nothing behind", "GET", "/oauth2/ext-authz", trusted, "Host: app.test" + signed, 400, "bad_forwarded"},
		{"envoy root", "GET", "/oauth2/ext-authz/", trusted, "Host: app.test" + signed, 200, ""},
		{"envoy own prefix", "GET", "/oauth2/ext-authz/oauth2/auth", trusted, "Host: app.test" + signed, 403,
			"own_prefix"},
		{"envoy robots is no free pass", "GET", "/oauth2/ext-authz/robots.txt", trusted,
			"Host: app.test\nUser-Agent: GoogleHC/1.0", 401, ""},
		{"envoy headers are no source", "GET", "/oauth2/ext-authz/admin/", trusted,
			"Host: app.test\nX-Forwarded-Uri: /public/\nX-Original-URL: https://app.test/public/", 401, ""},
		{"envoy ws", "GET", "/oauth2/ext-authz/a", trusted, "Host: app.test\nX-Forwarded-Proto: gopher", 400,
			"bad_forwarded"},

		// not our endpoints
		{"near miss", "GET", "/oauth2/authx", trusted, signed, 404, ""},
		{"near miss 2", "GET", "/oauth2/ext-authzx/a", trusted, signed, 404, ""},
	} {
		res := do(t, h, c.method, c.target, c.remote, c.headers)
		got := res.Header.Get("Location") + " " + res.Header.Get("X-Login") + " " + res.Header.Get("X-Code") + " " +
			res.Header.Get("X-Dinggate-Reason")
		if res.StatusCode != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s %s = %d %q, want %d %q", c.name, c.method, c.target, res.StatusCode, got, c.status,
				c.want)
		}
		if res.StatusCode == 401 && res.Header.Get("X-Login") != "" &&
			res.Header.Get("X-Accept") != "application/json" {
			t.Errorf("%s: 401 is not JSON", c.name)
		}
		headers := len(res.Header["X-Auth-Request-User"]) + len(res.Header["X-Auth-Request-Email"])
		if want := map[bool]int{true: 2}[res.StatusCode == 200]; headers != want {
			t.Errorf("%s: %d carries %d identity headers, want %d", c.name, res.StatusCode, headers, want)
		}
		if strings.HasPrefix(c.target, "/oauth2/auth") && c.status != 404 &&
			!slices.Contains([]int{200, 401, 403}, res.StatusCode) {
			t.Errorf("%s: /auth answers %d, which nginx turns into 500", c.name, res.StatusCode)
		}
	}
}

// TestAtRoot: GET / is a subrequest if nothing else is served there, and only from a trusted peer
// that sends method and path.
func TestAtRoot(t *testing.T) {
	atRoot, served := newHandler(t, func(g *Handler) { g.AtRoot = true }), newHandler(t)
	for _, c := range []struct {
		name                            string
		h                               http.Handler
		method, target, remote, headers string
		status                          int
		want                            string // in Location, X-Login or X-Code
	}{
		{"a page", atRoot, "GET", "/", trusted, ours + "/x?a=1" + page, 302, "rd=%2Fx%3Fa%3D1"},
		{"a page of the root", atRoot, "GET", "/", trusted, ours + "/" + page, 302, "rd=%2F"},
		{"an API", atRoot, "GET", "/", trusted, ours + "/x", 401, "unauthenticated"},
		{"signed in", atRoot, "GET", "/", trusted, ours + "/x" + signed, 200, ""},
		{"without the right", atRoot, "GET", "/", trusted, ours + "/admin/" + signed, 403, "not_allowed"},
		{"our prefix", atRoot, "GET", "/", trusted, ours + "/oauth2/start" + signed, 403, "own_prefix"},
		{"twice", atRoot, "GET", "/", trusted, ours + "/x\nX-Forwarded-Uri: /public/" + signed, 400, "bad_forwarded"},
		{"a query of the client's", atRoot, "GET", "/?x=/public/", trusted, ours + "/admin/" + signed, 403,
			"not_allowed"},
		{"an untrusted peer", atRoot, "GET", "/", untrusted, ours + "/public/", 404, "not_found"},
		{"no original request", atRoot, "GET", "/", trusted, "X-Forwarded-Host: app.test" + signed, 404, "not_found"},
		{"no method", atRoot, "GET", "/", trusted, "X-Forwarded-Host: app.test\nX-Forwarded-Uri: /public/", 404,
			"not_found"},
		{"no path", atRoot, "GET", "/", trusted, "X-Forwarded-Host: app.test\nX-Forwarded-Method: GET" + signed,
			404, "not_found"},
		{"a POST", atRoot, "POST", "/", trusted, ours + "/public/", 404, "not_found"},
		{"another path", atRoot, "GET", "/x", trusted, ours + "/public/", 404, "not_found"},
		{"where something is served", served, "GET", "/", trusted, ours + "/public/", 404, "not_found"},
	} {
		res := do(t, c.h, c.method, c.target, c.remote, c.headers)
		if got := res.Header.Get("Location") + res.Header.Get("X-Login") +
			res.Header.Get("X-Code"); res.StatusCode != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s %s = %d %q, want %d %q", c.name, c.method, c.target, res.StatusCode, got, c.status,
				c.want)
		}
		if names := len(res.Header["X-Auth-Request-User"]); names != map[bool]int{true: 1}[c.status == 200] {
			t.Errorf("%s: X-Auth-Request-User %d times", c.name, names)
		}
	}
}

// TestHandshakes: threats M6 and W3, with what a gateway forwards of a handshake.
func TestHandshakes(t *testing.T) {
	h := newHandler(t)
	const key, plain = "\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"X-Forwarded-Host: app.test\nX-Forwarded-Proto: http\nX-Forwarded-Method: GET\nX-Forwarded-Uri: "
	for _, c := range []struct {
		headers string
		status  int
	}{
		{ours + "/x" + signed + key, 200},
		{ours + "/x" + signed + key + "\nOrigin: https://app.test", 200},
		{ours + "/x" + signed + key + "\nOrigin: https://APP.test:443", 200},
		// the host of the original request
		{"X-Forwarded-Host: app.test\nX-Forwarded-Proto: http\nX-Forwarded-Uri: /x" + signed + key +
			"\nOrigin: http://app.test", 200},
		{ours + "/x" + signed + key + "\nOrigin: https://evil.test", 403},
		{ours + "/x" + signed + key + "\nOrigin: null", 403},
		{ours + "/x" + signed + key + "\nOrigin: https://app.test.evil.test", 403},
		{ours + "/x" + signed + key + "\nOrigin: https://app.test\nOrigin: https://evil.test", 403},
		{ours + "/x" + signed + "\nOrigin: https://evil.test", 200}, // no handshake: left to the application
		{ours + "/public/x" + key + "\nOrigin: https://evil.test", 200},
		{ours + "/x" + key + "\nOrigin: https://evil.test", 401},
		{ours + "/x" + signed + "\nHTTP2-Settings: AAMAAABkAAQAAP__", 403},
		{ours + "/public/x\nHTTP2-Settings: AAMAAABkAAQAAP__", 403},
		{plain + "/x" + signed + "\nHTTP2-Settings: AAMAAABkAAQAAP__", 200}, // without TLS some clients always request it
	} {
		for _, endpoint := range []string{"/oauth2/auth", "/oauth2/forward-auth"} {
			if res := do(t, h, "GET", endpoint, trusted, c.headers); res.StatusCode != c.status {
				t.Errorf("%s of %q = %d, want %d", endpoint, c.headers, res.StatusCode, c.status)
			}
		}
	}
}

// TestOneDecision: a path gets the same verdict at every endpoint (threats P16).
func TestOneDecision(t *testing.T) {
	h := newHandler(t)
	verdict := func(res *http.Response) string {
		switch res.StatusCode {
		case 200:
			return "allow"
		case 401, 302:
			return "sign in"
		}
		return "deny"
	}
	for _, path := range []string{"/", "/public/", "/public", "/publicx", "/PUBLIC/", "/public//x", "//public/x",
		"/public/%2e%2e/x", "/public%2fx", "/public/;x", "/%70ublic/", "/%2570ublic/", "/public/%5c", "/public/%00",
		"/public/%ff", "/public/.", "/admin", "/admin/", "/admin/x", "/admin%2fx", "//admin", "/admin;x", "/%61dmin/",
		"/read/", "/x?y=/public/", "/oauth2", "/oauth2/auth", "/oauth2x"} {
		for _, cookie := range []string{"", signed, boss} {
			nginx := verdict(do(t, h, "GET", "/oauth2/auth", trusted, nurl+path+cookie))
			traefik := verdict(do(t, h, "GET", "/oauth2/forward-auth", trusted, ours+path+cookie))
			envoy := verdict(do(t, h, "GET", "/oauth2/ext-authz"+path, trusted, "Host: app.test"+cookie))
			if nginx != traefik || traefik != envoy {
				t.Errorf("%s with %q: auth %s, forward-auth %s, ext-authz %s, want one verdict", path, cookie, nginx,
					traefik, envoy)
			}
		}
	}
}

// TestBodyThatNeverComes: nginx announces a body and sends none. The answer comes at once and
// closes the connection.
func TestBodyThatNeverComes(t *testing.T) {
	server := httptest.NewServer(newHandler(t))
	defer server.Close()
	for _, framing := range []string{"Content-Length: 104857600", "Transfer-Encoding: chunked",
		"Content-Length: 5\r\nExpect: 100-continue"} {
		answer := sendRaw(t, server.Listener.Addr().String(),
			"POST /oauth2/auth HTTP/1.1\r\nHost: app.test\r\n"+framing+"\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 401") || !strings.Contains(answer, "Connection: close") {
			t.Errorf("%s without a body = %q, want 401 at once and Connection: close", framing, answer)
		}
	}
}

func TestAnswerFitsNginx(t *testing.T) {
	g := &Handler{Prefix: "/oauth2"}
	g.Authorize = func(context.Context, access.Target, http.Header, time.Duration) (proxy.Decision, error) {
		return proxy.Decision{
			Decision: access.Decision{Verdict: access.Allow},
			Headers:  []identity.Header{{Name: "X-Auth-Request-Groups", Value: []string{strings.Repeat("g", 2000)}}},
			Cookie:   &http.Cookie{Name: "dinggate", Value: strings.Repeat("c", 1800)},
		}, nil
	}
	var err error
	if g.Origins, err = web.NewOrigins("https://app.test", nil, nil, ""); err != nil {
		t.Fatal(err)
	}
	h := &web.Chain{
		Peers:      &web.Peers{},
		Scheme:     "https",
		Subrequest: g.Handlers(),
		Record:     func(*web.Exchange, *http.Request) {},
	}
	if res := do(t, h, "GET", "/oauth2/auth", trusted, page); res.StatusCode != 200 ||
		res.Header.Get("Set-Cookie") != "" {
		t.Errorf("a cookie that overfills nginx's buffer = %d %d bytes, want 200 and the cookie left for later",
			res.StatusCode, len(res.Header.Get("Set-Cookie")))
	}
}

func BenchmarkAuth(b *testing.B) {
	h := newHandler(b)
	r := httptest.NewRequest("GET", "/oauth2/auth", nil)
	r.RemoteAddr = trusted
	r.Header["X-Original-Url"] = []string{"https://app.test/a/b"}
	r.Header["Cookie"] = []string{"s=zhangsan"}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
