package fleet

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
)

// TestFleetGrants: with a real Redis, a grant made at one replica is effective at the
// other one. After it is revoked at the first replica, it ends there with its open
// streams. While Redis is unavailable it admits no request (threats G4).
func TestFleetGrants(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	redis, app := servertest.DurableRedis(t), servertest.TickingUpstream(t)
	f := servertest.NewFleet(t, "DINGGATE_UPSTREAM=", "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	s := &servertest.FileEnv{Dir: t.TempDir()}
	s.File = filepath.Join(s.Dir, "config.yaml")
	s.Write(t, "config.yaml", fmt.Sprintf("access_requests: {agent_id: %d}\nroutes:\n  - {path: /, websocket: true, access: {users: [lisi]}, "+
		"upstream: %q, request: {approvers: {users: [lisi]}}}\n", simulator.DemoAgentID, app.URL))
	start := func() *servertest.Program {
		cmd := exec.Command(servertest.Binary(t), "serve", "--config", s.File)
		cmd.Env = append(append(cmd.Environ(), servertest.Environ...), f.Environ...)
		return servertest.Start(t, cmd)
	}
	one, two := start(), start()
	asker, approver := f.NewClient(one), f.NewClient(one)
	asker.SignIn(servertest.FleetURL+"/x", "zhaoliu")
	approver.SignIn(servertest.FleetURL+"/x", "lisi")
	const page = servertest.FleetURL + "/x"
	at := func(p *servertest.Program) int {
		asker.To = p
		return asker.Get(page).StatusCode
	}
	grant := func() (request string) {
		asker.To = one
		a := asker.Submit(servertest.FleetURL+"/oauth2/requests", url.Values{"rd": {"/x"}, "reason": {"x"}, "for": {"1h0m0s"}})
		if request = a.Header.Get("Location"); !strings.HasPrefix(request, "/oauth2/requests/") {
			t.Fatalf("a request: %d %q\n%s", a.StatusCode, request, one.Log)
		}
		if got := at(two); got != http.StatusForbidden {
			t.Errorf("before the answer the other replica answers %d", got)
		}
		began := time.Now()
		if a := approver.Submit(servertest.FleetURL+request, url.Values{"decision": {"approve"}}); a.StatusCode != http.StatusSeeOther {
			t.Fatalf("approving: %d", a.StatusCode)
		}
		servertest.Eventually(t, "the grant at the other replica", func() bool { return at(two) != http.StatusForbidden })
		t.Logf("known at the other replica after %v", time.Since(began).Round(10*time.Millisecond))
		return request
	}
	request := grant()
	asker.To = two
	open := asker.OpenStreams(ctx, two)
	open.Alive(ctx, t, "granted")
	began := time.Now()
	if a := approver.Submit(servertest.FleetURL+request, url.Values{"decision": {"end"}}); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("taking back: %d", a.StatusCode)
	}
	open.Gone(ctx, t, "taken back at the other replica")
	t.Logf("streams at the other replica ended after %v", time.Since(began).Round(10*time.Millisecond))
	if got := at(two); got != http.StatusForbidden {
		t.Errorf("taken back, the other replica answers %d", got)
	}

	grant()
	redis.Kill()
	began = time.Now()
	for _, p := range []*servertest.Program{one, two} {
		servertest.Eventually(t, "no access while Redis is away", func() bool { return at(p) == http.StatusServiceUnavailable })
	}
	t.Logf("closed %v after Redis went away", time.Since(began).Round(10*time.Millisecond))
	redis.Start()
	for _, p := range []*servertest.Program{one, two} {
		servertest.Eventually(t, "the grant once Redis is back", func() bool { return at(p) == http.StatusNotFound || at(p) == http.StatusOK })
	}
}
