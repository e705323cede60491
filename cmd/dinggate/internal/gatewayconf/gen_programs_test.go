package gatewayconf_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/internal/realtool"
	"dinggate/internal/tlstest"
)

// onDisk writes the files with the paths of the gateway's machine replaced by paths of
// this test, and a certificate if a file names one.
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
	cert, key := tlstest.NewAuthority().Issue(tlstest.Leaf{Names: []string{"app.example.com"}})
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": key, "both.pem": slices.Concat(cert, key)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The gateways themselves parse the output of gen.
func TestGenReal(t *testing.T) {
	configs := map[string]string{"deploy": deployConfig(t),
		"rich": strings.ReplaceAll(richConfig, "wiki.internal", "localhost"), "http": httpConfig,
		"wildcard": wildcardConfig(t), "many hosts": manyHostsConfig(t)}
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
				out, stderr, code := gen(t, tt.gateway, config, more...)
				if code != 0 {
					t.Fatalf("gen %s for %s = %d %s", tt.gateway, name, code, stderr)
				}
				cmd := tt.check(t, files(out), configFor(t, "nginx", config).Host())
				cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
				if output, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s does not read what gen prints for %s: %v\n%s\n%s", tt.program, name, err, output, out)
				}
			}
		})
	}
}

// manyHostsConfig has more hosts than fit into a line of HAProxy (64 words), and into a word of
// nginx (4,096 characters).
func manyHostsConfig(t *testing.T) string {
	config := deployConfig(t)
	for i := range 300 {
		config += fmt.Sprintf("\n  - {path: /, host: application-%d.example.org, upstream: \"http://127.0.0.1:8080\"}", i)
		config += fmt.Sprintf("\n  - {path: /, host: \"*.tenant-%d.example.org\", upstream: \"http://127.0.0.1:8080\"}", i)
	}
	return config + "\n"
}

func wildcardConfig(t *testing.T) string {
	return deployConfig(t) + `
  - {path: /, host: "*.apps.example.org", upstream: "http://127.0.0.1:8080"}
`
}

// TestGenWildcard checks that every gateway has the wildcard in its own syntax. Gateways
// that can limit the star to one label do so; the others report that it matches more.
func TestGenWildcard(t *testing.T) {
	const below = `[^.]+[.]apps[.]example[.]org`
	for gateway, want := range map[string]string{
		"nginx":              `[^.]+\.apps\.example\.org`,
		"apache":             `[^.]+\.apps\.example\.org`,
		"caddy":              "*.apps.example.org {",
		"haproxy":            "-m str app.example.com } || { req.hdr(host),field(1,:),lower -m reg ^" + below + "$ }",
		"traefik":            "(Host(`app.example.com`) || HostRegexp(`^" + below + "$`))",
		"traefik-kubernetes": "(Host(`app.example.com`) || HostRegexp(`^" + below + "$`))",
		"envoy":              `regex: "(?i)(app[.]example[.]com|` + below + `)(:[0-9]+)?"`,
		"istio":              `hosts: [app.example.com, "*.apps.example.org"]`,
		"envoy-gateway":      `hostnames: [app.example.com, "*.apps.example.org"]`,
		"gateway-api":        `hostnames: [app.example.com, "*.apps.example.org"]`,
		"apisix":             `hosts: [app.example.com, "*.apps.example.org"]`,
		"higress":            `match_rule_domain: "*.apps.example.org"`,
		"ingress-nginx":      `- host: "*.apps.example.org"`,
		"kong":               `hosts: [app.example.com, "*.apps.example.org"]`,
		"k8s":                "kind: Deployment", // a sidecar accepts every host
	} {
		out, stderr, code := gen(t, gateway, wildcardConfig(t), "--lang", "en")
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("gen %s = %d %s, want %s in\n%s", gateway, code, stderr, want, out)
		}
		narrow := slices.Contains([]string{"nginx", "apache", "caddy", "haproxy", "traefik", "traefik-kubernetes", "envoy",
			"k8s"}, gateway)
		if narrow == strings.Contains(stderr, "any number of labels for the star of *.apps.example.org") {
			t.Errorf("gen %s says %q, narrow is %t", gateway, stderr, narrow)
		}
	}
	if n := len(gatewayconf.Names()); n != 15 {
		t.Errorf("there are %d gateways, and 15 in this table", n)
	}
}

func nginxCheck(t *testing.T, parts map[string]string, host string) *exec.Cmd {
	temp := "" // a directory in which a normal user can write
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

// TestGenMainRoute checks that all requests are forwarded to the application of the route
// / .
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
		if s := configFor(t, "nginx",
			"public_url: https://app.example.com\nroutes: ["+tt.routes+"]\n"); s.App != tt.want {
			t.Errorf("gen with routes [%s] names %s, want %s", tt.routes, s.App, tt.want)
		}
	}
}
