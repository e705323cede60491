package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"dinggate/internal/web"
)

// sink is a ResponseWriter that discards the answer.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Flush()                      {}

// proxied is a signed-in GET, the whole stack for it, and a bare ReverseProxy beside it.
func proxied(t testing.TB, app string) (r *http.Request, bare, stack http.Handler) {
	d := open(t, plan{upstream: app})
	_, cookie := d.signIn("zhangsan")
	r = httptest.NewRequest("GET", "/a/page?b=c", nil)
	r.Host, r.RemoteAddr = host, "192.0.2.1:1234"
	for name, value := range map[string]string{
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Encoding": "gzip, deflate, br", "Accept-Language": "zh-CN,zh;q=0.9",
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Sec-Fetch-Mode": "navigate",
		"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document",
		"Referer": "https://app.test/", "Cookie": "app=1; " + cookie,
	} {
		r.Header.Set(name, value)
	}
	target, _ := url.Parse(app)
	bare = &httputil.ReverseProxy{Transport: d.handler.Routes.list[0].Upstream.pool.shared, BufferPool: buffers{},
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target); pr.SetXForwarded() }}
	chain := *d.server.Config.Handler.(*web.Chain)
	chain.Record = func(*web.Exchange, *http.Request) {}
	return r, bare, &chain
}

// TestProxiedAllocations: a request through the proxy makes at most 12 more allocations than
// through a bare ReverseProxy. The application reads no header, so that it adds none.
func TestProxiedAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself; the plain run counts")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer, in := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), make([]byte, 16<<10)
				for {
					if n, err := conn.Read(in); err != nil || !bytes.HasSuffix(in[:n], []byte("\r\n\r\n")) {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	r, bare, stack := proxied(t, "http://"+l.Addr().String())
	count := func(h http.Handler) float64 {
		return testing.AllocsPerRun(500, func() { h.ServeHTTP(&sink{make(http.Header, 8)}, r) })
	}
	if ours, others := count(stack), count(bare); ours-others > 12 {
		t.Errorf("a proxied request allocates %.0f times, a bare ReverseProxy %.0f times: more than 12 more", ours, others)
	} else {
		t.Logf("%.0f allocations, %.0f of a bare ReverseProxy", ours, others)
	}
}

// BenchmarkProxied compares a signed-in GET through the whole stack with a bare ReverseProxy. Both
// include the application's own time, as on a real machine.
func BenchmarkProxied(b *testing.B) {
	page := strings.Repeat("x", 1024)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	}))
	defer app.Close()
	r, bare, stack := proxied(b, app.URL)
	for _, c := range []struct {
		name string
		h    http.Handler
	}{{"bare", bare}, {"stack", stack}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.h.ServeHTTP(&sink{make(http.Header, 8)}, r)
			}
		})
	}
}
