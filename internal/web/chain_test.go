package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newChain(t *testing.T, next HandlerFunc) (*Chain, *[]Exchange) {
	var records []Exchange
	return &Chain{
		Peers:  peers(t, "10.0.0.0/8"),
		Scheme: "https",
		Next:   next,
		Known:  func(h string) bool { return h == "app.test" },
		Answer: func(w http.ResponseWriter, _ *http.Request, err error) {
			status := 500
			if e, ok := errors.AsType[*Error](err); ok {
				status = e.Status
			}
			w.WriteHeader(status)
		},
		Record: func(x *Exchange, _ *http.Request) { records = append(records, *x) },
	}, &records
}

func TestChain_Checks(t *testing.T) {
	e, _ := newChain(t, func(w http.ResponseWriter, r *http.Request) error {
		x := From(w)
		w.Header().Set("X-Seen", x.Scheme+" "+x.Host+" "+x.Path.Plain+" "+x.Client.String())
		return nil
	})
	for _, c := range []struct {
		method, target, host, remote string
		header                       string
		status                       int
		seen                         string
	}{
		{"GET", "/a?x=1", "APP.test.", "192.0.2.1:1", "", 200, "https app.test /a 192.0.2.1"},
		{"GET", "/a", "app.test", "192.0.2.1:1", "X-Forwarded-Host: evil.test", 200, "https app.test /a 192.0.2.1"},
		{"GET", "/a", "gate", "10.0.0.1:1", "X-Forwarded-Host: app.test", 200, "https app.test /a 10.0.0.1"},
		{"GET", "/a", "app.test", "10.0.0.1:1", "X-Forwarded-Proto: http", 200, "http app.test /a 10.0.0.1"},
		{"GET", "/a", "app.test", "10.0.0.1:1", "X-Forwarded-Proto: wss", 200, "https app.test /a 10.0.0.1"},
		{"GET", "/a", "app.test", "10.0.0.1:1", "X-Forwarded-Proto: gopher", 400, ""},
		{"GET", "/a", "app.test", "10.0.0.1:1", "X-Forwarded-Host: a, b", 400, ""},
		{"GET", "http://app.test/a", "app.test", "192.0.2.1:1", "", 200, "https app.test /a 192.0.2.1"},
		{"GET", "http://evil.test/a", "evil.test", "192.0.2.1:1", "", 400, ""},
		{"GET", "/a#b", "app.test", "192.0.2.1:1", "", 400, ""},
		{"GET", "/a/../b", "app.test", "192.0.2.1:1", "", 400, ""},
		{"GET", "/a", "", "192.0.2.1:1", "", 400, ""},
		{"GET", "/a", "a@b", "192.0.2.1:1", "", 400, ""},
		{"OPTIONS", "*", "app.test", "192.0.2.1:1", "", 400, ""},
		{"get", "/a", "app.test", "192.0.2.1:1", "", 405, ""},
		{"TRACE", "/a", "app.test", "192.0.2.1:1", "", 405, ""},
		{"CONNECT", "/a", "app.test", "192.0.2.1:1", "", 405, ""},
		{"PROPFIND", "/a", "app.test", "192.0.2.1:1", "", 200, "https app.test /a 192.0.2.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if u, err := r.URL.Parse(c.target); err == nil && c.target != "*" {
			r.URL = u
			r.URL.Host, r.URL.Scheme = "", ""
			if strings.HasPrefix(c.target, "http") {
				r.URL = u
				r.URL.Scheme, r.URL.Host = "http", c.host
			}
		}
		r.Method, r.RequestURI, r.Host, r.RemoteAddr = c.method, c.target, c.host, c.remote
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("X-Seen") != c.seen {
			t.Errorf("%s %s Host %q %s = %d %q, want %d %q", c.method, c.target, c.host, c.header, w.Code,
				w.Header().Get("X-Seen"), c.status, c.seen)
		}
	}
}

