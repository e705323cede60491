package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"dinggate/cmd/dinggate/internal/server"
)

// metric reads one metric without labels, as the exposition format writes it.
func (p *program) metric(t *testing.T, name string) string {
	t.Helper()
	_, body := fetch(t, http.DefaultClient, p.admin+"/metrics")
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return m[1]
}

// site is the shipped program in front of an application, with a simulated
// DingTalk, its configuration in files.
type site struct {
	*program
	dir, file string
	secret    string // a file
}

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

const reloadedConfig = `public_url: http://127.0.0.1:4180
listen: 127.0.0.1:0
admin: {listen: 127.0.0.1:0}
dingtalk: {client_id: dingtest, client_secret: x, corp_id: dingcorp, events: false, api_url: "http://127.0.0.1:1", oapi_url: "http://127.0.0.1:1"}
cookie: {secrets_file: %s}
`

// newSite serves the configuration and these lines more.
func newSite(t *testing.T, more string) *site {
	s := &site{dir: t.TempDir()}
	s.file, s.secret = filepath.Join(s.dir, "config.yaml"), filepath.Join(s.dir, "secrets")
	s.write(t, "secrets", newSecret())
	s.configure(t, more)
	s.program = serveFile(t, s.file)
	return s
}

func (s *site) configure(t *testing.T, more string) {
	t.Helper()
	s.write(t, "config.yaml", fmt.Sprintf(reloadedConfig, s.secret)+more)
}

// reloads counts both ends of a reload in the log.
func (s *site) reloads() int {
	log := s.log.String()
	return strings.Count(log, "the changed configuration serves") +
		strings.Count(log, "the changed configuration is refused")
}

// TestReloadsUnderLoad: threats V27.
func TestReloadsUnderLoad(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "UPSTREAM-MARK")
	}))
	defer app.Close()
	route := func(i int) string {
		return fmt.Sprintf("sign_in: {title: number %d}\nroutes: [{path: /, access: public, upstream: %q}]\n", i,
			app.URL)
	}
	s := newSite(t, route(0))
	goroutines := s.metric(t, "go_goroutines")
	var served, failed atomic.Int64
	var trouble atomic.Value
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := client.Get(s.gate + "/x")
				if err == nil {
					var body []byte
					body, err = io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil && (res.StatusCode != 200 || string(body) != "UPSTREAM-MARK") {
						err = fmt.Errorf("%d %.100q", res.StatusCode, body)
					}
				}
				served.Add(1)
				if err != nil {
					failed.Add(1)
					trouble.Store(err.Error())
				}
			}
		})
	}
	for i := 1; i <= 100; i++ {
		text := route(i)
		if i%10 == 0 {
			text += "no_such_key: 1\nlog: {level: loud}\n"
		}
		before := s.reloads()
		s.configure(t, text)
		s.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, fmt.Sprintf("reload %d", i), func() bool { return s.reloads() > before })
		if i == 50 {
			if status, body := fetch(t, http.DefaultClient, s.admin+"/ready"); status != 200 ||
				strings.Count(body, "\n") != 2 || !strings.HasPrefix(body, "ready\n") {
				t.Errorf("/ready with a refused configuration = %d %q, want ready and a line that says so", status,
					body)
			}
			if got := s.metric(t, "dinggate_config_last_reload_successful"); got != "0" {
				t.Errorf("config_last_reload_successful = %s after a broken one", got)
			}
		}
	}
	close(stop)
	load.Wait()
	if failed.Load() > 0 || served.Load() < 100 {
		t.Errorf("%d of %d requests failed: %v", failed.Load(), served.Load(), trouble.Load())
	}
	log := s.log.String()
	if strings.Count(log, "is refused") < 10 || !strings.Contains(log, "no_such_key") ||
		!strings.Contains(log, "log.level") {
		t.Errorf("the log does not tell all mistakes of the broken ones")
	}
	s.configure(t, route(101))
	eventually(t,
		"the mended configuration serves", func() bool {
			return s.metric(t, "dinggate_config_last_reload_successful") == "1"
		})
	if status, body := fetch(t, http.DefaultClient, s.gate+"/oauth2/sign_in"); status != 200 ||
		!strings.Contains(body, "number 101") {
		t.Errorf("the sign-in page = %d, want the title of the last configuration", status)
	}
	eventually(t, "the old gateways are gone: "+goroutines+" goroutines before", func() bool {
		var now, before float64
		fmt.Sscan(s.metric(t, "go_goroutines"), &now)
		fmt.Sscan(goroutines, &before)
		return now < before+30
	})
	t.Logf("%d requests over 100 reloads, %d failed", served.Load(), failed.Load())
}

