package main

import (
	"net/http"
	"net/url"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
)

// blank is a ResponseWriter that costs nothing itself.
type blank struct{ h http.Header }

func (b blank) Header() http.Header         { return b.h }
func (b blank) Write(p []byte) (int, error) { return len(p), nil }
func (b blank) WriteHeader(int)             {}

// question is what nginx asks for a signed-in browser.
func question(t testing.TB, h *testEnv) *http.Request {
	v := h.visitor()
	back := v.signIn(h.base+"/", "zhangsan")
	r := &http.Request{
		Method:     "GET",
		URL:        &url.URL{Path: "/oauth2/auth"},
		RequestURI: "/oauth2/auth",
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Host:       "127.0.0.1",
		RemoteAddr: "127.0.0.1:1",
		Body:       http.NoBody,
		Header: http.Header{
			"Cookie": {"theme=dark; dinggate=" + sessionOf(back)}, "User-Agent": {"Mozilla/5.0"},
			"Accept":         {"text/html"},
			"X-Original-Url": {h.base + "/reports?q=1"}, "X-Original-Method": {"GET"}, "X-Forwarded-For": {"192.0.2.7"},
		},
	}
	h.gate.ServeHTTP(blank{http.Header{}}, r.WithContext(t.Context())) // known from here on
	return r
}

func TestAuthAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself; the plain run counts")
	}
	for name, change := range map[string]func(*config.Config){"plain": nil,
		"with an assertion": func(c *config.Config) { c.Assertion.Enabled = true }} {
		h := newTestEnv(t, change)
		r := question(t, h)
		w := blank{http.Header{}}
		const budget = 20
		if n := testing.AllocsPerRun(1000, func() { clear(w.h); h.gate.ServeHTTP(w, r) }); n > budget {
			t.Errorf("%s: /oauth2/auth with a known session allocates %.0f times, more than %d", name, n, budget)
		}
		if calls := h.platform.Calls("/topapi/v2/user/get"); calls != 1 {
			t.Errorf("%s: DingTalk was asked %d times for the record, want once: at the sign-in", name, calls)
		}
		if asserted := w.h.Get("X-Dinggate-Assertion") != ""; asserted != (change != nil) {
			t.Errorf("%s: the answer carries an assertion: %v", name, asserted)
		}
	}
}

func BenchmarkAuth(b *testing.B) {
	h := newTestEnv(b, nil)
	r := question(b, h)
	w := blank{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.gate.ServeHTTP(w, r)
	}
}
