package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/realtool"
	"dinggate/internal/telemetry"
	"dinggate/session"
)

// clocked is three gateways in one process with one real Redis, and a clock that a test
// sets.
type clocked struct {
	platform *simulator.Platform
	replicas []*server.Gateway
	redis    *realtool.Redis
	ahead    atomic.Int64
}

// pass advances the clock, and the leases in Redis.
func (k *clocked) pass(d time.Duration) {
	k.ahead.Add(int64(d))
	k.redis.Do("EVAL", "for _, k in ipairs(redis.call('keys', '*lease:*')) do redis.call('del', k) end", "0")
}

func (k *clocked) now() time.Time { return time.Now().Add(time.Duration(k.ahead.Load())) }

func newClocked(t *testing.T, change func(*server.Gateway)) *clocked {
	redis := realtool.StartRedis(t)
	k := &clocked{platform: simulator.Demo(), redis: redis}
	dingtalk := httptest.NewServer(k.platform)
	app := httptest.NewServer(&servertest.Upstream{})
	t.Cleanup(func() { k.platform.Close(); dingtalk.Close(); app.Close() })
	c := demo.Config(servertest.FleetURL, app.URL, dingtalk.URL)
	c.Session.Store, c.Redis.URL = session.StoreRedis, conf.NewSecret(redis.URL())
	c.DingTalk.Events = false
	c.TrustedProxies = []string{"127.0.0.1/32"}
	for range 3 {
		records := telemetry.NewWriter(&servertest.LogBuffer{})
		kit := server.Observability{
			Log:     telemetry.Logger(records, "json", slog.LevelInfo),
			Access:  &telemetry.AccessLog{Out: records},
			Metrics: telemetry.NewMetrics("test", "", records.Dropped),
		}
		stores, err := server.OpenStores(t.Context(), c, kit)
		if err != nil {
			t.Fatal(err)
		}
		state := server.NewState(stores, kit)
		g, err := server.New(c, state)
		if err != nil {
			t.Fatal(err)
		}
		state.Serve(g)
		g.Sessions.Now = k.now
		if change != nil {
			change(g)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { g.Run(ctx); close(done) }()
		t.Cleanup(func() { cancel(); <-done; stores.Close(); records.Close() })
		k.replicas = append(k.replicas, g)
	}
	for _, g := range k.replicas {
		servertest.Eventually(t, "the journal is live", func() bool { return g.Sessions.Stats().Live })
	}
	return k
}

// authorize sends the authorization subrequest of nginx. It retries for a while if the response
// is that the store or DingTalk is unavailable: a busy machine is not the subject here,
// and the clocks that decide do not advance meanwhile.
func authorize(g *server.Gateway, cookie string) int {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		w := authorizeOnce(g, cookie)
		reason := w.Header().Get("X-Dinggate-Reason")
		if w.Code != 403 || reason != "store_unavailable" && reason != "unconfirmed" || time.Now().After(end) {
			return w.Code
		}
	}
}

func authorizeOnce(g *server.Gateway, cookie string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, &http.Request{
		Method:     "GET",
		URL:        &url.URL{Path: "/oauth2/auth"},
		RequestURI: "/oauth2/auth",
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Host:       "gate.test",
		RemoteAddr: "127.0.0.1:1",
		Body:       http.NoBody,
		Header: http.Header{
			"Cookie": {"dinggate=" + cookie}, "X-Original-Url": {servertest.FleetURL + "/"}, "X-Original-Method": {"GET"},
			"X-Forwarded-Host": {"gate.test"},
		},
	})
	return w
}

// TestOneLookupForAFleet checks that sessions that are due at the same moment on three
// replicas cost one lookup each (threats V10, V11).
func TestOneLookupForAFleet(t *testing.T) {
	const people = 100
	k := newClocked(t, nil)
	var cookies []string
	for i := range people {
		id := fmt.Sprint("p", i)
		if err := k.platform.Add(simulator.Person{
			ID: id,
			Record: simulator.Record{
				UserID:      id,
				Name:        id,
				OrgEmail:    id + "@yunfan.example",
				Departments: []int64{42},
			},
		}); err != nil {
			t.Fatal(err)
		}
		who, _ := k.platform.Who(id)
		_, c, err := k.replicas[0].Sessions.Create(t.Context(),
			identity.User{UnionID: who.UnionID, UserID: id, Username: id, Name: id, Departments: []int64{42}},
			identity.Token{})
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, c.Value)
	}
	burst := func(n int) {
		t.Helper()
		var all sync.WaitGroup
		var bad atomic.Int64
		for i := range n {
			all.Go(func() {
				if code := authorize(k.replicas[i%3], cookies[i/3%people]); code != 200 {
					bad.Store(int64(code))
				}
			})
		}
		all.Wait()
		if code := bad.Load(); code != 0 {
			t.Fatalf("a request in the burst = %d, want 200", code)
		}
	}
	burst(3 * people)
	k.platform.ResetCalls()
	const record = "/topapi/v2/user/get"
	k.ahead.Add(int64(6 * time.Minute)) // all are due
	due := k.now()
	burst(1000)
	confirmed := func() bool {
		for _, g := range k.replicas {
			for _, c := range cookies {
				s, err := g.Sessions.Load(t.Context(), []string{c}, 0)
				if err != nil {
					t.Fatalf("Load() = %v", err)
				}
				if s.Checked.Before(due.Add(-time.Second)) {
					return false
				}
			}
		}
		return true
	}
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(time.Minute); !confirmed(); <-again.C { // rate-limited: at 15 per second this takes a while
		if time.Now().After(end) {
			t.Fatal("after a minute not every user is confirmed on every replica")
		}
	}
	burst(1000)
	n := k.platform.Calls(record)
	if n > people {
		t.Errorf("DingTalk received %d calls for %d people, want at most once each", n, people)
	}
	t.Logf("%d lookups for %d people, 3 replicas, 2,000 requests", n, people)
}