// TestLengthOfFrames: net/http takes the bodies of these requests for empty or absent (threats
// M11).
func TestLengthOfFrames(t *testing.T) {
	e, _ := newChain(t, func(http.ResponseWriter, *http.Request) error { return nil })
	for _, c := range []struct {
		major   int
		lengths []string
		counted int64
		status  int
	}{
		{2, nil, -1, 200}, {2, nil, 0, 200}, {2, []string{"0"}, 0, 200}, {2, []string{"5"}, 5, 200},
		{2, []string{"05"}, 5, 200},
		{2, []string{"99999999999999999999"}, 0, 400}, {2, []string{"x"}, 0, 400}, {2, []string{"-1"}, 0, 400},
		{2, []string{""}, 0, 400}, {2, []string{"+5"}, 0, 400},
		{2, []string{"5"}, 0, 400}, {2, []string{"5", "5"}, 5, 400}, {2, []string{"0", "5"}, 0, 400},
		{1, []string{"5"}, 5, 200},
	} {
		r := httptest.NewRequest("POST", "/a", nil)
		r.Host, r.RemoteAddr, r.ProtoMajor, r.ContentLength = "app.test", "192.0.2.1:1", c.major, c.counted
		if c.lengths != nil {
			r.Header["Content-Length"] = c.lengths
		}
		w := httptest.NewRecorder()
		if e.ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("HTTP/%d with Content-Length %q, counted as %d = %d, want %d", c.major, c.lengths, c.counted,
				w.Code, c.status)
		}
	}
}

// TestQueryOfFrames: a query of HTTP/2 that cannot be in an HTTP/1.1 request line is 400 (threats
// M18).
func TestQueryOfFrames(t *testing.T) {
	e, _ := newChain(t, func(http.ResponseWriter, *http.Request) error { return nil })
	for _, c := range []struct {
		query  string
		major  int
		status int
	}{
		{"a=b", 2, 200}, {"a=%20b+c", 2, 200}, {"x=报表", 2, 200}, {"x=\xff", 2, 200}, {"a;b&&%zz", 2, 200},
		{"x=\u00a0", 2, 200},
		{"a b", 2, 400}, {" ", 2, 400}, {"a=b HTTP/1.1\r\nX: y", 2, 400}, {"a\t", 2, 400}, {"a\x7f", 2, 400},
		{"x=\u0085", 2, 400}, {"\u009f", 2, 400}, {"x=\x85", 2, 400}, {"x=报\x9f", 2, 400},
		{"a b", 3, 400}, {"x=\xb1\xa8\x85\xe6", 1, 200}, // GBK, as old applications send it
	} {
		r := httptest.NewRequest("GET", "/x", nil)
		r.URL.RawQuery, r.RequestURI = c.query, "/x?"+c.query
		r.Host, r.RemoteAddr, r.ProtoMajor = "app.test", "192.0.2.1:1", c.major
		w := httptest.NewRecorder()
		if e.ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("HTTP/%d, query %q: status %d, want %d", c.major, c.query, w.Code, c.status)
		}
	}
}

