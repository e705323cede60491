package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestBodyThatNeverComes checks that a request without permission is refused although the
// announced body never arrives, and that it holds no connection (threats D2, V23). The
// deadline is much longer than the response takes: it only ends a hanging test.
func TestBodyThatNeverComes(t *testing.T) {
	h := servertest.New(t, nil)
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
		conn := dial(t, h)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", c.target,
			strings.TrimPrefix(h.URL, "http://"), c.framing)
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

// TestRefusedBodyKeepsTheConnection checks that the connection remains usable if the body
// of a refused request arrives, and that the deadline of the refusal does not apply to the
// next request.
func TestRefusedBodyKeepsTheConnection(t *testing.T) {
	h := servertest.New(t, nil)
	conn := dial(t, h)
	r := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc",
			strings.TrimPrefix(h.URL, "http://"))
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 401 || res.Close {
			t.Fatalf("POST with its body = %v, %v, want 401 on a connection that stays", res, err)
		}
		io.Copy(io.Discard, res.Body)
	}
	fmt.Fprintf(conn, "POST /public/ HTTP/1.1\r\nHost: %s\r\nContent-Length: 6\r\n\r\nabc",
		strings.TrimPrefix(h.URL, "http://"))
	// a slow upload that is allowed has no time limit
	time.AfterFunc(700*time.Millisecond, func() { io.WriteString(conn, "def") })
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("a slow upload after refusals: %v", err)
	}
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.HasSuffix(string(body), "abcdef") {
		t.Errorf("a slow upload after refusals = %d %q, want it whole at the application", res.StatusCode, body)
	}
}

func dial(t *testing.T, h *servertest.Env) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// TestLargeForms checks that a form that is too large is 413 at all of our pages.
func TestLargeForms(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) {
		servertest.AccessRequests(c)
		servertest.Administrators(c)
	})
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	for _, path := range []string{"/oauth2/sessions", "/oauth2/requests", "/oauth2/console"} {
		if a := v.Submit(h.URL+path, url.Values{"x": {strings.Repeat("x", 70<<10)}}, "Sec-Fetch-Site: same-origin",
			"Sec-Fetch-Mode: navigate"); a.StatusCode != 413 {
			t.Errorf("POST %s with 70 KiB = %d %s, want 413", path, a.StatusCode, a.Text)
		}
	}
}
