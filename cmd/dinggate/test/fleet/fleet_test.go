package fleet

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// outage checks that no session ends while the store is unavailable: the response is 503,
// and to nginx 403 with a reason, without delay and with the cookie unchanged (threats
// V14).
func outage(t *testing.T, p *servertest.Program, c *servertest.FleetClient) {
	t.Helper()
	servertest.Eventually(t, "what is known runs out", func() bool { return c.Page(p).StatusCode != 200 })
	var slowest time.Duration
	for range 3 {
		begin := time.Now()
		a := c.Page(p)
		slowest = max(slowest, time.Since(begin))
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
			t.Errorf("a page in the outage = %d, Retry-After %q, want 503", a.StatusCode, a.Header.Get("Retry-After"))
		}
		begin = time.Now()
		q := c.AuthRequest(p)
		slowest = max(slowest, time.Since(begin))
		if q.StatusCode != 403 || q.Header.Get("X-Dinggate-Reason") != "store_unavailable" {
			t.Errorf("/oauth2/auth in the outage = %d, X-Dinggate-Reason %q, want 403 store_unavailable",
				q.StatusCode, q.Header.Get("X-Dinggate-Reason"))
		}
		for _, set := range append(a.Header["Set-Cookie"], q.Header["Set-Cookie"]...) {
			t.Errorf("in the outage a cookie is set: %q", set)
		}
	}
	t.Logf("slowest answer in the outage: %v", slowest.Round(time.Millisecond))
	if slowest > 10*time.Second { // the limit is one second; this machine may be busy
		t.Errorf("an answer in the outage took %v", slowest)
	}
	servertest.Eventually(t, "not ready", func() bool { return p.Ready(t) == "store" })
	if status, body := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics"); status != 200 ||
		!strings.Contains(body, "dinggate_store_up 0\n") {
		t.Errorf("/metrics in the outage = %d without dinggate_store_up 0", status)
	}
	if status, _ := servertest.Fetch(t, http.DefaultClient, p.Admin+"/livez"); status != 200 {
		t.Errorf("/livez in the outage = %d: a restart would not help", status)
	}
}

func TestRedisDiesAndReturns(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.Replica(), f.Replica()
	c := f.NewClient(a)
	c.SignInAt(a, "zhangsan")
	if got := c.Page(b); got.StatusCode != 200 {
		t.Fatalf("the other replica answers %d, want 200: they share their sessions", got.StatusCode)
	}
	for _, act := range []struct {
		name       string
		begin, end func()
	}{{"killed", redis.Kill, redis.Start}, {"hanging", redis.Hang, redis.Wake}} {
		t.Logf("-- Redis is %s", act.name)
		fresh := f.NewClient(a)
		fresh.SignInAt(a, "lisi")
		act.begin()
		if got := fresh.Page(b).StatusCode; got != 503 { // b has never received this session
			t.Errorf("%s: a session that a replica does not know = %d, want 503", act.name, got)
		}
		for n, p := range []*servertest.Program{a, b} {
			if got := c.Page(p).StatusCode; got != 200 { // session.store_grace
				t.Errorf("%s: a session that replica %d has seen = %d at first, want 200", act.name, n, got)
			}
		}
		for _, p := range []*servertest.Program{a, b} {
			outage(t, p, c)
		}
		if got := f.NewClient(b).Page(b).StatusCode; got != 302 {
			t.Errorf("%s: a browser without a session = %d, want the way to DingTalk", act.name, got)
		}
		act.end()
		for _, p := range []*servertest.Program{a, b} {
			servertest.Eventually(t,
				"the same cookie works", func() bool {
					return c.Page(p).StatusCode == 200 && fresh.Page(p).StatusCode == 200
				})
			servertest.Eventually(t, "ready", func() bool { return p.Ready(t) == "ready" })
		}
	}
	for _, p := range []*servertest.Program{a, b} {
		servertest.Eventually(t, "the log has two outages and their ends", func() bool {
			log := p.Log.String() // arrives a moment later
			return strings.Count(log, "the session store is unavailable") == 2 &&
				strings.Count(log, "the session store is available again") == 2
		})
	}
}

func TestRedisAwayAtStart(t *testing.T) { // threats V13
	redis := servertest.DurableRedis(t)
	redis.Kill()
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a := f.Replica()
	if got := a.Ready(t); got != "store" {
		t.Errorf("/ready without Redis = %q, want store", got)
	}
	c := f.NewClient(a)
	if got := c.SignIn(servertest.FleetURL+"/", "zhangsan"); got.StatusCode != 503 {
		t.Errorf("a sign-in without Redis = %d, want 503", got.StatusCode)
	}
	redis.Start()
	servertest.Eventually(t, "ready", func() bool { return a.Ready(t) == "ready" })
	c.SignInAt(a, "zhangsan")
	a.Stop(t)
}

