package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/realtool"
	"dinggate/proxy/access"

	"go.yaml.in/yaml/v3"
)

// inDeploy tells which file of deploy/ is which file of a gateway.
var inDeploy = map[string]string{"k8s": "kubernetes/sidecar", "traefik-kubernetes": "traefik"}

const richConfig = `
public_url: https://wiki.example.org:8443
listen: 0.0.0.0:4190
prefix: /gate-1.x
trusted_proxies: [127.0.0.1/32, 10.244.0.0/16]
cookie: {domain: example.org}
routes:
  - {path: /, host: docs.example.org, upstream: "http://wiki.internal:9000"}
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

// gen runs the command on a configuration.
func gen(t testing.TB, gateway, config string, more ...string) (out, trouble string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	code = run(append([]string{"gen", gateway, "--config", file}, more...), nil, &o, &e)
	return o.String(), e.String(), code
}

func deployConfig(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files cuts what gen printed where it says that a file begins.
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

// The examples in deploy/, which the tests there run, are what gen prints
// (-update writes them).
func TestGenIsDeploy(t *testing.T) {
	if len(gatewayconf.Names()) < 13 {
		t.Fatalf("gateways() = %v, want all of them", gatewayconf.Names())
	}
	for _, gateway := range gatewayconf.Names() {
		out, trouble, code := gen(t, gateway, deployConfig(t))
		if code != 0 {
			t.Errorf("gen %s = %d %s", gateway, code, trouble)
			continue
		}
		folder := gateway
		if inDeploy[gateway] != "" {
			folder = inDeploy[gateway]
		}
		printed := files(out)
		for _, f := range snippetOf(t, gateway, deployConfig(t)).Render(gateway) {
			if len(printed) == 1 {
				printed[f.Name] = printed[""]
			}
			path := "../../deploy/" + folder + "/" + f.Name
			if *update {
				if err := os.WriteFile(path, []byte(printed[f.Name]), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Errorf("gen %s prints %s, which deploy/ does not have: %v", gateway, f.Name, err)
			} else if printed[f.Name] != string(want) {
				t.Errorf("gen %s prints another %s than deploy/%s/%s: %s", gateway, f.Name, folder, f.Name,
					firstDifference(printed[f.Name], string(want)))
			}
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "\n got " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer"
}

func snippetOf(t testing.TB, gateway, text string) *gatewayconf.GatewayConfig {
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
		out, trouble, code := gen(t, gateway, richConfig)
		if code != 0 {
			t.Errorf("gen %s = %d %s", gateway, code, trouble)
		}
		for _, left := range []string{"app.example.com", "/oauth2", "4180", "<no value>"} {
			if strings.Contains(out, left) {
				t.Errorf("gen %s still says %q, which this configuration does not", gateway, left)
			}
		}
		golden := filepath.Join("testdata", "gen", gateway+".golden")
		if *update {
			os.MkdirAll(filepath.Dir(golden), 0o755)
			if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || out != string(want) {
			t.Errorf("gen %s differs from %s (%v): %s", gateway, golden, err, firstDifference(out, string(want)))
		}
	}
}

// Nothing that stands in a configuration ends the word it is written into.
func TestGenHostile(t *testing.T) {
	for _, tt := range []struct{ key, text string }{
		{"public_url", `https://app.example.com;return 200`},
		{"public_url", `"https://app.example.com\n}"`},
		{"public_url", `https://[::1]`},
		{"public_url", `https://$host`},
		{"listen", `"127.0.0.1;:4180"`},
		{"listen", `"a b:4180"`},
		{"listen", `127.0.0.1:0`},
		{"listen", `"unix:/run/a b"`},
		{"listen", `"unix:/run/a;b"`},
		{"listen", `"unix:/run/$a"`},
		{"prefix", `"/oauth2;"`},
		{"prefix", `"/oauth2 {"`},
		{"prefix", `/$arg_x`},
		{"routes", `[{path: /, host: "a.example.com; evil"}]`},
		{"routes", `[{path: /, host: "a.example.com` + "`" + `)"}]`},
		{"routes", `[{path: /, host: "*.example.com"}]`},
		{"headers", `{response: {"X-A.B": username}}`},
		{"headers", `{response: {"X_A": username}}`},
		{"headers", `{response: {"X$A": username}}`},
		{"headers", "{response: {\"X`A\": username}}"},
		{"headers", `{response: {"X'A": username}}`},
		{"headers", `{response: {"X A": username}}`},
		{"headers", `{response: {"X\nA": username}}`},
		{"headers", `{response: {"X%A": username}}`},
		{"headers", `{request: {"X$A": username}}`},
		{"headers", `{response: {}}`},
	} {
		config := tt.key + ": " + tt.text + "\n"
		if tt.key != "public_url" {
			config += "public_url: https://app.example.com\n"
		}
		out, trouble, code := gen(t, "nginx", config)
		if code != 1 || out != "" || !strings.Contains(trouble, tt.key) {
			t.Errorf("gen with %s = %d, %q, %q, want 1, nothing, a word about %s", config, code, out, trouble, tt.key)
		}
	}
}

