package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestReadyDegraded: while the store is away a fleet that asked for it stays in its
// balancer, with a word that says so; one that did not is taken out.
func TestReadyDegraded(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	strict, stays := f.replica(), f.replica("DINGGATE_ADMIN_READY=degraded")
	ask := func(p *program) (int, string) { return fetch(t, http.DefaultClient, p.admin+"/ready") }
	for _, p := range []*program{strict, stays} {
		if status, body := ask(p); status != 200 || body != "ready\n" {
			t.Errorf("/ready = %d %q, want ready", status, body)
		}
	}
	redis.Kill()
	eventually(t, "strict: not ready", func() bool {
		status, body := ask(strict)
		return status == 503 && body == "store\n"
	})
	eventually(t, "degraded: ready with that word", func() bool {
		status, body := ask(stays)
		return status == 200 && body == "degraded\n"
	})
	redis.Start()
	for _, p := range []*program{strict, stays} {
		eventually(t, "ready again", func() bool {
			status, body := ask(p)
			return status == 200 && body == "ready\n"
		})
		p.stop(t)
	}
}

// TestProfiles: none unless admin.pprof is on; then on the admin listener alone,
// under its own names alone, and never the command line.
func TestProfiles(t *testing.T) {
	f := newFleet(t)
	off, on := f.replica(), f.replica("DINGGATE_ADMIN_PPROF=true")
	for _, c := range []struct {
		p      *program
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
		if status, body := fetch(t, http.DefaultClient, c.p.admin+c.path); status != c.status ||
			!strings.Contains(body, c.text) {
			t.Errorf("%s = %d %.80q, want %d with %q", c.path, status, body, c.status, c.text)
		}
	}
	r, err := http.NewRequest("GET", on.admin+"/debug/pprof/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.test" // a page's own name that points here (threats W12)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("profiles under a foreign name = %d %.80q, want 421", res.StatusCode, body)
	}
	if a := f.caller(on).get(fleetURL + "/debug/pprof/"); a.StatusCode != 302 {
		t.Errorf("profiles on the public listener = %d, want a sign-in like any path of the application", a.StatusCode)
	}
	off.stop(t)
	on.stop(t)
}
