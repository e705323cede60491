package gatewayconf_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/proxy/access"

	"go.yaml.in/yaml/v3"
)

// No text of a configuration can end the word that contains it.
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
		{"routes", `[{path: /, host: "*.a;b.example.com"}]`},
		{"routes", `[{path: /, host: "*.$x.example.com"}]`},
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
		out, stderr, code := gen(t, "nginx", config)
		if code != 1 || out != "" || !strings.Contains(stderr, tt.key) {
			t.Errorf("gen with %s = %d, %q, %q, want 1, nothing, a word about %s", config, code, out, stderr, tt.key)
		}
	}
}

// Law: a configuration is refused, or consists of the bytes of a harmless one and those of
// its values, none of which has a meaning in a gateway's syntax.
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
			[]string{s.Port, s.Prefix, s.Address, s.AddressPort, s.App, s.AppName, s.AppPort, s.Cookie}) {
			if strings.ContainsAny(strings.NewReplacer("[", "", "]", "").Replace(value), means) || value == "" {
				t.Errorf("a configuration with %q is not refused", value)
			}
			if strings.ContainsAny(value, "[]") && value != s.Address && value != s.App {
				t.Errorf("a configuration with brackets is not refused in %q", value)
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

// A host that YAML would parse as a number or a boolean remains a host.
func TestGenQuotesHosts(t *testing.T) {
	for _, host := range []string{"on", "10", "1.5", "1.e5", "intranet", "app.example.com"} {
		s := configFor(t, "gateway-api", "public_url: https://"+host+"\n")
		for _, d := range yamlDocuments(t, s.Render("gateway-api")[0].Text) {
			got := d.(map[string]any)["spec"].(map[string]any)["hostnames"].([]any)[0]
			if got != any(host) {
				t.Errorf("hostnames of %s = %v (%[2]T), want the text", host, got)
			}
		}
	}
}