func TestChain_Panics(t *testing.T) {
	e, records := newChain(t, func(w http.ResponseWriter, r *http.Request) error { panic("secret detail") })
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || len(*records) != 1 || (*records)[0].Err == nil {
		t.Errorf("a panic = %d %q, %d records, want one 500 without detail and its error on record", w.Code, w.Body,
			len(*records))
	}
	e, records = newChain(t, func(w http.ResponseWriter, r *http.Request) error { w.Write([]byte("half")); panic("x") })
	defer func() {
		if v := recover(); v != http.ErrAbortHandler || len(*records) != 1 {
			t.Errorf(
				"a panic in mid-answer recovered as %v with %d records, want the connection aborted and one record",
				v, len(*records),
			)
		}
	}()
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func TestRequestID(t *testing.T) {
	for _, c := range []struct {
		sent    []string
		trusted bool
		taken   bool
	}{
		{[]string{"abc-1.2_3"}, true, true}, {[]string{"abc"}, false, false}, {[]string{"a b"}, true, false},
		{[]string{"a\n"}, true, false}, {[]string{""}, true, false}, {[]string{"a", "b"}, true, false},
		{[]string{strings.Repeat("a", 65)}, true, false}, {nil, true, false},
	} {
		r := &http.Request{Header: http.Header{"X-Request-Id": c.sent}}
		if id := requestID(r, c.trusted); (len(c.sent) > 0 && id == c.sent[0]) != c.taken || id == "" {
			t.Errorf("requestID(%q, trusted %v) = %q, want taken %v", c.sent, c.trusted, id, c.taken)
		}
	}
}

func TestIsPageLoad(t *testing.T) {
	for _, c := range []struct {
		method, headers string
		want            bool
	}{
		{"GET", "Accept: text/html,*/*;q=0.8", true}, {"HEAD", "Accept: text/html", true},
		{"POST", "Accept: text/html", false}, {"GET", "", false}, {"GET", "Accept: */*", false},
		{"GET", "Accept: application/json", false},
		{"GET", "Sec-Fetch-Mode: navigate", true}, {"GET", "Sec-Fetch-Mode: cors\nAccept: text/html", false},
		{"GET", "Accept: text/html\nX-Requested-With: XMLHttpRequest", false},
		{"GET", "Accept: text/html\nUpgrade: websocket", false},
		{"GET", "Sec-Fetch-Mode: navigate\nSec-WebSocket-Key: x", false},
		{"GET", "Sec-Fetch-Mode: navigate\nSec-Purpose: prefetch", false},
	} {
		h := http.Header{}
		for line := range strings.SplitSeq(c.headers, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				h.Set(name, value)
			}
		}
		if got := IsPageLoad(c.method, h); got != c.want {
			t.Errorf("IsPageLoad(%s, %q) = %v, want %v", c.method, c.headers, got, c.want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	ours := testOrigins(t).Ours
	for _, c := range []struct {
		site, origin string
		want         bool
	}{
		{"same-origin", "null", true}, {"none", "", true}, {"cross-site", "https://app.test", false},
		{"same-site", "https://app.test", false}, {"", "", true}, {"", "https://app.test", true}, {"", "null", false},
		{"", "https://evil.test", false},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if got := SameOrigin(r, ours); got != c.want {
			t.Errorf("SameOrigin(site %q, origin %q) = %v, want %v", c.site, c.origin, got, c.want)
		}
	}
}

func TestLanguage(t *testing.T) {
	for _, c := range []struct{ url, accept, cookie, want string }{
		{"/", "", "", "zh"}, {"/", "en-US,en;q=0.9", "", "en"}, {"/", "zh-CN,zh;q=0.9,en;q=0.8", "", "zh"},
		{"/", "fr,en;q=0.3,zh;q=0.2", "", "en"}, {"/", "fr", "", "zh"}, {"/?lang=en", "zh", "", "en"},
		{"/?lang=xx", "en", "", "en"}, {"/", "en", "zh", "zh"},
	} {
		r := httptest.NewRequest("GET", c.url, nil)
		r.Header.Set("Accept-Language", c.accept)
		if c.cookie != "" {
			r.Header.Set("Cookie", "dinggate-lang="+c.cookie)
		}
		if got := Language(r); got != c.want {
			t.Errorf("Language(%s, %q, cookie %q) = %q, want %q", c.url, c.accept, c.cookie, got, c.want)
		}
	}
}

func TestIsDingTalk(t *testing.T) {
	for ua, want := range map[string]bool{"AliApp(DingTalk/7.8.1) x": true,
		"dingtalk-win/1.0.0 DingTalk(7.8.10)": true, "DingTalk-LinkService/1.0": false, "Mozilla/5.0": false,
		"": false} {
		if got := IsDingTalk(&http.Request{Header: http.Header{"User-Agent": {ua}}}); got != want {
			t.Errorf("IsDingTalk(%q) = %v, want %v", ua, got, want)
		}
	}
}
