package gatewayconf_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/servertest"
)

// genDingTalk runs `gen dingtalk` with a configuration.
func genDingTalk(t testing.TB, config string, more ...string) (out, advice string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	code = servertest.RunCommand(gatewayconf.Command, append([]string{"gen", "dingtalk", "--config", file}, more...), nil, &o, &e)
	return o.String(), e.String(), code
}

const dingtalkExample = `public_url: https://app.example.com
dingtalk: {client_id: dingabc, corp_id: dingcorp}
routes: [{path: /, upstream: "http://127.0.0.1:8080", access: {departments: [42], roles: [主管]}}]
`

func TestGenDingTalkGolden(t *testing.T) {
	for _, lang := range []string{"zh", "en"} {
		out, advice, code := genDingTalk(t, dingtalkExample, "--lang", lang)
		if code != 0 || advice != "" {
			t.Errorf("gen dingtalk = %d %s", code, advice)
		}
		servertest.Golden(t, filepath.Join("testdata", "gen-dingtalk", lang+".golden"), out)
	}
}

// scopes returns the permissions in the generated lines: those of the active lines, and
// those of the lines that begin with #.
func scopes(script string) (required, optional []string) {
	for line := range strings.Lines(script) {
		_, list, ok := strings.Cut(line, "--scope-values ")
		list, _, _ = strings.Cut(list, " ")
		switch {
		case ok && strings.HasPrefix(line, "#"):
			optional = append(optional, list)
		case ok:
			required = append(required, strings.Split(list, ",")...)
		}
	}
	return required, optional
}

// TestGenDingTalkPermissions checks that exactly the permissions that the configuration
// needs are requested.
func TestGenDingTalkPermissions(t *testing.T) {
	const none = "headers: {request: {X-User: username}, response: {X-User: username}}\n"
	route := func(access string) string {
		return none + `routes: [{path: /, upstream: "http://127.0.0.1:8080", access: ` + access + "}]\n"
	}
	const always = "Contact.User.Read qyapi_get_member"
	for _, tt := range []struct{ name, config, required, optional string }{
		{"members, without e-mail", none, always, "qyapi_get_department_list qyapi_get_department_member Contact.Common.Read"},
		{"the headers of old", "", always + " fieldEmail",
			"qyapi_get_department_list qyapi_get_department_member Contact.Common.Read"},
		{"a rule on e-mails", route(`{emails: ["*@example.com"]}`), always + " fieldEmail",
			"qyapi_get_department_list qyapi_get_department_member Contact.Common.Read"},
		{"e-mail as username", none + "dingtalk: {username: email}\n", always + " fieldEmail",
			"qyapi_get_department_list qyapi_get_department_member Contact.Common.Read"},
		{"a rule on departments", route("{departments: [42]}"), always + " qyapi_get_department_list",
			"qyapi_get_department_member Contact.Common.Read"},
		{"departments that are denied", route("{deny: {departments: [42]}}"), always + " qyapi_get_department_list",
			"qyapi_get_department_member Contact.Common.Read"},
		{"a rule on roles", route("{roles: [主管]}"), always,
			"qyapi_get_department_list qyapi_get_department_member Contact.Common.Read"},
		{"the directory as a whole", none + "dingtalk: {directory: mirror}\n",
			always + " qyapi_get_department_list qyapi_get_department_member", "Contact.Common.Read"},
		{"people one by one, no events", none + "dingtalk: {directory: lookup, events: false}\n", always,
			"qyapi_get_department_list"},
	} {
		out, advice, code := genDingTalk(t, "public_url: https://app.example.com\n"+tt.config)
		if code != 0 {
			t.Errorf("%s: %d %s", tt.name, code, advice)
		}
		required, optional := scopes(out)
		if got := strings.Join(required, " "); got != tt.required {
			t.Errorf("%s: needs %s, want %s", tt.name, got, tt.required)
		}
		if got := strings.Join(optional, " "); got != tt.optional {
			t.Errorf("%s: offers %s, want %s", tt.name, got, tt.optional)
		}
	}
}

// TestGenDingTalkLines checks that a shell parses the lines as intended, and runs no line
// with a placeholder.
func TestGenDingTalkLines(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	script("dws", "#!/bin/sh\nprintf '[%s]' \"$@\"\necho\n")
	shell := func(text string) []string {
		cmd := exec.Command(sh, script("lines.sh", text))
		cmd.Env = []string{"PATH=" + dir}
		out, _ := cmd.Output()
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	out, advice, code := genDingTalk(t, dingtalkExample+"sso_server: {clients: []}\n", "--app", "u-1",
		"--keep", "https://old.example.com/cb?a=1&b=2,https://app.example.com/oauth2/callback")
	if code != 0 {
		t.Fatal(code, advice)
	}
	lines := shell(strings.Replace(files(out)["dingtalk.sh"], `VERSION=""`, `VERSION="v-1"`, 1))
	for _, want := range []string{
		"[dev][app][security][config][--unified-app-id][u-1][--redirect-urls]" +
			"[https://old.example.com/cb?a=1&b=2,https://app.example.com/oauth2/callback][--format][json][--yes]",
		"[dev][app][permission][add][--unified-app-id][u-1][--scope-values]" +
			"[Contact.User.Read,qyapi_get_member,fieldEmail,qyapi_get_department_list][--format][json][--yes]",
		"[dev][app][webapp][config][--unified-app-id][u-1][--homepage-url][https://app.example.com/]" +
			"[--pc-homepage-url][https://app.example.com/][--format][json][--yes]",
		"[dev][app][version][publish][--unified-app-id][u-1][--version-id][v-1][--format][json][--yes]",
		"[dev][app][version][status][--unified-app-id][u-1][--version-id][v-1][--format][json]",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	blank, _, _ := genDingTalk(t, dingtalkExample)
	if got := shell(files(blank)["dingtalk.sh"]); len(got) != 2 || got[1] != "[dev][app][list][--format][json]" {
		t.Errorf("with blanks: %q", got)
	}
}

func TestGenDingTalkMistakes(t *testing.T) {
	for _, tt := range []struct {
		config string
		args   []string
		code   int
		text   string
	}{
		{"public_url: https://app.example.com\nsso: {url: \"https://sso.example.com\"}\n", nil, 1, "no app at DingTalk"},
		{"public_url: https://app.example.com\n", []string{"--app", "a b"}, 2, "--app"},
		{"public_url: https://app.example.com\n", []string{"--keep", "https://x/$(id)"}, 2, "--keep"},
		{"public_url: nonsense\n", nil, 1, "public_url"},
		{"public_url: https://app.example.com\n", []string{"--force"}, 2, "--out"},
	} {
		out, stderr, code := genDingTalk(t, tt.config, append(tt.args, "--lang", "en")...)
		if code != tt.code || out != "" || !strings.Contains(stderr, tt.text) {
			t.Errorf("gen dingtalk %v on %q = %d %q %q, want %d and %q", tt.args, tt.config, code, out, stderr, tt.code, tt.text)
		}
	}
}