// Law: a snippet is refused, or has the bytes of a harmless one and those of
// its values, none of which means anything to a gateway.
func FuzzGen(f *testing.F) {
	f.Add("https://app.example.com", "127.0.0.1:4180", "/oauth2", "http://127.0.0.1:8080", "X-Auth-Request-User",
		"b.example.com")
	f.Add("https://a;b", "127.0.0.1:4180", "/oauth2", "http://app}", "X-$a", "`")
	f.Add("http://a", "unix:/run/dinggate.sock", "/a/b", "unix:/run/app.sock", "Remote-User", "")
	const means = "{}()[];#$\"'`\\,|&*?!<>=\n\t "
	f.Fuzz(func(t *testing.T, public, listen, prefix, upstream, header, host string) {
		build := func(public, listen, prefix, upstream, header, host string) (*gatewayconf.GatewayConfig, bool) {
			cfg := config.Default()
			cfg.PublicURL, cfg.Listen, cfg.Prefix = public, listen, prefix
			route := config.DefaultRoute()
			route.RouteConfig, route.Upstream = access.RouteConfig{Path: "/", Host: host}, upstream
			cfg.Routes = []config.Route{route}
			cfg.Headers.Response = config.HeaderFields{identity.HeaderRule{Name: header, Field: "username"}}
			var p conf.Problems
			cfg.Check(&p)
			if slices.ContainsFunc(p.All(), func(problem conf.Problem) bool {
				return !problem.Warning && config.AffectsGateway(problem.Key)
			}) {
				return nil, false
			}
			s := gatewayconf.New("nginx", cfg, &p)
			return s, !slices.ContainsFunc(p.All(), func(problem conf.Problem) bool {
				return !problem.Warning && config.AffectsGateway(problem.Key)
			})
		}
		s, ok := build(public, listen, prefix, upstream, header, host)
		if !ok {
			return
		}
		for _, value := range slices.Concat(s.Hosts, s.Headers, s.Remove,
			[]string{s.Port, s.Prefix, s.Gate, s.GatePort, s.App, s.AppName, s.AppPort, s.Cookie}) {
			if strings.ContainsAny(strings.NewReplacer("[", "", "]", "").Replace(value), means) || value == "" {
				t.Errorf("newSnippet lets %q through", value)
			}
			if strings.ContainsAny(value, "[]") && value != s.Gate && value != s.App {
				t.Errorf("newSnippet lets brackets through in %q", value)
			}
		}
		for _, gateway := range gatewayconf.Names() {
			for _, file := range s.Render(gateway) {
				if strings.HasSuffix(file.Name, ".yaml") {
					yamlDocuments(t, file.Text)
				}
			}
		}
	})
}

