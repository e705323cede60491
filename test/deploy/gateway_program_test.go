package deploy_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
	"dinggate/internal/tlstest"
)

// realGateway is a gateway that is available as a program. Its example is used unchanged except
// for names.
type realGateway struct {
	folds  bool // normalizes the path before it chooses between dinggate and the application
	cleans bool // forwards the path as cleanMerged returns it
	byName bool // removes headers by their whole names
	name   string
	files  []string // below deploy/

	// changes returns pairs of old and new text: ports, paths, certificates. With tls they keep
	// the TLS settings of the example. Each old text must occur.
	changes func(s gatewayAddresses, tls bool) []string

	own   func(t *testing.T, s gatewayAddresses) // writes the files; nil: write does
	frame func(s gatewayAddresses) string        // returns main.conf, which includes an example that is only a fragment
	check func(s gatewayAddresses) []string
	run   func(s gatewayAddresses) []string

	renews      bool   // forwards a renewed cookie to the browser
	keepsCookie bool   // cannot remove the session from the application's cookies
	foreign     int    // status for a host that is not configured
	needsFile   string // required in addition to the program
}

func (g realGateway) path(t *testing.T) string {
	t.Helper()
	path := realtool.Path(t, g.name)
	if g.needsFile == "" {
		return path
	}
	if _, err := os.Stat(g.needsFile); err != nil {
		if os.Getenv("TEST_TOOLS") == "required" {
			t.Fatalf("%s needs %s: run `make tools`", g.name, g.needsFile)
		}
		t.Skipf("SKIPPED: %s needs %s; `make test` installs it", g.name, g.needsFile)
	}
	return path
}

