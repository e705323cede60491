package gatewayconf_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
)

// inDeploy maps each file of a gateway to its file in deploy/.
var inDeploy = map[string]string{"k8s": "kubernetes/sidecar", "traefik-kubernetes": "traefik"}

const richConfig = `
public_url: https://wiki.example.org:8443
listen: 0.0.0.0:4190
prefix: /gate-1.x
trusted_proxies: [127.0.0.1/32, 10.244.0.0/16]
cookie: {domain: example.org}
routes:
  - {path: /, host: docs.example.org, upstream: "http://wiki.internal:9000"}
  - {path: /, host: "*.apps.example.org", upstream: "http://wiki.internal:9000"}
  - {path: /, upstream: "http://wiki.internal:9000"}
headers:
  response: {X-Auth-Request-User: username, Remote-User: username, X-Mail: email}
  request: {X-Forwarded-User: username, X-Person: username}
`

const httpConfig = `
public_url: http://intranet:8088
listen: unix:/run/dinggate.sock
trusted_proxies: [unix]
upstream: http://[::1]:8080
`

// gen runs the command with a configuration.
func gen(t testing.TB, gateway, config string, more ...string) (out, stderr string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	code = servertest.RunCommand(gatewayconf.Command, append([]string{"gen", gateway, "--config", file}, more...), nil, &o, &e)
	return o.String(), e.String(), code
}

func deployConfig(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../../../deploy/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files splits the output of gen at its lines with file names.
func files(out string) map[string]string {
	parts := map[string]string{}
	name := ""
	for line := range strings.Lines(out) {
		if next, ok := strings.CutPrefix(line, "# --- "); ok {
			name = strings.TrimSpace(next)
			continue
		}
		parts[name] += line
	}
	return parts
}

// The examples in deploy/, which the tests there run, equal the output of gen (-update
// writes them).
func TestGenIsDeploy(t *testing.T) {
	if len(gatewayconf.Names()) < 13 {
		t.Fatalf("gateways() = %v, want all of them", gatewayconf.Names())
	}
	for _, gateway := range gatewayconf.Names() {
		out, stderr, code := gen(t, gateway, deployConfig(t))
		if code != 0 {
			t.Errorf("gen %s = %d %s", gateway, code, stderr)
			continue
		}
		folder := gateway
		if inDeploy[gateway] != "" {
			folder = inDeploy[gateway]
		}
		printed := files(out)
		for _, f := range configFor(t, gateway, deployConfig(t)).Render(gateway) {
			if len(printed) == 1 {
				printed[f.Name] = printed[""]
			}
			servertest.Golden(t, "../../../../deploy/"+folder+"/"+f.Name, printed[f.Name])
		}
	}
}

func configFor(t testing.TB, gateway, text string) *gatewayconf.GatewayConfig {
	t.Helper()
	l := config.NewLoader()
	l.Read = func(string) ([]byte, os.FileMode, error) { return []byte(text), 0o600, nil }
	cfg, _ := l.Load(&config.Flags{File: "config.yaml"}, nil)
	var p conf.Problems
	s := gatewayconf.New(gateway, cfg, &p)
	if p.Mistakes() > 0 {
		t.Fatal(p.All())
	}
	return s
}

func TestGenGolden(t *testing.T) {
	for _, gateway := range gatewayconf.Names() {
		out, stderr, code := gen(t, gateway, richConfig)
		if code != 0 {
			t.Errorf("gen %s = %d %s", gateway, code, stderr)
		}
		for _, left := range []string{"app.example.com", "/oauth2", "4180", "<no value>"} {
			if strings.Contains(out, left) {
				t.Errorf("gen %s still says %q, which this configuration does not", gateway, left)
			}
		}
		servertest.Golden(t, filepath.Join("testdata", "gen", gateway+".golden"), out)
	}
}

func TestGenAdvice(t *testing.T) {
	const base = "public_url: https://app.example.com\n"
	const believed = base + "trusted_proxies: [127.0.0.1/32, 10.0.0.0/8]\n"
	for _, tt := range []struct{ gateway, config, want string }{
		{"caddy", base, "trusted_proxies lacks 127.0.0.1/32"},
		{"caddy", base + "trusted_proxies: [10.0.0.0/8]\n", "trusted_proxies lacks 127.0.0.1/32"},
		{"caddy", believed, ""},
		{"caddy", base + "listen: unix:/run/d.sock\ntrusted_proxies: [127.0.0.1/32]\n", "trusted_proxies lacks `unix`"},
		{"caddy", base + "listen: unix:/run/d.sock\ntrusted_proxies: [unix]\n", ""},
		{"envoy", base + "trusted_proxies: [127.0.0.1/32]\n", "names no address of another machine"},
		{"envoy", believed, ""},
		{"caddy", base + "listen: 10.1.1.1:4180\n", "names no address of another machine"},
		{"nginx", believed, "keep the buffer lines"},
		{"ingress-nginx", believed, "proxy-buffer-size: 16k"},
		{"ingress-nginx", believed, "proxy-set-headers: auth/dinggate-headers"},
		{"traefik", believed, "aliasHeadersStrategy: delete"},
		{"traefik-kubernetes", believed, "aliasHeadersStrategy: delete"},
		{"apisix", believed, "underscores_in_headers"},
		{"caddy", believed + "tls: {cert_file: a, key_file: b}\n", "tls.cert_file is set"},
		{"caddy", believed + "upstream: https://app.internal\n", "not plain http://host:port"},
		{"caddy", believed + "upstream: http://app.internal/base\n", "not plain http://host:port"},
		{"caddy", believed + "routes: [{path: /a/, upstream: 'http://a'}, {path: /, upstream: 'http://b'}]\n",
			"lead to 2 applications"},
		{"k8s", believed, "listen is 127.0.0.1:4180"},
		{"k8s", believed + "listen: :4180\nadmin: {listen: ':9180'}\n", "copy your configuration there"},
	} {
		out, stderr, code := gen(t, tt.gateway, tt.config)
		if code != 0 || out == "" || tt.want == "" && stderr != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("gen %s with %q = %d and the advice %q, want %q", tt.gateway, tt.config, code, stderr, tt.want)
		}
	}
}

func TestGenCalled(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"gen"}, 2, "GATEWAY is missing; it is one of apache, apisix"},
		{[]string{"gen", "--config", "x"}, 2, "GATEWAY is missing"},
		{[]string{"gen", "ngnix"}, 2, "did you mean nginx?"},
		{[]string{"gen", "../x"}, 2, "it is one of apache, apisix"},
		{[]string{"gen", "nginx", "--config", "/nowhere.yaml"}, 1, "/nowhere.yaml"},
		{[]string{"gen", "traefik", "--public_url", "https://a.example.com", "--listen", "unix:/run/d.sock"}, 1,
			"listen is a socket, to which traefik cannot connect"},
		{[]string{"gen", "nginx", "--public_url", "https://a.example.com"}, 0, ""},
	} {
		var out, stderr bytes.Buffer
		code := servertest.RunCommand(gatewayconf.Command, tt.args, nil, &out, &stderr)
		if code != tt.code || !strings.Contains(stderr.String(), tt.want) || (code == 0) != (out.Len() > 0) {
			t.Errorf("%v = %d, %q, %q, want %d and %q", tt.args, code, out.String(), stderr.String(), tt.code, tt.want)
		}
	}
}