func yamlDocuments(t testing.TB, text string) (all []any) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("not YAML: %v\n%s", err, text)
		}
		all = append(all, v)
	}
}

// A host that YAML would take for a number or a truth stays a host.
func TestGenQuotesHosts(t *testing.T) {
	for _, host := range []string{"on", "10", "1.5", "1.e5", "intranet", "app.example.com"} {
		s := snippetOf(t, "gateway-api", "public_url: https://"+host+"\n")
		for _, d := range yamlDocuments(t, s.Render("gateway-api")[0].Text) {
			got := d.(map[string]any)["spec"].(map[string]any)["hostnames"].([]any)[0]
			if got != any(host) {
				t.Errorf("hostnames of %s = %v (%[2]T), want the text", host, got)
			}
		}
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
		{"k8s", believed + "listen: :4180\nadmin: {listen: ':9180'}\n", ""},
	} {
		out, trouble, code := gen(t, tt.gateway, tt.config)
		if code != 0 || out == "" || tt.want == "" && trouble != "" || !strings.Contains(trouble, tt.want) {
			t.Errorf("gen %s with %q = %d and the advice %q, want %q", tt.gateway, tt.config, code, trouble, tt.want)
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
			"a socket, which traefik cannot ask"},
		{[]string{"gen", "nginx", "--public_url", "https://a.example.com"}, 0, ""},
	} {
		var out, trouble bytes.Buffer
		code := run(tt.args, nil, &out, &trouble)
		if code != tt.code || !strings.Contains(trouble.String(), tt.want) || (code == 0) != (out.Len() > 0) {
			t.Errorf("%v = %d, %q, %q, want %d and %q", tt.args, code, out.String(), trouble.String(), tt.code, tt.want)
		}
	}
}

// onDisk writes files, with paths of the machine they are for exchanged for
// those of this test, and a certificate where they name one.
func onDisk(t *testing.T, parts map[string]string, exchange ...string) string {
	t.Helper()
	dir := t.TempDir()
	certificate(t, dir)
	pairs := []string{"DIR", dir}
	for i := 0; i < len(exchange); i += 2 {
		pairs = append(pairs, exchange[i], strings.ReplaceAll(exchange[i+1], "DIR", dir))
	}
	for name, text := range parts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer(pairs[2:]...).Replace(text)),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func certificate(t *testing.T, dir string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	pair := server.TLS.Certificates[0]
	server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	if _, err := tls.X509KeyPair(cert, keyPEM); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": keyPEM,
		"both.pem": slices.Concat(cert, keyPEM)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The gateways themselves read what gen prints.
func TestGenReal(t *testing.T) {
	configs := map[string]string{"deploy": deployConfig(t),
		"rich": strings.ReplaceAll(richConfig, "wiki.internal", "localhost"), "http": httpConfig}
	for _, tt := range []struct {
		gateway, program string
		check            func(t *testing.T, parts map[string]string, host string) *exec.Cmd
	}{
		{"nginx", "nginx", nginxCheck},
		{"caddy", "caddy", func(t *testing.T, parts map[string]string, _ string) *exec.Cmd {
			dir := onDisk(t, map[string]string{"Caddyfile": parts[""]})
			return exec.Command(realtool.Path(t, "caddy"), "validate", "--adapter", "caddyfile", "--config",
				dir+"/Caddyfile")
		}},
		{"haproxy", "haproxy", func(t *testing.T, parts map[string]string, host string) *exec.Cmd {
			dir := onDisk(t, parts, "/etc/haproxy/dinggate.lua", "DIR/dinggate.lua", "/etc/haproxy/"+host+".pem",
				"DIR/both.pem")
			return exec.Command(realtool.Path(t, "haproxy"), "-c", "-f", dir+"/haproxy.cfg")
		}},
		{"apache", "apache2", func(t *testing.T, parts map[string]string, host string) *exec.Cmd {
			modules := ""
			for _, m := range []string{"mpm_event", "authz_core", "lua", "proxy", "proxy_http", "headers", "rewrite",
				"ssl"} {
				modules += "LoadModule " + m + "_module /usr/lib/apache2/modules/mod_" + m + ".so\n"
			}
			parts["dinggate.conf"] = modules + "ServerName test\nErrorLog DIR/error.log\nPidFile DIR/pid\n" +
				parts["dinggate.conf"]
			dir := onDisk(t, parts, "DIR/error.log", "DIR/error.log", "DIR/pid", "DIR/pid",
				"/etc/apache2/dinggate.lua", "DIR/dinggate.lua",
				"/etc/ssl/"+host+".pem", "DIR/cert.pem", "/etc/ssl/"+host+".key", "DIR/key.pem")
			return exec.Command(realtool.Path(t, "apache2"), "-t", "-f", dir+"/dinggate.conf")
		}},
	} {
		t.Run(tt.gateway, func(t *testing.T) {
			realtool.Path(t, tt.program)
			for name, config := range configs {
				more := []string(nil)
				if name == "http" && tt.gateway != "nginx" && tt.gateway != "caddy" {
					more = []string{"--listen", "127.0.0.1:4180"}
				}
				out, trouble, code := gen(t, tt.gateway, config, more...)
				if code != 0 {
					t.Fatalf("gen %s for %s = %d %s", tt.gateway, name, code, trouble)
				}
				cmd := tt.check(t, files(out), snippetOf(t, "nginx", config).Host())
				cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
				if said, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s does not read what gen prints for %s: %v\n%s\n%s", tt.program, name, err, said, out)
				}
			}
		})
	}
}

