package gatewayconf_test

import (
	"html"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// TestMigrationTraefik checks that a real Traefik, configured as in oauth2-proxy's
// documentation, signs a person in and returns them to the requested page: with
// ForwardAuth at /, and with ForwardAuth at /oauth2/auth and the sign-in page as the error
// page.
func TestMigrationTraefik(t *testing.T) {
	traefik := realtool.Path(t, "traefik@v3.7.13")
	for name, middlewares := range map[string]string{"at the root": "[oauth-auth-redirect]",
		"errors": "[oauth-errors, oauth-auth-wo-redirect]"} {
		t.Run(name, func(t *testing.T) {
			address, app := realtool.FreeAddr(t), ""
			h := servertest.New(t, func(c *config.Config) {
				app = c.AllRoutes()[0].Upstream
				c.PublicURL = "http://" + address
				for i := range c.Routes {
					c.Routes[i].Upstream = ""
				}
			})
			dynamic := block(t, "yaml", "forwardAuth")
			for _, change := range [][2]string{{"app.example.com", "127.0.0.1"}, {"http://127.0.0.1:4180", h.URL},
				{"http://127.0.0.1:8080", app}, {"middlewares: [oauth-auth-redirect]", "middlewares: " + middlewares}} {
				if !strings.Contains(dynamic, change[0]) {
					t.Fatalf("the page's block has no %q", change[0])
				}
				dynamic = strings.ReplaceAll(dynamic, change[0], change[1])
			}
			startTraefik(t, traefik, address, dynamic)
			v, wanted := h.NewClient(), "http://"+address+"/deep?a=1&b=%2Fx"
			page := v.UntilRouted(wanted)
			start := page.Header.Get("Location")
			if link := regexp.MustCompile(`href="([^"]*/oauth2/start[^"]*)"`).FindStringSubmatch(
				page.Text,
			); link != nil {
				start = html.UnescapeString(link[1])
			}
			if start == "" || page.StatusCode != 302 && page.StatusCode != 401 || h.Upstream.Count() > 0 {
				t.Fatalf("GET without a session = %d, the application received %d requests, want a way to sign in:\n%s",
					page.StatusCode, h.Upstream.Count(), page.Text)
			}
			back := v.SignIn(start, "zhaoliu")
			if at := back.Header.Get("Location"); !strings.HasSuffix(at, "/deep?a=1&b=%2Fx") {
				t.Errorf("callback = %d to %q, want back to %s", back.StatusCode, at, wanted)
			}
			var session string // an application behind Traefik can replace our cookie; this one does
			for _, c := range v.HTTP.Jar.Cookies(back.Request.URL) {
				session += "; " + c.Name + "=" + c.Value
			}
			session = "Cookie: " + strings.TrimPrefix(session, "; ")
			for _, target := range []string{wanted, "http://" + address + "/"} {
				if a := h.NewClient().Get(target, "X-Auth-Request-User: boss", session); a.StatusCode != 200 ||
					!strings.Contains(a.Text, "UPSTREAM-MARK GET "+strings.TrimPrefix(target, "http://"+address)) {
					t.Fatalf("GET %s with a session = %d %s", target, a.StatusCode, a.Text)
				}
				if got := h.Upstream.Last(t).Header["X-Auth-Request-User"]; len(got) != 1 || got[0] != "zhaoliu" {
					t.Errorf("X-Auth-Request-User at the application = %q, want zhaoliu alone", got)
				}
			}
			before := h.Upstream.Count()
			for path, status := range map[string]int{"/admin/": 403, "/oauth2/userinfo": 200} {
				if a := h.NewClient().Get("http://"+address+path, session); a.StatusCode != status {
					t.Errorf("GET %s by zhaoliu = %d, want %d", path, a.StatusCode, status)
				}
			}
			for _, claims := range [][]string{{"X-Forwarded-Uri: /public/", "X-Forwarded-Method: GET"},
				{"X-Original-URL: http://" + address + "/public/"}, {"X-Original-URI: /public/"}} {
				if a := h.NewClient().Get("http://"+address+"/x", claims...); a.StatusCode < 300 {
					t.Errorf("GET /x without a session, with %q = %d, want a refusal", claims, a.StatusCode)
				}
			}
			if n := h.Upstream.Count(); n != before {
				t.Errorf("%d refused requests reached the application", n-before)
			}
		})
	}
}

// startTraefik runs Traefik with a dynamic configuration until the test ends.
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
	servertest.Eventually(t, "Traefik listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