// TestRedisTakesNoWrites checks that signed-in people remain signed in on every replica.
func TestRedisTakesNoWrites(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.Replica(), f.Replica()
	c := f.NewClient(a)
	c.SignInAt(a, "zhangsan")
	for name, act := range map[string][2][]string{
		"without memory": {{"CONFIG", "SET", "maxmemory", "1"}, {"CONFIG", "SET", "maxmemory", "0"}},
		"a replica":      {{"REPLICAOF", "127.0.0.1", "1"}, {"REPLICAOF", "NO", "ONE"}},
	} {
		if got := redis.Do(act[0]...); got != "OK\n" {
			t.Fatalf("%v = %q", act[0], got)
		}
		servertest.Eventually(t, name+": noticed", func() bool {
			_, body := servertest.Fetch(t, http.DefaultClient, b.Admin+"/metrics")
			return strings.Contains(body, "dinggate_store_up 0\n")
		})
		for _, p := range []*servertest.Program{a, b} {
			if got := c.Page(p).StatusCode; got != 200 {
				t.Errorf("%s: a page of a signed-in user = %d, want 200", name, got)
			}
			if got := p.Ready(t); got != "ready" {
				t.Errorf("%s: /ready = %q, want ready: sessions are served", name, got)
			}
		}
		if got := f.NewClient(a).SignIn(servertest.FleetURL+"/", "lisi").StatusCode; got != 503 {
			t.Errorf("%s: a sign-in = %d, want 503", name, got)
		}
		redis.Do(act[1]...)
		servertest.Eventually(t, name+": over", func() bool {
			_, body := servertest.Fetch(t, http.DefaultClient, b.Admin+"/metrics")
			return strings.Contains(body, "dinggate_store_up 1\n")
		})
		f.NewClient(b).SignInAt(b, "lisi")
	}
}

