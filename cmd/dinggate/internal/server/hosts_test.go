package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/servertest"
)

// named is a browser for which every name resolves to one listener, as a name does whose
// owner changes its address to ours after the page was loaded (DNS rebinding).
func named(address string) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(address, "http://"))
			}},
	}
}

const hostsConfig = `
public_url: http://app.test
listen: 127.0.0.1:0
hosts: %s
dingtalk: {client_id: dingtest, client_secret: secret, corp_id: dingcorp, api_url: "http://127.0.0.1:1", oapi_url: "http://127.0.0.1:1", events: false}
cookie: {secrets: [bXkgdmVyeSBvd24gMzIgYnl0ZSBzZWNyZXQga2V5ISE=], domain: app.test}
admin: {listen: 127.0.0.1:0}
routes:
  - {path: /lan/, access: {networks: [127.0.0.0/8]}, upstream: %[2]s}
  - {path: /open/, access: public, upstream: %[2]s}
  - {path: /docs/, host: docs.example.org, access: public, upstream: %[2]s}
  - {path: /, upstream: %[2]s}
`

// A page of another name, in a network that a rule admits, gets 421 and can read nothing
// (threats W12). The same applies to the metrics and the status.
func TestRebinding(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "APPLICATION of "+r.Header.Get("X-Forwarded-Host"))
	}))
	defer app.Close()
	start := func(hosts string) *servertest.Program {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, hostsConfig, hosts, app.URL), 0o600); err != nil {
			t.Fatal(err)
		}
		return servertest.ServeFile(t, file)
	}
	known, everyHost := start("known"), start("any")
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p             *servertest.Program
		host, path    string
		public, admin int // 0: not requested
	}{
		{known, "app.test", "/lan/x", 200, 421},
		{known, "APP.test.:80", "/open/x", 200, 421},
		{known, "a.b.app.test", "/open/x", 200, 421},
		{known, "docs.example.org", "/docs/", 200, 421},
		{known, "docs.example.org:8080", "/docs/", 200, 421},
		{known, "127.0.0.1:4180", "/lan/x", 200, 404},
		{known, "evil.test", "/lan/x", 421, 421},
		{known, "evil.test", "/open/x", 421, 421},
		{known, "evil.test", "/", 421, 421},
		{known, "evil.test", "/oauth2/sign_in", 421, 421},
		{known, "evil.test", "/oauth2/start", 421, 421},
		{known, "evil.test", "/oauth2/auth", 403, 421},
		{known, "evil.test", "/oauth2/forward-auth", 403, 421},
		{known, "evil.test", "/oauth2/ext-authz/lan/x", 403, 421},
		{known, "app.test", "/oauth2/auth", 401, 421},
		{known, "evil.test", "/metrics", 421, 421},
		{known, "evil.test", "/status", 421, 421},
		{known, "xapp.test", "/lan/x", 421, 421},
		{known, "app.test.evil.test", "/lan/x", 421, 421},
		{known, "localhost", "/lan/x", 421, 404},
		{known, "localhost", "/status", 0, 200},
		{known, "LOCALHOST.", "/metrics", 0, 200},
		{known, "127.0.0.1", "/livez", 0, 200},
		{known, "[::1]:9180", "/ready", 0, 200},
		{known, "10.1.2.3:9180", "/ready", 0, 200}, // a pod's address, for kubelet and Prometheus
		{known, machine, "/metrics", 0, 200},
		{known, machine + ".evil.test", "/metrics", 421, 421},
		{everyHost, "evil.test", "/lan/x", 200, 421},
		{everyHost, "evil.test", "/oauth2/auth", 401, 421},
	} {
		for listener, want := range map[string]int{c.p.Public: c.public, c.p.Admin: c.admin} {
			if want == 0 {
				continue
			}
			status, body := servertest.Fetch(t, named(listener), "http://"+c.host+c.path)
			if status != want ||
				status != 200 &&
					(strings.Contains(body, "APPLICATION") || strings.Contains(body, "dinggate_build_info")) {
				t.Errorf("%s%s at %s = %d %.200q, want %d", c.host, c.path,
					map[bool]string{true: "dinggate", false: "the admin listener"}[listener == c.p.Public], status,
					body, want)
			}
		}
	}
}

// The admin listener accepts the name in admin.listen, and a socket accepts any name.
func TestAdminNames(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
	for _, c := range []struct {
		listen, host string
		want         int
	}{
		{"metrics.internal:9180", "Metrics.Internal.:9180", 200},
		{"metrics.internal:9180", "evil.test", 421},
		{":9180", "evil.test", 421},
		{"[::]:9180", "[::]:9180", 200},
		{":9180", "", 200},
		{":9180", "x y", 421},
		{"unix:/run/admin.sock", "whatever", 200},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		if admin.OwnNames(c.listen, next).ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("admin.listen %s, Host: %s = %d, want %d", c.listen, c.host, w.Code, c.want)
		}
	}
}
