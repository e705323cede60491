package contract

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// program builds dinggate once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "contract")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "dinggate")
	build := exec.Command("go", "build", "-o", file, "../../cmd/dinggate")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

func built(t *testing.T) string {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  dinggate ([a-z]+(?: [a-z]+)?)(?: [A-Z]+)? {2,}`)
	helpFlag    = regexp.MustCompile(`--([a-z][a-z0-9_.-]*)`)
	helpKey     = regexp.MustCompile(`DINGGATE_[A-Z0-9_]+`)
)

// TestCommands: every command with its flags, and every variable of the
// environment, as the help shows them.
func TestCommands(t *testing.T) {
	file := built(t)
	help := func(args ...string) string {
		out, err := exec.Command(file, args...).Output()
		if err != nil {
			t.Fatalf("dinggate %s: %v", strings.Join(args, " "), err)
		}
		return string(out)
	}
	common := map[string]bool{"lang": true, "help": true} // every command has these; and the keys of the configuration
	for _, m := range helpFlag.FindAllStringSubmatch(help("serve", "--help-keys")+help("serve", "--help"), -1) {
		common[m[1]] = true
	}
	var lines []string
	for flag := range common {
		lines = append(lines, "(configuration) --"+flag)
	}
	for _, name := range helpKey.FindAllString(help("serve", "--help-keys"), -1) {
		lines = append(lines, "(configuration) "+name)
	}
	var walk func(path ...string)
	walk = func(path ...string) {
		text := help(append(path, "--help")...)
		name := strings.Join(path, " ")
		if name != "" {
			lines = append(lines, name)
		}
		if strings.Contains(text, "--help-keys") {
			lines = append(lines, name+" (configuration)")
		}
		for _, flag := range helpFlag.FindAllStringSubmatch(text, -1) {
			if !common[flag[1]] || !strings.Contains(text, "--help-keys") && flag[1] != "lang" && flag[1] != "help" {
				lines = append(lines, strings.TrimSpace(name+" --"+flag[1]))
			}
		}
		for _, m := range helpCommand.FindAllStringSubmatch(text, -1) {
			if below := strings.Fields(m[1]); len(below) > len(path) && strings.Join(below[:len(path)], " ") == name {
				walk(below[:len(path)+1]...)
			}
		}
	}
	walk()
	if len(lines) < 150 {
		t.Fatalf("found %d lines: something is wrong with this test", len(lines))
	}
	golden(t, "commands.txt", lines)
}

var clients atomic.Uint32

// served is a running dinggate with everything that has endpoints.
type served struct{ public, admin string }

const htpasswd = "alice:$2a$04$5fJ0SA/Hp10bPJrYUp0pWuMPMx7fI2NQKbcSJlsQO9YpdmwcjhwZC\n"

func serve(t *testing.T) served {
	file := built(t)
	sim := simulator.Demo()
	dingtalk := httptest.NewServer(sim)
	t.Cleanup(func() { dingtalk.Close(); sim.Close() })
	app := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(app.Close)
	dir := t.TempDir()
	accounts := filepath.Join(dir, "htpasswd")
	if err := os.WriteFile(accounts, []byte(htpasswd), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
public_url: https://app.test
listen: 127.0.0.1:0
trusted_proxies: [127.0.0.1/32]
state_dir: %[1]s
dingtalk: {client_id: %[2]s, client_secret: %[3]s, corp_id: %[4]s, events: false, login_url: %[5]s, api_url: %[5]s, oapi_url: %[5]s}
cookie: {secrets: ["%[6]s"]}
accounts: {htpasswd_file: %[7]s, binding: optional}
login_api: true
sign_in: {page: true}
sso_server:
  clients:
    - {client_id: app, client_secret: thirty-two-bytes-and-some-more-of-them, redirect_urls: ["https://other.test/callback"]}
assertion: {enabled: true}
admin: {listen: 127.0.0.1:0}
routes:
  - {path: /open/, access: public, upstream: "%[8]s"}
  - {path: /, upstream: "%[8]s"}
`, dir, simulator.DemoClientID, simulator.DemoClientSecret, simulator.DemoCorpID, dingtalk.URL,
		base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv")), accounts, app.URL)
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "serve", "--config", path)
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var s served
	listening := regexp.MustCompile(`^(\S+) listening on (?:https?://)?(127\.0\.0\.1:\d+)`)
	for lines := bufio.NewScanner(out); (s.public == "" || s.admin == "") && lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil && m[1] == "admin" {
			s.admin = m[2]
		} else if m != nil {
			s.public = m[2]
		}
	}
	if s.public == "" || s.admin == "" {
		cmd.Wait()
		t.Fatalf("dinggate did not start:\n%s", stderr)
	}
	return s
}

