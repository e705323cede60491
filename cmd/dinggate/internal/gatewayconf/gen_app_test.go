package gatewayconf_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/servertest"
)

// docsIssuer is the issuer in the pages of docs/applications.
const docsIssuer = "public_url: https://login.example.com\n"

// genApp runs `gen app` with a configuration.
func genApp(t testing.TB, name, config string, more ...string) (out, advice string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	code = servertest.RunCommand(gatewayconf.Command, append([]string{"gen", "app", name, "--config", file}, more...), nil, &o, &e)
	return o.String(), e.String(), code
}

func TestGenAppGolden(t *testing.T) {
	if len(gatewayconf.AppNames()) != 16 {
		t.Fatalf("AppNames() = %v, want all sixteen", gatewayconf.AppNames())
	}
	for _, name := range gatewayconf.AppNames() {
		out, advice, code := genApp(t, name, "public_url: https://sso.corp.example.org:8443\n", "--client", "our."+name,
			"--url", "https://apps.corp.example.org/tools/")
		if code != 0 {
			t.Errorf("gen app %s = %d %s", name, code, advice)
		}
		for _, left := range []string{"example.com", "<no value>", "tools//"} {
			if strings.Contains(out, left) {
				t.Errorf("gen app %s says %q, which this configuration does not", name, left)
			}
		}
		for file, text := range files(out) {
			switch filepath.Ext(file) {
			case ".yaml":
				yamlDocuments(t, text)
			case ".json":
				if !json.Valid([]byte(text)) {
					t.Errorf("gen app %s: %s is no JSON", name, file)
				}
			}
		}
		servertest.Golden(t, filepath.Join("testdata", "gen-app", name+".golden"), out)
	}
}

// The output of gen for our side is a configuration that check accepts, and gen then
// reports nothing missing.
func TestGenAppOurSide(t *testing.T) {
	for _, name := range gatewayconf.AppNames() {
		out, _, _ := genApp(t, name, docsIssuer)
		dir := t.TempDir()
		secret := filepath.Join(dir, "secret")
		if err := os.WriteFile(secret, []byte("0123456789abcdefghijklmnopqrstuv"), 0o600); err != nil {
			t.Fatal(err)
		}
		ours := regexp.MustCompile(`client_secret_file: \S+`).ReplaceAllLiteralString(files(out)["dinggate.yaml"],
			"client_secret_file: "+secret)
		config := docsIssuer + "state_dir: " + dir + `
dingtalk: {client_id: a, client_secret: bbbbbbbbbbbbbbbb, corp_id: c}
cookie: {secrets: ["MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="]}
` + ours
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := servertest.RunProgram(t, nil, "", "check", "--config", file); err != nil {
			t.Errorf("check of what gen app %s prints: %v\n%s\n%s", name, err, out, config)
		}
		if _, advice, _ := genApp(t, name, config); strings.Contains(advice, "oidc.clients") {
			t.Errorf("gen app %s finds missing in what it printed: %s", name, advice)
		}
	}
}

func TestGenAppCalled(t *testing.T) {
	client := docsIssuer + "oidc: {clients: [{client_id: g, redirect_uris: ['https://g.corp.cn/x/login/generic_oauth']}]}\n"
	for _, tt := range []struct {
		name, config string
		more         []string
		code         int
		out, advice  string
	}{
		{"grafana", docsIssuer, nil, 0, "https://grafana.example.com/login/generic_oauth", "oidc.clients has no client grafana"},
		{"grafana", docsIssuer, nil, 0, "", "without an e-mail address"},
		{"grafana", client, []string{"--client", "g"}, 0, "root_url = https://g.corp.cn/x/\n", ""},
		{"grafana", client, []string{"--client", "g", "--url", "https://h.cn"}, 0, "root_url = https://h.cn/\n",
			"lacks the redirect_uris entry https://h.cn/login/generic_oauth"},
		{"grafana", strings.Replace(client, "client_id: g,", "client_id: g, access: {roles: [ops]},", 1), []string{"--client", "g"}, 0, "",
			"has a rule: keep its access"},
		{"mod_auth_openidc", "public_url: https://sso\n", nil, 0, "https://mod-auth-openidc.example.com/", ""},
		{"vault", "public_url: http://127.0.0.1:4180\n", nil, 0, "https://vault.example.com", "public_url is http"},
		{"grafna", docsIssuer, nil, 2, "", "did you mean grafana?"},
		{"grafana", "", nil, 1, "", "public_url"},
		{"grafana", docsIssuer, []string{"--url", "app.example.com"}, 2, "", "--url"},
		{"grafana", docsIssuer, []string{"--url", "https://a.example.com/'; x"}, 2, "", "--url"},
		{"grafana", docsIssuer, []string{"--url", "https://u@a.example.com"}, 2, "", "--url"},
		{"grafana", docsIssuer, []string{"--url", "https://a.example.com?x"}, 2, "", "--url"},
		{"grafana", docsIssuer, []string{"--url", "https://$(id).example.com"}, 2, "", "--url"},
		{"grafana", docsIssuer, []string{"--client", "a\nb"}, 2, "", "--client"},
		{"grafana", docsIssuer, []string{"--client", `a"`}, 2, "", "--client"},
		{"grafana", docsIssuer, []string{"--client", "$x"}, 2, "", "--client"},
		{"grafana", docsIssuer, []string{"--force"}, 2, "", "--out"},
	} {
		out, advice, code := genApp(t, tt.name, tt.config, tt.more...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(advice, tt.advice) ||
			(code == 0) != (out != "") {
			t.Errorf("gen app %s %q of %q = %d, %q, %q, want %d, %q, %q", tt.name, tt.more, tt.config, code, out, advice,
				tt.code, tt.out, tt.advice)
		}
	}
}

var appBlock = regexp.MustCompile("(?ms)^<!-- gen app ([a-z_]+), (\\S+) -->\n```([a-z]*)\n(.*?)^```\n")

// TestApplicationPages checks that the pages contain the complete output of gen (-update
// writes it), and that every application has a page in both languages.
func TestApplicationPages(t *testing.T) {
	for _, name := range gatewayconf.AppNames() {
		out, _, _ := genApp(t, name, docsIssuer)
		printed := files(out)
		for _, ending := range []string{".md", ".zh-CN.md"} {
			path := "../../../../docs/applications/" + name + ending
			data, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
				continue
			}
			var shown []string
			fresh := appBlock.ReplaceAllStringFunc(string(data), func(block string) string {
				m := appBlock.FindStringSubmatch(block)
				if m[1] == name {
					shown = append(shown, m[2])
				}
				return fmt.Sprintf("<!-- gen app %s, %s -->\n```%s\n%s```\n", m[1], m[2], m[3], printed[m[2]])
			})
			servertest.Golden(t, path, fresh)
			slices.Sort(shown)
			for file := range printed {
				if _, found := slices.BinarySearch(shown, file); !found {
					t.Errorf("%s does not show %s", path, file)
				}
			}
			if !strings.Contains(fresh, map[string]string{".md": "**Tested:**", ".zh-CN.md": "**测试情况：**"}[ending]) {
				t.Errorf("%s does not say what was tested", path)
			}
		}
	}
}
