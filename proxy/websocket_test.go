package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"dinggate/session"
)

const handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Version: 13"

// echoUpgraded switches to a protocol that echoes every byte; end is closed when the connection has
// ended. Without a handshake it echoes the request.
func echoUpgraded(end chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			echo(w, r)
			return
		}
		conn, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn,
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-User: "+
				r.Header.Get("X-Forwarded-User")+"\r\nSet-Cookie: dinggate=x\r\n\r\n")
		_, err = io.Copy(conn, brw)
		end <- err
	})
}

// connect makes a handshake and returns the connection after the 101.
func (d *env) connect(headers ...string) (net.Conn, *bufio.Reader, *http.Response) {
	d.t.Helper()
	conn := d.speak("GET /ws HTTP/1.1\r\nHost: " + host + "\r\n" +
		strings.Join(append(headers, handshake, "", ""), "\r\n"))
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return conn, in, res
}

func (d *env) talk(conn net.Conn, in *bufio.Reader, text string) {
	d.t.Helper()
	io.WriteString(conn, text+"\n")
	if got, err := in.ReadString('\n'); got != text+"\n" {
		d.t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}

func TestWebSocket(t *testing.T) {
	end := make(chan error, 1)
	d := open(t, plan{app: echoUpgraded(end)})
	_, cookie := d.signIn("zhangsan")
	for _, origin := range []string{"X-Nothing: 1", "Origin: https://app.test", "Origin: HTTPS://APP.test:443"} {
		conn, in, res := d.connect("Cookie: "+cookie, origin, "X_Forwarded_User: forged")
		if res.StatusCode != 101 || res.Header.Get("X-User") != "zhangsan" || len(res.Header["Set-Cookie"]) > 0 ||
			strings.Join(res.Header["Connection"], ",") != "Upgrade" {
			t.Fatalf("%s: %d %v, want 101 as zhangsan", origin, res.StatusCode, res.Header)
		}
		d.talk(conn, in, "hello")
		conn.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadAll(in); err != nil {
			t.Errorf("%s: the end was not clean: %v", origin, err)
		}
		<-end
	}
	if x := d.last(3); x.Status != 101 || x.Verdict != "allow" || x.Err != nil {
		t.Errorf("record %d %q %v, want 101 allow", x.Status, x.Verdict, x.Err)
	}
}

// TestHandshakeRefused: refused handshakes, and their connections (M7, M8, W1, W3).
func TestHandshakeRefused(t *testing.T) {
	d := open(t, plan{app: echoUpgraded(make(chan error, 1))})
	_, cookie := d.signIn("zhangsan")
	signedIn := "Cookie: " + cookie
	for _, c := range []struct {
		line, headers string
		status        int
		body          string
	}{
		{"GET /ws HTTP/1.1", handshake, 401, "unauthenticated"},
		{"GET /ws HTTP/1.1", handshake + "\r\n" + page, 401, "unauthenticated"},
		{"GET /ws HTTP/1.1", signedIn + "\r\nOrigin: https://evil.test\r\n" + handshake, 403, "cross_site"},
		{"GET /ws HTTP/1.1", signedIn + "\r\nOrigin: null\r\n" + handshake, 403, "cross_site"},
		{"GET /ws HTTP/1.1", signedIn + "\r\nOrigin: https://app.test.evil.test\r\n" + handshake, 403, "cross_site"},
		{"GET /ws HTTP/1.1", signedIn + "\r\nOrigin: https://app.test\r\nOrigin: https://app.test\r\n" + handshake,
			403, "cross_site"},
		{"GET /public/ HTTP/1.1", "Origin: https://evil.test\r\n" + handshake, 403, "cross_site"},
		{"GET /admin/ HTTP/1.1", signedIn + "\r\n" + handshake, 403, "not_allowed"},
		{"POST /ws HTTP/1.1", signedIn + "\r\n" + handshake, 400, "websocket_handshake"},
		{"GET /ws HTTP/1.0", signedIn + "\r\n" + handshake, 400, "websocket_handshake"},
		{"GET /ws HTTP/1.1", signedIn + "\r\nContent-Length: 1\r\n" + handshake, 400, "websocket_handshake"},
		{"GET /ws HTTP/1.1", signedIn + "\r\n" + strings.Replace(handshake, "-Key", "-Lock", 1), 400,
			"websocket_handshake"},
		{"GET /ws HTTP/1.1", signedIn + "\r\n" + strings.Replace(handshake, "13", "8", 1), 400, "websocket_handshake"},
	} {
		conn := d.speak(c.line + "\r\nHost: " + host + "\r\n" + c.headers +
			"\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		raw, _ := io.ReadAll(conn)
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != c.status || !strings.Contains(string(raw), c.body) || !res.Close ||
			strings.Contains(string(raw), "smuggled") {
			t.Errorf("%s %q = %s, want %d %s and the end of the connection", c.line, c.headers, raw, c.status, c.body)
		}
	}
}

// TestUpgradeStripped: only the upgrade to a WebSocket is forwarded, and only if the route allows
// it (M6). An upstream's ordinary answer ends the connection (M8).
func TestUpgradeStripped(t *testing.T) {
	d := open(t, plan{app: echoUpgraded(make(chan error, 1))})
	_, cookie := d.signIn("zhangsan")
	for _, c := range []struct{ path, headers string }{
		{"/x", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"},
		{"/x", strings.Replace(handshake, "websocket", "websocket, h2c", 1)},
		{"/x", handshake + "\r\nUpgrade: h2c"},
		{"/x", "Upgrade: TLS/1.0\r\nConnection: Upgrade"},
		{"/x", "Upgrade: \x80\xff\r\nConnection: Upgrade"},
		{"/x", "Upgrade: websocket-x\r\nConnection: keep-alive"},
		{"/plain/x", handshake},
	} {
		conn := d.speak("GET " + c.path + " HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n" +
			c.headers + "\r\n\r\n")
		res, body := answered(t, conn, "GET")
		if res.StatusCode != 200 || !res.Close {
			t.Errorf("%q = %d, close %t, want 200 and the end of the connection", c.headers, res.StatusCode, res.Close)
			continue
		}
		if h := sawOf(t, body).Header; h["Upgrade"] != nil || h["Http2-Settings"] != nil || len(h["Connection"]) > 0 {
			t.Errorf("%q: the upstream saw %v", c.headers, h)
		}
	}
}

// TestBytesBehindHandshake: bytes after a handshake never reach the upstream, whatever it answers
// (M8).
func TestBytesBehindHandshake(t *testing.T) {
	got := make(chan string, 4)
	for _, answer := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
	} {
		upstream, _ := badly(t, func(conn net.Conn, _ int) {
			io.WriteString(conn, answer)
			rest, _ := io.ReadAll(conn)
			got <- string(rest)
		})
		d := open(t, plan{upstream: upstream})
		_, cookie := d.signIn("zhangsan")
		conn := d.speak("GET /ws HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n" + handshake +
			"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n\r\n")
		raw, _ := io.ReadAll(conn)
		d.handler.Routes.list[0].Upstream.CloseIdleConnections()
		if rest := <-got; rest != "" || strings.Count(string(raw), "HTTP/1.1 ") > 1 ||
			strings.Contains(string(raw), " 101 ") {
			t.Errorf("answer %q: the upstream got %q, the client %q", answer, rest, raw)
		}
	}
}

// TestWebSocketEndsWithSession: an open WebSocket ends with its session, on both sides (W2).
func TestWebSocketEndsWithSession(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(d *env, s *session.Session) error
	}{
		{"signed out", func(d *env, s *session.Session) error { return d.handler.Sessions.Revoke(t.Context(), s.ID) }},
		{"left", func(d *env, s *session.Session) error {
			return d.handler.Sessions.RevokeUser(t.Context(), session.Person{UnionID: s.User.UnionID}, "left")
		}},
		{"expired", func(*env, *session.Session) error { return nil }},
	} {
		config := session.Defaults()
		if c.name == "expired" {
			config.Lifetime = 4 * time.Second // the WebSocket opens before it, on a busy machine too
		}
		end := make(chan error, 1)
		d := open(t, plan{app: echoUpgraded(end), session: config})
		s, cookie := d.signIn("zhangsan")
		conn, in, res := d.connect("Cookie: " + cookie)
		if res.StatusCode != 101 {
			t.Fatalf("%s: %d, want 101", c.name, res.StatusCode)
		}
		d.talk(conn, in, "hello")
		if err := c.end(d, s); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the client's side lives on: %q, %v", c.name, rest, err)
		}
		select {
		case <-end:
		case <-time.After(time.Minute):
			t.Errorf("%s: the upstream's side lives on", c.name)
		}
	}
}
