// Package layout checks the layout of the source; it holds tests only.
//
// Five layers: command, HTTP, domain, stores, leaves. Imports point to a lower
// layer, or in one direction within a layer (forwardauth imports proxy); plan
// lists every allowed one. A folder inside another is no permission:
// proxy/login does not import proxy.
package layout

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// plan names every package and what of ours it may import. A new package gets
// a line here and its one sentence in its package comment.
var plan = map[string][]string{
	"internal/identity":         {},
	"internal/conf":             {},
	"internal/headername":       {},
	"internal/scriptname":       {},
	"internal/i18n":             {"internal/conf"},
	"internal/buildinfo":        {},
	"internal/web":              {"internal/headername", "internal/scriptname"},
	"internal/telemetry":        {},
	"internal/bounded":          {},
	"internal/ratelimit":        {"internal/bounded"},
	"internal/clientauth":       {"internal/conf", "internal/ratelimit"},
	"internal/httpclient":       {},
	"internal/tlsfile":          {},
	"internal/layout":           {},
	"internal/keyring":          {"internal/conf"},
	"internal/wire":             {},
	"internal/realtool":         {}, // for tests alone
	"internal/tlstest":          {}, // for tests alone
	"internal/realtool/browser": {"internal/realtool"},
	"dingtalk/simulator":        {}, // two readings of one API that cannot be wrong together

	"proxy/access":    {"internal/identity", "internal/conf", "internal/scriptname"},
	"dingtalk":        {"internal/identity", "internal/conf", "internal/httpclient", "internal/ratelimit"},
	"proxy/assertion": {"internal/identity", "internal/conf"},
	"account":         {"internal/identity", "internal/conf", "internal/ratelimit"},
	"internal/page":   {"internal/conf", "internal/web"},

	"proxy":             {"internal/identity", "internal/conf", "internal/tlsfile", "internal/web", "proxy/access", "session"},
	"proxy/forwardauth": {"internal/web", "proxy", "proxy/access"},
	"proxy/apiauth": {"internal/bounded", "internal/identity", "internal/ratelimit", "internal/web",
		"account", "dingtalk/sso", "proxy", "session"},
	"proxy/accessrequest": {"internal/bounded", "internal/conf", "internal/identity", "internal/page", "internal/web",
		"store"},
	"proxy/forwardauth/envoygrpc": {}, // asks an http.Handler
	"proxy/console":               {"internal/conf", "internal/page", "internal/web", "proxy/access", "session"},

	"proxy/login": {"internal/identity", "internal/keyring", "internal/ratelimit", "internal/web",
		"internal/page", "account", "proxy/login/locallogin", "session", "store"},
	"proxy/login/locallogin": {"internal/identity", "internal/keyring", "internal/web", "account", "session", "store"},
	"oidc": {
		"internal/clientauth", "internal/conf", "internal/httpclient", "internal/identity", "internal/page",
		"internal/ratelimit",
		"internal/web", "oidc/keys", "proxy/access", "store", "store/grant",
	},
	"oidc/keys":           {},
	"account/accounttest": {"account"},
	"dingtalk/sso": {"internal/clientauth", "internal/identity", "internal/conf", "internal/ratelimit", "internal/httpclient",
		"internal/web", "store/grant"},

	"session": {"internal/bounded", "internal/conf", "internal/identity", "internal/keyring",
		"internal/wire", "session/index", "session/membership", "session/mirror", "session/revocation", "store"},
	"session/index":      {"internal/identity", "internal/keyring", "internal/wire", "store"},
	"session/membership": {"internal/bounded", "internal/identity", "store"},
	"session/mirror":     {"internal/identity", "internal/keyring", "store"},
	"session/revocation": {"internal/identity", "internal/keyring", "internal/wire", "store"},

	"store":            {},
	"store/grant":      {"store"},
	"store/storetest":  {"store"},
	"store/redisstore": {"store", "account", "internal/conf", "internal/ratelimit", "internal/tlsfile"},
	"store/boltstore":  {"store", "account"},

	"cmd/dinggate": nil, // the command: may import everything

	// Packages of the command alone. server builds on everything below it; the
	// others know the configuration, never server, never each other.
	"cmd/dinggate/internal/server": nil,
	"cmd/dinggate/internal/demo": { // the whole product with a simulated DingTalk in one process
		"internal/buildinfo", "internal/conf", "internal/i18n", "internal/telemetry", "dingtalk/simulator",
		"dingtalk/sso", "oidc", "proxy/access", "proxy/accessrequest", "cmd/dinggate/internal/cli",
		"cmd/dinggate/internal/config", "cmd/dinggate/internal/server"},
	"cmd/dinggate/internal/servertest": nil, // the rig of tests that need the whole product; for tests alone
	"cmd/dinggate/internal/config": {"internal/i18n", "internal/buildinfo", "internal/ratelimit", "internal/conf",
		"internal/headername", "internal/identity", "internal/web", "internal/page", "account", "proxy/assertion",
		"dingtalk", "dingtalk/sso", "oidc", "proxy", "proxy/access", "proxy/accessrequest", "proxy/console", "session",
		"store/redisstore"},
	"cmd/dinggate/internal/cli": {"internal/i18n", "internal/conf", "internal/buildinfo",
		"cmd/dinggate/internal/config"},
	"cmd/dinggate/internal/dingtalkapp": {"internal/i18n", "internal/identity", "dingtalk",
		"cmd/dinggate/internal/config"},
	"cmd/dinggate/internal/orgtree": {"internal/conf", "internal/i18n", "internal/identity", "dingtalk",
		"cmd/dinggate/internal/cli", "cmd/dinggate/internal/config", "cmd/dinggate/internal/describe"},
	"cmd/dinggate/internal/describe": {"internal/i18n", "internal/identity", "cmd/dinggate/internal/cli"},
	"cmd/dinggate/internal/admin": {"internal/i18n", "internal/conf", "internal/telemetry", "internal/web",
		"account", "dingtalk", "proxy/accessrequest", "session", "cmd/dinggate/internal/cli",
		"cmd/dinggate/internal/config"},
	"cmd/dinggate/internal/doctor": {"internal/i18n", "internal/buildinfo", "internal/conf", "internal/identity",
		"internal/httpclient", "internal/web", "dingtalk", "dingtalk/sso", "session", "internal/keyring",
		"store/redisstore", "account", "cmd/dinggate/internal/admin", "cmd/dinggate/internal/cli",
		"cmd/dinggate/internal/dingtalkapp", "cmd/dinggate/internal/orgtree",
		"cmd/dinggate/internal/config", "cmd/dinggate/internal/describe"},
	"cmd/dinggate/internal/explain": {"internal/i18n", "internal/conf", "internal/identity", "internal/web",
		"dingtalk", "proxy/access", "cmd/dinggate/internal/cli", "cmd/dinggate/internal/config",
		"cmd/dinggate/internal/describe"},
	"cmd/dinggate/internal/gatewayconf": {"internal/i18n", "internal/conf", "internal/headername", "internal/web",
		"session", "dingtalk", "cmd/dinggate/internal/cli", "cmd/dinggate/internal/config",
		"cmd/dinggate/internal/dingtalkapp"},

	"cmd/dinggate/test/signin":     {}, // tests
	"cmd/dinggate/test/access":     {}, // tests
	"cmd/dinggate/test/sso":        {}, // tests
	"cmd/dinggate/test/fleet":      {}, // tests
	"cmd/dinggate/test/browser":    {}, // tests
	"cmd/dinggate/test/monitoring": {}, // tests
	"cmd/dinggate/test/endurance":  {}, // tests
	"cmd/dinggate/test/image":      {}, // tests
	"test/bench": {"internal/conf", "internal/i18n", "internal/identity", "internal/keyring", "session", "session/revocation",
		"store/redisstore"}, // measures the wired whole
	"test/contract":             {}, // compares the public contract with golden files
	"test/deploy":               {}, // tests that run the examples
	"test/docs":                 {}, // tests that read the documentation
	"test/release":              {}, // tests that install and run a release
	"scripts/release":           {}, // builds a release
	"test/hostile":              {}, // tests that attack the real program
	"test/hostile/differential": {}, // … and compare it with real servers
}

