package hostile

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

var responseNames = []string{"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username",
	"X-Auth-Request-Groups"}

// checkSubrequest checks the response to an authorization subrequest, in addition to the invariants. Each
// endpoint uses only its own statuses. A 200 carries every identity header, and a refusal carries
// none.
func (h *client) checkSubrequest(endpoint string, a *answer) {
	allowed := map[string][]int{"auth": {200, 401, 403}, "forward-auth": {200, 302, 400, 401, 403, 503},
		"ext-authz": {200, 302, 400, 401, 403, 503}}[endpoint]
	if a.bare || a.status == 0 { // net/http could not parse the subrequest
		return
	}
	if !slices.Contains(allowed, a.status) {
		h.failf("%s responded %v", endpoint, a)
	}
	for _, name := range responseNames {
		if v, sent := a.header[name]; a.status == 200 && len(v) != 1 || a.status != 200 && sent {
			h.failf("%s: %s: %q on %d", endpoint, name, v, a.status)
		}
	}
	if n := len(a.header["Set-Cookie"]); n > 1 {
		h.failf("%s: %d cookies", endpoint, n)
	}
	if to := a.header.Get("Location"); to != "" && !strings.HasPrefix(to, "https://app.test/oauth2/start?rd=") {
		h.failf("%s: Location %q", endpoint, to)
	}
}

// subrequest is an authorization subrequest that a gateway might send, and whether it may ever allow
// an unauthorized client.
type subrequest struct {
	endpoint string
	lines    []string
	open     bool // a trusted gateway describes a public page with it
}