// TestRedisPasswordStaysSecret checks that no log, metric or page contains the password,
// right or wrong (threats L1).
func TestRedisPasswordStaysSecret(t *testing.T) {
	redis := realtool.StartRedis(t, "--requirepass", "canary-redis-55")
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_LOG_LEVEL=debug")
	right := f.Replica("DINGGATE_REDIS_URL=redis://:canary-redis-55@" + redis.Addr + "/0")
	c := f.NewClient(right)
	c.SignInAt(right, "zhangsan")
	wrong := f.Replica("DINGGATE_REDIS_URL=redis://"+redis.Addr, "DINGGATE_REDIS_PASSWORD=canary-redis-66")
	if got := wrong.Ready(t); got != "store" {
		t.Errorf("/ready with a wrong password = %q, want store", got)
	}
	seen := c.Page(wrong)
	if seen.StatusCode != 503 {
		t.Errorf("a page with a wrong password = %d, want 503", seen.StatusCode)
	}
	// A 403 to a gateway because of an outage counts as an outage in the metrics.
	if got := c.AuthRequest(wrong).StatusCode; got != 403 {
		t.Errorf("an authorization subrequest with a wrong password = %d, want 403", got)
	}
	_, metrics := servertest.Fetch(t, http.DefaultClient, wrong.Admin+"/metrics")
	for _, want := range []string{
		`dinggate_decisions_total{endpoint="proxy",result="unavailable",route="/"} 1`,
		`dinggate_decisions_total{endpoint="auth",result="unavailable",route="/"} 1`,
		`dinggate_refusals_total{endpoint="proxy",reason="store_unavailable"} 1`,
		`dinggate_refusals_total{endpoint="auth",reason="store_unavailable"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics of an outage lack %s", want)
		}
	}
	servertest.Eventually(t, "the log gives the reason", func() bool { return strings.Contains(wrong.Log.String(), "redis.password") })
	for _, p := range []*servertest.Program{right, wrong} {
		_, metrics := servertest.Fetch(t, http.DefaultClient, p.Admin+"/metrics")
		if strings.Contains(p.Log.String()+metrics+seen.Text, "canary-redis") {
			t.Errorf("the password of Redis is in a log, a metric or a page:\n%s", p.Log)
		}
		if (p == wrong) != strings.Contains(metrics, `result="noauth"`) {
			t.Errorf("/metrics shows noauth, or not, at the wrong replica")
		}
	}
}

func TestRedisEmptied(t *testing.T) { // threats V16
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.Replica(), f.Replica()
	c := f.NewClient(a)
	c.SignInAt(a, "zhangsan")
	c.Page(b)
	redis.Do("FLUSHALL")
	for _, p := range []*servertest.Program{a, b} {
		servertest.Eventually(t, "sign in again", func() bool {
			got := c.Page(p).StatusCode
			if got != 200 && got != 302 {
				t.Errorf("after FLUSHALL a page = %d, want 302 to the sign-in", got)
			}
			return got == 302
		})
	}
	c.SignInAt(b, "zhangsan")
	if got := c.Page(a).StatusCode; got != 200 {
		t.Errorf("after the second sign-in the other replica answers %d", got)
	}
}

func TestSentinelFailoverLosesNoSession(t *testing.T) {
	master := realtool.StartRedis(t)
	replica := realtool.StartRedis(t, "--replicaof", strings.Replace(master.Addr, ":", " ", 1))
	replica.Await("its master", func() bool {
		return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up")
	})
	sentinel := realtool.StartSentinel(t, master, 1)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis-sentinel://"+sentinel.Addr+"/main")
	a, b := f.Replica(), f.Replica()
	var all []*servertest.FleetClient
	for _, person := range []string{"zhangsan", "lisi", "zhangsan", "lisi"} {
		c := f.NewClient(a)
		c.SignInAt([]*servertest.Program{a, b}[len(all)%2], person)
		all = append(all, c)
	}
	out := f.Copy(all[3])
	all[3].SignOutAt(a)
	replica.Await("what its master has", func() bool { return replica.Do("DBSIZE") == master.Do("DBSIZE") })
	master.Kill()
	for _, p := range []*servertest.Program{a, b} {
		servertest.Eventually(t, "all sessions after the failover", func() bool {
			for _, c := range all[:3] {
				got := c.Page(p)
				if got.StatusCode != 200 && got.StatusCode != 503 {
					t.Fatalf("in the failover a page = %d %q, want 200 or 503", got.StatusCode,
						got.Header.Get("Location"))
				}
				if got.StatusCode != 200 {
					return false
				}
			}
			return true
		})
		if got := out.Page(p).StatusCode; got != 302 {
			t.Errorf("a session that was signed out before the failover = %d after it, want 302", got)
		}
	}
	servertest.Eventually(t, "a sign-in after the failover", func() bool { return a.Ready(t) == "ready" })
	f.NewClient(b).SignInAt(b, "zhangsan")
}

func TestSignOutReachesEveryReplica(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.Replica(), f.Replica()
	c := f.NewClient(a)
	c.SignInAt(a, "zhangsan")
	thief := f.Copy(c)
	if got := thief.Page(b).StatusCode; got != 200 {
		t.Fatalf("before the sign-out b answers %d", got)
	}
	c.SignOutAt(a)
	servertest.Eventually(t, "the other replica knows", func() bool { return thief.Page(b).StatusCode == 302 })
	if got := thief.Page(a).StatusCode; got != 302 {
		t.Errorf("after the sign-out the replica it came to answers %d, want 302", got)
	}
	a.Kill()
	late := f.Replica() // it receives this from the store only
	if got := thief.Page(late).StatusCode; got != 302 {
		t.Errorf("a replica that started later answers %d, want 302", got)
	}
}

func TestStateDirKeepsSignOuts(t *testing.T) {
	dir := t.TempDir()
	f := servertest.NewFleet(t, "DINGGATE_STATE_DIR="+dir)
	a := f.Replica()
	c, stays := f.NewClient(a), f.NewClient(a)
	c.SignInAt(a, "zhangsan")
	stays.SignInAt(a, "lisi")
	thief := f.Copy(c)
	c.SignOutAt(a)

	second := exec.Command(servertest.Binary(t), "serve")
	second.Env = append(append([]string{}, servertest.Environ...), append(f.Environ, "DINGGATE_STATE_DIR="+dir)...)
	if out, err := second.CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "another process has the file open") {
		t.Errorf("a second process with the same state_dir = %v %s, want it refused", err, out)
	}
	for _, end := range []func(){a.Kill, func() { a.Stop(t) }} {
		end()
		a = f.Replica()
		if got := thief.Page(a).StatusCode; got != 302 {
			t.Errorf("after a restart a cookie that was signed out = %d, want 302", got)
		}
		if got := stays.Page(a).StatusCode; got != 200 {
			t.Errorf("after a restart a session that was not signed out = %d, want 200", got)
		}
	}
}
