package hostile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Tries are M11, and what of the classes C, H, P and M another framing could
// bring back.
func http2Tries(s *env) []try {
	return slices.Concat(pseudo(), fieldsOf(), forgedFields(), crumbs(), http2Bodies(), http2Paths(), closedQueries(),
		s.inTurns(floods()))
}

// refusedTwo: not a byte of it reaches the application.
func (h *client) refusedTwo(fields []hpack.HeaderField, body string) {
	a, why := h.stream(request{right: true, fresh: true, cleared: true}, fields, body)
	if a.status >= 200 && a.status < 400 || a.status >= 500 {
		h.failf("got %v %s, want a refusal", a, why)
	}
	if seen := h.env.up.of(h.id); len(seen) > 0 {
		h.failf("it arrived: %q", seen[0].head)
	}
}

// pseudo: requests whose pseudo-headers no HTTP/1 request line could be.
func pseudo() (list []try) {
	good := []string{":method: GET", ":scheme: https", ":authority: app.test", ":path: /public/m"}
	add := func(name string, fields ...string) {
		list = append(list, try{"M11 " + name, func(h *client) {
			h.refusedTwo(append(line(fields...), hpack.HeaderField{Name: "x-case", Value: h.id}), "")
		}})
	}
	for i := range good {
		if i != 2 { // without an authority there is the Host field, below
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
	// A Host field beside the authority: one of them counts, everywhere the same.
	for _, c := range []struct {
		authority, host string
		in              bool
	}{{"app.test", "evil.test", true}, {"evil.test", "app.test", false}, {"", "app.test", true},
		{"", "evil.test", false}, {"APP.test:443", "app.test", true}, {"app.test.", "x", true}} {
		list = append(list, try{fmt.Sprintf("M11 authority %q beside host %q", c.authority, c.host), func(h *client) {
			fields := h.asking("GET", "/page", c.authority, "host: "+c.host,
				"cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: "))
			if c.authority == "" {
				fields = slices.DeleteFunc(fields, func(f hpack.HeaderField) bool { return f.Name == ":authority" })
			}
			a, why := h.stream(request{right: c.in, fresh: true}, fields, "")
			seen := h.env.up.of(h.id)
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
			fields := h.asking("GET", "/page", "app.test", "accept: text/html")
			fields[1].Value = scheme
			// Whatever it says: where people are sent is what the configuration says.
			if a, _ := h.stream(request{fresh: true}, fields, ""); a.status == 200 {
				h.failf("got %v", a)
			}
		}})
	}
	return list
}

// fieldsOf: fields that HTTP/2 does not have, and names and values that would
// become several lines on the way to an HTTP/1 application.
func fieldsOf() (list []try) {
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
				h.stream(request{right: true, fresh: true, cleared: true},
					h.asking("GET", "/public/m", "app.test", more...), "")
				h.oneReading()
				for _, got := range h.env.up.of(h.id) {
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

// forgedFields is class H over HTTP/2.
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
					a, why := h.stream(request{right: true}, h.asking("GET", "/public/h", "app.test", more...), "")
					seen := h.env.up.of(h.id)
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

// crumbs: HTTP/2 may cut a Cookie header at its blanks; what is read and what is
// kept from the application is the whole of it.
func crumbs() (list []try) {
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
			a, _ := h.stream(request{right: true}, h.asking("GET", "/page", "app.test", fields...), "")
			seen := h.env.up.of(h.id)
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
			if a, _ := h.stream(request{cleared: true}, h.asking("GET", "/page", "app.test", fields...),
				""); a.status != 401 {
				h.failf("got %v", a)
			}
		}})
	}
	return list
}

