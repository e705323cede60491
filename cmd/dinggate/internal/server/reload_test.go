package server_test

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
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestReloadsUnderLoad tests threats V27.
func TestReloadsUnderLoad(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "UPSTREAM-MARK")
	}))
	defer app.Close()
	route := func(i int) string {
		return fmt.Sprintf("sign_in: {title: number %d}\nroutes: [{path: /, access: public, upstream: %q}]\n", i,
			app.URL)
	}
	s := servertest.NewFileEnv(t, route(0))
	goroutines := s.Metric(t, "go_goroutines")
	var served, failed atomic.Int64
	var lastError atomic.Value
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
				res, err := client.Get(s.Public + "/x")
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
					lastError.Store(err.Error())
				}
				time.Sleep(time.Millisecond) // otherwise the load takes the processors from the reloads
			}
		})
	}
	for i := 1; i <= 100; i++ {
		text := route(i)
		// A change is detected twice, by the signal and in the file. Hence the result is what counts,
		// not a further reload in the log: that may be the second one of the previous change.
		taken := func() bool {
			_, body := servertest.Fetch(t, http.DefaultClient, s.Public+"/oauth2/sign_in")
			return strings.Contains(body, fmt.Sprintf("number %d<", i))
		}
		if i%10 == 0 {
			text += "no_such_key: 1\nlog: {level: loud}\n"
			taken = func() bool { return s.Metric(t, "dinggate_config_last_reload_successful") == "0" }
		}
		s.Configure(t, text)
		s.Cmd.Process.Signal(syscall.SIGHUP)
		servertest.Eventually(t, fmt.Sprintf("reload %d", i), taken)
		if i == 50 {
			if status, body := servertest.Fetch(t, http.DefaultClient, s.Admin+"/ready"); status != 200 ||
				strings.Count(body, "\n") != 2 || !strings.HasPrefix(body, "ready\n") {
				t.Errorf("/ready with a refused configuration = %d %q, want ready and a line that says so", status,
					body)
			}
			if got := s.Metric(t, "dinggate_config_last_reload_successful"); got != "0" {
				t.Errorf("config_last_reload_successful = %s after a broken one", got)
			}
		}
	}
	close(stop)
	load.Wait()
	if failed.Load() > 0 || served.Load() < 100 {
		t.Errorf("%d of %d requests failed: %v", failed.Load(), served.Load(), lastError.Load())
	}
	servertest.Eventually(t, "the log names all mistakes of the broken ones", func() bool {
		log := s.Log.String()
		return strings.Count(log, "was refused") >= 10 && strings.Contains(log, "no_such_key") &&
			strings.Contains(log, "log.level")
	})
	s.Configure(t, route(101))
	servertest.Eventually(t,
		"the mended configuration serves", func() bool {
			return s.Metric(t, "dinggate_config_last_reload_successful") == "1"
		})
	if status, body := servertest.Fetch(t, http.DefaultClient, s.Public+"/oauth2/sign_in"); status != 200 ||
		!strings.Contains(body, "number 101") {
		t.Errorf("the sign-in page = %d, want the title of the last configuration", status)
	}
	servertest.Eventually(t, "the old gateways are gone: "+goroutines+" goroutines before", func() bool {
		var now, before float64
		fmt.Sscan(s.Metric(t, "go_goroutines"), &now)
		fmt.Sscan(goroutines, &before)
		return now < before+30
	})
	t.Logf("%d requests over 100 reloads, %d failed", served.Load(), failed.Load())
}

// TestReloadOfFiles checks that a change of every file that the configuration names is
// detected, for each way in which files are changed.
func TestReloadOfFiles(t *testing.T) {
	s := servertest.NewFileEnv(t, "sign_in: {title: first}\n")
	title := func() string {
		_, body := servertest.Fetch(t, http.DefaultClient, s.Public+"/oauth2/sign_in")
		m := regexp.MustCompile(`<title>[^<]*</title>`).FindString(body)
		return m
	}
	s.Configure(t, "sign_in: {title: second}\n")
	servertest.Eventually(t, "a renamed file is taken", func() bool { return strings.Contains(title(), "second") })

	before := s.Reloads()
	if err := os.WriteFile(s.Secret, []byte(config.NewSecret()+"\n"+config.NewSecret()), 0o600); err != nil {
		t.Fatal(err)
	}
	successful := func(want string) bool { return s.Metric(t, "dinggate_config_last_reload_successful") == want }
	servertest.Eventually(t, "a file written in place is taken", func() bool { // it may be read while it is empty
		return s.Reloads() > before && successful("1")
	})
	if err := os.Remove(s.Secret); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "a file that is gone is refused", func() bool { return successful("0") })
	if !strings.Contains(title(), "second") {
		t.Errorf("without its secrets' file: %s; want the old configuration", title())
	}
	s.Write(t, "secrets", config.NewSecret())
	servertest.Eventually(t, "a file that came back is taken", func() bool { return successful("1") })

	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log.String())
		}
	})
	// Keys that require a restart keep their value and are reported; the other keys are
	// applied.
	s.Configure(t,
		"sign_in: {title: third}\nsession: {store: redis}\nredis: {url: \"redis://127.0.0.1:1\"}\nstate_dir: "+
			"/nowhere\n")
	servertest.Eventually(t, "the rest is taken", func() bool { return strings.Contains(title(), "third") })
	servertest.Eventually(t, "the keys are named", func() bool {
		return strings.Contains(s.Log.String(), `"keys":["state_dir","session.store","redis.url"]`)
	})
}

