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

// block is the first fenced block of the migration page in a language that has
// the text.
func block(t *testing.T, language, text string) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/from-oauth2-proxy.md")
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
		newSecret()).Replace(block(t, "yaml", "public_url"))
	for name, data := range map[string]string{secret: "0123456789", file: text} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if code := run([]string{"check", "--config", file}, nil, &out, &out); code != 0 {
		t.Errorf("check of the page's configuration = %d %s", code, out.String())
	}
}

// TestMigrationNginx: a real nginx with the file that was written for
// oauth2-proxy signs a person in and brings them where they wanted to be.
func TestMigrationNginx(t *testing.T) {
	nginx := realtool.Path(t, "nginx")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	app := ""
	h := newTestEnv(t, func(c *config.Config) {
		app = strings.TrimPrefix(c.AllRoutes()[0].Upstream, "http://")
		c.PublicURL, c.Routes, c.Upstream = "http://"+address, nil, "http://"+app
	})
	server := strings.NewReplacer("127.0.0.1:4180", strings.TrimPrefix(h.base, "http://"), "127.0.0.1:8080",
		app).Replace(block(t, "nginx", "location"))
	dir := t.TempDir()
	config := "daemon off;\npid " + dir + "/pid;\nerror_log " + dir +
		"/error.log;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	server = strings.Replace(server, "location / {\n", "location / {\nproxy_set_header Cookie $app_cookie;\n", 1)
	config += block(t, "nginx", "map $http_cookie") + "server {\nlisten " + address + ";\n" + server + "}\n}\n"
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
	v, wanted := h.visitor(), "http://"+address+"/deep?a=1&b=%2Fx"
	page := v.get(wanted, "X-Email: boss@example.com")
	link := regexp.MustCompile(`href="([^"]*/oauth2/start[^"]*)"`).FindStringSubmatch(page.body)
	if page.StatusCode != 200 || link == nil || h.app.count() > 0 {
		t.Fatalf("GET without a session = %d, the application asked %d times, want the sign-in page:\n%s",
			page.StatusCode, h.app.count(), page.body)
	}
	back := v.signIn(html.UnescapeString(link[1]), "zhangsan")
	if at := back.Header.Get("Location"); !strings.HasSuffix(at, "/deep?a=1&b=%2Fx") {
		t.Errorf("callback = %d to %q, want back to %s", back.StatusCode, at, wanted)
	}
	if a := v.get(wanted, "X-User: boss", "X-Email: boss@example.com"); a.StatusCode != 200 ||
		!strings.Contains(a.body, "UPSTREAM-MARK GET /deep?a=1&b=%2Fx") {
		t.Fatalf("GET with a session = %d %s", a.StatusCode, a.body)
	}
	if got := h.app.last(t).Header.Get("Cookie"); strings.Contains(got, "dinggate=") {
		t.Errorf("Cookie at the application = %q, want no session", got)
	}
	if got := h.app.last(t).Header["X-User"]; len(got) != 1 || got[0] != "zhangsan" {
		t.Errorf("X-User at the application = %q, want zhangsan alone", got)
	}
}