// testOnly are packages that only tests import, and each other: none is in a program.
var testOnly = []string{"cmd/dinggate/internal/servertest", "internal/realtool", "internal/realtool/browser",
	"internal/tlstest", "store/storetest", "account/accounttest"}

// homes names the only packages that may import an outside package, with the
// reason. Tests may import what they like.
var homes = []struct {
	prefix string
	homes  []string
	why    string
}{
	{"github.com/spf13", []string{"cmd/dinggate", "cmd/dinggate/internal/cli", "cmd/dinggate/internal/config"},
		"the command line has one home"},
	{"go.yaml.in/yaml", []string{"cmd/dinggate/internal/config"}, "only the configuration knows YAML"},
	{"github.com/fsnotify/fsnotify", []string{"cmd/dinggate/internal/server"}, "the command reloads its configuration"},
	{"golang.org/x/sys", []string{"cmd/dinggate/internal/server"}, "the command speaks to systemd"},
	{"github.com/go-jose/go-jose", []string{"proxy/assertion", "oidc/keys", "cmd/dinggate/internal/servertest"},
		"signing has one home for each kind of key"},
	{"github.com/pires/go-proxyproto", []string{"cmd/dinggate/internal/server"}, "the command opens the listeners"},
	{"golang.org/x/crypto/bcrypt", []string{"account", "cmd/dinggate/internal/servertest"}, "passwords have one home"},
	{"github.com/gorilla/securecookie", []string{"internal/keyring"}, "sealing has one home"},
	{"github.com/redis/go-redis", []string{"store/redisstore"}, "Redis has one home"},
	{"go.etcd.io/bbolt", []string{"store/boltstore"}, "the embedded file has one home"},
	{"github.com/patrickmn/go-cache", []string{"store", "session"},
		"it has no bound, so it sits in types that have one"},
	{"github.com/gorilla/mux", []string{"cmd/dinggate/internal/server"}, "routing of our own endpoints"},
	{"github.com/prometheus", []string{"internal/telemetry"}, "only telemetry knows metrics"},
	{"go.opentelemetry.io", []string{"internal/telemetry"}, "only telemetry knows traces"},
	{"github.com/coder/websocket",
		[]string{"test/bench", "dingtalk", "dingtalk/simulator", "cmd/dinggate/internal/servertest", "internal/realtool/browser"},
		"the event stream, and WebSockets and WebDriver BiDi in tests"},
	{"net/http/httputil", []string{"proxy", "test/bench", "internal/realtool/browser"}, "forwarding has one home"},
	{"testing", testOnly,
		"product code does not ask whether it is under test"},
	{"text/template", []string{"cmd/dinggate/internal/gatewayconf"},
		"pages are html/template, which escapes; gateway snippets are no HTML"},
	{"math/rand", []string{"session/membership", "dingtalk", "dingtalk/simulator"},
		"jitter only; randomness that anybody must not guess is crypto/rand"},
	{"net/http",
		[]string{"cmd/dinggate", "cmd/dinggate/internal/config", "cmd/dinggate/internal/server",
			"cmd/dinggate/internal/admin", "cmd/dinggate/internal/demo", "cmd/dinggate/internal/doctor",
			"cmd/dinggate/internal/explain", "cmd/dinggate/internal/servertest", "proxy",
			"proxy/accessrequest", "proxy/apiauth", "proxy/console", "proxy/forwardauth", "proxy/login", "proxy/login/locallogin", "session", "dingtalk", "dingtalk/sso",
			"dingtalk/simulator", "internal/web", "oidc", "internal/page", "internal/telemetry",
			"internal/httpclient", "proxy/forwardauth/envoygrpc", "test/bench", "internal/realtool/browser"},
		"who may enter is decided without HTTP"},
}