// TestReloadOfFiles: whatever file the configuration names counts, in the ways
// that files change.
func TestReloadOfFiles(t *testing.T) {
	s := newSite(t, "sign_in: {title: first}\n")
	title := func() string {
		_, body := fetch(t, http.DefaultClient, s.gate+"/oauth2/sign_in")
		m := regexp.MustCompile(`<title>[^<]*</title>`).FindString(body)
		return m
	}
	s.configure(t, "sign_in: {title: second}\n")
	eventually(t, "a renamed file is taken", func() bool { return strings.Contains(title(), "second") })

	before := s.reloads()
	if err := os.WriteFile(s.secret, []byte(newSecret()+"\n"+newSecret()), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a file written in place is taken", func() bool { return s.reloads() > before })
	before = s.reloads()
	if err := os.Remove(s.secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a file that is gone is refused", func() bool { return s.reloads() > before })
	if got := s.metric(t, "dinggate_config_last_reload_successful"); got != "0" ||
		!strings.Contains(title(), "second") {
		t.Errorf("without its secrets' file: config_last_reload_successful %s, %s; want the old configuration", got,
			title())
	}
	s.write(t, "secrets", newSecret())
	eventually(t,
		"a file that came back is taken", func() bool {
			return s.metric(t, "dinggate_config_last_reload_successful") == "1"
		})

	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	// What a restart is needed for keeps its value, and is named; the rest counts.
	s.configure(t,
		"sign_in: {title: third}\nsession: {store: redis}\nredis: {url: \"redis://127.0.0.1:1\"}\nstate_dir: "+
			"/nowhere\n")
	eventually(t, "the rest is taken", func() bool { return strings.Contains(title(), "third") })
	eventually(t, "the keys are named", func() bool {
		return strings.Contains(s.log.String(), `"keys":["state_dir","session.store","redis.url"]`)
	})
}

// TestReloadOfVolume: a Kubernetes volume changes by one link that moves.
func TestReloadOfVolume(t *testing.T) {
	s := &site{dir: t.TempDir()}
	for _, version := range []string{"..v1", "..v2"} {
		if err := os.Mkdir(filepath.Join(s.dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		s.write(t, version+"/secrets", newSecret())
		s.write(t, version+"/config.yaml",
			fmt.Sprintf(reloadedConfig, filepath.Join(s.dir, "secrets"))+"sign_in: {title: "+version+"}\n")
	}
	for name, target := range map[string]string{"..data": "..v1", "config.yaml": "..data/config.yaml",
		"secrets": "..data/secrets"} {
		if err := os.Symlink(target, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.program = serveFile(t, filepath.Join(s.dir, "config.yaml"))
	if err := os.Symlink("..v2", filepath.Join(s.dir, "..tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.dir, "..tmp"), filepath.Join(s.dir, "..data")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other version is taken", func() bool {
		_, body := fetch(t, http.DefaultClient, s.gate+"/oauth2/sign_in")
		return strings.Contains(body, "..v2")
	})
}

// TestReloadKeepsSignOuts: a session that is over stays over, and one that is
// open goes on, with the new rules.
func TestReloadKeepsSignOuts(t *testing.T) {
	h := newTestEnv(t, nil)
	stays, out := h.visitor(), h.visitor()
	stayed, gone := sessionOf(stays.signIn(h.base+"/", "zhangsan")), sessionOf(out.signIn(h.base+"/", "lisi"))
	out.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	cfg := *h.cfg
	cfg.Routes = nil
	next, err := server.New(&cfg, h.state)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(next)
	defer server.Close()
	for cookie, want := range map[string]int{stayed: 200, gone: 401} {
		r, err := http.NewRequest("GET", server.URL+"/oauth2/auth", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = strings.TrimPrefix(h.base, "http://")
		r.Header.Set("Cookie", "dinggate="+cookie)
		r.Header.Set("X-Original-URL", h.base+"/")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("after a reload /oauth2/auth = %d, want %d", res.StatusCode, want)
		}
	}
}

// TestReloadOfRoutesFolder: the folder of routes may come later, and its files come,
// change and go.
func TestReloadOfRoutesFolder(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer app.Close()
	s := newSite(t, "routes: [{path: /main/, access: public, upstream: \""+app.URL+"\"}]\n")
	serves := func(what, path string, want int) {
		t.Helper()
		eventually(t, what, func() bool {
			got, _ := fetch(t, http.DefaultClient, s.gate+path)
			return got == want
		})
	}
	route := func(path string) string {
		return "routes: [{path: " + path + ", access: public, upstream: \"" + app.URL + "\"}]\n"
	}
	serves("without the folder", "/a/", 404)
	if err := os.Mkdir(filepath.Join(s.dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "conf.d/a.yaml", route("/a/"))
	serves("a file in a new folder", "/a/", 200)
	s.write(t, "conf.d/b.yaml", route("/b/"))
	serves("one more file", "/b/", 200)
	s.write(t, "conf.d/b.yaml", route("/c/"))
	serves("a file that changed", "/c/", 200)
	s.write(t, "conf.d/b.yaml", route("/a/x/"))
	eventually(t, "a file that takes another's path is refused", func() bool {
		return s.metric(t, "dinggate_config_last_reload_successful") == "0"
	})
	serves("the old routes", "/c/", 200)
	if err := os.Remove(filepath.Join(s.dir, "conf.d/b.yaml")); err != nil {
		t.Fatal(err)
	}
	serves("a file that is gone", "/c/", 404)
	serves("the others", "/main/", 200)
}
