package main

import (
	"html"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/realtool"
)

// TestMigrationTraefik: a real Traefik with what oauth2-proxy's documentation says
// signs a person in and brings them where they wanted to be: by ForwardAuth at /,
// and by ForwardAuth at /oauth2/auth with the sign-in page as the error's page.
func TestMigrationTraefik(t *testing.T) {
	traefik := realtool.Path(t, "traefik@v3.7.13")
	for name, middlewares := range map[string]string{"at the root": "[oauth-auth-redirect]",
		"errors": "[oauth-errors, oauth-auth-wo-redirect]"} {
		t.Run(name, func(t *testing.T) {
			address, app := realtool.FreeAddr(t), ""
			h := newTestEnv(t, func(c *config.Config) {
				app = c.AllRoutes()[0].Upstream
				c.PublicURL = "http://" + address
				for i := range c.Routes {
					c.Routes[i].Upstream = ""
				}
			})
			dynamic := block(t, "yaml", "forwardAuth")
			for _, change := range [][2]string{{"app.example.com", "127.0.0.1"}, {"http://127.0.0.1:4180", h.base},
				{"http://127.0.0.1:8080", app}, {"middlewares: [oauth-auth-redirect]", "middlewares: " + middlewares}} {
				if !strings.Contains(dynamic, change[0]) {
					t.Fatalf("the page's block has no %q", change[0])
				}
				dynamic = strings.ReplaceAll(dynamic, change[0], change[1])
			}
			startTraefik(t, traefik, address, dynamic)
			v, wanted := h.visitor(), "http://"+address+"/deep?a=1&b=%2Fx"
			page := v.untilRouted(wanted)
			start := page.Header.Get("Location")
			if link := regexp.MustCompile(`href="([^"]*/oauth2/start[^"]*)"`).FindStringSubmatch(
				page.body,
			); link != nil {
				start = html.UnescapeString(link[1])
			}
			if start == "" || page.StatusCode != 302 && page.StatusCode != 401 || h.app.count() > 0 {
				t.Fatalf("GET without a session = %d, the application asked %d times, want a way to sign in:\n%s",
					page.StatusCode, h.app.count(), page.body)
			}
			back := v.signIn(start, "zhaoliu")
			if at := back.Header.Get("Location"); !strings.HasSuffix(at, "/deep?a=1&b=%2Fx") {
				t.Errorf("callback = %d to %q, want back to %s", back.StatusCode, at, wanted)
			}
			var session string // an application behind Traefik can replace our cookie, and this one does
			for _, c := range v.client.Jar.Cookies(back.Request.URL) {
				session += "; " + c.Name + "=" + c.Value
			}
			session = "Cookie: " + strings.TrimPrefix(session, "; ")
			for _, target := range []string{wanted, "http://" + address + "/"} {
				if a := h.visitor().get(target, "X-Auth-Request-User: boss", session); a.StatusCode != 200 ||
					!strings.Contains(a.body, "UPSTREAM-MARK GET "+strings.TrimPrefix(target, "http://"+address)) {
					t.Fatalf("GET %s with a session = %d %s", target, a.StatusCode, a.body)
				}
				if got := h.app.last(t).Header["X-Auth-Request-User"]; len(got) != 1 || got[0] != "zhaoliu" {
					t.Errorf("X-Auth-Request-User at the application = %q, want zhaoliu alone", got)
				}
			}
			before := h.app.count()
			for path, status := range map[string]int{"/admin/": 403, "/oauth2/userinfo": 200} {
				if a := h.visitor().get("http://"+address+path, session); a.StatusCode != status {
					t.Errorf("GET %s by zhaoliu = %d, want %d", path, a.StatusCode, status)
				}
			}
			for _, claims := range [][]string{{"X-Forwarded-Uri: /public/", "X-Forwarded-Method: GET"},
				{"X-Original-URL: http://" + address + "/public/"}, {"X-Original-URI: /public/"}} {
				if a := h.visitor().get("http://"+address+"/x", claims...); a.StatusCode < 300 {
					t.Errorf("GET /x without a session, with %q = %d, want a refusal", claims, a.StatusCode)
				}
			}
			if n := h.app.count(); n != before {
				t.Errorf("the application was asked %d times by requests that are refused", n-before)
			}
		})
	}
}

// startTraefik runs it with a dynamic configuration; it ends with the test.
func startTraefik(t *testing.T, program, address, dynamic string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"dynamic.yaml": dynamic,
		"traefik.yaml": "global: {checkNewVersion: false}\nentryPoints: {web: {address: \"" + address +
			"\"}}\nproviders: {file: {filename: " + dir + "/dynamic.yaml}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "--configFile="+dir+"/traefik.yaml")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "Traefik listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// untilRouted asks until Traefik has read its routes, which it answers with 404 before.
func (v *visitor) untilRouted(address string) (a answer) {
	v.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-again.C {
		if a = v.get(address); a.StatusCode != 404 {
			return a
		}
	}
	v.t.Fatalf("GET %s = %d: no route", address, a.StatusCode)
	return a
}
