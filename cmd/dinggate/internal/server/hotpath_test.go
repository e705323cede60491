package server_test

import (
	"net/http"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

func TestAuthAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself; the plain run counts")
	}
	for name, change := range map[string]func(*config.Config){"plain": nil,
		"with an assertion": func(c *config.Config) { c.Assertion.Enabled = true }} {
		h := servertest.New(t, change)
		r := servertest.NewAuthRequest(t, h)
		w := servertest.Discard{H: http.Header{}}
		const budget = 2
		if n := testing.AllocsPerRun(1000, func() { clear(w.H); h.Gateway.ServeHTTP(w, r) }); n > budget {
			t.Errorf("%s: /oauth2/auth with a known session allocates %.0f times, more than %d", name, n, budget)
		}
		if calls := h.Platform.Calls("/topapi/v2/user/get"); calls != 1 {
			t.Errorf("%s: DingTalk received %d calls for the record, want one: at the sign-in", name, calls)
		}
		if asserted := w.H.Get("X-Dinggate-Assertion") != ""; asserted != (change != nil) {
			t.Errorf("%s: the answer carries an assertion: %v", name, asserted)
		}
	}
}

func BenchmarkAuth(b *testing.B) {
	h := servertest.New(b, nil)
	r := servertest.NewAuthRequest(b, h)
	w := servertest.Discard{H: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.H)
		h.Gateway.ServeHTTP(w, r)
	}
}
