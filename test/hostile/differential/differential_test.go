package differential

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

const (
	paths      = 6_000   // generated; the seeds come on top
	nightPaths = 220_000 // HOSTILE_NIGHT=1
	direct     = 1_500   // of them are sent to each server past dinggate

	workers = 12
	gateway = "127.0.0.2" // whom dinggate believes
)

// TestDifferential: whatever a path looks like, no server behind dinggate serves
// what a rule denies, directly and behind nginx (threats P17).
func TestDifferential(t *testing.T) {
	program := filepath.Join(t.TempDir(), "dinggate")
	built := make(chan error, 1)
	go func() {
		out, err := exec.Command("go", "build", "-o", program, "../../../cmd/dinggate").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
		built <- err
	}()
	f := &fleet{life: t}
	files := pages(t)
	t.Run("servers", func(t *testing.T) {
		for name, start := range map[string]func(*testing.T){
			"java": f.java, "node": f.node, "python": f.python, "php": f.phpFPM,
			"apache": func(t *testing.T) { f.apache(t, files) }, "caddy": func(t *testing.T) { f.caddy(t, files) },
			"go": func(t *testing.T) { f.goServers(t, files) },
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); start(t) })
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	var front string
	var ask func(string)
	t.Run("nginx", func(t *testing.T) { front, ask = f.nginx(t) })
	slices.SortFunc(f.list, func(a, b *server) int { return strings.Compare(a.name, b.name) })
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	s := &env{fleet: f, t: t}
	s.start(program)
	if ask != nil {
		ask(s.gate)
		s.front = front
	}
	s.alive()
	corpus := slices.Concat(seeds, scripts)
	n := paths
	if os.Getenv("HOSTILE_NIGHT") == "1" {
		n = nightPaths
	}
	known := map[string]bool{}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("HOSTILE_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for r := rand.New(rand.NewPCG(seed, 0)); len(corpus) < n+len(seeds)+len(scripts); {
		if p := path(r); !known[p] {
			known[p] = true
			corpus = append(corpus, p)
		}
	}
	began := time.Now()
	s.compare(corpus)
	s.alive()
	s.tell(len(corpus), time.Since(began))
}

// env is dinggate with one host per server.
type env struct {
	*fleet
	t           *testing.T
	sim         *simulator.Platform
	gate, front string // addresses; front is nginx, "" without
	member      string // Cookie of somebody who may not enter /admin/
	boss        string // … of somebody who may

	asked, allowed, public, failed atomic.Int64
}

func (s *env) start(program string) {
	t := s.t
	s.sim = simulator.Demo()
	dingtalk := httptest.NewServer(s.sim)
	t.Cleanup(func() { s.sim.Close(); dingtalk.Close() })
	err := s.sim.ChangeApp("", func(a *simulator.App) {
		a.Redirects = []string{"https://gate." + domain + "/oauth2/callback"}
	})
	if err != nil {
		t.Fatal(err)
	}
	routes := ""
	for _, one := range s.list {
		for _, route := range []string{"/public/, access: public", "/admin/, access: {users: [lisi]}",
			"/settings, access: {users: [lisi]}", "/report.php, access: {users: [lisi]}", "/"} {
			routes += fmt.Sprintf("  - {host: %s, upstream: \"http://%s\", path: %s}\n", one.host(), one.addr, route)
		}
	}
	config := fmt.Sprintf(`
public_url: https://gate.%[1]s
listen: 127.0.0.1:0
trusted_proxies: [%[2]s/32]
cookie: {domain: %[1]s, secrets: ["%[3]s"]}
session: {recheck: 1h}
dingtalk:
  {client_id: %[4]s, client_secret: %[5]s, corp_id: %[6]s, events: false,
   login_url: "%[7]s", api_url: "%[7]s", oapi_url: "%[7]s"}
admin: {listen: 127.0.0.1:0}
log: {level: warn}
routes:
%[8]s`, domain, gateway, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("differential", 3)[:32])),
		simulator.DemoClientID, simulator.DemoClientSecret, simulator.DemoCorpID, dingtalk.URL, routes)
	file := write(t, filepath.Join(t.TempDir(), "config.yaml"), config)
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s.gate = s.serve(exec.Command(program, "serve", "--config", file))
	s.member, s.boss = s.signIn("zhangsan"), s.signIn("lisi")
}