func subrequests() (list []subrequest) {
	add := func(endpoint string, open bool, lines ...string) {
		list = append(list, subrequest{endpoint, lines, open})
	}
	const page, public = "https://app.test/page", "https://app.test/public/a"
	// The only subrequest that is allowed: one description of a public page.
	add("auth", true, "X-Original-URL: "+public, "X-Original-Method: GET")
	add("auth", true, "X-Original-URI: /public/a", "X-Forwarded-Host: app.test", "X-Forwarded-Proto: https")
	add("auth", true, "X-Forwarded-Uri: /public/a", "X-Forwarded-Host: app.test")
	add("forward-auth", true, "X-Forwarded-Uri: /public/a", "X-Forwarded-Method: GET", "X-Forwarded-Host: app.test",
		"X-Forwarded-Proto: https")
	add("forward-auth", true, "X-Forwarded-Uri: /public/a", "X-Forwarded-Host: APP.TEST.")
	add("auth", true, "X-Original-URL: https://APP.TEST:443/public/a")
	// F5: a description that is missing, empty, relative, duplicated or contradictory.
	for _, endpoint := range []string{"auth", "forward-auth"} {
		add(endpoint, false)
		for _, uri := range []string{"", "public/a", "?/public/", "public", "*", "http://evil.test/public/a",
			"https://app.test/public/a", "//app.test/public/a", "/public/a\x00", "/public/a\x01", "/public/a\tb",
			"/public/a b", "/public/a#x", "/\\public", "/" + strings.Repeat("a", 60<<10), "/page,/public/a",
			"/page, /public/a"} {
			add(endpoint, false, "X-Forwarded-Uri: "+uri, "X-Forwarded-Host: app.test")
		}
		add(endpoint, false, "X-Forwarded-Uri: /public/a", "X-Forwarded-Uri: /public/a")
		add(endpoint, false, "X-Forwarded-Uri: /public/a", "X-Forwarded-Uri: /page")
		add(endpoint, false, "X_Forwarded_Uri: /public/a")
		add(endpoint, false, "X.Forwarded.Uri: /public/a")
		add(endpoint, false, "X-Forwarded-Path: /public/a")
		add(endpoint, false, "X-Rewrite-URL: /public/a")
		add(endpoint, false, "X-Forwarded-Prefix: /public/", "X-Forwarded-Uri: /page")
		add(endpoint, false, "X-Forwarded-Uri: /page", "X-Forwarded-Prefix: /public")
		add(endpoint, false, "Forwarded: host=app.test;proto=https", "X-Original-Path: /public/a")
		// F6: methods.
		for _, method := range []string{"", "get", "GET, GET", "GET\x01", "\xff", "*", "POST", "HEAD,",
			strings.Repeat("G", 5000)} {
			add(endpoint, method == "", "X-Forwarded-Uri: /read/a", "X-Forwarded-Host: app.test",
				"X-Forwarded-Method: "+method)
			list[len(list)-1].open = false // only HEAD counts as GET; none of these does
		}
		add(endpoint, false, "X-Forwarded-Uri: /read/a", "X-Forwarded-Method: GET", "X-Forwarded-Method: GET")
		// F7: hosts and schemes.
		for _, host := range []string{"evil.test", "app.test.evil.test", "app.test, evil.test", "app.test@evil.test",
			"app.test/evil", "app.test#", "ａpp.test", "app.test:99999", " ", "[::1", "app..test"} {
			add(endpoint, false, "X-Forwarded-Uri: /page", "X-Forwarded-Host: "+host)
		}
		for _, proto := range []string{"ftp", "https, http", "javascript", "https://", " https x", "\xff"} {
			add(endpoint, false, "X-Forwarded-Uri: /page", "X-Forwarded-Host: app.test", "X-Forwarded-Proto: "+proto)
		}
	}
	for _, pair := range [][2]string{{page, "/public/a"}, {public, "/page"}, {public, "/public/b"},
		{"https://app.test/public/a?x", "/public/a"}, {page, ""}} {
		add("auth", false, "X-Original-URL: "+pair[0], "X-Original-URI: "+pair[1])
		add("auth", false, "X-Original-URL: "+pair[0], "X-Forwarded-Uri: "+pair[1])
	}
	add("auth", false, "X-Original-URL: "+public, "X-Original-URL: "+public)
	add("auth", false, "X-Original-URL: "+public, "X-Original-URL: "+page)
	for _, bad := range []string{"", "/public/a", "app.test/public/a", "://app.test/public/a",
		"ftp://app.test/public/a", "https:///public/a", "https://app.test@evil.test/public/a",
		"https://evil.test/page", "https://app.test\\public/a", "https:/app.test/public/a",
		"HTTPS//app.test/public/a", "https://app.test/public/../admin/", "https://app.test/public/%2e%2e/admin/",
		"https://app.test?/public/a", "https://app.test#/public/a", "https://[app.test]/public/a",
		"javascript://app.test/public/a", "https://app.test:x/public/a"} {
		add("auth", false, "X-Original-URL: "+bad)
	}
	add("forward-auth", false, "X-Original-URL: "+public) // the headers of another endpoint
	add("forward-auth", false, "X-Original-URI: /public/a", "X-Forwarded-Host: app.test")
	add("forward-auth", false, "X-Original-URL: "+public, "X-Forwarded-Uri: /page", "X-Forwarded-Host: app.test")
	return list
}

// gateways covers class F: authorization subrequests of gateways, and of clients that claim to be
// one.
func gateways(s *env) (list []try) {
	for _, q := range subrequests() {
		for _, from := range []string{gateway, untrusted} {
			for _, person := range []string{"", "zhangsan"} {
				list = append(list,
					try{fmt.Sprintf("F5 %s from %s person %q: %.150q", q.endpoint, from, person,
						q.lines), func(h *client) {
						lines := slices.Clone(q.lines)
						if person != "" {
							lines = append(lines, h.member(person))
						}
						a := h.send(request{from: from, raw: requestText("GET", "/oauth2/"+q.endpoint, h.id, lines...)})
						h.checkSubrequest(q.endpoint, a)
						open := q.open && from == gateway
						if a.status == 200 != open && (person == "" || open || !ordinary(q.lines)) {
							h.failf("got %v, want it allowed: %v", a, open)
						}
						if person != "" && a.status == 401 && !a.bare {
							h.failf("a member is redirected to a sign-in: %v", a)
						}
					}})
			}
		}
	}
	list = append(list, dialects()...)
	list = append(list, unreadBodies()...)
	return append(list, behindNginx(s)...)
}

