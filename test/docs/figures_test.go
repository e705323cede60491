package docs

import (
	"regexp"
	"strings"
	"testing"
)

// figures are numbers in prose and the constants they come from: a line of the page,
// in either language, matches says. The limits of operating.md have a table of their
// own, and a number in brackets behind a key is the key's default (TestDefaults).
var figures = []struct{ folder, constant, page, says string }{
	{"proxy/accessrequest", `Unanswered += 24 \* time\.Hour`, "docs/access-requests", `24 (?:hours|小时)`},
	{"proxy/accessrequest", `PerDay += 20 `, "docs/access-requests", `20 requests a day|每天最多 20 个`},
	{"proxy/accessrequest", `MaxReason += 200`, "docs/access-requests", `at most 200 characters|不超过 200 字`},
	{"account", `maxFile += 1 << 20`, "docs/accounts", "`dinggate check`.* 1 MiB"},
	{"account", `maxAccounts += 10_000`, "docs/accounts", `1 MiB.*\D10,000 `},
	{"account", `maxCost += 14`, "docs/accounts", `bcrypt.* 4 (?:to|到) 14`},
	{"account", `pairLimit += ratelimit\.Rate\{Every: 30 \* time\.Second, Burst: 10\}`, "docs/accounts",
		`10 (?:failed|次).*30 (?:s|秒)`},
	{"account", `clientLimit += ratelimit\.Rate\{Every: 2 \* time\.Second, Burst: 60\}`, "docs/accounts",
		`/48.* 60 .* 2 (?:s|秒)`},
	{"account", `pairLimit += ratelimit\.Rate\{Every: 30 \* time\.Second, Burst: 10\}`, "docs/operating",
		` 10(?: 次)?[,，].*30 (?:s|秒)`},
	{"account", `clientLimit += ratelimit\.Rate\{Every: 2 \* time\.Second, Burst: 60\}`, "docs/operating",
		`30 (?:s|秒).* 60(?: 次)?[,，].* 2 (?:s|秒)`},
	{"proxy/login/locallogin", `LinkLife += 10 \* time\.Minute`, "docs/accounts", `403.*(?:ten minutes|十分钟)`},
	{"proxy/apiauth", `passwordTrust += 5 \* time\.Minute`, "docs/accounts", `five minutes|五分钟`},
	{"proxy/login", `ticketLife += 30 \* time\.Second`, "docs/many-applications", ` 30 (?:seconds|秒)`},
	{"oidc/keys", `Life += 90 \* 24 \* time\.Hour`, "docs/oidc", "`key_files`.* 90 (?:days|天)"},
	{"cmd/dinggate/internal/server", `refreshTolerance = 10 \* time\.Second`, "docs/oidc", "`offline_access`.* 10 (?:seconds|秒)"},
	{"dingtalk/sso", `codeLife += time\.Minute`, "docs/sso", ` 60 (?:seconds|秒)`},
	{"dingtalk/sso", `accessLife += 2 \* time\.Hour`, "docs/sso", `two hours|两小时`},
	{"dingtalk/sso", `maxAnswer += 1 << 20`, "docs/sso", `JSON.* 1 MiB`},
	{"cmd/dinggate/internal/server", `voidLife += 30 \* 24 \* time\.Hour`, "docs/sso", "`unionid`.* 30 (?:days|天)"},
	{"proxy/apiauth", `unknownLimit += ratelimit\.Rate\{Every: time\.Second / 5, Burst: 60\}`, "docs/sso",
		`\D60 .*(?:5 a second|每秒 5 个)`},
	{"proxy/apiauth", `unknownLimit += ratelimit\.Rate\{Every: time\.Second / 5, Burst: 60\}`, "docs/operating",
		"`api_tokens`.*(?:5 a second, 60 at once|每秒 5 个，突发 60 个)"},
	{"proxy/apiauth", `unknownAllLimit = ratelimit\.Rate\{Every: time\.Second / 20, Burst: 200\}`, "docs/operating",
		"`api_tokens`.*(?:20 a second, 200 at once|每秒 20 个，突发 200 个)"},
	{"proxy/apiauth", `callTimeout += 5 \* time\.Second`, "docs/sso", ` 5 (?:seconds|秒)`},
	{"internal/clientauth", `most = 100 \* time\.Millisecond`, "docs/operating", "`/dingtalk/token`.* 100 (?:ms|毫秒)"},
	{"internal/clientauth", `maxWaiting = 64`, "docs/operating", "`/dingtalk/token`.* 64 "},
	{"internal/web", `maxReadings += 96`, "docs/paths", "`bad_path`.* 96 "},
	{"cmd/dinggate/internal/server", `connectionMemory = 22 << 10`, "docs/operating", "`server.max_connections`.* 22 KiB"},
	{"cmd/dinggate/internal/server", `baseMemory = 16 << 20`, "docs/operating", "`server.max_connections`.* 16 MiB"},
	{"cmd/dinggate/internal/server", `pollEvery += 5 \* time\.Second`, "docs/operating", "`SIGHUP`.* (?:5|five) (?:s|秒)"},
	{"cmd/dinggate/internal/server", `pageMaxWait += 5 \* time\.Second`, "docs/sessions", "`recheck \\+ grace`.* 5 (?:s|秒)"},
	{"cmd/dinggate/internal/server", `gatewayMaxWait = 800 \* time\.Millisecond`, "docs/sessions",
		"`recheck \\+ grace`.* 0\\.8 (?:s|秒)"},
	{"session", `const refreshEarly = 30 \* time\.Second`, "docs/sessions", ` 30 (?:s|秒)`},
	{"session", `revalidateEvery += 5 \* time\.Second`, "docs/sessions", `^\| .*Redis.*\| 5 (?:s|秒)`},
	{"session", `trustLive += 2 \* revalidateEvery`, "docs/sessions", `^\| .*Redis.*\| 5 (?:s|秒).* 10 (?:s|秒)`},
	{"session", `trustDisconnected = 2 \* time\.Second`, "docs/sessions", `^\| .*(?:not work|不正常).*\| 2 (?:s|秒)`},
	{"session", `storeTimeout = time\.Second`, "docs/sessions", "^\\| .*\\| 1 (?:s|秒).*503.*`X-Dinggate-Reason`"},
	{"session/membership", `LookupTimeout = 10 \* time\.Second`, "docs/sessions", `^\| .*\| 10 (?:s|秒).* 16 `},
	{"store", `leaseTime += 4 \* time\.Second`, "docs/sessions", `^\| .*\| (?:after 4 s|4 秒后)`},
	{"session/membership", `15\*time\.Second<<min\(attempt, 3\), recheck\)`, "docs/sessions",
		"^\\| .*\\| 15 (?:s|秒).* 2 (?:minutes|分钟).*`session.recheck`"},
	{"session/membership", `rand\.N\(d/5\+1\)`, "docs/sessions", "^\\| .*`session.recheck`.*20 %"},
	{"session/revocation", `maxOutbox = 10_000`, "docs/sessions", `^\| .*\| 10,000[,，]`},
	{"session", `maxSharedUser = 24 << 10`, "docs/sessions", `3\.5 KB.* 24 KB`},
}

// TestFigures: numbers in prose are those of the program. A constant that has
// another form now needs another row here, and a look at the page.
func TestFigures(t *testing.T) {
	all, sources := pages(t), map[string]string{}
	for _, f := range figures {
		source, ok := sources[f.folder]
		if !ok {
			var b strings.Builder
			for _, text := range goSource(t, f.folder) {
				b.WriteString(text)
			}
			source = b.String()
			sources[f.folder] = source
		}
		if !regexp.MustCompile(f.constant).MatchString(source) {
			t.Errorf("%s has no constant %s: what is the number now, and does %s.md say so?", f.folder, f.constant, f.page)
		}
		says := regexp.MustCompile(`(?m)` + f.says)
		for _, name := range []string{f.page + ".md", f.page + ".zh-CN.md"} {
			if !says.MatchString(all[name].text) {
				t.Errorf("%s has no line with %s, as %s in %s is", name, f.says, f.constant, f.folder)
			}
		}
	}
}