type listed struct {
	ImportPath, Dir, Doc string
	GoFiles, Imports     []string
	TestGoFiles          []string
	XTestGoFiles         []string
}

func packages(t *testing.T) []listed {
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports,TestGoFiles,XTestGoFiles",
		"dinggate/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: something is wrong with this test", len(all))
	}
	return all
}

func TestImports(t *testing.T) {
	used := map[string]bool{} // a package, a blank, and a line of a table that it needs
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "dinggate/")
		allowed, known := plan[name]
		if !known {
			t.Errorf("%s is not in the plan: add it to the table with what it may import", name)
			continue
		}
		for _, path := range p.Imports {
			if ours, ok := strings.CutPrefix(path, "dinggate/"); ok {
				used[name+" "+ours] = true
				if slices.Contains(testOnly, ours) && !slices.Contains(testOnly, name) {
					t.Errorf("%s must not import %s: only tests may", name, ours)
				}
				if ours == "cmd/dinggate" || allowed != nil && !slices.Contains(allowed, ours) {
					t.Errorf(
						"%s must not import %s: imports point to a lower layer; packages of one layer are joined "+
							"in cmd/dinggate/internal/server", name, ours,
					)
				}
				continue
			}
			for _, h := range homes {
				if path != h.prefix && (!strings.HasPrefix(path, h.prefix+"/") || h.prefix == "net/http" || h.prefix == "testing") {
					continue
				}
				if used[name+" "+h.prefix] = true; !slices.Contains(h.homes, name) {
					t.Errorf("%s must not import %s: %s (its home: %s)", name, path, h.why, strings.Join(h.homes, ", "))
				}
			}
		}
	}
	// A permission that no package needs is an exception without a reason.
	for name, allowed := range plan {
		for _, ours := range allowed {
			if !used[name+" "+ours] {
				t.Errorf("%s does not import %s: take it out of the plan", name, ours)
			}
		}
	}
	for _, h := range homes {
		for _, name := range h.homes {
			if !used[name+" "+h.prefix] {
				t.Errorf("%s does not import %s: it is no home of it", name, h.prefix)
			}
		}
	}
}

// TestPackageComments: each package says in a sentence what it is.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment: one sentence that says what it is", strings.TrimPrefix(p.ImportPath, "dinggate/"))
		}
	}
}
