package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBodyThatNeverComes: anyone who may not enter is told so although the body
// that was announced never arrives, and holds no connection (threats D2, V23).
// The deadline is far beyond what the answer takes: it only ends a hang.
func TestBodyThatNeverComes(t *testing.T) {
	h := newTestEnv(t, nil)
	for _, c := range []struct {
		target, framing string
		status          int
	}{
		{"/", "Content-Length: 1000", 401}, {"/", "Content-Length: 104857600", 401},
		{"/", "Transfer-Encoding: chunked", 401},
		{"/a/../b", "Content-Length: 1000", 400}, {"/oauth2/start", "Content-Length: 1000", 405},
		{"/oauth2/nope", "Transfer-Encoding: chunked", 404},
		{"/oauth2/sign_out", "Content-Length: 1000", 303}, {"/oauth2/auth", "Content-Length: 1000", 401},
		{"/oauth2/forward-auth", "Transfer-Encoding: chunked", 401},
	} {
		conn := dialHouse(t, h)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", c.target,
			strings.TrimPrefix(h.base, "http://"), c.framing)
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("POST %s with %s and no body: %v, want %d", c.target, c.framing, err, c.status)
			continue
		}
		io.Copy(io.Discard, res.Body)
		if _, err := r.ReadByte(); res.StatusCode != c.status || err != io.EOF {
			t.Errorf("POST %s with %s and no body = %d, then %v, want %d and the connection closed", c.target,
				c.framing, res.StatusCode, err, c.status)
		}
	}
}

// TestRefusedBodyKeepsTheConnection: a body that does come costs nobody their
// connection, and the deadline of the refusal is not the next request's.
func TestRefusedBodyKeepsTheConnection(t *testing.T) {
	h := newTestEnv(t, nil)
	conn := dialHouse(t, h)
	r := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc",
			strings.TrimPrefix(h.base, "http://"))
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 401 || res.Close {
			t.Fatalf("POST with its body = %v, %v, want 401 on a connection that stays", res, err)
		}
		io.Copy(io.Discard, res.Body)
	}
	fmt.Fprintf(conn, "POST /public/ HTTP/1.1\r\nHost: %s\r\nContent-Length: 6\r\n\r\nabc",
		strings.TrimPrefix(h.base, "http://"))
	// a slow upload that is let in takes the time it takes
	time.AfterFunc(700*time.Millisecond, func() { io.WriteString(conn, "def") })
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("a slow upload after refusals: %v", err)
	}
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.HasSuffix(string(body), "abcdef") {
		t.Errorf("a slow upload after refusals = %d %q, want it whole at the application", res.StatusCode, body)
	}
}

func dialHouse(t *testing.T, h *testEnv) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}
