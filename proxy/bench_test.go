package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"dinggate/internal/web"
)

// sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Flush()                      {}

// BenchmarkProxied compares a signed-in GET through the whole stack with a bare
// ReverseProxy. The application's own share is in both, as on a real machine.
func BenchmarkProxied(b *testing.B) {
	page := strings.Repeat("x", 1024)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	}))
	defer app.Close()
	d := open(b, plan{upstream: app.URL})
	_, cookie := d.signIn("zhangsan")
	r := httptest.NewRequest("GET", "/a/page?b=c", nil)
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
	target, _ := url.Parse(app.URL)
	bare := &httputil.ReverseProxy{Transport: d.handler.Routes.list[0].Upstream.pool.shared, BufferPool: buffers{},
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target); pr.SetXForwarded() }}
	stack := *d.server.Config.Handler.(*web.Chain)
	stack.Record = func(*web.Exchange, *http.Request) {}
	for _, c := range []struct {
		name string
		h    http.Handler
	}{{"bare", bare}, {"front", &stack}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.h.ServeHTTP(&sink{make(http.Header, 8)}, r)
			}
		})
	}
}
