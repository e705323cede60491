package hostile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Tries covers M11, and the threats of the classes C, H, P and M that HTTP/2 framing could
// reintroduce.
func http2Tries(s *env) []try {
	return slices.Concat(pseudo(), forbiddenFields(), forgedFields(), splitCookies(), http2Bodies(), http2Paths(), closedQueries(),
		s.oneAtATime(floods()))
}

// checkHTTP2Refused checks that no byte of the request reaches the application.
func (h *client) checkHTTP2Refused(fields []hpack.HeaderField, body string) {
	a, why := h.stream(request{authorized: true, fresh: true, cleared: true}, fields, body)
	if a.status >= 200 && a.status < 400 || a.status >= 500 {
		h.failf("got %v %s, want a refusal", a, why)
	}
	if seen := h.env.up.received(h.id); len(seen) > 0 {
		h.failf("the request arrived: %q", seen[0].head)
	}
}

// pseudo returns requests whose pseudo-headers do not form a valid HTTP/1 request line.
func pseudo() (list []try) {
	good := []string{":method: GET", ":scheme: https", ":authority: app.test", ":path: /public/m"}
	add := func(name string, fields ...string) {
		list = append(list, try{"M11 " + name, func(h *client) {
			h.checkHTTP2Refused(append(line(fields...), hpack.HeaderField{Name: "x-case", Value: h.id}), "")
		}})
	}
	for i := range good {
		if i != 2 { // without an authority the Host field applies, see below
			add("without "+good[i], slices.Delete(slices.Clone(good), i, i+1)...)
		}
		add("twice "+good[i], append(slices.Clone(good), good[i])...)
		add("behind a field "+good[i], append(append(slices.Delete(slices.Clone(good), i, i+1), "x-a: b"), good[i])...)
	}
	add("no authority, no host", good[0], good[1], good[3])
	for _, more := range []string{":x: y", ":status: 200", ":protocol: websocket", ": x", ":Path: /x", ":path : /x"} {
		add("more "+more, append(slices.Clone(good), more)...)
	}
	for _, path := range []string{"", "public/m", "*", "http://evil.test/public/m", "https://evil.test/public/m", "?",
		"#", "/public/m#x", "/public /m", "/public/m HTTP/1.1\r\nX-Forwarded-User: boss", "/public/\x00",
		"/public/\r\nX: y", "/public/\t", "/public/%zz", "/public/\xff", "\\public\\m", "/public/..",
		"/public/%2e%2e/admin/", "/public;x/m", "app.test:443", "mailto:x@y", "javascript:alert(1)"} {
		add(fmt.Sprintf("path %q", path), good[0], good[1], good[2], ":path: "+path)
	}
	for _, method := range []string{"", "get", "G ET", "GET\r\nX: y", "GET /admin/ HTTP/1.1\r\nX: y", "CONNECT",
		"TRACE", "TRACK", "PRI", "GET\x00", "G\xc3\x89T", "(GET)", "GET,POST"} {
		add(fmt.Sprintf("method %q", method), ":method: "+method, good[1], good[2], good[3])
	}
	add("CONNECT to elsewhere", ":method: CONNECT", ":authority: evil.test:443")
	add("CONNECT as a WebSocket", ":method: CONNECT", ":protocol: websocket", good[1], good[2], ":path: /act/tunnel",
		"sec-websocket-version: 13")
	for _, host := range []string{"", " ", "user@app.test", "app.test/x", "app.test\\x", "app.test?x", "app.test#x",
		"app.test\x00", "app.test\r\nX: y", "app.test,evil.test", "app..test", "app.test:port", "app.test:65536",
		"[::1", "ａpp.test", "app.test%00", strings.Repeat("a", 300)} {
		add(fmt.Sprintf("authority %.40q", host), good[0], good[1], ":authority: "+host, good[3])
	}
	// A Host field beside :authority: dinggate uses the same one of them everywhere.
	for _, c := range []struct {
		authority, host string
		in              bool
	}{{"app.test", "evil.test", true}, {"evil.test", "app.test", false}, {"", "app.test", true},
		{"", "evil.test", false}, {"APP.test:443", "app.test", true}, {"app.test.", "x", true}} {
		list = append(list, try{fmt.Sprintf("M11 authority %q beside host %q", c.authority, c.host), func(h *client) {
			fields := h.fields("GET", "/page", c.authority, "host: "+c.host,
				"cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: "))
			if c.authority == "" {
				fields = slices.DeleteFunc(fields, func(f hpack.HeaderField) bool { return f.Name == ":authority" })
			}
			a, why := h.stream(request{authorized: c.in, fresh: true}, fields, "")
			seen := h.env.up.received(h.id)
			for _, got := range seen {
				if v := got.values("Host"); !slices.Equal(v, []string{"app.test"}) ||
					!slices.Equal(got.values("X-Forwarded-Host"), []string{"app.test"}) {
					h.failf("hosts arrived as %q, %q", v, got.values("X-Forwarded-Host"))
				}
			}
			if !c.in && (a.status == 200 || len(seen) > 0) {
				h.failf("got %v %s", a, why)
			}
		}})
	}
	for _, scheme := range []string{"http", "ftp", "", "javascript", "HTTPS", "https://evil.test/"} {
		list = append(list, try{fmt.Sprintf("M11 scheme %q", scheme), func(h *client) {
			fields := h.fields("GET", "/page", "app.test", "accept: text/html")
			fields[1].Value = scheme
			// The scheme is ignored: redirects use the configured URL.
			if a, _ := h.stream(request{fresh: true}, fields, ""); a.status == 200 {
				h.failf("got %v", a)
			}
		}})
	}
	return list
}