// TestReloadOfVolume checks a Kubernetes volume, which changes by moving one link.
func TestReloadOfVolume(t *testing.T) {
	s := &servertest.FileEnv{Dir: t.TempDir()}
	for _, version := range []string{"..v1", "..v2"} {
		if err := os.Mkdir(filepath.Join(s.Dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		s.Write(t, version+"/secrets", config.NewSecret())
		s.Write(t, version+"/config.yaml",
			fmt.Sprintf(servertest.FileConfig, filepath.Join(s.Dir, "secrets"))+"sign_in: {title: "+version+"}\n")
	}
	for name, target := range map[string]string{"..data": "..v1", "config.yaml": "..data/config.yaml",
		"secrets": "..data/secrets"} {
		if err := os.Symlink(target, filepath.Join(s.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.Program = servertest.ServeFile(t, filepath.Join(s.Dir, "config.yaml"))
	if err := os.Symlink("..v2", filepath.Join(s.Dir, "..tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.Dir, "..tmp"), filepath.Join(s.Dir, "..data")); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the other version is taken", func() bool {
		_, body := servertest.Fetch(t, http.DefaultClient, s.Public+"/oauth2/sign_in")
		return strings.Contains(body, "..v2")
	})
}

// TestReloadKeepsSignOuts checks that an ended session stays ended, and that a valid one
// continues under the new rules.
func TestReloadKeepsSignOuts(t *testing.T) {
	h := servertest.New(t, nil)
	stays, out := h.NewClient(), h.NewClient()
	stayed, gone := servertest.SessionOf(stays.SignIn(h.URL+"/", "zhangsan")), servertest.SessionOf(out.SignIn(h.URL+"/", "lisi"))
	out.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	cfg := *h.Config
	cfg.Routes = nil
	next, err := server.New(&cfg, h.State)
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
		r.Host = strings.TrimPrefix(h.URL, "http://")
		r.Header.Set("Cookie", "dinggate="+cookie)
		r.Header.Set("X-Original-URL", h.URL+"/")
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

// TestReloadOfRoutesFolder checks a folder of routes that is created later, and whose
// files are added, changed and removed.
func TestReloadOfRoutesFolder(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer app.Close()
	s := servertest.NewFileEnv(t, "routes: [{path: /main/, access: public, upstream: \""+app.URL+"\"}]\n")
	serves := func(what, path string, want int) {
		t.Helper()
		servertest.Eventually(t, what, func() bool {
			got, _ := servertest.Fetch(t, http.DefaultClient, s.Public+path)
			return got == want
		})
	}
	route := func(path string) string {
		return "routes: [{path: " + path + ", access: public, upstream: \"" + app.URL + "\"}]\n"
	}
	serves("without the folder", "/a/", 404)
	if err := os.Mkdir(filepath.Join(s.Dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Write(t, "conf.d/a.yaml", route("/a/"))
	serves("a file in a new folder", "/a/", 200)
	s.Write(t, "conf.d/b.yaml", route("/b/"))
	serves("one more file", "/b/", 200)
	s.Write(t, "conf.d/b.yaml", route("/c/"))
	serves("a file that changed", "/c/", 200)
	s.Write(t, "conf.d/b.yaml", route("/a/x/"))
	servertest.Eventually(t, "a file that takes another's path is refused", func() bool {
		return s.Metric(t, "dinggate_config_last_reload_successful") == "0"
	})
	serves("the old routes", "/c/", 200)
	if err := os.Remove(filepath.Join(s.Dir, "conf.d/b.yaml")); err != nil {
		t.Fatal(err)
	}
	serves("a file that is gone", "/c/", 404)
	serves("the others", "/main/", 200)
}