// signIn goes the whole way and gives the session's cookie.
func (s *env) signIn(person string) string {
	s.t.Helper()
	host := "gate." + domain
	w := rawConns{}
	defer w.close()
	began, err := w.get(s.gate, host, "/oauth2/start?rd=%2F", "")
	if err != nil {
		s.t.Fatal(err)
	}
	var started struct {
		State string `json:"state"`
	}
	decode(s.t, began.body, &started)
	code, err := s.sim.Code(simulator.Browser, "", person)
	if err != nil {
		s.t.Fatal(err)
	}
	came, err := w.get(s.gate, host, "/oauth2/callback?authCode="+code+"&state="+url.QueryEscape(started.State),
		cookies(began.header, ""))
	if err != nil {
		s.t.Fatal(err)
	}
	cookie := cookies(came.header, "dinggate")
	if cookie == "" {
		s.t.Fatalf("%s has no session: %d %.300s", person, came.status, came.body)
	}
	return cookie
}

// cookies gives the Cookie line for those that were set, or for the one of a name.
func cookies(h http.Header, name string) string {
	var pairs []string
	for _, line := range h["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && c.Value != "" && (name == "" || c.Name == name) {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// TestScript: a script with an exact route of its own is run by PHP-FPM for every
// path info, and a member who may not see it never does, directly and behind nginx
// (threats P17).
func TestScript(t *testing.T) {
	program := filepath.Join(t.TempDir(), "dinggate")
	if out, err := exec.Command("go", "build", "-o", program, "../../../cmd/dinggate").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f := &fleet{life: t}
	f.phpFPM(t)
	front, ask := f.nginx(t)
	s := &env{fleet: f, t: t}
	s.start(program)
	ask(s.gate)
	s.front = front
	s.alive()
	w := rawConns{}
	defer w.close()
	for _, path := range scripts {
		if r, err := w.get(f.find("php"), "php."+domain, path, ""); err != nil || !r.holds(adminMark) {
			t.Errorf("PHP-FPM asked for %s = %d %.200q, %v, want the script: the row shows nothing", path, r.status,
				r.body, err)
		}
		for _, addr := range s.entryPoints() {
			for _, cookie := range []string{s.member, ""} {
				if r, err := w.get(addr, "php."+domain, path, cookie); err != nil || r.holds(adminMark) {
					t.Errorf("%s, %s as a member (%v) = %d %.200q, %v, want a refusal", addr, path, cookie != "",
						r.status, r.body, err)
				}
			}
			if r, err := w.get(addr, "php."+domain, path, s.boss); err != nil || !r.holds(adminMark) {
				t.Errorf("%s, %s as lisi = %d %.200q, %v, want the script", addr, path, r.status, r.body, err)
			}
		}
	}
}

// alive: each server serves each area to somebody who may see it, by both ways.
func (s *env) alive() {
	s.t.Helper()
	w := rawConns{}
	defer w.close()
	for _, addr := range s.entryPoints() {
		for _, one := range s.list {
			for path, want := range map[string]string{"/admin/x": adminMark, "/settings": adminMark,
				"/public/x": publicMark, "/page": restMark} {
				if r, err := w.get(addr, one.host(), path, s.boss); err != nil || !r.holds(want) {
					s.t.Errorf("%s by %s, %s = %d %.200q, %v, want %s", one.name, addr, path, r.status, r.body, err,
						want)
				}
			}
			if r, err := w.get(addr, one.host(), "/admin/x", s.member); err != nil || r.status != 403 {
				s.t.Errorf("%s by %s, /admin/x as a member = %d, %v, want 403", one.name, addr, r.status, err)
			}
		}
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// entryPoints are the addresses that a client may send a request to.
func (s *env) entryPoints() []string {
	if s.front == "" {
		return []string{s.gate}
	}
	return []string{s.gate, s.front}
}

// compare sends each path, as a member and as a stranger, by each way. What
// dinggate refuses is refused for every host: two of them are asked. What it lets
// through goes to every server.
func (s *env) compare(corpus []string) {
	work := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			w := rawConns{}
			defer w.close()
			for i := range work {
				if i < direct {
					s.diverge(w, corpus[i])
				}
				for _, addr := range s.entryPoints() {
					s.try(w, addr, i, corpus[i], s.member, adminMark)
					s.try(w, addr, i, corpus[i], "", adminMark, restMark)
				}
			}
		})
	}
	for i := range corpus {
		work <- i
	}
	close(work)
	all.Wait()
}

// try: no server answers with one of these marks.
func (s *env) try(w rawConns, addr string, i int, path, cookie string, denied ...string) {
	n, refused := len(s.list), 0
	for k := range n {
		one := s.list[(i+k)%n]
		r, err := w.get(addr, one.host(), path, cookie)
		s.asked.Add(1)
		if err != nil {
			s.fail("%v", err)
			return
		}
		for _, mark := range denied {
			if r.holds(mark) {
				s.fail("%s served %s for %q (cookie %v, by %s)", one.name, mark, path, cookie != "",
					map[bool]string{true: "nginx", false: "dinggate"}[addr == s.front])
			}
		}
		if r.refused() {
			refused++
		}
		if k == 1 && refused == 2 {
			return
		}
	}
	switch {
	case addr != s.gate:
	case cookie != "":
		s.allowed.Add(1)
	default:
		s.public.Add(1)
	}
}

// refused reports an answer that came from no server: dinggate's own, which has a
// request id, or nginx's.
func (r reply) refused() bool {
	return r.status == 0 || len(r.header["X-Request-Id"]) > 0 ||
		strings.HasPrefix(r.header.Get("Server"), "nginx") && (r.status == 400 || r.status == 401 || r.status == 403)
}

// diverge sends a path past dinggate and counts the servers that take it for a
// restricted page although it is another path when it is decoded once.
func (s *env) diverge(w rawConns, path string) {
	plain, err := url.PathUnescape(path)
	if err != nil || plain == "/admin" || strings.HasPrefix(plain, "/admin/") || plain == "/settings" ||
		plain == "/report.php" {
		return
	}
	for _, one := range s.list {
		if r, err := w.get(one.addr, one.host(), path, ""); err == nil && r.holds(adminMark) {
			one.divergent.Add(1)
		}
	}
}

func (s *env) fail(format string, args ...any) {
	if s.failed.Add(1) <= 40 {
		s.t.Errorf(format, args...)
	}
}

// tell prints figures, and fails where the corpus shows nothing.
func (s *env) tell(corpus int, took time.Duration) {
	figures := ""
	for _, one := range s.list {
		figures += fmt.Sprintf(" %s %d", one.name, one.divergent.Load())
	}
	fmt.Fprintf(os.Stderr,
		"\ndifferential: %d paths, %d requests, %d let a member in, %d everybody, %d failed (%.1f s)\npast "+
			"dinggate, of %d paths these are served as restricted and look otherwise:%s\n",
		corpus, s.asked.Load(), s.allowed.Load(), s.public.Load(), s.failed.Load(), took.Seconds(), direct, figures)
	if n := int64(corpus); s.allowed.Load() < n/10 || s.public.Load() < n/100 {
		s.t.Errorf("of %d paths %d let a member in and %d everybody: the corpus is too strange", corpus,
			s.allowed.Load(), s.public.Load())
	}
	for _, one := range s.list {
		if minimum := leastDivergent[one.name]; one.divergent.Load() < int64(minimum) {
			s.t.Errorf("%s takes %d paths for restricted ones that look otherwise, want at least %d", one.name,
				one.divergent.Load(), minimum)
		}
	}
}

// leastDivergent are the minimums of server.divergent: below them the corpus is too
// tame to show anything.
var leastDivergent = map[string]int{
	"apache": 4, "caddy": 15, "caddy-files": 4, "express": 5, "go-files": 4, "hop": 15, "hops": 20, "jetty": 10,
	"jetty-lenient": 30,
	"nginx":         8, "node-files": 8, "node-url": 4, "php": 10, "tomcat": 30, "tomcat-lenient": 35,
}

var listening = regexp.MustCompile(`^gate listening on (?:https?://)?(.*)$`)

// serve starts dinggate and gives its address.
func (s *env) serve(cmd *exec.Cmd) string {
	s.t.Helper()
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { end(cmd) })
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); <-again.C {
		for line := range strings.Lines(out.String()) {
			if m := listening.FindStringSubmatch(strings.TrimSpace(line)); m != nil && strings.HasSuffix(line, "\n") {
				return m[1]
			}
		}
	}
	s.t.Fatalf("dinggate does not listen:\n%s", out)
	return ""
}

func decode(t *testing.T, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
}
