package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"dinggate/internal/web"
)

// TestEventStream: events arrive as they are sent, and end with the session (V21, W2).
func TestEventStream(t *testing.T) {
	next, gone := make(chan string), make(chan bool, 1)
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case text := <-next:
				io.WriteString(w, text)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				gone <- true
				return
			}
		}
	})})
	s, cookie := d.signIn("zhangsan")
	conn := d.speak("GET /events HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie + "\r\n\r\n")
	next <- "data: 0\n\n"
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(res.Body)
	for i := range 3 {
		if got, err := events.ReadString('\n'); got != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d = %q, %v", i, got, err)
		}
		events.ReadString('\n')
		if i < 2 {
			next <- fmt.Sprintf("data: %d\n\n", i+1)
		}
	}
	if err := d.handler.Sessions.Revoke(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(events); err != io.ErrUnexpectedEOF || len(rest) > 0 {
		t.Errorf("after the sign-out the stream gave %q, %v, want an aborted transfer", rest, err)
	}
	<-gone
	if x := d.last(1); x.Err == nil || !strings.Contains(x.Err.Error(), "session ended") || len(d.failed) > 0 {
		t.Errorf("record %v, Failed %v, want the end of the session", x.Err, d.failed)
	}
}

// TestUploadStream: a request body without a length that arrives for as long as the client
// wants ends with the session too, before the application has answered (W2).
func TestUploadStream(t *testing.T) {
	got, gone := make(chan string), make(chan error, 1)
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for buf := make([]byte, 16); ; {
			n, err := r.Body.Read(buf)
			if err != nil {
				gone <- err
				return
			}
			got <- string(buf[:n])
		}
	})})
	s, cookie := d.signIn("zhangsan")
	conn := d.speak("POST /upload HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie +
		"\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, part := range []string{"one", "two"} {
		fmt.Fprintf(conn, "%x\r\n%s\r\n", len(part), part)
		if saw := <-got; saw != part {
			t.Fatalf("the upstream read %q, want %q", saw, part)
		}
	}
	if err := d.handler.Sessions.Revoke(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	res, body := answered(t, conn, "POST")
	if res.StatusCode != http.StatusUnauthorized || !res.Close {
		t.Errorf("after the sign-out = %d %s, close %v; want 401 and the end of the connection", res.StatusCode, body, res.Close)
	}
	if err := <-gone; err == io.EOF {
		t.Error("the upstream read a complete body, want an aborted one")
	}
	if x := d.last(1); x.Err == nil || !strings.Contains(x.Err.Error(), "session ended") || len(d.failed) > 0 {
		t.Errorf("record %v, Failed %v, want the end of the session", x.Err, d.failed)
	}
}

// endless is a reader of n bytes of a pattern.
type endless struct{ n int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), e.n)]
	for i := range b {
		b[i] = byte(e.n - int64(i))
	}
	e.n -= int64(len(b))
	return len(b), nil
}

