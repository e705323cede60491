package main

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// fleet is several processes of the shipped binary behind one public_url, one
// DingTalk and one application.
type fleet struct {
	t        *testing.T
	platform *simulator.Platform
	app      *recorder
	env      []string
}

const fleetURL = "http://gate.test"

// newFleet starts no replica yet; env is what all have in common.
func newFleet(t *testing.T, env ...string) *fleet {
	f := &fleet{t: t, platform: simulator.Demo(), app: &recorder{}}
	if err := f.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = []string{fleetURL + "/oauth2/callback"}
	}); err != nil {
		t.Fatal(err)
	}
	dingtalk := httptest.NewServer(f.platform)
	app := httptest.NewServer(f.app)
	t.Cleanup(func() { f.platform.Close(); dingtalk.Close(); app.Close() })
	f.env = append([]string{
		"DINGGATE_PUBLIC_URL=" + fleetURL, "DINGGATE_UPSTREAM=" + app.URL, "DINGGATE_TRUSTED_PROXIES=127.0.0.1/32",
		"DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
		"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
		"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
		"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
		"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL,
		"DINGGATE_COOKIE_SECRETS=" + base64.StdEncoding.EncodeToString([]byte("a key that all the replicas know")),
	}, env...)
	return f
}

func (f *fleet) replica(env ...string) *program {
	f.t.Helper()
	return serve(f.t, append(f.env, env...)...)
}

// caller is a browser that reaches the fleet through a load balancer that a test
// turns to one replica or another.
type caller struct {
	*visitor
	to *program
}

func (f *fleet) caller(to *program) *caller {
	c := &caller{(&testEnv{t: f.t}).visitor(), to}
	c.client.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == strings.TrimPrefix(fleetURL, "http://")+":80" {
				addr = strings.TrimPrefix(c.to.gate, "http://")
			}
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		},
	}
	return c
}

// page asks replica p for a page as this caller.
func (c *caller) page(p *program) answer {
	c.t.Helper()
	c.to = p
	return c.get(fleetURL + "/")
}

// asked is nginx's question on behalf of this caller.
func (c *caller) asked(p *program) answer {
	c.t.Helper()
	c.to = p
	return c.get(fleetURL+"/oauth2/auth", "X-Original-URI: /", "X-Original-Method: GET",
		"X-Forwarded-Host: gate.test", "X-Forwarded-Proto: http")
}

func (c *caller) enters(p *program, person string) {
	c.t.Helper()
	c.to = p
	if a := c.signIn(fleetURL+"/", person); a.StatusCode/100 != 3 || a.Header.Get("Location") != "/" {
		c.t.Fatalf("signing %s in = %d to %q: %.300s\n%s", person, a.StatusCode, a.Header.Get("Location"), a.body,
			p.log)
	}
	if a := c.page(p); a.StatusCode != 200 {
		c.t.Fatalf("the page after the sign-in = %d, want 200\n%s", a.StatusCode, p.log)
	}
}

func (c *caller) leaves(p *program) {
	c.t.Helper()
	c.to = p
	if a := c.do("POST", fleetURL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 {
		c.t.Fatalf("signing out = %d %.300s\n%s", a.StatusCode, a.body, p.log)
	}
}

// copy is the same cookies in another browser: a thief's, or a second tab's that
// hears no Set-Cookie of the first.
func (f *fleet) copy(c *caller) *caller {
	other := f.caller(c.to)
	address, err := http.NewRequest("GET", fleetURL, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	other.client.Jar.SetCookies(address.URL, c.client.Jar.Cookies(address.URL))
	return other
}

// eventually polls until ok, and tells how long it took. It fails after 20 s:
// the machine may be busy, what a user sees is in the log.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	begin := time.Now()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for time.Since(begin) < time.Minute {
		if ok() {
			t.Logf("%s: after %v", what, time.Since(begin).Round(time.Millisecond))
			return
		}
		<-again.C
	}
	t.Fatalf("%s: not within a minute", what)
}