// forbiddenFields returns fields that HTTP/2 forbids, and names and values that would become several
// lines in an HTTP/1 request to the application.
func forbiddenFields() (list []try) {
	for _, field := range []string{"connection: close", "connection: x-forwarded-user", "keep-alive: timeout=5",
		"proxy-connection: keep-alive", "transfer-encoding: chunked", "transfer-encoding: identity",
		"upgrade: websocket", "upgrade: h2c", "te: gzip", "te: trailers, chunked", "http2-settings: AAMAAABkAAQAAP__",
		"X-Upper: y", "x a: y", "x\r\nx-forwarded-user: boss", "x\x00: y", "x:a: y", "x\xff: y", "x-a\n: y", "\tx: y",
		"(x): y", "x-v: a\r\nx-forwarded-user: boss", "x-v: a\nb", "x-v: a\x00b", "x-v: a\rb",
		"x-v: \r\n\r\nGET /admin/smuggled HTTP/1.1", "host: app.test\r\nX: y", "content-length: 5",
		"content-length: -1", "content-length: 0, 5", "content-length: x",
		"user-agent: " + strings.Repeat("u", 70<<10), "cookie: " + strings.Repeat("c=d; ", 20_000),
		strings.Repeat("n", 70<<10) + ": v"} {
		for _, member := range []bool{false, true} {
			list = append(list, try{fmt.Sprintf("M11 %.60q member %v", field, member), func(h *client) {
				more := []string{field}
				if member {
					more = append(more, "cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: "))
				}
				h.stream(request{authorized: true, fresh: true, cleared: true},
					h.fields("GET", "/public/m", "app.test", more...), "")
				h.checkFraming()
				for _, got := range h.env.up.received(h.id) {
					if strings.Contains(got.head, "boss") ||
						len(got.values("Transfer-Encoding"))+len(got.values("Upgrade"))+
							len(got.values("Keep-Alive")) > 0 {
						h.failf("arrived as %q", got.head)
					}
				}
			}})
		}
	}
	return list
}

// forgedFields covers class H over HTTP/2.
func forgedFields() (list []try) {
	for _, name := range protectedNames {
		for _, spell := range spellings {
			field := strings.ToLower(spell(name))
			for _, member := range []bool{false, true} {
				list = append(list, try{fmt.Sprintf("H1 H2 over HTTP/2 %s member %v", field, member), func(h *client) {
					more, want := []string{field + ": " + forged, field + ": " + forged}, ""
					if member {
						more, want = append(more, "cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")),
							"zhangsan"
					}
					a, why := h.stream(request{authorized: true}, h.fields("GET", "/public/h", "app.test", more...), "")
					seen := h.env.up.received(h.id)
					if a.status != 200 || len(seen) != 1 {
						h.failf("got %v %s and %d requests", a, why, len(seen))
						return
					}
					if strings.Contains(seen[0].head, forged) {
						h.failf("a forged value arrived: %q", seen[0].head)
					}
					if got := seen[0].value("X-Forwarded-User"); got != want {
						h.failf("X-Forwarded-User arrived as %q, want %q", got, want)
					}
				}})
			}
		}
	}
	return list
}

