package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/realtool"
	"dinggate/proxy/access"
)

// TestTargetByteForByte: the authorized path is sent byte for byte (P15, P16, M16).
func TestTargetByteForByte(t *testing.T) {
	for _, base := range []string{"", "/base", "/b%C3%A9/"} {
		app := httptest.NewServer(echo)
		d := open(t, plan{
			upstream: app.URL + base,
			policy:   []access.Route{{Path: "/", Rule: access.Rule{Public: true}}},
		})
		for _, target := range []string{
			"/", "/a/b.c", "/a?", "/a?b=c;d&%zz&a=%", "/?" + strings.Repeat("a=b&", 10_001), "/a%20b", "/%41",
			"/a//b/", "//a//b", "/a?x=//../%2f",
			"/é/文", "/%e6%96%87", "/a\"<>^`{|}b", "/a!$&'()*+,=:@[]-._~", "/a:b@c", "//a%20b",
		} {
			if base != "" && strings.HasPrefix(target, "//") && strings.ContainsAny(target, "\"é") {
				continue
			}
			_, body := d.do("GET " + target)
			if got, want := sawOf(t, body).URI, strings.TrimSuffix(base, "/")+target; got != want {
				t.Errorf("GET %.40s before %q: the upstream saw %.60q, want %.60q", target, base, got, want)
			}
		}
		app.Close()
	}
}

func TestRequestPassesUntouched(t *testing.T) {
	d := open(t, plan{app: echo})
	_, cookie := d.signIn("zhangsan")
	_, body := d.do("PATCH /a", "Cookie: "+cookie, "Accept-Encoding: br;q=1, gzip", "Range: bytes=1-2", "X-App: one",
		"X-App: two", "Content-Type: a/b", "Content-Length: 3", "", "abc")
	saw := sawOf(t, body)
	if saw.Method != "PATCH" || saw.Host != host || saw.Body != "abc" ||
		saw.Header.Get("Accept-Encoding") != "br;q=1, gzip" || saw.Header.Get("Range") != "bytes=1-2" ||
		len(saw.Header["X-App"]) != 2 || saw.Header["User-Agent"] != nil {
		t.Errorf("the upstream saw %s", body)
	}
}

// badly is an upstream that writes raw bytes: it reads a request's header, calls write, and closes.
func badly(t *testing.T, write func(conn net.Conn, n int)) (url string, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	count = new(atomic.Int64)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					n := int(count.Add(1))
					if write(conn, n); r.Header.Get("X-Keep") == "" {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), count
}

// TestUpstreamFails: each way in which an upstream fails to answer (V19, M9, M10); the page shows
// only the code.
func TestUpstreamFails(t *testing.T) {
	closed := realtool.FreeAddr(t)
	for _, c := range []struct {
		name, upstream, response string
		status                   int
		code                     string
	}{
		{"refused", "http://" + closed, "", 502, "upstream_unreachable"},
		{"no name", "http://nowhere.invalid:1", "", 502, "upstream_unreachable"},
		{"no socket", "unix:/nowhere/app.sock", "", 502, "upstream_unreachable"},
		{"no TLS", "https://" + closed, "", 502, "upstream_unreachable"},
		{"silent", "", "silence", 504, "upstream_timeout"},
		{"closes", "", "", 502, "bad_gateway"},
		{"not HTTP", "", "\x15\x03\x01\x00\x02canary\"canary", 502, "bad_gateway"},
		{"bad header", "", "HTTP/1.1 200 OK\r\nSet-Cookie canary\r\n\r\n", 502, "bad_gateway"},
		{"two lengths", "", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502, "bad_gateway"},
		{"status 000", "", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", 502, "bad_gateway"},
		{"giant header", "", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 2<<20) + "\r\n\r\n", 502, "bad_gateway"},
		{"endless 1xx", "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", maxInterim+1) +
			"HTTP/1.1 200 OK\r\n\r\ncanary", 502, "bad_gateway"},
		{"101 without a request", "", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 502, "bad_gateway"},
		{"101 without a request, named", "",
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502,
			"bad_gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.upstream == "" {
				c.upstream, _ = badly(t, func(conn net.Conn, _ int) {
					if c.response == "silence" {
						io.Copy(io.Discard, conn)
					}
					io.WriteString(conn, c.response)
				})
			}
			config := UpstreamConfig{}
			if c.status == 504 {
				config.Timeout = 50 * time.Millisecond
			}
			d := open(t, plan{upstream: c.upstream, config: config})
			_, cookie := d.signIn("zhangsan")
			res, body := d.do("GET /", "Cookie: "+cookie)
			if res.StatusCode != c.status || body != `{"error":"`+c.code+`"}`+"\n" {
				t.Errorf("GET / = %d %q, want %d %s", res.StatusCode, body, c.status, c.code)
			}
			x := d.last(1)
			if x.Err == nil || strings.Contains(x.Err.Error(), "canary") || x.Verdict != "allow" {
				t.Errorf("the record says %v %q, want why, and nothing quoted", x.Err, x.Verdict)
			}
			if got := fmt.Sprint(d.failed); got != "[app "+c.code+"]" {
				t.Errorf("Failed got %s, want %s", got, c.code)
			}
		})
	}
}