func nginxCheck(t *testing.T, parts map[string]string, host string) *exec.Cmd {
	temp := "" // where a normal user can write
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += kind + "_temp_path DIR/temp;\n"
	}
	parts["nginx.conf"] = "pid DIR/pid;\nerror_log DIR/error.log;\nevents {}\nhttp {\naccess_log off;\n" + temp +
		"include DIR/dinggate.conf;\n}\n"
	dir := onDisk(t, parts, "DIR/pid", "DIR/pid", "DIR/error.log", "DIR/error.log", "DIR/temp", "DIR/temp",
		"DIR/dinggate.conf", "DIR/dinggate.conf",
		"/etc/nginx/dinggate.inc", "DIR/dinggate.inc", "/etc/ssl/"+host+".pem", "DIR/cert.pem",
		"/etc/ssl/"+host+".key", "DIR/key.pem")
	return exec.Command(realtool.Path(t, "nginx"), "-t", "-e", dir+"/error.log", "-c", dir+"/nginx.conf")
}

// TestGenMainRoute: everything goes to the application of the route / .
func TestGenMainRoute(t *testing.T) {
	for _, tt := range []struct{ routes, want string }{
		{"{path: /api/, upstream: 'http://127.0.0.1:1001'}, {path: /, upstream: 'http://127.0.0.1:1002'}",
			"127.0.0.1:1002"},
		{
			"{path: /, host: other.example.com, upstream: 'http://127.0.0.1:1001'}, {path: /, upstream: " +
				"'http://127.0.0.1:1002'}", "127.0.0.1:1002",
		},
		{"{path: /api/, upstream: 'http://127.0.0.1:1001'}, {path: /b/, upstream: 'http://127.0.0.1:1002'}",
			"127.0.0.1:1001"},
		{"{path: /api/, upstream: 'http://127.0.0.1:1001'}, {path: /}", "127.0.0.1:1001"},
	} {
		if s := snippetOf(t, "nginx",
			"public_url: https://app.example.com\nroutes: ["+tt.routes+"]\n"); s.App != tt.want {
			t.Errorf("gen with routes [%s] names %s, want %s", tt.routes, s.App, tt.want)
		}
	}
}