// write writes the changed example to s.dir.
func (g realGateway) write(t *testing.T, s gatewayAddresses, tls bool) {
	t.Helper()
	changes := g.changes(s, tls)
	replacer := strings.NewReplacer(changes...)
	all := ""
	for _, file := range g.files {
		text, err := os.ReadFile(exampleFile(file))
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
		writeFile(t, filepath.Join(s.dir, filepath.Base(file)), replacer.Replace(string(text)))
	}
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(all, changes[i]) {
			t.Fatalf("%v have no %q: the test replaces text that is missing", g.files, changes[i])
		}
	}
	if g.frame != nil {
		writeFile(t, filepath.Join(s.dir, "main.conf"), g.frame(s))
	}
	if tls {
		certificate := gatewayCertificate()
		writeFile(t, filepath.Join(s.dir, "app.example.com.pem"), certificate)
		writeFile(t, filepath.Join(s.dir, "app.example.com.key"), certificate)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var realGateways = []realGateway{
	{
		name: "nginx", files: []string{"nginx/dinggate.conf", "nginx/dinggate.inc"}, renews: true, foreign: 421,
		byName: true,
		changes: func(s gatewayAddresses, tls bool) []string {
			same := []string{"/etc/nginx/", s.dir + "/", "127.0.0.1:4180", s.dinggate, "127.0.0.1:8080", s.app}
			if tls {
				return append(same, "listen 443 ssl;", "listen "+s.public+" ssl;", "/etc/ssl/", s.dir+"/")
			}
			return append(same, "listen 443 ssl;", "listen "+s.public+";", "server_name app.example.com;",
				"server_name 127.0.0.1;",
				"    ssl_certificate     /etc/ssl/app.example.com.pem;\n", "",
				"    ssl_certificate_key /etc/ssl/app.example.com.key;\n", "")
		},
		frame: func(s gatewayAddresses) string {
			temp := ""
			for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				temp += kind + "_temp_path " + s.dir + "/" + kind + ";\n"
			}
			return "daemon off; master_process off; pid " + s.dir +
				"/pid; error_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n" + temp + "include " + s.dir +
				"/dinggate.conf;\n}\n"
		},
		check: func(s gatewayAddresses) []string { return []string{"-t", "-e", "stderr", "-c", s.dir + "/main.conf"} },
		run:   func(s gatewayAddresses) []string { return []string{"-e", "stderr", "-c", s.dir + "/main.conf"} },
	},
	caddyGateway("caddy"), // Debian's
	caddyGateway("caddy@v2.11.9"),
	traefikGateway(),
	{
		name: "haproxy", files: []string{"haproxy/haproxy.cfg", "haproxy/dinggate.lua"}, renews: true, foreign: 421,
		changes: func(s gatewayAddresses, tls bool) []string {
			same := []string{"/etc/haproxy/", s.dir + "/", "127.0.0.1:4180", s.dinggate, "127.0.0.1:8080", s.app}
			if tls {
				return append(same, "bind :443 ", "bind "+s.public+" ")
			}
			return append(same, "bind :443 ssl crt /etc/haproxy/app.example.com.pem", "bind "+s.public,
				"-m str app.example.com", "-m str 127.0.0.1",
				"X-Forwarded-Proto https", "X-Forwarded-Proto http")
		},
		check: func(s gatewayAddresses) []string { return []string{"-c", "-f", s.dir + "/haproxy.cfg"} },
		run:   func(s gatewayAddresses) []string { return []string{"-db", "-f", s.dir + "/haproxy.cfg"} },
	},
	{
		name: "apache2", folds: true, files: []string{"apache/dinggate.conf", "apache/dinggate.lua"}, foreign: 421,
		needsFile: "/usr/share/lua/5.3/socket/http.lua",
		changes: func(s gatewayAddresses, tls bool) []string {
			same := []string{"/etc/apache2/", s.dir + "/", "127.0.0.1:4180", s.dinggate, "127.0.0.1:8080", s.app,
				"<VirtualHost *:443>", "<VirtualHost " + s.public + ">"}
			if tls {
				return append(same, "/etc/ssl/", s.dir+"/")
			}
			return append(same, "ServerName app.example.com", "ServerName 127.0.0.1", `^app\.example\.com`,
				`^127\.0\.0\.1`, "X-Forwarded-Proto https", "X-Forwarded-Proto http",
				"    SSLEngine on\n", "", "    SSLCertificateFile    /etc/ssl/app.example.com.pem\n", "",
				"    SSLCertificateKeyFile /etc/ssl/app.example.com.key\n", "")
		},
		frame: func(s gatewayAddresses) string {
			modules := ""
			for _, name := range []string{"mpm_event", "authz_core", "headers", "lua", "proxy", "proxy_http",
				"rewrite", "socache_shmcb", "ssl"} {
				modules += "LoadModule " + name + "_module /usr/lib/apache2/modules/mod_" + name + ".so\n"
			}
			return "ServerRoot " + s.dir + "\nDefaultRuntimeDir " + s.dir + "\nPidFile " + s.dir +
				"/pid\nServerName 127.0.0.1\nErrorLog /dev/stderr\nStartServers 1\nListen " + s.public + "\n" +
				modules + "Include " + s.dir + "/dinggate.conf\n"
		},
		check: func(s gatewayAddresses) []string { return []string{"-t", "-f", s.dir + "/main.conf"} },
		run:   func(s gatewayAddresses) []string { return []string{"-DFOREGROUND", "-f", s.dir + "/main.conf"} },
	},
}

// caddyGateway is Caddy, run by the given program name.
func caddyGateway(name string) realGateway {
	return realGateway{
		name: name, files: []string{"caddy/Caddyfile"}, foreign: 200, // Caddy's own empty page
		changes: func(s gatewayAddresses, tls bool) []string {
			same := []string{"127.0.0.1:4180", s.dinggate, "127.0.0.1:8080", s.app}
			if tls {
				return same
			}
			return append(same, "\napp.example.com {", "\n{\n\tadmin off\n\tauto_https off\n}\nhttp://"+s.public+" {")
		},
		check: func(s gatewayAddresses) []string {
			return []string{"validate", "--adapter", "caddyfile", "--config", s.dir + "/Caddyfile"}
		},
		run: func(s gatewayAddresses) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", s.dir + "/Caddyfile"}
		},
	}
}