// TestAnswerBreaksOff: a truncated answer ends as an aborted transfer, never cleanly (V20).
func TestAnswerBreaksOff(t *testing.T) {
	for _, response := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n\r\n",
	} {
		upstream, _ := badly(t, func(conn net.Conn, _ int) { io.WriteString(conn, response) })
		d := open(t, plan{upstream: upstream})
		_, cookie := d.signIn("zhangsan")
		conn := d.speak("GET / HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n\r\n")
		var body []byte
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			body, err = io.ReadAll(res.Body)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: the client read %q, %v, want an aborted transfer", response, body, err)
		}
		if x := d.last(1); x.Err == nil || !strings.Contains(x.Err.Error(), "upstream_aborted") ||
			fmt.Sprint(d.failed) != "[app upstream_aborted]" {
			t.Errorf("%q: record %v, Failed %v, want upstream_aborted", response, x.Err, d.failed)
		}
	}
}

// TestNoSecondPost: a POST on a connection that the upstream is closing is not sent again,
// whatever its headers are; a GET is (V25).
func TestNoSecondPost(t *testing.T) {
	for _, c := range []struct {
		line, header string
		want         int64
	}{
		{"POST /", "Content-Length: 0", 2},
		{"POST /", "Idempotency-Key: 1\r\nContent-Length: 0", 2},
		{"POST /", "X-Idempotency-Key: 1", 2},
		{"DELETE /", "Idempotency-Key: 1", 2},
		{"GET /", "Idempotency-Key: 1", 3},
	} {
		upstream, count := badly(t, func(conn net.Conn, n int) {
			if n == 2 { // the kept-alive connection fails during the second request
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		})
		d := open(t, plan{upstream: upstream})
		_, cookie := d.signIn("zhangsan")
		d.do("GET /", "X-Keep: 1", "Cookie: "+cookie)
		res, _ := d.do(c.line, "X-Keep: 1", "Cookie: "+cookie, c.header)
		if got := count.Load(); got != c.want || (res.StatusCode == 502) != (c.want == 2) {
			t.Errorf("%s, %q: the upstream saw %d requests, status %d, want %d", c.line, c.header, got,
				res.StatusCode, c.want)
		}
	}
}

// TestIdempotencyKeyArrives: the key is still forwarded.
func TestIdempotencyKeyArrives(t *testing.T) {
	d := open(t, plan{app: echo})
	_, body := d.do("POST /public/", "Idempotency-Key: 7", "Content-Length: 0")
	if saw := sawOf(t, body); saw.Header.Get("Idempotency-Key") != "7" {
		t.Errorf("the upstream saw %s, want the key", body)
	}
}

// TestBrokenUpload: a truncated body is the client's error, and never reaches an upstream as a
// complete one (M3, M14).
func TestBrokenUpload(t *testing.T) {
	got := make(chan error, 1)
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	})})
	for _, body := range []string{"4\r\nhalf\r\nzz\r\n\r\n", "4\r\nhalfX\r\n0\r\n\r\n", "-1\r\n\r\n"} {
		conn := d.speak("POST /public/ HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
		res, text := answered(t, conn, "POST")
		if res.StatusCode != 400 || !strings.Contains(text, "bad_request") {
			t.Errorf("body %q = %d %q, want 400", body, res.StatusCode, text)
		}
		if err := <-got; err == nil {
			t.Errorf("body %q: the upstream read a whole body", body)
		}
		if !res.Close {
			t.Errorf("body %q: the connection lives on", body)
		}
	}
	if len(d.failed) != 0 {
		t.Errorf("Failed got %v, want nothing", d.failed)
	}
	conn := d.speak("POST /public/ HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 100\r\n\r\nhalf")
	conn.Close()
	if err := <-got; err == nil {
		t.Error("the client left in mid-upload: the upstream read a whole body")
	}
}

// TestClientGone: a client that disconnects cancels the upstream's request, without an error
// (V24).
func TestClientGone(t *testing.T) {
	began, gone := make(chan bool), make(chan bool)
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- true
		<-r.Context().Done()
		gone <- true
	})})
	conn := d.speak("GET /public/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
	<-began
	conn.Close()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("the upstream's request goes on")
	}
	if x := d.last(1); x.Status != statusGone || strings.Contains(x.Err.Error(), ":") || len(d.failed) != 0 {
		t.Errorf("record %d %v, Failed %v, want %d and no response", x.Status, x.Err, d.failed, statusGone)
	}
}

// TestNoIdentityCarriesOver: requests of two people alternate on one connection (M13).
func TestNoIdentityCarriesOver(t *testing.T) {
	d := open(t, plan{app: echo})
	_, cookie := d.signIn("zhangsan")
	conn := d.speak("")
	in := bufio.NewReader(conn)
	for i := range 6 {
		line, want := "Cookie: "+cookie, "zhangsan"
		if i%2 == 1 {
			line, want = "X-Nothing: 1", ""
		}
		io.WriteString(conn, "GET /public/ HTTP/1.1\r\nHost: "+host+"\r\n"+line+"\r\n\r\n")
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if got := sawOf(t, string(body)).Header.Get("X-Forwarded-User"); got != want {
			t.Errorf("request %d: the upstream saw %q, want %q", i, got, want)
		}
	}
}

// TestConnectionsKept: connections to an upstream are reused.
func TestConnectionsKept(t *testing.T) {
	var dialed atomic.Int64
	app := httptest.NewUnstartedServer(echo)
	app.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialed.Add(1)
		}
	}
	app.Start()
	defer app.Close()
	d := open(t, plan{upstream: app.URL})
	for range 100 {
		res, err := d.server.Client().Get(d.server.URL + "/public/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&bytes.Buffer{}, res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if n := dialed.Load(); n > 3 {
		t.Errorf("100 requests took %d connections, want at most 3", n)
	}
}
