package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestReadyDegraded checks /ready while the store is unavailable: with admin.ready
// degraded it answers 200 with that word, otherwise 503.
func TestReadyDegraded(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	strict, stays := f.Replica(), f.Replica("DINGGATE_ADMIN_READY=degraded")
	ready := func(p *servertest.Program) (int, string) {
		return servertest.Fetch(t, http.DefaultClient, p.Admin+"/ready")
	}
	for _, p := range []*servertest.Program{strict, stays} {
		if status, body := ready(p); status != 200 || body != "ready\n" {
			t.Errorf("/ready = %d %q, want ready", status, body)
		}
	}
	redis.Kill()
	servertest.Eventually(t, "strict: not ready", func() bool {
		status, body := ready(strict)
		return status == 503 && body == "store\n"
	})
	servertest.Eventually(t, "degraded: ready with that word", func() bool {
		status, body := ready(stays)
		return status == 200 && body == "degraded\n"
	})
	redis.Start()
	for _, p := range []*servertest.Program{strict, stays} {
		servertest.Eventually(t, "ready again", func() bool {
			status, body := ready(p)
			return status == 200 && body == "ready\n"
		})
		p.Stop(t)
	}
}

// TestProfiles checks that profiles are served only with admin.pprof, on the admin
// listener, at their own paths, and that the command line is never served.
func TestProfiles(t *testing.T) {
	f := servertest.NewFleet(t)
	off, on := f.Replica(), f.Replica("DINGGATE_ADMIN_PPROF=true")
	for _, c := range []struct {
		p      *servertest.Program
		path   string
		status int
		text   string
	}{
		{off, "/debug/pprof/", 404, ""},
		{off, "/debug/pprof/goroutine?debug=1", 404, ""},
		{on, "/debug/pprof/", 200, "goroutine"},
		{on, "/debug/pprof/goroutine?debug=1", 200, "goroutine profile: total"},
		{on, "/debug/pprof/heap?debug=1", 200, "heap profile"},
		{on, "/debug/pprof/symbol", 200, "num_symbols"},
		{on, "/debug/pprof/cmdline", 404, ""},
		{on, "/metrics", 200, "dinggate_build_info"},
		{on, "/livez", 200, "ok"},
	} {
		if status, body := servertest.Fetch(t, http.DefaultClient, c.p.Admin+c.path); status != c.status ||
			!strings.Contains(body, c.text) {
			t.Errorf("%s = %d %.80q, want %d with %q", c.path, status, body, c.status, c.text)
		}
	}
	r, err := http.NewRequest("GET", on.Admin+"/debug/pprof/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.test" // a page's own host name that resolves to this address (threats W12)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("profiles under a foreign name = %d %.80q, want 421", res.StatusCode, body)
	}
	if a := f.NewClient(on).Get(servertest.FleetURL + "/debug/pprof/"); a.StatusCode != 302 {
		t.Errorf("profiles on the public listener = %d, want a sign-in like any path of the application", a.StatusCode)
	}
	off.Stop(t)
	on.Stop(t)
}
