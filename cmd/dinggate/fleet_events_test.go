package main

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"

	"github.com/coder/websocket"
)

// echo is an application that holds WebSockets open.
func echo(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// socket opens a WebSocket through p, and ended tells when it is closed.
func (c *caller) socket(p *program) (ended <-chan struct{}) {
	c.t.Helper()
	c.to = p
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	c.t.Cleanup(cancel)
	dialing, done := context.WithTimeout(ctx, 20*time.Second)
	defer done()
	conn, _, err := websocket.Dial(dialing, "ws://gate.test/socket",
		&websocket.DialOptions{HTTPClient: &http.Client{Transport: c.client.Transport, Jar: c.client.Jar}})
	if err != nil {
		c.t.Fatalf("opening a WebSocket: %v\n%s", err, p.log)
	}
	if err := conn.Write(dialing, websocket.MessageText, []byte("x")); err != nil {
		c.t.Fatal(err)
	}
	if _, data, err := conn.Read(dialing); err != nil || string(data) != "x" {
		c.t.Fatalf("an echo = %q, %v", data, err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer conn.CloseNow()
		conn.Read(ctx)
	}()
	return gone
}

func isClosed(gone <-chan struct{}) bool {
	select {
	case <-gone:
		return true
	default:
		return false
	}
}

// TestEndsReachOpenConnections: what ends on one replica ends the session and
// its WebSockets on the others (the promise is 2 s; the log tells how long it took).
func TestEndsReachOpenConnections(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+echo(t),
		"DINGGATE_SESSION_RECHECK=1h")
	a, b := f.replica(), f.replica()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.platform.WaitStreams(ctx, 2); err != nil {
		t.Fatal(err)
	}
	out, leaver, stays := f.caller(a), f.caller(a), f.caller(a)
	out.enters(a, "zhangsan")
	leaver.enters(a, "lisi")
	stays.enters(b, "zhangsan")
	thief := f.copy(out)
	outAtB, leaverAtA, leaverAtB, staysAtA := out.socket(b), leaver.socket(a), leaver.socket(b), stays.socket(a)

	out.leaves(a)
	eventually(t, "a sign-out closes a WebSocket on the other replica", func() bool { return isClosed(outAtB) })
	if got := thief.page(b).StatusCode; got != 302 {
		t.Errorf("the other replica answers %d after the sign-out, want 302", got)
	}

	if err := f.platform.Leave("lisi"); err != nil { // the event reaches one replica, nobody knows which
		t.Fatal(err)
	}
	eventually(t,
		"a leaver's WebSockets are closed on both replicas", func() bool {
			return isClosed(leaverAtA) && isClosed(leaverAtB)
		})
	for _, p := range []*program{a, b} {
		if got := leaver.page(p).StatusCode; got != 302 {
			t.Errorf("a leaver's next page = %d, want 302", got)
		}
		if got := stays.page(p).StatusCode; got != 200 {
			t.Errorf("somebody else's page = %d, want 200", got)
		}
	}
	if isClosed(staysAtA) {
		t.Error("somebody else's WebSocket was closed")
	}
	f.platform.Emit("org_remove", map[string]any{})
	eventually(t, "the organisation is gone: everybody is", func() bool {
		return isClosed(staysAtA) && stays.page(a).StatusCode == 302 && stays.page(b).StatusCode == 302
	})
}

// TestLookupOutlivesItsReplica: a replica that is killed while it asks DingTalk
// leaves the question to another (threats V12).
func TestLookupOutlivesItsReplica(t *testing.T) {
	const membership = "/topapi/user/getbyunionid"
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+echo(t),
		"DINGGATE_SESSION_RECHECK=2s", "DINGGATE_DINGTALK_EVENTS=false")
	a, b := f.replica(), f.replica()
	c := f.caller(a)
	c.enters(a, "zhangsan")
	c.page(b)
	f.platform.Fault(simulator.Fault{On: membership, Do: simulator.Hang(), Times: 1})
	f.platform.ResetCalls()
	eventually(t,
		"the first replica asks", func() bool {
			return c.page(a).StatusCode == 200 && f.platform.Calls(membership) == 1
		})
	a.kill()
	eventually(t, "another replica takes over", func() bool {
		if got := c.page(b).StatusCode; got != 200 {
			t.Fatalf("meanwhile the other replica answers %d, want 200", got)
		}
		return f.platform.Calls(membership) == 2
	})
}

// TestRotateKeysUnderLoad replaces the key twice, replica by replica, while
// people work: nobody is signed out and nothing fails.
func TestRotateKeysUnderLoad(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM="+echo(t))
	key := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	one, two, three := key("the 1st key, of thirty-two bytes"), key("the 2nd key, of thirty-two bytes"),
		key("the 3rd key, of thirty-two bytes")
	with := func(keys string) *program { return f.replica("DINGGATE_COOKIE_SECRETS=" + keys) }
	var at [2]atomic.Pointer[program]
	for i := range at {
		at[i].Store(with(one))
	}
	stop, failed := make(chan struct{}), make(chan string, 6)
	var served atomic.Int64
	var all sync.WaitGroup
	for n := range 6 {
		c := f.caller(at[n%2].Load())
		c.enters(at[n%2].Load(), []string{"zhangsan", "lisi"}[n%2])
		all.Go(func() {
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c.to = at[i%2].Load()
				r, err := http.NewRequest("GET", fleetURL+"/", nil)
				if err != nil {
					failed <- err.Error()
					return
				}
				r.Header.Set("Accept", "text/html") // a page load: only those renew cookies
				res, err := c.client.Do(r)
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
		eventually(t, "people work", func() bool { return served.Load() >= until || len(failed) > 0 })
	}
	for _, keys := range []string{one + "," + two, two + "," + one, two + "," + three, three + "," + two, three} {
		for i := range at {
			old := at[i].Load()
			at[i].Store(with(keys))
			worked(30)
			old.stop(t)
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
