package fleet

import (
	"context"
	"encoding/base64"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
)

// TestEndsReachOpenConnections checks that an end on one replica ends the session and its
// WebSockets on the others (the limit is 2 s; the log shows the actual time).
func TestEndsReachOpenConnections(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+servertest.EchoUpstream(t),
		"DINGGATE_SESSION_RECHECK=1h")
	a, b := f.Replica(), f.Replica()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Platform.WaitStreams(ctx, 2); err != nil {
		t.Fatal(err)
	}
	out, leaver, stays := f.NewClient(a), f.NewClient(a), f.NewClient(a)
	out.SignInAt(a, "zhangsan")
	leaver.SignInAt(a, "lisi")
	stays.SignInAt(b, "zhangsan")
	thief := f.Copy(out)
	outAtB, leaverAtA, leaverAtB, staysAtA := out.WebSocket(b), leaver.WebSocket(a), leaver.WebSocket(b), stays.WebSocket(a)

	out.SignOutAt(a)
	servertest.Eventually(t, "a sign-out closes a WebSocket on the other replica", func() bool { return servertest.IsClosed(outAtB) })
	if got := thief.Page(b).StatusCode; got != 302 {
		t.Errorf("the other replica answers %d after the sign-out, want 302", got)
	}

	if err := f.Platform.Leave("lisi"); err != nil { // the event reaches one replica, which one is unknown
		t.Fatal(err)
	}
	servertest.Eventually(t,
		"a leaver's WebSockets are closed on both replicas", func() bool {
			return servertest.IsClosed(leaverAtA) && servertest.IsClosed(leaverAtB)
		})
	for _, p := range []*servertest.Program{a, b} {
		if got := leaver.Page(p).StatusCode; got != 302 {
			t.Errorf("a leaver's next page = %d, want 302", got)
		}
		if got := stays.Page(p).StatusCode; got != 200 {
			t.Errorf("another person's page = %d, want 200", got)
		}
	}
	if servertest.IsClosed(staysAtA) {
		t.Error("another person's WebSocket was closed")
	}
	f.Platform.Emit("org_remove", map[string]any{})
	servertest.Eventually(t, "the organisation is gone: every session ends", func() bool {
		return servertest.IsClosed(staysAtA) && stays.Page(a).StatusCode == 302 && stays.Page(b).StatusCode == 302
	})
}

// TestLookupOutlivesItsReplica checks that another replica makes the lookup of a replica
// that is killed during its call to DingTalk (threats V12).
func TestLookupOutlivesItsReplica(t *testing.T) {
	const membership = "/topapi/user/getbyunionid"
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+servertest.EchoUpstream(t),
		"DINGGATE_SESSION_RECHECK=2s", "DINGGATE_DINGTALK_EVENTS=false")
	a, b := f.Replica(), f.Replica()
	c := f.NewClient(a)
	c.SignInAt(a, "zhangsan")
	c.Page(b)
	f.Platform.Fault(simulator.Fault{On: membership, Do: simulator.Hang(), Times: 1})
	f.Platform.ResetCalls()
	servertest.Eventually(t,
		"the first replica opens its stream", func() bool {
			return c.Page(a).StatusCode == 200 && f.Platform.Calls(membership) == 1
		})
	a.Kill()
	servertest.Eventually(t, "another replica takes over", func() bool {
		if got := c.Page(b).StatusCode; got != 200 {
			t.Fatalf("meanwhile the other replica answers %d, want 200", got)
		}
		return f.Platform.Calls(membership) == 2
	})
}

// TestRotateKeysUnderLoad replaces the key twice, replica by replica, during requests: no
// session ends and no request fails.
func TestRotateKeysUnderLoad(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+servertest.EchoUpstream(t))
	key := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	one, two, three := key("the 1st key, of thirty-two bytes"), key("the 2nd key, of thirty-two bytes"),
		key("the 3rd key, of thirty-two bytes")
	with := func(keys string) *servertest.Program { return f.Replica("DINGGATE_COOKIE_SECRETS=" + keys) }
	var at [2]atomic.Pointer[servertest.Program]
	for i := range at {
		at[i].Store(with(one))
	}
	stop, failed := make(chan struct{}), make(chan string, 6)
	var served atomic.Int64
	var all sync.WaitGroup
	for n := range 6 {
		c := f.NewClient(at[n%2].Load())
		c.SignInAt(at[n%2].Load(), []string{"zhangsan", "lisi"}[n%2])
		all.Go(func() {
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c.To = at[i%2].Load()
				r, err := http.NewRequest("GET", servertest.FleetURL+"/", nil)
				if err != nil {
					failed <- err.Error()
					return
				}
				r.Header.Set("Accept", "text/html") // a page load: only page loads renew cookies
				res, err := c.HTTP.Do(r)
				if err != nil {
					failed <- err.Error()
					return
				}
				res.Body.Close()
				if res.StatusCode != 200 {
					failed <- res.Status
					return
				}
				served.Add(1)
			}
		})
	}
	worked := func(n int64) {
		t.Helper()
		until := served.Load() + n
		servertest.Eventually(t, "people work", func() bool { return served.Load() >= until || len(failed) > 0 })
	}
	for _, keys := range []string{one + "," + two, two + "," + one, two + "," + three, three + "," + two, three} {
		for i := range at {
			old := at[i].Load()
			at[i].Store(with(keys))
			worked(30)
			old.Stop(t)
		}
		worked(60)
	}
	close(stop)
	all.Wait()
	close(failed)
	for text := range failed {
		t.Errorf("during the rotation a request ended with %s", text)
	}
	t.Logf("%d requests served, none failed", served.Load())
}
