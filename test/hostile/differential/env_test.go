package differential

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// env is dinggate with one host per server.
type env struct {
	*fleet
	t         *testing.T
	sim       *simulator.Platform
	dinggate  string // host:port
	nginxAddr string // host:port; "" without nginx
	member    string // Cookie of a person who is not allowed to open /admin/
	admin     string // Cookie of a person who is

	requests, allowed, public, failed atomic.Int64
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
	s.dinggate = s.serve(exec.Command(program, "serve", "--config", file))
	s.member, s.admin = s.signIn("zhangsan"), s.signIn("lisi")
}

// signIn runs a sign-in and returns the session cookie.
func (s *env) signIn(person string) string {
	s.t.Helper()
	host := "gate." + domain
	w := rawConns{}
	defer w.close()
	start, err := w.get(s.dinggate, host, "/oauth2/start?rd=%2F", "")
	if err != nil {
		s.t.Fatal(err)
	}
	var started struct {
		State string `json:"state"`
	}
	decode(s.t, start.body, &started)
	code, err := s.sim.Code(simulator.Browser, "", person)
	if err != nil {
		s.t.Fatal(err)
	}
	callback, err := w.get(s.dinggate, host, "/oauth2/callback?authCode="+code+"&state="+url.QueryEscape(started.State),
		cookies(start.header, ""))
	if err != nil {
		s.t.Fatal(err)
	}
	cookie := cookies(callback.header, "dinggate")
	if cookie == "" {
		s.t.Fatalf("%s has no session: %d %.300s", person, callback.status, callback.body)
	}
	return cookie
}

// cookies returns the Cookie line for the cookies that were set, or for the one with the given
// name.
func cookies(h http.Header, name string) string {
	var pairs []string
	for _, line := range h["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil && c.Value != "" && (name == "" || c.Name == name) {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// alive checks that each server serves each area to an authorized person, directly and behind
// nginx.
func (s *env) alive() {
	s.t.Helper()
	w := rawConns{}
	defer w.close()
	for _, addr := range s.entryPoints() {
		for _, one := range s.list {
			for path, want := range map[string]string{"/admin/x": adminMark, "/settings": adminMark,
				"/public/x": publicMark, "/page": restMark} {
				if r, err := w.get(addr, one.host(), path, s.admin); err != nil || !r.holds(want) {
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

// entryPoints returns the addresses that a client may send a request to.
func (s *env) entryPoints() []string {
	if s.nginxAddr == "" {
		return []string{s.dinggate}
	}
	return []string{s.dinggate, s.nginxAddr}
}

var listening = regexp.MustCompile(`^dinggate listening on (?:https?://)?(.*)$`)

// serve starts dinggate and returns its address.
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
