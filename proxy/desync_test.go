package proxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dinggate/internal/web"
)

// TestUpstream_SecondAnswer: an application that answers one request twice, as one does whose
// response was split, must not answer the next person's request with it (threats M10). net/http
// drops such a connection only if its reader runs before the next request takes the connection.
func TestUpstream_SecondAnswer(t *testing.T) {
	answers := []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
		"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECOND",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECOND",
	}
	upstream, _ := badly(t, func(conn net.Conn, n int) { io.WriteString(conn, answers[n%len(answers)]) })
	u, err := NewUpstream(UpstreamConfig{Upstream: upstream}, web.NewProtected())
	if err != nil {
		t.Fatal(err)
	}
	defer u.CloseIdleConnections()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	var wrong atomic.Int64
	var load sync.WaitGroup
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: &u.pool}
	for range 8 {
		load.Go(func() {
			for range 500 {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("X-Keep", "1")
				w := httptest.NewRecorder()
				if proxy.ServeHTTP(w, r); strings.Contains(w.Body.String(), "SECOND") {
					wrong.Add(1)
				} else if w.Code >= 500 {
					t.Errorf("status %d", w.Code)
				}
			}
		})
	}
	load.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d requests got the answer to another", n)
	}
}