var pathText = regexp.MustCompile(`^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+/?$`)

// TestEndpoints sends every method to every path that the code names, and
// records what a client without a session gets: status, code and headers.
func TestEndpoints(t *testing.T) {
	paths := map[string]bool{}
	walk(sources(t), func(s source, n ast.Node) {
		if e, ok := n.(ast.Expr); ok {
			if text, ok := s.text(e); ok {
				_, rest, pattern := strings.Cut(text, " ")
				if pattern && strings.HasPrefix(text, "GET /") {
					text = rest
				}
				if pathText.MatchString(text) && len(text) < 60 {
					paths[text] = true
				}
			}
		}
	})
	if len(paths) < 30 {
		t.Fatalf("found %d paths: something is wrong with this test", len(paths))
	}
	s := serve(t)
	var lines []string
	for _, site := range []struct{ name, address, prefix string }{
		{"gate", s.public, ""}, {"gate", s.public, "/oauth2"}, {"gate", s.public, "/dingtalk"}, {"gate", s.public, "/api/v1"},
		{"admin", s.admin, ""},
	} {
		usual := probe(t, site.address, site.prefix+"/no-such-path", site.name == "admin")
		for path := range paths {
			path = site.prefix + path
			if answers := probe(t, site.address, path, site.name == "admin"); !slices.Equal(answers, usual) {
				for _, answer := range answers {
					lines = append(lines, fmt.Sprintf("%s %s %s", site.name, path, answer))
				}
			}
		}
		for _, answer := range usual {
			lines = append(lines, fmt.Sprintf("%s %s/… (any other) %s", site.name, site.prefix, answer))
		}
	}
	golden(t, "endpoints.txt", lines)
}

// probe gives what each method gets at a path, without a session. Each request
// comes from another client, so that no limit is met.
func probe(t *testing.T, address, path string, admin bool) (answers []string) {
	client := http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PAGE"} {
		r, err := http.NewRequest(strings.Replace(method, "PAGE", "GET", 1), "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !admin {
			r.Host = "app.test"
		}
		next := clients.Add(1)
		r.Header.Set("X-Forwarded-For", net.IPv4(10, byte(next>>16), byte(next>>8), byte(next)).String())
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("Accept", "application/json")
		if method == "PAGE" {
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		answers = append(answers, method+" "+describe(resp, body))
	}
	return answers
}

// describe is an answer without what differs from run to run.
func describe(resp *http.Response, body []byte) string {
	parts := []string{fmt.Sprint(resp.StatusCode)}
	var refusal struct {
		Error, Code any
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	parts = append(parts, cmp.Or(kind, "-"))
	if json.Unmarshal(body, &refusal) == nil && cmp.Or(refusal.Error, refusal.Code) != nil {
		parts = append(parts, fmt.Sprint("error=", cmp.Or(refusal.Error, refusal.Code)))
	}
	for _, name := range []string{"Allow", "X-Dinggate-Reason", "Www-Authenticate"} {
		if value := resp.Header.Get(name); value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	if location := resp.Header.Get("Location"); location != "" {
		location, _, _ = strings.Cut(location, "?")
		if strings.Contains(location, "127.0.0.1") {
			location = "DingTalk"
		}
		parts = append(parts, "Location="+location)
	}
	return strings.Join(parts, " ")
}