// traefikGateway is Traefik. It reads its static configuration, which names the dynamic one. It
// has no command that checks them: a mistake only appears in its log and results in 404.
func traefikGateway() realGateway {
	return realGateway{
		name:        "traefik@v3.7.13",
		files:       []string{"traefik/dinggate.yaml", "traefik/traefik.yaml"},
		renews:      true,
		keepsCookie: true,
		foreign:     404,
		folds:       true,
		cleans:      true,
		byName:      true,
		changes: func(s gatewayAddresses, tls bool) []string {
			same := []string{"/etc/traefik/", s.dir + "/", "http://127.0.0.1:4180", "http://" + s.dinggate,
				"http://127.0.0.1:8080", "http://" + s.app,
				`address: ":443"`, `address: "` + s.public + `"`, "providers:\n",
				"global: {checkNewVersion: false}\nproviders:\n"}
			if tls {
				return same
			}
			return append(same, "Host(`app.example.com`)", "Host(`127.0.0.1`)", "      tls: {}\n", "",
				"[__Host-dinggate]", "[dinggate]")
		},
		run: func(s gatewayAddresses) []string { return []string{"--configFile=" + s.dir + "/traefik.yaml"} },
	}
}

// TestGatewaySyntax checks each example with its program, including TLS.
func TestGatewaySyntax(t *testing.T) {
	for _, g := range realGateways {
		t.Run(g.name, func(t *testing.T) {
			program := g.path(t)
			s := gatewayAddresses{
				dir:      t.TempDir(),
				public:   realtool.FreeAddr(t),
				dinggate: "127.0.0.1:4180",
				app:      "127.0.0.1:8080",
			}
			g.write(t, s, true)
			if g.check == nil {
				p := startProcess(t, s.public, exec.Command(program, g.run(s)...), "HOME="+s.dir)
				handshake(t, s.public)
				p.end()
				if text := strings.ToLower(p.output.String()); strings.Contains(text, "wrn") ||
					strings.Contains(text, "err") {
					t.Errorf("%s reports, want no mistake and no warning:\n%s", g.name, text)
				}
				return
			}
			cmd := exec.Command(program, g.check(s)...)
			cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
			if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(strings.ToLower(string(out)), "warn") {
				t.Errorf("%s = %v, want no mistake and no warning:\n%s", cmd, err, out)
			}
		})
	}
}

// handshake waits until a TLS handshake for app.example.com succeeds and /oauth2/ has a route. The
// status is 502 because no server listens there.
func handshake(t *testing.T, address string) {
	t.Helper()
	client := &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "app.example.com"},
		},
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-again.C {
		r, err := http.NewRequest(http.MethodGet, "https://"+address+"/oauth2/sign_in", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "app.example.com"
		if res, err := client.Do(r); err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusNotFound {
				return
			}
		}
	}
	t.Errorf("https://%s has no route for /oauth2/", address)
}

// gatewayCertificate returns a new certificate of app.example.com with its key, as PEM.
func gatewayCertificate() string {
	certificate, key := tlstest.NewAuthority().Issue(tlstest.Leaf{Names: []string{"app.example.com"}})
	return string(certificate) + string(key)
}

// TestGatewayConfig checks deploy/config.yaml with `dinggate check`.
func TestGatewayConfig(t *testing.T) {
	cmd := exec.Command(realtool.Dinggate(t), "check", "--config", exampleFile("config.yaml"))
	cmd.Env = append(os.Environ(), "DINGGATE_DINGTALK_CLIENT_SECRET=x", "DINGGATE_COOKIE_SECRETS="+cookieSecret("old"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s = %v, want no mistake:\n%s", cmd, err, out)
	}
}
