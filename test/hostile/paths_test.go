package hostile

import (
	"fmt"
	"slices"
	"strings"
)

// restrictedPaths are paths that some parser takes for a public page. They must be refused without a
// session at every endpoint.
func restrictedPaths() (list []string) {
	add := func(paths ...string) { list = append(list, paths...) }
	ups := []string{"..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "..;", "..;x=1", ";/..", "%252e%252e", "%25252e%25252e",
		"..%00", "..%09", "..%0d%0a", "..%20", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "..%ff", "%u002e%u002e", "．．",
		"%ef%bc%8e%ef%bc%8e", "..\\", "..%5c", "..%255c", ".", "%2e"}
	for _, up := range ups {
		for _, slash := range []string{"/", "%2f", "//", "%252f", `\`, "%5c"} {
			add("/public/" + up + slash + "admin/")
		}
		add("/public/"+up, "/public/x/"+up+"/../admin/", "//public/"+up+"/admin/", "/"+up+"/public/x",
			"/open/"+up+"/admin/")
	}
	// P4: parameters of a segment.
	add("/public;x/a", "/public/;/a", "/public/a;b", "/;/public/a", "/public;/../admin/", "/open;", "/open;x=1",
		"/public/a;/b", "/public/%3b/a")
	// P5: bytes that are not text.
	for _, b := range []string{"%00", "%01", "%08", "%0a", "%0d", "%1f", "%7f", "%80", "%ff", "%c0%80", "%ed%a0%80",
		"%f4%90%80%80", "%", "%1", "%zz", "%%20", "%u0041", "\x80", "\xff"} {
		add("/public/"+b, "/public/a"+b+"b", "/open"+b)
	}
	// P6: a public path elsewhere in the target.
	add("/admin/?x=/public/", "/admin/?/public/x", "/admin/%3f/public/", "/admin/%23/public/", "/admin/#/public/",
		"/page?/../public/x", "/page#/public/", "/page%3F/public/x", "/admin/;/public/x", "/admin/x?a=../../public/",
		"/page/public/x", "/admin/public/")
	// P7: double slashes.
	add("//public/a", "///public/a", "//open", "/.//public/a", "/public/..//admin/", "/open//", "//open//",
		"/%2fpublic/a", "/%2f/public/a", "//evil.test/public/a", "/public%2f/a")
	// P8, P9: letter case and suffixes.
	add("/PUBLIC/a", "/Public/a", "/publiC/", "/OPEN", "/Open", "/open/", "/open/x", "/open.", "/open..", "/open%20",
		"/open%2f", "/open/.", "/opens", "/open~", "/publicx/", "/public.", "/public%20/", "/public./a",
		"/pub%6cic%2fa", "/public%2fa", "/ｐublic/a", "/public%", "/open%0a", "/open%09", "/open%c2%a0",
		"/open::$DATA", "/open%3a%3a$DATA")
	slices.Sort(list)
	return slices.Compact(list)
}

// guardedPaths are alternative forms of /admin/, which only lisi may open. They must be refused
// for every other member.
var guardedPaths = []string{
	"/admin", "/admin/", "/admin/x", "//admin/", "/admin//", "/%61dmin/", "/admi%6e", "/admin%2f", "/admin%2fx",
	"/admin;x", "/admin;x/y", "/admin/;x", "/;/admin/", "/;x/admin/", "//admin//x", "/page/../admin/",
	"/page/%2e%2e/admin/", "/page%2f..%2fadmin/", "/./admin/", "/%2e/admin/",
	"/admin.", "/admin./x", "/admin%20", "/admin%20/x", "/admin/.", "/admin/..", "/admin/%2e", "/%2561dmin/",
	"/admin%252fx", "/admin%00", "/admin%5c", `/admin\x`, "/page/..;/admin/", "/strip/../admin/", "/public/../admin/",
	"/%2f%2fadmin/", "/%2fadmin/", "///admin", "/admin...", "/admin%20%20",
}

// ownSpellings are alternative forms of our own endpoints. The status is 404 or 400: they are
// neither proxied nor handled (P14).
var ownSpellings = []string{
	"/oauth2", "/oauth2/", "/oauth2/unknown", "/oauth2//auth", "/oauth2/./auth", "/oauth2/%2e/auth",
	"/x/../oauth2/auth", "/%6fauth2/auth", "/oauth2%2fauth", "/oauth2/%61uth", "/oauth2;x/auth", "/oauth2/auth;x",
	"/oauth2/auth/", "/oauth2/auth/x", "/oauth2/auth%2f", "//oauth2/auth", "/oauth2/auth%20", "/oauth2/callback/",
	"/oauth2/%63allback", "/oauth2/start%00", "/oauth2/start;", "/OAUTH2/auth", "/OAuth2/start", "/oauth2/AUTH",
	"/oauth2/Start", "/oauth2/sign_in/..", "/oauth2/%2e%2e/page", "/oauth2\\auth", "/oauth2%5cauth",
	"/%256fauth2/auth", "/oauth2./auth", "/oauth2%20/auth", "/;/oauth2/auth", "/oauth2/ext-authzx",
	"/oauth2/forward-auth/", "/oauth2/metrics", "/oauth2/static/../x",
}

// endpoint is one of the interfaces at which dinggate decides about a request.
type endpoint struct {
	name string
	do   func(h *client, method, path string, headers []string) *answer
}

var endpoints = []endpoint{
	{"proxied", func(h *client, method, path string, headers []string) *answer {
		return h.send(request{method: method, raw: requestText(method, path, h.id, headers...), authorized: true})
	}},
	{"auth", func(h *client, method, path string, headers []string) *answer {
		return h.send(request{
			from: gateway,
			raw: requestText("GET", "/oauth2/auth", h.id,
				append(headers, "X-Original-URL: https://app.test"+path, "X-Original-Method: "+method)...),
		})
	}},
	{"forward-auth", func(h *client, method, path string, headers []string) *answer {
		return h.send(request{
			from: gateway,
			raw: requestText("GET", "/oauth2/forward-auth", h.id,
				append(headers, "X-Forwarded-Uri: "+path, "X-Forwarded-Method: "+method, "X-Forwarded-Host: app.test",
					"X-Forwarded-Proto: https")...),
		})
	}},
	{"ext-authz", func(h *client, method, path string, headers []string) *answer {
		return h.send(request{
			from:   gateway,
			method: method,
			raw:    requestText(method, "/oauth2/ext-authz"+path, h.id, headers...),
		})
	}},
}

// paths covers class P.
func paths(s *env) (list []try) {
	for _, path := range restrictedPaths() {
		for _, method := range []string{"GET", "HEAD", "get", "POST"} {
			for _, d := range endpoints {
				list = append(list, try{fmt.Sprintf("P1–P9 %s %s %q", d.name, method, path), func(h *client) {
					if a := d.do(h, method, path, nil); a.status == 200 || a.status >= 500 ||
						len(h.env.up.received(h.id)) > 0 {
						h.failf("an anonymous client got %v", a)
					}
				}})
			}
		}
	}
	for _, path := range guardedPaths {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			for _, d := range endpoints {
				list = append(list, try{fmt.Sprintf("P9 %s %s %q", d.name, method, path), func(h *client) {
					if a := d.do(h, method, path, []string{h.member("zhangsan")}); a.status == 200 ||
						a.status >= 500 || len(h.env.up.received(h.id)) > 0 {
						h.failf("a member without the right got %v", a)
					}
				}})
			}
		}
	}
	for _, path := range ownSpellings {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			for _, member := range []bool{false, true} {
				list = append(list, try{fmt.Sprintf("P14 %s %q member %v", method, path, member), func(h *client) {
					var lines []string
					if member {
						lines = []string{h.member("lisi")}
					}
					if a := endpoints[0].do(h, method, path, lines); a.status != 404 && a.status != 400 ||
						len(h.env.up.received(h.id)) > 0 {
						h.failf("got %v, want 404 or 400", a)
					}
				}})
			}
		}
		for _, d := range endpoints[1:] {
			list = append(list, try{fmt.Sprintf("F11 %s %q", d.name, path), func(h *client) {
				if a := d.do(h, "GET", path, []string{h.member("lisi"), "Accept: text/html"}); a.status != 403 &&
					a.status != 400 {
					h.failf("a subrequest for our own endpoint = %v, want 403 or 400", a)
				}
			}})
		}
	}
	list = append(list, ambiguousPaths()...)
	list = append(list, sameDecision()...)
	list = append(list, targets()...)
	return append(list, methods()...)
}

// sameDecision covers the law P16: every endpoint allows the same people for the same path.
func sameDecision() (list []try) {
	open := []string{"/open", "/public/", "/public", "/public/a", "/public/a//b", "/public/a.b/c", "/public/a%20b",
		"/public/%E5%BC%A0", "/public/张", "/public/a+b", "/public/a@b", "/public/~x", "/page", "/", "/page/a%2fb",
		"/a;b", "/a%25b", "/gateway/x", "/strip/x", "/office/x", "/admin/x", "/public/a.", "/public/..."}
	guarded, closed := delimiterPaths()
	for _, path := range slices.Concat(open, guardedPaths, restrictedPaths(), parameterPaths(), scriptPaths, guarded,
		closed, casePaths, deepPaths()) {
		if strings.ContainsAny(path, "#?") { // a gateway reports the query and the fragment separately
			continue
		}
		for _, person := range []string{"", "zhangsan", "lisi"} {
			list = append(list, try{fmt.Sprintf("P16 %s %q", person, path), func(h *client) {
				var lines []string
				if person != "" {
					lines = []string{h.member(person)}
				}
				allowed := map[string]bool{}
				for _, d := range endpoints {
					allowed[d.name] = d.do(h, "GET", path, lines).status == 200
				}
				if strings.HasPrefix(path, "/gateway/") { // only gateways may send subrequests for it
					allowed["proxied"] = allowed["auth"]
				}
				if allowed["auth"] != allowed["proxied"] || allowed["forward-auth"] != allowed["proxied"] ||
					allowed["ext-authz"] != allowed["proxied"] {
					h.failf("allowed: %v", allowed)
				}
			}})
		}
	}
	return list
}

// targets covers P10, P13 and P15: request targets in other forms, stripped prefixes, and queries
// that are forwarded unchanged.
func targets() (list []try) {
	for _, target := range []string{"*", "app.test:443", "app.test", "file:///etc/passwd", "mailto:a@b",
		"http://evil.test/public/a", "https://evil.test/open", "http://app.test@evil.test/open",
		"http://evil.test#app.test/open", "http:///open", "http://", "https:/open", "public/a", "?x",
		"http://app.test.evil.test/open", "http://app.test:99/open", "ftp://app.test/open", "javascript:alert(1)",
		"http:\\\\app.test/open", "//app.test/open", "///open", "http://app.test%2eevil/open", "dingtalk://x",
		"http://[::1]/open"} {
		for _, method := range []string{"GET", "OPTIONS", "POST", "CONNECT"} {
			list = append(list, try{fmt.Sprintf("P10 %s %q", method, target), func(h *client) {
				if a := h.send(request{
					method: method,
					raw:    requestText(method, target, h.id),
					fresh:  true,
				}); a.status == 200 || a.status >= 300 && a.status < 400 {
					h.failf("got %v", a)
				}
			}})
		}
	}
	for _, target := range []string{"http://app.test/public/a", "https://app.test/public/a",
		"HTTP://APP.TEST/public/a", "http://app.test:80/public/a", "https://app.test:443/public/a"} {
		list = append(list, try{fmt.Sprintf("P10 ours %q", target), func(h *client) {
			a := h.send(request{raw: requestText("GET", target, h.id), authorized: true})
			if seen := h.env.up.received(h.id); a.status == 200 &&
				(len(seen) != 1 || seen[0].target != "/public/a" ||
					!strings.HasPrefix(seen[0].value("Host"), "app.test")) || a.status != 200 && a.status != 400 {
				h.failf("got %v", a)
			}
		}})
	}
	for path, want := range map[string]string{
		"/strip/x": "/x", "/strip": "/", "/strip/": "/", "/%73trip/x": "/x", "/strip/a%2fb": "/a%2fb",
		"/strip/a?b=/strip/c": "/a?b=/strip/c", "/strip/strip/x": "/strip/x",
		"/strip//admin/": "", "/strip/%2fadmin": "", "/strip/%2e%2e/admin": "", "/strip/../admin": "",
		"/strip%2fx": "", "/strip/;/admin": "", "/strip//evil.test/": "", `/strip/\evil.test`: "",
		"/strip/%5cevil": "", "/strip/..;/admin": "", "/strip/%252e%252e/admin": "",
	} {
		list = append(list, try{fmt.Sprintf("P13 %q", path), func(h *client) {
			a := h.send(request{raw: requestText("GET", path, h.id, h.member("zhangsan")), authorized: true})
			seen := h.env.up.received(h.id)
			if want == "" {
				for _, got := range seen {
					if strings.HasPrefix(got.target, "//") || strings.Contains(got.target, "..") ||
						strings.HasPrefix(got.target, "/%2f") || !strings.HasPrefix(got.target, "/") {
						h.failf("arrived as %q", got.target)
					}
				}
				return
			}
			if len(seen) != 1 || seen[0].target != want {
				h.failf("got %v, want %q at the application, which received %+v", a, want, seen)
			}
		}})
	}
	long := strings.TrimSuffix(strings.Repeat("a=1&", 10_001), "&")
	for _, query := range []string{"a;b", "a=1;b=2", "a=%zz", "%", "a=%", "&&&", "=", "a=b=c", "a+b", "a%20b", "?",
		"??", "/../", "//", "%00", "a=%00", "a[]=1", long, "x=\xff", "a=%E5%BC%A0", "'\"<>`{}|^",
		"a=http://evil.test/", "rd=//evil.test"} {
		list = append(list, try{fmt.Sprintf("P15 %.60q", query), func(h *client) {
			a := h.send(request{raw: requestText("GET", "/public/q?"+query, h.id), authorized: true})
			if seen := h.env.up.received(h.id); a.status == 200 &&
				(len(seen) != 1 || seen[0].target != "/public/q?"+query) ||
				a.status != 200 && a.status != 400 && a.status != 431 && a.status != 414 {
				h.failf("got %.200v", a)
			}
		}})
	}
	return list
}

// methods covers P11 and P12.
func methods() (list []try) {
	for _, method := range []string{"TRACE", "TRACK", "CONNECT", "trace", "Track", "connect", "PRI", "get", "Get",
		"gET", "post", "options", "head", "GET\x00", "GE T", "", "G\tET", "GET,POST", "GET\u00a0", "PROPFIND",
		"M-SEARCH", "BREW", "QUERY", "PURGE", "DEBUG", "X", strings.Repeat("A", 300)} {
		for _, target := range []string{"/read/x", "/page", "/public/x"} {
			list = append(list, try{fmt.Sprintf("P11 %q %s", method, target), func(h *client) {
				a := h.send(request{
					method:     method,
					raw:        requestText(method, target, h.id),
					authorized: target == "/public/x",
					fresh:      true,
				})
				upper := strings.ToUpper(method)
				if (upper == "TRACE" || upper == "TRACK" || upper == "CONNECT") && a.status != 405 && a.status != 400 {
					h.failf("got %v, want 405", a)
				}
				if target == "/read/x" && len(h.env.up.received(h.id)) > 0 {
					h.failf("a rule for GET allowed %q", method)
				}
			}})
		}
	}
	for _, c := range []struct {
		method, target, header string
		status                 int
	}{
		{"HEAD", "/read/x", "", 200}, {"HEAD", "/page", "", 401}, {"OPTIONS", "/page", "", 401},
		{"OPTIONS", "/read/x", "", 401},
		{"OPTIONS", "/admin/", "Access-Control-Request-Method: GET\r\nOrigin: https://evil.test", 401},
		{"OPTIONS", "/page",
			"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x\r\nOrigin: https://app.test",
			401}, {"DELETE", "/read/x", "", 401}, {"PATCH", "/read/x", "", 401}, {"GET", "/read/x", "", 200},
	} {
		list = append(list, try{fmt.Sprintf("P12 %s %s %q", c.method, c.target, c.header), func(h *client) {
			lines := []string{}
			if c.header != "" {
				lines = []string{c.header}
			}
			if a := h.send(request{
				method:     c.method,
				raw:        requestText(c.method, c.target, h.id, lines...),
				authorized: c.status == 200,
			}); a.status != c.status {
				h.failf("got %v, want %d", a, c.status)
			}
		}})
	}
	return list
}