// http2Bodies: a length that the frames do not keep, and trailers.
func http2Bodies() (list []try) {
	for _, c := range []struct{ length, body string }{{"5", "hello world"}, {"50", "hello"}, {"0", "hello"},
		{"5", "hell"}, {"99999999999999999999", "x"}, {"05", "hello!"}} {
		list = append(list, try{fmt.Sprintf("M11 M14 length %s, %d sent", c.length, len(c.body)), func(h *client) {
			h.stream(request{right: true, fresh: true, method: "POST"},
				h.asking("POST", "/public/m", "app.test", "content-length: "+c.length), c.body)
			h.oneReading()
			for _, got := range h.env.up.of(h.id) {
				for range 200 {
					if got = h.env.up.of(h.id)[0]; got.ended {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				// that was a whole request before more came
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
			w, err := dialHTTP2(stranger, h.env.gate, h.env.secure)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			name, _, _ := strings.Cut(trailer[1:], ":")
			id, _ := w.open(h.asking("POST", "/public/m", "app.test", "trailer: "+trailer[:1]+name), false)
			w.fr.WriteData(id, false, []byte("hello"))
			w.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID:      id,
				BlockFragment: w.encode(line(trailer)),
				EndStream:     true,
				EndHeaders:    true,
			})
			w.read(id)
			for _, got := range h.env.up.of(h.id) {
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

// http2Paths is class P over HTTP/2.
func http2Paths() (list []try) {
	for _, path := range closedPaths() {
		list = append(list, try{fmt.Sprintf("P1 over HTTP/2 %q", path), func(h *client) {
			h.stream(request{}, h.asking("GET", path, "app.test", "accept: text/html"), "")
			if len(h.env.up.of(h.id)) > 0 {
				h.failf("it arrived")
			}
		}})
	}
	for _, path := range guardedPaths {
		list = append(list, try{fmt.Sprintf("P1 guarded over HTTP/2 %q", path), func(h *client) {
			h.stream(request{},
				h.asking("GET", path, "app.test", "cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")), "")
			if len(h.env.up.of(h.id)) > 0 {
				h.failf("it arrived")
			}
		}})
	}
	return list
}

// floods are M11's hurry: each on a connection of its own; it ends, or it goes
// on within its limits, and others are served meanwhile.
func floods() (list []try) {
	const most = 300 << 20 // more than this a flood must not cost, with the race detector
	add := func(name string, flood func(h *client, w *http2Conn) error) {
		list = append(list, try{"M11 " + name, func(h *client) {
			before := h.env.memory()
			w, err := dialHTTP2(h.env.someone(), h.env.gate, h.env.secure)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			drained := make(chan struct{})
			go func() { // the sender reads, or the flood ends by itself
				defer close(drained)
				io.Copy(io.Discard, w.c)
			}()
			flood(h, w) // an error is how it ends
			if a := h.send(request{
				raw:   requestText("GET", "/public/x", h.id+"-other"),
				right: true,
				fresh: true,
			}); a.status != 200 {
				h.failf("others are not served: %v", a)
			}
			if after := h.env.memory(); after > before+most {
				h.failf("it cost %d MiB", (after-before)>>20)
			}
			w.c.Close()
			<-drained
		}})
	}
	add("rapid reset, CVE-2023-44487", func(h *client, w *http2Conn) error {
		for range 10_000 {
			id, err := w.open(h.asking("GET", "/page", "app.test"), true)
			if err == nil {
				err = w.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	add("rapid reset with a session", func(h *client, w *http2Conn) error {
		cookie := "cookie: " + strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")
		for range 1000 {
			id, err := w.open(h.asking("GET", "/page", "app.test", cookie), true)
			if err == nil {
				err = w.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	add("made to reset, CVE-2025-8671", func(h *client, w *http2Conn) error { // the server's own resets count too
		for range 10_000 {
			id, err := w.open(h.asking("GET", "/page", "app.test"), true)
			if err == nil {
				err = w.fr.WriteWindowUpdate(id, 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	add("more streams than allowed", func(h *client, w *http2Conn) error {
		for range 2000 {
			if _, err := w.open(h.asking("POST", "/oauth2/userinfo", "app.test", "content-length: 10"),
				false); err != nil {
				return err
			}
		}
		return nil
	})
	add("CONTINUATION without end, CVE-2023-45288", func(h *client, w *http2Conn) error {
		block := w.encode(append(h.asking("GET", "/page", "app.test"), hpack.HeaderField{
			Name:  "x-a",
			Value: strings.Repeat("~", 16000),
		}))
		if err := w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      1,
			BlockFragment: block[:100],
			EndStream:     true,
		}); err != nil {
			return err
		}
		for n := 0; ; n++ {
			if err := w.fr.WriteContinuation(1, false,
				w.encode(line(fmt.Sprintf("x-%d: %s", n, strings.Repeat("~", 8000))))); err != nil {
				return err
			}
			if n == 4000 {
				h.failf("%d CONTINUATION frames are still welcome", n)
				return nil
			}
		}
	})
	add("empty CONTINUATION", func(h *client, w *http2Conn) error {
		block := w.encode(h.asking("GET", "/page", "app.test"))
		if err := w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      1,
			BlockFragment: block,
			EndStream:     true,
		}); err != nil {
			return err
		}
		for range 50_000 {
			if err := w.fr.WriteContinuation(1, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
	add("a HPACK bomb", func(h *client, w *http2Conn) error {
		value := hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("b", 3900)}
		for range 20 {
			fields := h.asking("GET", "/page", "app.test")
			for range 15_000 { // a byte each
				fields = append(fields, value)
			}
			if _, err := w.open(fields, true); err != nil {
				return err
			}
		}
		return nil
	})
	add("a HPACK table of 4 GiB", func(h *client, w *http2Conn) error {
		return w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      1,
			BlockFragment: []byte{0x3f, 0xe1, 0xff, 0xff, 0xff, 0x0f, 0x82, 0x87, 0x84, 0x41, 0x00},
			EndStream:     true,
			EndHeaders:    true,
		})
	})
	for name, block := range map[string][]byte{"an index beyond the table": {0xff, 0xff, 0xff, 0x7f},
		"a number without end":           {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a string longer than the block": {0x40, 0x7f, 0xff, 0xff, 0x03, 'x'},
		"a bad Huffman code":             {0x40, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00}, "index 0": {0x80}} {
		add("HPACK: "+name, func(h *client, w *http2Conn) error {
			return w.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID:      1,
				BlockFragment: block,
				EndStream:     true,
				EndHeaders:    true,
			})
		})
	}
	many := func(name string, n int, frame func(w *http2Conn, i int) error) {
		add(name, func(h *client, w *http2Conn) error {
			for i := range n {
				if err := frame(w, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	many("SETTINGS", 20_000, func(w *http2Conn, i int) error {
		return w.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
	})
	many("SETTINGS that are none", 200, func(w *http2Conn, i int) error {
		return w.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: uint32(i)}, http2.Setting{
			ID:  http2.SettingID(i),
			Val: 1 << 31,
		})
	})
	many("PING", 50_000, func(w *http2Conn, i int) error { return w.fr.WritePing(false, [8]byte{byte(i)}) })
	many("PRIORITY", 50_000, func(w *http2Conn, i int) error {
		return w.fr.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 1), Weight: 255})
	})
	many("WINDOW_UPDATE", 5000, func(w *http2Conn, i int) error { return w.fr.WriteWindowUpdate(0, 1<<31-1) })
	many("RST of no stream",
		5000, func(w *http2Conn, i int) error { return w.fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) })
	many("unknown frames", 20_000, func(w *http2Conn, i int) error {
		return w.fr.WriteRawFrame(http2.FrameType(200+i%50), 0xff, uint32(i), make([]byte, 100))
	})
	many("DATA of no stream",
		1000, func(w *http2Conn, i int) error { return w.fr.WriteData(uint32(2*i+1), false, make([]byte, 1000)) })
	many("PUSH_PROMISE", 10, func(w *http2Conn, i int) error {
		return w.fr.WritePushPromise(http2.PushPromiseParam{
			StreamID:      1,
			PromiseID:     uint32(2 * i),
			BlockFragment: []byte{0x82},
			EndHeaders:    true,
		})
	})
	many("a frame of 16 MiB", 1, func(w *http2Conn, i int) error {
		_, err := w.c.Write([]byte("\xff\xff\xff\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 1<<20)))
		return err
	})
	many("even streams", 10, func(w *http2Conn, i int) error {
		return w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      uint32(2 * (i + 1)),
			BlockFragment: []byte{0x82, 0x87, 0x84},
			EndStream:     true,
			EndHeaders:    true,
		})
	})
	add("empty DATA", func(h *client, w *http2Conn) error {
		id, err := w.open(h.asking("POST", "/oauth2/userinfo", "app.test"), false)
		for i := 0; err == nil && i < 50_000; i++ {
			err = w.fr.WriteData(id, false, nil)
		}
		return err
	})
	add("nobody takes the answers", func(h *client, w *http2Conn) error { // a window of nothing, and 1 GiB for each
		if err := w.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			return err
		}
		cookie := "cookie: " + strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")
		for range 100 {
			if _, err := w.open(h.asking("GET", "/act/flood", "app.test", cookie), true); err != nil {
				return err
			}
		}
		time.Sleep(time.Second)
		return nil
	})
	return list
}
