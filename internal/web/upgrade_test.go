package web

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

const handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Version: 13\r\n"

func TestUpgrade(t *testing.T) {
	for _, c := range []struct {
		line, headers string
		websocket, ok bool
	}{
		{"GET / HTTP/1.1", handshake, true, true},
		{"GET / HTTP/1.1", strings.Replace(handshake, "websocket", "WebSocket", 1), true, true},
		{"GET / HTTP/1.1", strings.Replace(handshake, "Connection: Upgrade", "Connection: keep-alive, Upgrade", 1),
			true, true},
		{"GET / HTTP/1.1", "", false, true},
		{"GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\n", false, true},
		{"GET / HTTP/1.1", strings.Replace(handshake, "websocket", "websocket, h2c", 1), false, true},
		{"GET / HTTP/1.1", handshake + "Upgrade: h2c\r\n", false, true},
		{"POST / HTTP/1.1", handshake, false, false},
		{"GET / HTTP/1.0", handshake, false, false},
		{"GET / HTTP/1.1", handshake + "Content-Length: 3\r\n", false, false},
		{"GET / HTTP/1.1", handshake + "Transfer-Encoding: chunked\r\n", false, false},
		{"GET / HTTP/1.1", strings.Replace(handshake, "13", "8", 1), false, false},
		{"GET / HTTP/1.1", strings.Replace(handshake, "dGhl", "!!!!", 1), false, false},
		{"GET / HTTP/1.1", strings.Replace(handshake, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1),
			false, false},
		{"GET / HTTP/1.1", strings.Replace(handshake, "Connection: Upgrade\r\n", "", 1), false, false},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.line + "\r\nHost: app.test\r\n" + c.headers +
			"\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		if ws, err := Upgrade(r); ws != c.websocket || (err == nil) != c.ok {
			t.Errorf("Upgrade(%s %q) = %v, %v, want %v, ok %v", c.line, c.headers, ws, err, c.websocket, c.ok)
		}
	}
}

func FuzzUpgrade(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n" + handshake + "\r\n")
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n" + handshake + "Content-Length: 5\r\n\r\nhello")
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n" + handshake + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\n" + handshake + "\r\n")
	f.Add("GET / HTTP/1.0\r\nHost: a\r\n" + handshake + "\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		if ws, err := Upgrade(r); ws && err == nil &&
			(r.Method != "GET" || !r.ProtoAtLeast(1, 1) || r.ContentLength != 0 || len(r.TransferEncoding) > 0 ||
				len(r.Header["Sec-Websocket-Key"]) != 1 || len(r.Header["Upgrade"]) != 1 ||
				!strings.EqualFold(strings.TrimSpace(r.Header["Upgrade"][0]), "websocket")) {
			t.Errorf("Upgrade(%q) accepted", raw)
		}
	})
}