func (p *program) ready(t *testing.T) string {
	t.Helper()
	status, body := fetch(t, http.DefaultClient, p.admin+"/ready")
	if (status == 200) != (body == "ready\n") {
		t.Errorf("/ready = %d %q", status, body)
	}
	return strings.TrimSpace(body)
}

// kill is kill -9.
func (p *program) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// stop is what an orchestrator does, and returns when the process is gone.
func (p *program) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM serve ends with %v:\n%s", err, p.log)
	}
}

// durableRedis keeps everything on disk before it answers.
func durableRedis(t *testing.T) *realtool.Redis {
	return realtool.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
}

// outage checks that nobody is signed out while the store is away: 503 and, to
// nginx, 403 with a reason, soon, with the cookie untouched (threats V14).
func outage(t *testing.T, p *program, c *caller) {
	t.Helper()
	eventually(t, "what is known runs out", func() bool { return c.page(p).StatusCode != 200 })
	var slowest time.Duration
	for range 3 {
		begin := time.Now()
		a := c.page(p)
		slowest = max(slowest, time.Since(begin))
		if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
			t.Errorf("a page in the outage = %d, Retry-After %q, want 503", a.StatusCode, a.Header.Get("Retry-After"))
		}
		begin = time.Now()
		q := c.asked(p)
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
	if slowest > 5*time.Second { // the promise is one second; this machine may be loaded
		t.Errorf("an answer in the outage took %v", slowest)
	}
	eventually(t, "not ready", func() bool { return p.ready(t) == "store" })
	if status, body := fetch(t, http.DefaultClient, p.admin+"/metrics"); status != 200 ||
		!strings.Contains(body, "dinggate_store_up 0\n") {
		t.Errorf("/metrics in the outage = %d without dinggate_store_up 0", status)
	}
	if status, _ := fetch(t, http.DefaultClient, p.admin+"/livez"); status != 200 {
		t.Errorf("/livez in the outage = %d: a restart would help nobody", status)
	}
}

func TestRedisDiesAndReturns(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.replica(), f.replica()
	c := f.caller(a)
	c.enters(a, "zhangsan")
	if got := c.page(b); got.StatusCode != 200 {
		t.Fatalf("the other replica answers %d, want 200: they share their sessions", got.StatusCode)
	}
	for _, act := range []struct {
		name       string
		begin, end func()
	}{{"killed", redis.Kill, redis.Start}, {"hanging", redis.Hang, redis.Wake}} {
		t.Logf("-- Redis is %s", act.name)
		fresh := f.caller(a)
		fresh.enters(a, "lisi")
		act.begin()
		if got := fresh.page(b).StatusCode; got != 503 { // b has never seen this session
			t.Errorf("%s: a session that a replica does not know = %d, want 503", act.name, got)
		}
		for n, p := range []*program{a, b} {
			if got := c.page(p).StatusCode; got != 200 { // session.store_grace
				t.Errorf("%s: a session that replica %d has seen = %d at first, want 200", act.name, n, got)
			}
		}
		for _, p := range []*program{a, b} {
			outage(t, p, c)
		}
		if got := f.caller(b).page(b).StatusCode; got != 302 {
			t.Errorf("%s: a browser without a session = %d, want the way to DingTalk", act.name, got)
		}
		act.end()
		for _, p := range []*program{a, b} {
			eventually(t,
				"the same cookie works", func() bool {
					return c.page(p).StatusCode == 200 && fresh.page(p).StatusCode == 200
				})
			eventually(t, "ready", func() bool { return p.ready(t) == "ready" })
		}
	}
	for _, p := range []*program{a, b} {
		eventually(t, "the log tells of two outages and their ends", func() bool {
			log := p.log.String() // comes a moment later
			return strings.Count(log, "the session store is away") == 2 &&
				strings.Count(log, "the session store is back") == 2
		})
	}
}