// ordinary reports whether the headers may be the accurate description of a page that every member
// may see.
func ordinary(lines []string) bool {
	text := strings.Join(lines, "\n")
	return slices.ContainsFunc([]string{"/page", "/read/", "Uri: //app.test/", "Uri: /aaaa",
		"app.test?/public"}, func(part string) bool { return strings.Contains(text, part) })
}

// dialects covers F1, F2, F6, F8, F10 and F13.
func dialects() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	send := func(h *client, endpoint string, lines ...string) *answer {
		a := h.send(request{from: gateway, raw: requestText("GET", "/oauth2/"+endpoint, h.id, lines...)})
		name, _, _ := strings.Cut(endpoint, "?")
		h.checkSubrequest(strings.TrimSuffix(name, "/page"), a)
		return a
	}
	descriptions := map[string][]string{"auth": {"X-Original-URL: https://app.test/page?a=1&b=//x",
		"X-Original-Method: GET"},
		"forward-auth": {"X-Forwarded-Uri: /page?a=1&b=//x", "X-Forwarded-Host: app.test", "X-Forwarded-Method: GET",
			"X-Forwarded-Proto: https"}, "ext-authz/page": nil}
	for endpoint, lines := range descriptions {
		for _, c := range []struct {
			line string
			page bool
		}{{"Accept: text/html", true}, {"Accept: application/json", false},
			{"X-Requested-With: XMLHttpRequest", false}, {"Sec-Fetch-Mode: navigate", true},
			{"Sec-Fetch-Mode: cors", false}, {"Sec-WebSocket-Key: x", false}, {"User-Agent: DingTalk", false}} {
			add("F1 "+endpoint+" "+c.line, func(h *client) {
				a := send(h, endpoint, append(slices.Clone(lines), c.line)...)
				want := 401
				if c.page && endpoint != "auth" {
					want = 302
				}
				if a.status != want {
					h.failf("got %v, want %d", a, want)
				}
				if endpoint == "forward-auth" && a.status == 302 { // F13
					if to, _ := url.Parse(a.header.Get("Location")); to == nil ||
						to.Query().Get("rd") != "/page?a=1&b=//x" {
						h.failf("the requested page became %q", a.header.Get("Location"))
					}
				}
			})
		}
		for i := range 40 { // F2
			add(fmt.Sprintf("F2 %s %d", endpoint, i), func(h *client) {
				_, value, _ := strings.Cut(h.member("zhangsan"), sessionCookie+"=")
				if a := send(h, endpoint,
					append(slices.Clone(lines), "Cookie: "+sessionCookie+"="+corrupt(value, i))...); a.status != 401 {
					h.failf("a corrupted cookie got %v", a)
				}
			})
		}
		add("F8 "+endpoint, func(h *client) {
			a := send(h, endpoint, append(slices.Clone(lines), h.member("wangwu"))...)
			if a.status != 200 || a.header.Get("X-Auth-Request-Email") != "" ||
				a.header.Get("X-Auth-Request-User") != "wangwu" {
				h.failf("got %v", a)
			}
		})
		for _, query := range []string{"?allowed_groups=x", "?uri=/public/a", "?X-Forwarded-Uri=/public/a",
			"?rd=/public/a", "?access=public", "?allowed_emails=*", "?/public/a"} {
			if endpoint == "ext-authz/page" {
				continue // the query belongs to the page there
			}
			add("F10 "+endpoint+query, func(h *client) {
				if a := send(h, endpoint+query, lines...); a.status != 401 {
					h.failf("got %v", a)
				}
				if a := send(h, endpoint+query, append(slices.Clone(lines), h.member("zhangsan"))...); a.status != 200 {
					h.failf("got %v", a)
				}
			})
		}
	}
	for b := range 256 { // F6: each byte as a method
		if b == '\r' || b == '\n' {
			continue
		}
		add(fmt.Sprintf("F6 byte %#x", b), func(h *client) {
			for _, c := range [][]string{{"auth", "X-Original-Method", "X-Original-URI"},
				{"forward-auth", "X-Forwarded-Method", "X-Forwarded-Uri"}} {
				a := h.send(request{
					from: gateway,
					raw: requestText("GET", "/oauth2/"+c[0], h.id, c[1]+": "+string([]byte{byte(b)}),
						c[2]+": /read/a", "X-Forwarded-Host: app.test"),
				})
				if h.checkSubrequest(c[0], a); a.status == 200 {
					h.failf("%s: allowed by the byte %#x", c[0], b)
				}
			}
		})
	}
	for _, path := range []string{"", "/", "//", "/..", "/../auth", "/%2e%2e/auth", "/../../public/a", "x",
		"%2fpublic/a", ";/public/a", "?/public/a", "/?/public/a", "/page#/public/a", "/page%23/public/a",
		"/./public/a", "\\public"} {
		for _, from := range []string{gateway, untrusted} {
			add(fmt.Sprintf("F11 ext-authz%s from %s", path, from), func(h *client) {
				if a := h.send(request{
					from: from,
					raw:  requestText("GET", "/oauth2/ext-authz"+path, h.id),
				}); a.status == 200 || a.status >= 500 || a.status == 302 {
					h.failf("got %v", a)
				}
			})
		}
	}
	return list
}