// TestDingTalkIsAway checks that no session ends, whatever DingTalk answers for ten
// minutes. A definite refusal by DingTalk ends the sessions on every replica (threats V8,
// V9, V35).
func TestDingTalkIsAway(t *testing.T) {
	for name, fault := range map[string]simulator.Verb{
		"500": simulator.Status(500), "garbage": simulator.Body("<html>"),
		"half a record": simulator.Body(`{"errcode":0,"result":{}}`),
		"cut":           simulator.Cut(10), "reset": simulator.Reset(), "quota": simulator.Code("90020"),
	} {
		t.Run(name, func(t *testing.T) {
			k := newClocked(t, nil)
			cookies := map[string]string{}
			for _, id := range []string{"zhangsan", "lisi"} {
				who, _ := k.platform.Who(id)
				_, c, err := k.replicas[0].Sessions.Create(t.Context(),
					identity.User{UnionID: who.UnionID, UserID: id, Username: id, Name: who.Name}, identity.Token{})
				if err != nil {
					t.Fatal(err)
				}
				cookies[id] = c.Value
			}
			for _, path := range []string{"/topapi/user/getbyunionid", "/topapi/v2/user/get"} {
				k.platform.Fault(simulator.Fault{On: path, Do: fault})
			}
			k.ahead.Add(int64(5 * time.Minute)) // due
			for minute := range 11 {
				for n, g := range k.replicas {
					for id, c := range cookies {
						if code := authorize(g, c); code != 200 {
							t.Fatalf("minute %d of the outage: replica %d answers %s %d, want 200", minute, n, id, code)
						}
					}
				}
				k.pass(time.Minute)
			}
			k.platform.ClearFaults()
			if err := k.platform.Leave("lisi"); err != nil {
				t.Fatal(err)
			}
			for n, g := range k.replicas {
				servertest.Eventually(t, "the session of the leaver has ended", func() bool {
					k.pass(10 * time.Second)
					return authorize(g, cookies["lisi"]) == 401
				})
				if code := authorize(g, cookies["zhangsan"]); code != 200 {
					t.Errorf("after the outage replica %d answers %d, want 200", n, code)
				}
			}
		})
	}
}

// TestOneRefreshForAFleet sends 50 concurrent requests at a token's expiry.
func TestOneRefreshForAFleet(t *testing.T) {
	var calls atomic.Int64
	var k *clocked
	k = newClocked(t, func(g *server.Gateway) {
		g.Sessions.Recheck = nil
		g.Sessions.Refresh = func(_ context.Context, refresh string) (identity.Token, error) {
			n := calls.Add(1)
			if want := fmt.Sprint("refresh ", n-1); refresh != want {
				return identity.Token{},
					&identity.Failure{
						Class: identity.Refused,
						Code:  "sso_over",
						Err:   fmt.Errorf("%q was sent, want %q", refresh, want),
					}
			}
			return identity.Token{
				Access:  fmt.Sprint("access ", n),
				Refresh: fmt.Sprint("refresh ", n),
				Expires: k.now().Add(time.Hour),
			}, nil
		}
	})
	_, c, err := k.replicas[0].Sessions.Create(t.Context(),
		identity.User{UnionID: "u", UserID: "u", Username: "u"}, identity.Token{
			Access:  "access 0",
			Refresh: "refresh 0",
			Expires: k.now().Add(time.Hour),
		})
	if err != nil {
		t.Fatal(err)
	}
	for round := int64(0); round <= 3; round++ {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				s, err := k.replicas[i%3].Sessions.Load(t.Context(), []string{c.Value}, 20*time.Second)
				if err != nil || s.Token.Access != fmt.Sprint("access ", round) {
					t.Errorf("round %d: Load() = %v with %v", round, err, s)
				}
			})
		}
		all.Wait()
		if n := calls.Load(); n != round {
			t.Errorf("round %d: %d refreshes, want %d", round, n, round)
		}
		k.ahead.Add(int64(time.Hour))
	}
}