func TestRedisAwayAtStart(t *testing.T) { // threats V13
	redis := durableRedis(t)
	redis.Kill()
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a := f.replica()
	if got := a.ready(t); got != "store" {
		t.Errorf("/ready without Redis = %q, want store", got)
	}
	c := f.caller(a)
	if got := c.signIn(fleetURL+"/", "zhangsan"); got.StatusCode != 503 {
		t.Errorf("a sign-in without Redis = %d, want 503", got.StatusCode)
	}
	redis.Start()
	eventually(t, "ready", func() bool { return a.ready(t) == "ready" })
	c.enters(a, "zhangsan")
	a.stop(t)
}

// TestRedisTakesNoWrites: who is signed in stays so, on every replica.
func TestRedisTakesNoWrites(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.replica(), f.replica()
	c := f.caller(a)
	c.enters(a, "zhangsan")
	for name, act := range map[string][2][]string{
		"without memory": {{"CONFIG", "SET", "maxmemory", "1"}, {"CONFIG", "SET", "maxmemory", "0"}},
		"a replica":      {{"REPLICAOF", "127.0.0.1", "1"}, {"REPLICAOF", "NO", "ONE"}},
	} {
		if got := redis.Do(act[0]...); got != "OK\n" {
			t.Fatalf("%v = %q", act[0], got)
		}
		eventually(t, name+": noticed", func() bool {
			_, body := fetch(t, http.DefaultClient, b.admin+"/metrics")
			return strings.Contains(body, "dinggate_store_up 0\n")
		})
		for _, p := range []*program{a, b} {
			if got := c.page(p).StatusCode; got != 200 {
				t.Errorf("%s: a page of somebody who is signed in = %d, want 200", name, got)
			}
			if got := p.ready(t); got != "ready" {
				t.Errorf("%s: /ready = %q, want ready: sessions are served", name, got)
			}
		}
		if got := f.caller(a).signIn(fleetURL+"/", "lisi").StatusCode; got != 503 {
			t.Errorf("%s: a sign-in = %d, want 503", name, got)
		}
		redis.Do(act[1]...)
		eventually(t, name+": over", func() bool {
			_, body := fetch(t, http.DefaultClient, b.admin+"/metrics")
			return strings.Contains(body, "dinggate_store_up 1\n")
		})
		f.caller(b).enters(b, "lisi")
	}
}

// TestRedisPasswordStaysSecret: in no log, metric or page, right or wrong (threats L1).
func TestRedisPasswordStaysSecret(t *testing.T) {
	redis := realtool.StartRedis(t, "--requirepass", "canary-redis-55")
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_LOG_LEVEL=debug")
	right := f.replica("DINGGATE_REDIS_URL=redis://:canary-redis-55@" + redis.Addr + "/0")
	c := f.caller(right)
	c.enters(right, "zhangsan")
	wrong := f.replica("DINGGATE_REDIS_URL=redis://"+redis.Addr, "DINGGATE_REDIS_PASSWORD=canary-redis-66")
	if got := wrong.ready(t); got != "store" {
		t.Errorf("/ready with a wrong password = %q, want store", got)
	}
	seen := c.page(wrong)
	if seen.StatusCode != 503 {
		t.Errorf("a page with a wrong password = %d, want 503", seen.StatusCode)
	}
	// What a gateway is told with 403 is an outage in the metrics all the same.
	if got := c.asked(wrong).StatusCode; got != 403 {
		t.Errorf("a gateway's question with a wrong password = %d, want 403", got)
	}
	_, metrics := fetch(t, http.DefaultClient, wrong.admin+"/metrics")
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
	eventually(t, "the log tells why", func() bool { return strings.Contains(wrong.log.String(), "redis.password") })
	for _, p := range []*program{right, wrong} {
		_, metrics := fetch(t, http.DefaultClient, p.admin+"/metrics")
		if strings.Contains(p.log.String()+metrics+seen.body, "canary-redis") {
			t.Errorf("the password of Redis is in a log, a metric or a page:\n%s", p.log)
		}
		if (p == wrong) != strings.Contains(metrics, `result="noauth"`) {
			t.Errorf("/metrics tells of noauth, or not, at the wrong replica")
		}
	}
}