// corrupt changes a cookie's value so that it is no longer valid.
func corrupt(value string, how int) string {
	if value == "" {
		return "nothing"
	}
	b := []byte(value)
	at := how % 41 * len(b) / 41
	switch how % 8 {
	case 0:
		b[at] ^= 1
	case 1:
		b = b[:at]
	case 2:
		b = append(b, b[:at+1]...)
	case 3:
		b = append(slices.Clone(b[len(b)/2:]), b[:len(b)/2]...)
	case 4:
		b = slices.Insert(b, at, '=')
	case 5:
		b[at] ^= 0x20
	case 6:
		b = slices.Delete(b, at, at+1)
	case 7:
		b = append(b, byte('A'+how))
	}
	return string(b)
}

// unreadBodies covers F9: the response does not wait for a body.
func unreadBodies() (list []try) {
	for _, endpoint := range []string{"auth", "forward-auth", "ext-authz/page"} {
		for name, c := range map[string][2]string{
			"100 MiB announced":   {"Content-Length: 104857600", ""},
			"some of 100 MiB":     {"Content-Length: 104857600", strings.Repeat("x", 100_000)},
			"chunked without end": {"Transfer-Encoding: chunked", "5\r\nhello\r\n"},
			"Expect":              {"Content-Length: 104857600\r\nExpect: 100-continue", ""},
			"one byte short":      {"Content-Length: 10", "123456789"},
		} {
			for _, person := range []string{"", "zhangsan"} {
				list = append(list, try{fmt.Sprintf("F9 %s %s %q", endpoint, name, person), func(h *client) {
					lines := []string{"X-Original-URL: https://app.test/page", c[0]}
					want := 401
					if endpoint == "forward-auth" {
						lines[0] = "X-Forwarded-Uri: /page\r\nX-Forwarded-Host: app.test"
					}
					if endpoint == "ext-authz/page" {
						lines = lines[1:]
					}
					if person != "" {
						lines, want = append(lines, h.member(person)), 200
					}
					a := h.send(request{
						from:   gateway,
						method: "POST",
						raw:    requestText("POST", "/oauth2/"+endpoint, h.id, lines...) + c[1],
						fresh:  true,
					})
					if a.status != want {
						h.failf("got %v, want %d", a, want)
					}
				}})
			}
		}
	}
	return list
}

// sendSlowly sends a request byte by byte until a response arrives.
func sendSlowly(w *rawConn, text string, pause time.Duration, limit time.Duration) (responded bool, err error) {
	done := make(chan struct{})
	go func() {
		w.c.SetReadDeadline(time.Now().Add(limit))
		_, err = w.br.Peek(1)
		close(done)
	}()
	for i := 0; ; i++ {
		select {
		case <-done:
			return err == nil || err == io.EOF, err
		case <-time.After(pause):
			if i < len(text) {
				w.c.Write([]byte{text[i]})
			}
		}
	}
}