// TestLargeBodies: 100 MiB pass in both directions, and are not buffered in memory (V22).
func TestLargeBodies(t *testing.T) {
	const size = 100 << 20
	sum := crc32.NewIEEE()
	io.Copy(sum, &endless{size})
	want := fmt.Sprint(sum.Sum32())
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.Copy(w, &endless{size})
			return
		}
		got := crc32.NewIEEE()
		io.Copy(got, r.Body)
		fmt.Fprint(w, got.Sum32())
	})})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := d.server.Client().Get(d.server.URL + "/public/")
	if err != nil {
		t.Fatal(err)
	}
	got := crc32.NewIEEE()
	if n, err := io.Copy(got, res.Body); n != size || err != nil || fmt.Sprint(got.Sum32()) != want {
		t.Errorf("100 MiB down = %d bytes, %v, sum %d, want %s", n, err, got.Sum32(), want)
	}
	for _, length := range []int64{size, -1} {
		req, _ := http.NewRequest("POST", d.server.URL+"/public/", &endless{size})
		req.ContentLength = length
		if res, err = d.server.Client().Do(req); err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(res.Body); string(body) != want {
			t.Errorf("100 MiB up, length %d = %s, want %s", length, body, want)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 { // all allocations, not only live memory
		t.Errorf("300 MiB through us allocated %d bytes, want less than %d", grown, 16<<20)
	}
}

// TestAnswersComeThrough: HEAD, 1xx, empty answers and unusual statuses are forwarded unchanged.
func TestAnswersComeThrough(t *testing.T) {
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/public/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			for range maxInterim {
				w.WriteHeader(http.StatusEarlyHints)
			}
			io.WriteString(w, "page")
		case "/public/204":
			w.WriteHeader(204)
		case "/public/304":
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(304)
		case "/public/599":
			w.WriteHeader(599)
		case "/public/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "not gzip at all")
		default:
			w.Header().Set("Content-Length", "1234")
		}
	})})
	for _, c := range []struct {
		line   string
		status int
		want   string // in the raw answer
	}{
		{"HEAD /public/", 200, "Content-Length: 1234\r\n"},
		{"GET /public/hints", 103, "HTTP/1.1 200 OK\r\n"},
		{"GET /public/204", 204, ""},
		{"GET /public/304", 304, `Etag: "1"`},
		{"GET /public/599", 599, ""},
		{"GET /public/gzip", 200, "not gzip at all"},
	} {
		conn := d.speak(c.line + " HTTP/1.1\r\nHost: " + host +
			"\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
		raw, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(raw), fmt.Sprintf("HTTP/1.1 %d ", c.status)) ||
			!strings.Contains(string(raw), c.want) {
			t.Errorf("%s = %q, %v, want %d with %q", c.line, raw, err, c.status, c.want)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	app := &httptest.Server{Listener: l, Config: &http.Server{Handler: echo}}
	app.Start()
	defer app.Close()
	d := open(t, plan{upstream: "unix:" + path})
	_, body := d.do("GET /public/a%20b?c")
	if saw := sawOf(t, body); saw.URI != "/public/a%20b?c" || saw.Host != host {
		t.Errorf("over %s the upstream saw %s", path, body)
	}
}

// TestTLSUpstream: an https upstream uses HTTP/2 if it can, and is verified.
func TestTLSUpstream(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		echo(w, r)
	}))
	app.EnableHTTP2 = true
	app.Config.ErrorLog = newUpstream(t, UpstreamConfig{Upstream: "http://a"}).proxy.ErrorLog
	app.StartTLS()
	defer app.Close()
	d := open(t, plan{upstream: app.URL})
	if res, body := d.do("GET /public/"); res.StatusCode != 502 || strings.Contains(body, "x509") {
		t.Errorf("an unknown authority = %d %q, want 502", res.StatusCode, body)
	}
	pool := app.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	up := newUpstream(t, UpstreamConfig{Upstream: app.URL})
	up.pool.shared.TLSClientConfig, up.pool.alone.TLSClientConfig = &tls.Config{RootCAs: pool},
		&tls.Config{RootCAs: pool}
	d.handler.Routes.list[0].Upstream = up
	for _, target := range []string{"/public/a%20b?c;d", "/public//é"} {
		res, body := d.do("POST "+target, "Content-Length: 3", "", "abc")
		if saw := sawOf(t, body); res.Header.Get("X-Proto") != "HTTP/2.0" || saw.URI != target || saw.Host != host ||
			saw.Body != "abc" {
			t.Errorf("POST %s over %s: the upstream saw %s", target, res.Header.Get("X-Proto"), body)
		}
	}
	// NTLM has no meaning over HTTP/2 (M17)
	if res, body := d.do("GET /public/", "Authorization: NTLM x"); res.StatusCode != 200 ||
		res.Header.Get("X-Proto") != "HTTP/1.1" {
		t.Errorf("with NTLM over %s = %d %s, want HTTP/1.1", res.Header.Get("X-Proto"), res.StatusCode, body)
	}
}

func newUpstream(t *testing.T, c UpstreamConfig) *Upstream {
	t.Helper()
	u, err := NewUpstream(c, web.NewProtected())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.CloseIdleConnections)
	return u
}