func TestRedisEmptied(t *testing.T) { // threats V16
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.replica(), f.replica()
	c := f.caller(a)
	c.enters(a, "zhangsan")
	c.page(b)
	redis.Do("FLUSHALL")
	for _, p := range []*program{a, b} {
		eventually(t, "sign in again", func() bool {
			got := c.page(p).StatusCode
			if got != 200 && got != 302 {
				t.Errorf("after FLUSHALL a page = %d, want 302 to the sign-in", got)
			}
			return got == 302
		})
	}
	c.enters(b, "zhangsan")
	if got := c.page(a).StatusCode; got != 200 {
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
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis-sentinel://"+sentinel.Addr+"/main")
	a, b := f.replica(), f.replica()
	var all []*caller
	for _, person := range []string{"zhangsan", "lisi", "zhangsan", "lisi"} {
		c := f.caller(a)
		c.enters([]*program{a, b}[len(all)%2], person)
		all = append(all, c)
	}
	out := f.copy(all[3])
	all[3].leaves(a)
	replica.Await("what its master has", func() bool { return replica.Do("DBSIZE") == master.Do("DBSIZE") })
	master.Kill()
	for _, p := range []*program{a, b} {
		eventually(t, "all sessions after the failover", func() bool {
			for _, c := range all[:3] {
				got := c.page(p)
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
		if got := out.page(p).StatusCode; got != 302 {
			t.Errorf("a session that was signed out before the failover = %d after it, want 302", got)
		}
	}
	eventually(t, "a sign-in after the failover", func() bool { return a.ready(t) == "ready" })
	f.caller(b).enters(b, "zhangsan")
}

func TestSignOutReachesEveryReplica(t *testing.T) {
	redis := durableRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL())
	a, b := f.replica(), f.replica()
	c := f.caller(a)
	c.enters(a, "zhangsan")
	thief := f.copy(c)
	if got := thief.page(b).StatusCode; got != 200 {
		t.Fatalf("before the sign-out b answers %d", got)
	}
	c.leaves(a)
	eventually(t, "the other replica knows", func() bool { return thief.page(b).StatusCode == 302 })
	if got := thief.page(a).StatusCode; got != 302 {
		t.Errorf("after the sign-out the replica it came to answers %d, want 302", got)
	}
	a.kill()
	late := f.replica() // it learns of it from the store alone
	if got := thief.page(late).StatusCode; got != 302 {
		t.Errorf("a replica that started later answers %d, want 302", got)
	}
}

func TestStateDirKeepsSignOuts(t *testing.T) {
	dir := t.TempDir()
	f := newFleet(t, "DINGGATE_STATE_DIR="+dir)
	a := f.replica()
	c, stays := f.caller(a), f.caller(a)
	c.enters(a, "zhangsan")
	stays.enters(a, "lisi")
	thief := f.copy(c)
	c.leaves(a)

	second := exec.Command(binary(t), "serve")
	second.Env = append(append([]string{}, environment...), append(f.env, "DINGGATE_STATE_DIR="+dir)...)
	if out, err := second.CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "another process has the file open") {
		t.Errorf("a second process with the same state_dir = %v %s, want it refused", err, out)
	}
	for _, end := range []func(){a.kill, func() { a.stop(t) }} {
		end()
		a = f.replica()
		if got := thief.page(a).StatusCode; got != 302 {
			t.Errorf("after a restart a cookie that was signed out = %d, want 302", got)
		}
		if got := stays.page(a).StatusCode; got != 200 {
			t.Errorf("after a restart a session that was not signed out = %d, want 200", got)
		}
	}
}
