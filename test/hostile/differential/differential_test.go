package differential

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

const (
	paths      = 6_000   // generated, in addition to the seeds
	nightPaths = 220_000 // HOSTILE_NIGHT=1
	direct     = 1_500   // number of them that are also sent directly to each server

	workers = 12
	gateway = "127.0.0.2" // the peer that dinggate trusts
)

// TestDifferential checks that no server behind dinggate serves a page that a rule denies,
// whatever the path is, directly and behind nginx (threats P17).
func TestDifferential(t *testing.T) {
	program := realtool.Dinggate(t)
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
	var nginxAddr string
	var setDinggate func(string)
	t.Run("nginx", func(t *testing.T) { nginxAddr, setDinggate = f.nginx(t) })
	slices.SortFunc(f.list, func(a, b *server) int { return strings.Compare(a.name, b.name) })
	s := &env{fleet: f, t: t}
	s.start(program)
	if setDinggate != nil {
		setDinggate(s.dinggate)
		s.nginxAddr = nginxAddr
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
	s.report(len(corpus), time.Since(began))
}

// TestScript checks a script that has its own exact route and that PHP-FPM runs for every path
// info. A member without access must never reach it, directly or behind nginx (threats P17).
func TestScript(t *testing.T) {
	program := realtool.Dinggate(t)
	f := &fleet{life: t}
	f.phpFPM(t)
	nginxAddr, setDinggate := f.nginx(t)
	s := &env{fleet: f, t: t}
	s.start(program)
	setDinggate(s.dinggate)
	s.nginxAddr = nginxAddr
	s.alive()
	w := rawConns{}
	defer w.close()
	for _, path := range scripts {
		if r, err := w.get(f.find("php"), "php."+domain, path, ""); err != nil || !r.holds(adminMark) {
			t.Errorf("PHP-FPM, %s = %d %.200q, %v, want the script: the row shows nothing", path, r.status,
				r.body, err)
		}
		for _, addr := range s.entryPoints() {
			for _, cookie := range []string{s.member, ""} {
				if r, err := w.get(addr, "php."+domain, path, cookie); err != nil || r.holds(adminMark) {
					t.Errorf("%s, %s as a member (%v) = %d %.200q, %v, want a refusal", addr, path, cookie != "",
						r.status, r.body, err)
				}
			}
			if r, err := w.get(addr, "php."+domain, path, s.admin); err != nil || !r.holds(adminMark) {
				t.Errorf("%s, %s as lisi = %d %.200q, %v, want the script", addr, path, r.status, r.body, err)
			}
		}
	}
}

// compare sends each path as a member and as an anonymous client to each entry point. A refusal of
// dinggate applies to every host, so two hosts are tried. A path that dinggate forwards is sent to
// every server.
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

// try checks that no server responds with one of the denied marks.
func (s *env) try(w rawConns, addr string, i int, path, cookie string, denied ...string) {
	n, refused := len(s.list), 0
	for k := range n {
		one := s.list[(i+k)%n]
		r, err := w.get(addr, one.host(), path, cookie)
		s.requests.Add(1)
		if err != nil {
			s.fail("%v", err)
			return
		}
		for _, mark := range denied {
			if r.holds(mark) {
				s.fail("%s served %s for %q (cookie %v, through %s)", one.name, mark, path, cookie != "",
					map[bool]string{true: "nginx", false: "dinggate"}[addr == s.nginxAddr])
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
	case addr != s.dinggate:
	case cookie != "":
		s.allowed.Add(1)
	default:
		s.public.Add(1)
	}
}

// refused reports whether the response came from dinggate or nginx and not from a server.
// Responses of dinggate have a request id.
func (r reply) refused() bool {
	return r.status == 0 || len(r.header["X-Request-Id"]) > 0 ||
		strings.HasPrefix(r.header.Get("Server"), "nginx") && (r.status == 400 || r.status == 401 || r.status == 403)
}

// diverge sends a path directly to the servers. It counts the servers that take the path for a
// restricted page although the path denotes another page when it is decoded once.
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

// report prints figures. It fails if the corpus shows no differences.
func (s *env) report(corpus int, took time.Duration) {
	figures := ""
	for _, one := range s.list {
		figures += fmt.Sprintf(" %s %d", one.name, one.divergent.Load())
	}
	fmt.Fprintf(os.Stderr,
		"\ndifferential: %d paths, %d requests, %d allowed for a member, %d for every client, %d failed (%.1f s)\n"+
			"without dinggate, of %d paths these look unrestricted and are served as restricted:%s\n",
		corpus, s.requests.Load(), s.allowed.Load(), s.public.Load(), s.failed.Load(), took.Seconds(), direct, figures)
	if n := int64(corpus); s.allowed.Load() < n/10 || s.public.Load() < n/100 {
		s.t.Errorf("of %d paths %d are allowed for a member and %d for every client: the corpus is too unusual", corpus,
			s.allowed.Load(), s.public.Load())
	}
	for _, one := range s.list {
		if minimum := leastDivergent[one.name]; one.divergent.Load() < int64(minimum) {
			s.t.Errorf("%s serves %d paths as restricted that look unrestricted, want at least %d", one.name,
				one.divergent.Load(), minimum)
		}
	}
}

// leastDivergent are the minimums of server.divergent. Below them the corpus is too uniform to
// show anything.
var leastDivergent = map[string]int{
	"apache": 4, "caddy": 15, "caddy-files": 4, "express": 5, "go-files": 4, "hop": 15, "hops": 20, "jetty": 10,
	"jetty-lenient": 30,
	"nginx":         8, "node-files": 8, "node-url": 4, "php": 10, "tomcat": 30, "tomcat-lenient": 35,
}
