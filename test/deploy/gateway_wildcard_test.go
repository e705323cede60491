package deploy_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/internal/realtool"
)

// generatedFor returns the changes to the files that `dinggate gen` prints for public_url
// http://127.0.0.1:port: their directory and the addresses of their listeners.
var generatedFor = map[string]func(s gatewayAddresses, port string) []string{
	"nginx": func(s gatewayAddresses, port string) []string {
		return []string{"/etc/nginx/", s.dir + "/", "listen " + port + ";", "listen 127.0.0.1:" + port + ";"}
	},
	"caddy": func(s gatewayAddresses, port string) []string {
		return []string{"\nhttp://127.0.0.1:", "\n{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\nhttp://127.0.0.1:"}
	},
	"haproxy": func(s gatewayAddresses, port string) []string {
		return []string{"/etc/haproxy/", s.dir + "/", "bind :" + port, "bind 127.0.0.1:" + port}
	},
	"apache": func(s gatewayAddresses, port string) []string {
		return []string{"/etc/apache2/", s.dir + "/", "<VirtualHost *:", "<VirtualHost 127.0.0.1:"}
	},
	"traefik": func(s gatewayAddresses, port string) []string { return nil },
}

// generate runs `dinggate gen` with a configuration and writes the changed files to s.dir.
func (g realGateway) generate(t *testing.T, s gatewayAddresses, config string) {
	t.Helper()
	name, _, _ := strings.Cut(g.name, "@")
	name = strings.TrimSuffix(name, "2") // Debian's name of the program
	_, port, err := net.SplitHostPort(s.public)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(realtool.Dinggate(t), "gen", name, "--config", config, "--out", s.dir)
	cmd.Env = append(os.Environ(), "DINGGATE_PUBLIC_URL=http://"+s.public, "DINGGATE_LISTEN="+s.dinggate)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	changes := generatedFor[name](s, port)
	replacer, all := strings.NewReplacer(changes...), ""
	for _, file := range g.files {
		path := filepath.Join(s.dir, filepath.Base(file))
		text, err := os.ReadFile(path)
		if filepath.Base(file) == "traefik.yaml" { // the static configuration is written by hand
			text, err = os.ReadFile(exampleFile(file))
			text = []byte(strings.NewReplacer("/etc/traefik/", s.dir+"/", "websecure:", "web:", `":443"`, `"`+s.public+`"`,
				"providers:\n", "global: {checkNewVersion: false}\nproviders:\n").Replace(string(text)))
		}
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
		writeFile(t, path, replacer.Replace(string(text)))
	}
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(all, changes[i]) {
			t.Fatalf("gen %s prints no %q: the test replaces text that is missing:\n%s", name, changes[i], all)
		}
	}
	if g.frame != nil {
		writeFile(t, filepath.Join(s.dir, "main.conf"), g.frame(s))
	}
}

// TestGatewayWildcard checks that each real gateway serves the hosts below a wildcard with the
// output of `dinggate gen`. A person signs in on these hosts by a one-time ticket, and once for
// all of them. A host with more or fewer labels does not reach the application.
func TestGatewayWildcard(t *testing.T) {
	for _, g := range realGateways {
		t.Run(g.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config.yaml")
			g.own = func(t *testing.T, s gatewayAddresses) {
				text, err := os.ReadFile(exampleFile("config.yaml"))
				if err != nil {
					t.Fatal(err)
				}
				const every, below = "  - {path: /} ", `  - {path: /, host: "*.apps.example.org", upstream: "http://`
				changed := strings.Replace(string(text), every, below+s.app+"\", access: {users: [zhangsan]}}\n"+every, 1)
				if !strings.Contains(changed, below) {
					t.Fatal("deploy/config.yaml has no route for everything")
				}
				writeFile(t, config, changed)
				g.generate(t, s, config)
			}
			h := newGatewayEnv(t, g)
			h.config = config
			h.startDinggate("DINGGATE_COOKIE_SECRETS=" + cookieSecret("old"))
			gatewayWildcard(t, h, g.foreign)
		})
	}
}

func gatewayWildcard(t *testing.T, h *gatewayEnv, foreign int) {
	_, port, _ := net.SplitHostPort(h.addresses.public)
	host := func(name string) string { return name + ".apps.example.org:" + port }
	v := h.visitor()
	v.client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ".apps.example.org:"+port) {
			address = h.addresses.public
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	h.app.takeRequests()
	// follow opens an address and follows its redirects until a response without one or an address
	// of another origin.
	follow := func(address string) (gatewayResponse, string) {
		for range 8 {
			a := v.open(address)
			next, err := a.Location()
			if err != nil || strings.HasPrefix(next.String(), h.dingtalk) {
				return a, address
			}
			address = next.String()
		}
		t.Fatalf("%s redirects without an end", address)
		return gatewayResponse{}, ""
	}
	page := "http://" + host("one") + "/x?a=1&b=2"
	leave, _ := follow(page)
	authorize := leave.Header.Get("Location")
	if !strings.HasPrefix(authorize, h.dingtalk+"/oauth2/auth?") {
		t.Fatalf("%s without a session = %d %q, want a redirect to DingTalk", page, leave.StatusCode, authorize)
	}
	button := regexp.MustCompile(`id="person-zhangsan" name="person" value="([^"]*)"`).FindStringSubmatch(v.open(authorize).body)
	if button == nil {
		t.Fatal("DingTalk's page has no button")
	}
	a, at := follow(v.open(authorize + "&person=" + url.QueryEscape(button[1])).Header.Get("Location"))
	if a.StatusCode != http.StatusOK || at != page || a.body != "UPSTREAM-MARK" {
		t.Fatalf("the sign-in ends at %s with %d %s, want the application at %s", at, a.StatusCode, a.body, page)
	}
	// Another host below the wildcard: no second sign-in.
	if a, at := follow("http://" + host("two") + "/"); a.StatusCode != http.StatusOK || a.body != "UPSTREAM-MARK" {
		t.Errorf("%s = %d %q, want the application", at, a.StatusCode, a.Header.Get("Location"))
	}
	seen := h.app.takeRequests()
	if len(seen) != 2 {
		t.Fatalf("the application got %d requests, want 2", len(seen))
	}
	for i, want := range []string{host("one"), host("two")} {
		if got := seen[i]; got.header.Get("X-Auth-Request-User") != "zhangsan" || got.host != want {
			t.Errorf("the application got a request for %s by %q, want %s by zhangsan", got.host, got.header["X-Auth-Request-User"], want)
		}
	}
	if a := v.do(http.MethodGet, "/x", "", "Host: "+host("three"), "X-Auth-Request-User: zhangsan"); a.StatusCode != 401 {
		t.Errorf("a claim without a session = %d, want 401", a.StatusCode)
	}
	for _, name := range []string{"a.b.apps.example.org", "apps.example.org", ".apps.example.org", "one.apps.example.org.evil.test",
		"one-apps.example.org", "one.appsxexample.org", "evil.test"} {
		a := v.do(http.MethodGet, "/x", "", "Host: "+name+":"+port)
		if name != ".apps.example.org" && a.StatusCode != foreign && a.StatusCode/100 != 4 {
			t.Errorf("host %s = %d, want %d", name, a.StatusCode, foreign)
		}
	}
	if seen := h.app.takeRequests(); len(seen) > 0 {
		t.Errorf("the application got %d more requests, such as %s%s, want none", len(seen), seen[0].host, seen[0].uri)
	}
}
