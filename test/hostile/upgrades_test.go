package hostile

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// upgrades covers M6–M9: no request inside a tunnel is authorized, so a tunnel must not open.
func upgrades(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	var mu sync.Mutex
	tunnelled, ended := map[string]string{}, map[string]bool{} // by case: tunnel data; tunnel closed
	switchTo := func(protocol string) func(net.Conn, *upstreamRequest) {
		return func(c net.Conn, r *upstreamRequest) {
			fmt.Fprintf(c,
				"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\nX-Upstream: %s\r\n\r\n",
				protocol, mark)
			c.SetReadDeadline(time.Now().Add(responseTimeout))
			b, _ := io.ReadAll(io.LimitReader(c, 1<<20)) // the client ends it
			mu.Lock()
			tunnelled[r.value("X-Case")] += string(b)
			ended[r.value("X-Case")] = true
			mu.Unlock()
		}
	}
	through := func(id string) string {
		for range 600 {
			mu.Lock()
			if ended[id] {
				defer mu.Unlock()
				return tunnelled[id]
			}
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
		return "the tunnel does not end with its client"
	}
	s.up.handle("tunnel", switchTo("websocket"))
	s.up.handle("open", func(c net.Conn, _ *upstreamRequest) {
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	s.up.handle("h2c", switchTo("h2c"))
	s.up.handle("unrequested", func(c net.Conn, _ *upstreamRequest) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nX-Upstream: "+mark+"\r\n\r\n"+mark)
		time.Sleep(20 * time.Millisecond)
	})
	rest := handshake[1:]
	// M6: values other than a single websocket token.
	for _, up := range []string{"h2c", "H2C", "h2c, websocket", "websocket, h2c", "websocket,h2c", "TLS/1.0",
		"IRC/6.9", "websocket/13", "websocket x", "WebSocket;q=1", "HTTP/2.0", "connect-udp", "ssh", "", ",",
		"websocket,", `"websocket"`, "web socket", "foo, bar", "HTTP/1.1", "websocket\x00", "spdy/3", "quic",
		"w\u00e9bsocket"} {
		for _, path := range []string{"/act/tunnel", "/act/h2c", "/act/unrequested"} {
			add(fmt.Sprintf("M6 %q at %s", up, path), func(h *client) {
				lines := append([]string{"Upgrade: " + up, h.member("zhangsan"), "HTTP2-Settings: AAMAAABkAAQAAP__"},
					rest...)
				a := h.send(request{
					raw:        requestText("GET", path, h.id, lines...) + "SSH-2.0-tunnel\r\n",
					authorized: true,
					failing:    true,
					fresh:      true,
					more:       true,
				})
				if a.status == 101 {
					h.failf("became a tunnel: %v", a)
				}
				for _, got := range h.env.up.received(h.id) {
					if len(got.values("Upgrade")) > 0 ||
						len(got.values("HTTP2-Settings")) > 0 &&
							strings.Contains(strings.ToLower(got.value("Connection")), "upgrade") {
						h.failf("the upgrade arrived: %q", got.head)
					}
				}
			})
		}
	}
	for _, lines := range [][]string{{"Upgrade: websocket", "Upgrade: h2c"}, {"Upgrade: h2c", "Upgrade: websocket"},
		{"Upgrade: websocket", "Upgrade: websocket"}, {"upgrade: websocket", "UPGRADE: x"}} {
		add(fmt.Sprintf("M6 %q", lines), func(h *client) {
			a := h.send(request{
				raw: requestText("GET", "/act/tunnel", h.id,
					append(append(lines[:2:2], h.member("zhangsan")), rest...)...),
				authorized: true,
				failing:    true,
				fresh:      true,
			})
			if a.status == 101 {
				h.failf("became a tunnel: %v", a)
			}
		})
	}
	// M7: a malformed handshake.
	for name, c := range map[string]struct {
		method, change, to, more string
	}{
		"POST": {"POST", "", "", ""}, "HEAD": {"HEAD", "", "", ""}, "a length": {"GET", "", "", "Content-Length: 3"},
		"chunked":       {"GET", "", "", "Transfer-Encoding: chunked"},
		"no key":        {"GET", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "X: y", ""},
		"two keys":      {"GET", "", "", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
		"short key":     {"GET", "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", ""},
		"no base64":     {"GET", "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!!!", ""},
		"no version":    {"GET", "Sec-WebSocket-Version: 13", "X: y", ""},
		"version 8":     {"GET", "Version: 13", "Version: 8", ""},
		"version 13, 8": {"GET", "Version: 13", "Version: 13, 8", ""},
		"two versions":  {"GET", "", "", "Sec-WebSocket-Version: 8"},
		"no Connection": {"GET", "Connection: Upgrade", "Connection: keep-alive", ""}, "PUT": {"PUT", "", "", ""},
		"OPTIONS": {"OPTIONS", "", "", ""},
	} {
		add("M7 "+name, func(h *client) {
			text := requestText(c.method, "/act/tunnel", h.id, append([]string{h.member("zhangsan")}, handshake...)...)
			if c.change != "" {
				text = strings.Replace(text, c.change, c.to, 1)
			}
			if c.more != "" {
				text = strings.TrimSuffix(text, "\r\n") + c.more + "\r\n\r\n"
			}
			if a := h.send(request{
				method:     c.method,
				raw:        text,
				fresh:      true,
				more:       true,
				authorized: true,
			}); a.status != 400 || len(h.env.up.received(h.id)) > 0 || !a.closed {
				h.failf("got %v, closed %v, want 400 and a closed connection", a, a.closed)
			}
		})
	}
	add("M7 HTTP/1.0", func(h *client) {
		text := strings.Replace(requestText("GET", "/act/tunnel", h.id,
			append([]string{h.member("zhangsan")}, handshake...)...), "HTTP/1.1", "HTTP/1.0", 1)
		if a := h.send(request{raw: text, fresh: true, more: true, authorized: true}); a.status != 400 {
			h.failf("got %v", a)
		}
	})
	// M8: data in the same packet as the handshake belongs to the new protocol.
	for _, early := range []string{smuggled, "\x81\x05hello", "x", strings.Repeat("a", 5000)} {
		for _, member := range []bool{true, false} {
			add(fmt.Sprintf("M8 %.20q member %v", early, member), func(h *client) {
				lines := handshake
				if member {
					lines = append([]string{h.member("zhangsan")}, lines...)
				}
				a := h.send(request{
					raw:        requestText("GET", "/act/tunnel", h.id, lines...) + strings.ReplaceAll(early, "ID", h.id),
					fresh:      true,
					more:       true,
					authorized: true,
				})
				if !member && (a.status != 401 || !a.closed || a.rest != "") {
					h.failf("refused with %v, closed %v, then %q", a, a.closed, a.rest)
				}
				if member && a.status == 101 && through(h.id) != strings.ReplaceAll(early, "ID", h.id) {
					h.failf("switched, and lost or changed the early bytes")
				}
				if seen := h.env.up.received(h.id); len(seen) > 1 {
					h.failf("%d requests arrived", len(seen))
				}
			})
		}
	}
	// M9: the application switches protocols without a request to do so.
	for _, path := range []string{"/act/tunnel", "/act/h2c", "/act/unrequested"} {
		for _, requested := range []bool{false, true} {
			if requested && path == "/act/tunnel" {
				continue
			}
			add(fmt.Sprintf("M9 %s requested %v", path, requested), func(h *client) {
				lines := []string{h.member("zhangsan")}
				if requested {
					lines = append(lines, handshake...)
				}
				if a := h.send(request{
					raw:        requestText("GET", path, h.id, lines...),
					fresh:      true,
					more:       true,
					authorized: true,
					failing:    true,
				}); a.status != 502 || strings.Contains(a.body+a.rest, mark) {
					h.failf("got %v, want 502", a)
				}
			})
		}
	}
	return list
}

// misframed covers M10: an application whose responses can be parsed in two ways.
func misframed(s *env) (list []try) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Upstream: EVIL\r\n\r\nEVIL"
	for name, c := range map[string]struct {
		answer string
		want   []int
	}{
		"a second response": {"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Length: 5\r\n\r\nhello" + evil,
			[]int{200}},
		"a second behind a 204": {"HTTP/1.1 204 No Content\r\nX-Upstream: x\r\n\r\n" + evil, []int{204}},
		"a second behind a 304": {"HTTP/1.1 304 Not Modified\r\nX-Upstream: x\r\nContent-Length: 5\r\n\r\n" + evil,
			[]int{304}},
		"short": {"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Length: 500\r\n\r\nhello", nil},
		"two lengths": {
			"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", []int{502},
		},
		"a negative length": {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", []int{502}},
		"length and chunks": {
			"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" +
				"hello\r\n0\r\n\r\n" + evil, nil,
		},
		"unknown coding": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\nhello", []int{502}},
		"junk chunks": {
			"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello", nil,
		},
		"a giant header": {"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 2<<20) + "\r\n\r\n", []int{502}},
		"endless 1xx": {strings.Repeat("HTTP/1.1 103 Early Hints\r\nX-A: "+strings.Repeat("a", 2000)+
			"\r\n\r\n", 3000) + evil, []int{502}},
		"no status line":         {"hello\r\n\r\n", []int{502}},
		"HTTP/0.9":               {"<html>" + mark, []int{502}},
		"status 99":              {"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n", []int{502}},
		"status 1000":            {"HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n", []int{502}},
		"status 000":             {"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", []int{502}},
		"a header without colon": {"HTTP/1.1 200 OK\r\nX-A\r\n\r\nhello", []int{502}},
		"a NUL in a header":      {"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n", nil},
		"a CR in a header": {
			"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nX-A: a\rSet-Cookie: __Host-dinggate=x\r\nContent-Length: 0\r\n\r\n",
			nil,
		},
		"our names as 103": {
			"HTTP/1.1 103 Early Hints\r\nSet-Cookie: __Host-dinggate=planted; Path=/; Secure; HttpOnly\r\n" +
				"X-Auth-Request-User: planted\r\n\r\n" + evil, nil,
		},
		"our cookie as trailer": {
			"HTTP/1.1 200 OK\r\nX-Upstream: x\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n0\r\n" +
				"Set-Cookie: __Host-dinggate=planted; Path=/; Secure; HttpOnly; SameSite=Lax\r\n\r\n", nil,
		},
		"closes at once":          {"", []int{502}},
		"only a part of a header": {"HTTP/1.1 200 OK\r\nX-A: ", []int{502}},
	} {
		path := "misframed-" + strings.ReplaceAll(name, " ", "-")
		s.up.handle(path, func(conn net.Conn, _ *upstreamRequest) {
			io.WriteString(conn, c.answer)
			if strings.HasPrefix(name, "a second") { // the connection seems reusable
				time.Sleep(300 * time.Millisecond)
			}
		})
		list = append(list, try{"M10 " + name, func(h *client) {
			a := h.send(request{
				raw:        requestText("GET", "/act/"+path, h.id, h.member("zhangsan")),
				authorized: true,
				failing:    true,
				fresh:      true,
				more:       true,
			})
			ok := len(c.want) == 0
			for _, want := range c.want {
				ok = ok || a.status == want
			}
			if !ok || strings.Contains(a.rest, "EVIL") {
				h.failf("got %v, want %d; then %.200q", a, c.want, a.rest)
			}
			if name == "short" && a.status == 200 && !a.cut {
				h.failf("a truncated response looks complete")
			}
			for range 3 { // each of the next requests gets its own response
				if a := h.send(request{
					raw:        requestText("GET", "/after", h.id, h.member("zhangsan")),
					authorized: true,
				}); a.status != 200 || strings.Contains(a.body, "EVIL") {
					h.failf("the next request got %v", a)
				}
			}
		}})
	}
	return list
}
