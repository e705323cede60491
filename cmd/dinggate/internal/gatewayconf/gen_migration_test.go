package gatewayconf_test

import (
	"html"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// block returns the first fenced block with this text in the migration page of a language.
func block(t *testing.T, language, text string) string {
	t.Helper()
	data, err := os.ReadFile("../../../../docs/from-oauth2-proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```\n").FindAllStringSubmatch(string(data), -1) {
		if strings.Contains(m[1], text) {
			return m[1]
		}
	}
	t.Fatalf("the page has no %s block with %q", language, text)
	return ""
}

func TestMigrationConfig(t *testing.T) {
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "secret"), filepath.Join(dir, "config.yaml")
	text := strings.NewReplacer("/run/secrets/dingtalk-secret", secret, "…",
		config.NewSecret()).Replace(block(t, "yaml", "public_url"))
	for name, data := range map[string]string{secret: "0123456789", file: text} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := servertest.RunProgram(t, nil, "", "check", "--config", file); err != nil {
		t.Errorf("check of the page's configuration: %v %s", err, out)
	}
}

// TestMigrationNginx checks that a real nginx, with a file that was written for
// oauth2-proxy, signs a person in and returns them to the requested page.
func TestMigrationNginx(t *testing.T) {
	nginx := realtool.Path(t, "nginx")
	address, app := realtool.FreeAddr(t), ""
	h := servertest.New(t, func(c *config.Config) {
		app = strings.TrimPrefix(c.AllRoutes()[0].Upstream, "http://")
		c.PublicURL, c.Routes, c.Upstream = "http://"+address, nil, "http://"+app
	})
	server := strings.NewReplacer("127.0.0.1:4180", strings.TrimPrefix(h.URL, "http://"), "127.0.0.1:8080",
		app).Replace(block(t, "nginx", "location"))
	dir := t.TempDir()
	config := "daemon off;\npid " + dir + "/pid;\nerror_log " + dir +
		"/error.log;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	server = strings.Replace(server, "location / {\n", "location / {\nproxy_set_header Cookie $app_cookie;\n", 1)
	config += block(t, "nginx", "$http_cookie") + "server {\nlisten " + address + ";\n" + server + "}\n}\n"
	if err := os.WriteFile(dir+"/nginx.conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-e", dir+"/error.log", "-c", dir+"/nginx.conf")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(dir + "/error.log")
			t.Fatalf("nginx does not listen: %v\n%s", err, log)
		}
	}
	v, wanted := h.NewClient(), "http://"+address+"/deep?a=1&b=%2Fx"
	page := v.Get(wanted, "X-Email: boss@example.com")
	link := regexp.MustCompile(`href="([^"]*/oauth2/start[^"]*)"`).FindStringSubmatch(page.Text)
	if page.StatusCode != 200 || link == nil || h.Upstream.Count() > 0 {
		t.Fatalf("GET without a session = %d, the application received %d requests, want the sign-in page:\n%s",
			page.StatusCode, h.Upstream.Count(), page.Text)
	}
	back := v.SignIn(html.UnescapeString(link[1]), "zhangsan")
	if at := back.Header.Get("Location"); !strings.HasSuffix(at, "/deep?a=1&b=%2Fx") {
		t.Errorf("callback = %d to %q, want back to %s", back.StatusCode, at, wanted)
	}
	for _, name := range []string{"a", "dinggate-attempt-3", "dinggate-theme", "dinggate-link"} {
		v.HTTP.Jar.SetCookies(back.Request.URL, []*http.Cookie{{Name: name, Value: "1", Path: "/"}})
	}
	if a := v.Get(wanted, "X-User: boss", "X-Email: boss@example.com"); a.StatusCode != 200 ||
		!strings.Contains(a.Text, "UPSTREAM-MARK GET /deep?a=1&b=%2Fx") {
		t.Fatalf("GET with a session = %d %s", a.StatusCode, a.Text)
	}
	if got := h.Upstream.Last(t).Header.Get("Cookie"); got != "a=1; dinggate-theme=1" {
		t.Errorf("Cookie at the application = %q, want none of dinggate's", got)
	}
	if got := h.Upstream.Last(t).Header["X-User"]; len(got) != 1 || got[0] != "zhangsan" {
		t.Errorf("X-User at the application = %q, want zhangsan alone", got)
	}
}