// splitCookies checks Cookie headers that HTTP/2 splits at their blanks. dinggate must parse and filter
// the joined header.
func splitCookies() (list []try) {
	for name, cut := range map[string]func(value string) []string{
		"one crumb":           func(v string) []string { return []string{sessionCookie + "=" + v} },
		"among others":        func(v string) []string { return []string{"a=b", sessionCookie + "=" + v, "c=d"} },
		"in one with another": func(v string) []string { return []string{"a=b; " + sessionCookie + "=" + v, "c=d"} },
		"empty crumbs":        func(v string) []string { return []string{"", sessionCookie + "=" + v, "", "c=d"} },
	} {
		list = append(list, try{"C13 M11 " + name, func(h *client) {
			_, value, _ := strings.Cut(h.member("zhangsan"), "=")
			var fields []string
			for _, crumb := range cut(value) {
				fields = append(fields, "cookie: "+crumb)
			}
			a, _ := h.stream(request{authorized: true}, h.fields("GET", "/page", "app.test", fields...), "")
			seen := h.env.up.received(h.id)
			if a.status != 200 || len(seen) != 1 {
				h.failf("got %v", a)
				return
			}
			if strings.Contains(seen[0].head, "dinggate=") || strings.Contains(seen[0].head, value) ||
				len(cut(value)) > 2 && !strings.Contains(seen[0].head, "c=d") {
				h.failf("cookies arrived as %q", seen[0].values("Cookie"))
			}
		}})
	}
	for name, cut := range map[string]func(value string) []string{
		"a name in one, its value in the next": func(v string) []string { return []string{sessionCookie + "=", v} },
		"cut in the middle": func(v string) []string {
			return []string{sessionCookie + "=" + v[:40], v[40:]}
		},
		"a quote over two": func(v string) []string {
			return []string{`a="x`, sessionCookie + "=" + v, `y"`}
		},
		"junk and junk": func(v string) []string {
			return []string{sessionCookie + "=x", sessionCookie + "=y"}
		},
	} {
		list = append(list, try{"C4 M11 " + name, func(h *client) {
			_, value, _ := strings.Cut(h.member("zhangsan"), "=")
			var fields []string
			for _, crumb := range cut(value) {
				fields = append(fields, "cookie: "+crumb)
			}
			if a, _ := h.stream(request{cleared: true}, h.fields("GET", "/page", "app.test", fields...),
				""); a.status != 401 {
				h.failf("got %v", a)
			}
		}})
	}
	return list
}

// http2Bodies covers bodies whose length differs from Content-Length, and trailers.
func http2Bodies() (list []try) {
	for _, c := range []struct{ length, body string }{{"5", "hello world"}, {"50", "hello"}, {"0", "hello"},
		{"5", "hell"}, {"99999999999999999999", "x"}, {"05", "hello!"}} {
		list = append(list, try{fmt.Sprintf("M11 M14 length %s, %d sent", c.length, len(c.body)), func(h *client) {
			h.stream(request{authorized: true, fresh: true, method: "POST"},
				h.fields("POST", "/public/m", "app.test", "content-length: "+c.length), c.body)
			h.checkFraming()
			for _, got := range h.env.up.received(h.id) {
				for range 200 {
					if got = h.env.up.received(h.id)[0]; got.ended {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				// The request was complete before the additional data arrived.
				if got.whole && string(got.body) != c.body && c.length != "0" {
					h.failf("%q arrived as a whole body", got.body)
				}
				if got.whole && c.length != "05" && got.value("Content-Length") != fmt.Sprint(len(got.body)) {
					h.failf("a body of %d arrived under the length %s", len(got.body), got.value("Content-Length"))
				}
			}
		}})
	}
	for _, trailer := range []string{"x-forwarded-user: boss", "x_forwarded_user: boss", "content-length: 3",
		"transfer-encoding: chunked", "host: evil.test", ":path: /admin/", "cookie: a=b", "authorization: Basic boss"} {
		list = append(list, try{"M11 H5 a trailer " + trailer, func(h *client) {
			w, err := dialHTTP2(untrusted, h.env.addr, h.env.secure)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			name, _, _ := strings.Cut(trailer[1:], ":")
			id, _ := w.open(h.fields("POST", "/public/m", "app.test", "trailer: "+trailer[:1]+name), false)
			w.fr.WriteData(id, false, []byte("hello"))
			w.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID:      id,
				BlockFragment: w.encode(line(trailer)),
				EndStream:     true,
				EndHeaders:    true,
			})
			w.read(id)
			for _, got := range h.env.up.received(h.id) {
				if strings.Contains(got.head+string(got.body), "boss") ||
					strings.Contains(strings.ToLower(string(got.body)), "trailer host") ||
					strings.Contains(strings.ToLower(string(got.body)), "trailer transfer-encoding") {
					h.failf("arrived: %q %q", got.head, got.body)
				}
			}
		}})
	}
	return list
}

// http2Paths covers class P over HTTP/2.
func http2Paths() (list []try) {
	for _, path := range restrictedPaths() {
		list = append(list, try{fmt.Sprintf("P1 over HTTP/2 %q", path), func(h *client) {
			h.stream(request{}, h.fields("GET", path, "app.test", "accept: text/html"), "")
			if len(h.env.up.received(h.id)) > 0 {
				h.failf("the request arrived")
			}
		}})
	}
	for _, path := range guardedPaths {
		list = append(list, try{fmt.Sprintf("P1 guarded over HTTP/2 %q", path), func(h *client) {
			h.stream(request{},
				h.fields("GET", path, "app.test", "cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")), "")
			if len(h.env.up.received(h.id)) > 0 {
				h.failf("the request arrived")
			}
		}})
	}
	return list
}
