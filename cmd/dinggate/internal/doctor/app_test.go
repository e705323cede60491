package doctor_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/dingtalkapp"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/oidc"
	"dinggate/proxy/access"
)

// fakeDWS is a substitute for DingTalk's command-line tool: a script that accepts
// exactly the calls of its contract, with all flags in their order.
type fakeDWS struct {
	t           *testing.T
	clientID    string
	permissions []string
	events      []string
	redirects   []string
	homepage    string
	pcHomepage  string
	versions    map[string]string // versionId → versionStatus
	refusal     string            // the answer to every call, "" for none
	wrap        func(items []any, next string) any
}

// newDWS returns one for an app with all required settings.
func newDWS(c *env) *fakeDWS {
	if runtime.GOOS == "windows" {
		c.t.Skip("the substitute is a shell script")
	}
	want := dingtalkapp.For(c.cfg)
	d := &fakeDWS{t: c.t, clientID: c.cfg.DingTalk.ClientID, redirects: want.Redirects, homepage: want.Homepage,
		events: dingtalk.EventTypes(), versions: map[string]string{"v-1": "RELEASE"}}
	for _, p := range slices.Concat(want.Given, want.Required) {
		d.permissions = append(d.permissions, p.Point)
	}
	d.wrap = func(items []any, next string) any { // of the first versions of dws
		return map[string]any{"success": true, "result": map[string]any{"items": items, "hasMore": next != "",
			"nextCursor": next}}
	}
	return d
}

// install writes the program and returns its path.
func (d *fakeDWS) install() string {
	dir := d.t.TempDir()
	calls := map[string]any{}
	answer := func(call string, v any) { calls["dev app "+call+" --format json"] = v }
	answer("list", d.wrap([]any{map[string]any{"unifiedAppId": "u-0", "appKey": "dingother"},
		map[string]any{"unifiedAppId": "u-1", "appKey": d.clientID}}, ""))
	answer("get --unified-app-id u-1", map[string]any{"unifiedAppId": "u-1", "appSecret": servertest.Canary,
		"security": map[string]any{"redirectUrls": d.redirects}})
	var scopes []any
	for _, point := range []string{"open_app_api_base", "qyapi_base", "Contact.User.Read", "Contact.User.mobile", "qyapi_get_member",
		"fieldEmail", "fieldMobile", "qyapi_get_department_list", "qyapi_get_department_member", "Contact.Common.Read"} {
		scopes = append(scopes, map[string]any{"scopeValue": point, "authed": slices.Contains(d.permissions, point)})
	}
	answer("permission list --unified-app-id u-1", d.wrap(scopes[:4], "page-2"))
	answer("permission list --unified-app-id u-1 --cursor page-2", d.wrap(scopes[4:], ""))
	var events []any
	for _, code := range append(dingtalk.EventTypes(), "chat_add_member") {
		events = append(events, map[string]any{"eventCode": code, "subscribed": slices.Contains(d.events, code)})
	}
	answer("event list --unified-app-id u-1", d.wrap(events, ""))
	answer("webapp get --unified-app-id u-1", map[string]any{"homepageUrl": d.homepage, "pcHomepageUrl": d.pcHomepage})
	versions := []any{}
	for id, status := range d.versions {
		versions = append(versions, map[string]any{"versionId": id, "versionStatus": status})
	}
	answer("version list --unified-app-id u-1", d.wrap(versions, ""))

	script := "#!/bin/sh\ncase \"$*\" in\n"
	for call, v := range calls {
		if d.refusal != "" {
			v = json.RawMessage(d.refusal)
		}
		data, err := json.Marshal(v)
		if err != nil {
			d.t.Fatal(err)
		}
		script += "'" + call + "') cat <<'END'\n" + string(data) + "\nEND\n;;\n"
	}
	script += "*) echo '{\"ok\":false,\"error\":{\"message\":\"unknown call\"}}'; exit 2;;\nesac\n"
	path := filepath.Join(dir, "dws")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		d.t.Fatal(err)
	}
	return path
}

func without(list []string, gone ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(gone, s) })
}

func (c *env) missing(points ...string) {
	c.mend(func(a *simulator.App) { a.Missing = points })
	c.dws.permissions = without(c.dws.permissions, points...)
}

func (c *env) rule(rule access.RuleConfig) { c.route("/x/", &rule, c.app.URL) }

// redirect registers an address that differs slightly.
func (c *env) redirect(old, new string) {
	c.dws.redirects = []string{strings.Replace(c.cfg.CallbackURL(), old, new, 1)}
}

func (c *env) publish(id, status string) { c.dws.versions = map[string]string{id: status} }

// appFaults are misconfigurations of the app at DingTalk. Each has the row that reports
// it, parts of its text or hint, and the other rows that correctly report it.
var appFaults = []struct {
	name  string
	fault func(c *env)
	check string
	says  string
	also  string
}{
	{"Client ID of another app", func(c *env) { c.cfg.DingTalk.ClientID = "dingx" }, "dingtalk.credentials", "Client Secret 不正确", "dws.app"},
	{"Client Secret renewed", func(c *env) { c.cfg.DingTalk.ClientSecret = conf.NewSecret("old") }, "dingtalk.credentials", "凭证与基础信息", ""},
	{"corp_id of another organisation", func(c *env) { c.cfg.DingTalk.CorpID = "dingx" }, "dingtalk.corp_id", "开发者后台首页", ""},
	{"egress list without us",
		func(c *env) { c.mend(func(a *simulator.App) { a.Addresses = []string{"203.0.113.9"} }) }, "dingtalk.egress_ip", "服务器出口IP", ""},
	{"egress list of another network",
		func(c *env) { c.mend(func(a *simulator.App) { a.Addresses = []string{"10.0.0.0/8"} }) }, "dingtalk.egress_ip", "服务器出口IP", ""},
	{"contact scope of a department", func(c *env) { c.mend(func(a *simulator.App) { a.Scope = []int64{42} }) }, "dingtalk.scope", "授权范围", ""},
	{"contact scope of people", func(c *env) {
		c.mend(func(a *simulator.App) { a.Scope, a.ScopeUsers = []int64{42}, []string{"lisi"} })
	}, "dingtalk.scope", "授权范围", ""},
	{"rule outside the scope",
		func(c *env) { c.user = ""; c.mend(func(a *simulator.App) { a.Scope = []int64{43} }) }, "department.42", "授权范围", "dingtalk.scope"},
	{"colleague outside the scope", func(c *env) {
		c.user = "zhaoliu"
		c.mend(func(a *simulator.App) { a.Scope = []int64{42} })
	}, "dingtalk.record", "授权范围", "dingtalk.scope"},
	{"without qyapi_base", func(c *env) { c.missing("qyapi_base") }, "dingtalk.scope", "qyapi_base", "dws.permissions"},
	{"without qyapi_get_member", func(c *env) { c.missing("qyapi_get_member") }, "dingtalk.members", "成员信息读权限", "dws.permissions"},
	{"without qyapi_get_department_list", func(c *env) { c.missing("qyapi_get_department_list") }, "department.42", "通讯录部门信息读权限", "dws.permissions"},
	{"e-mail rule without fieldEmail", func(c *env) {
		c.user = "lisi"
		c.rule(access.RuleConfig{Emails: []string{"*@yunfan.example"}})
		c.missing("fieldEmail")
	}, "dingtalk.record", "邮箱等个人信息", "dws.permissions"},
	{"e-mail username without fieldEmail",
		func(c *env) { c.user, c.cfg.DingTalk.Username = "lisi", "email"; c.missing("fieldEmail") }, "dingtalk.record", "fieldEmail", "dws.permissions"},
	{"app not published", func(c *env) { c.mend(func(a *simulator.App) { a.Unpublished = true }) }, "dingtalk.silent", "可使用范围", ""},
	{"app stopped", func(c *env) { c.mend(func(a *simulator.App) { a.Stopped = true }) }, "dingtalk.scope", "应用已停用", "dingtalk.stream"},
	{"rule on a department that is gone",
		func(c *env) { c.rule(access.RuleConfig{Departments: []string{"4203"}}) }, "department.4203", "最接近的是 4202 研发部/前端组", ""},
	{"client's rule on a department that is gone", func(c *env) {
		c.cfg.OIDC.Clients = append(c.cfg.OIDC.Clients, oidc.ClientConfig{Access: &access.RuleConfig{Departments: []string{"4302"}}})
	}, "department.4302", "最接近的是 4301 市场部/华东区", "oidc.issuer"},
	{"rule on a role that is gone", func(c *env) { c.rule(access.RuleConfig{Roles: []string{"财务部"}}) }, "roles", "最接近的是 财务 (200)", ""},
	{"denied role that is gone", func(c *env) { c.rule(access.RuleConfig{Deny: access.ListsConfig{Roles: []string{"监理"}}}) }, "roles", "角色 监理 不存在", ""},
	{"rule on a role that is twice", func(c *env) { c.rule(access.RuleConfig{Roles: []string{"主管"}}) }, "roles", "100、300", ""},
	{"no redirect URL",
		func(c *env) { c.dws.redirects = []string{} }, "dws.redirect_urls", "security config --unified-app-id u-1 --redirect-urls http://", ""},
	{"redirect URL with a slash", func(c *env) { c.redirect("/callback", "/callback/") }, "dws.redirect_urls", "/oauth2/callback", ""},
	{"redirect URL of another scheme", func(c *env) { c.redirect("http:", "https:") }, "dws.redirect_urls", "https://127.0.0.1", ""},
	{"redirect URL of another port", func(c *env) { c.redirect("/oauth2", "0/oauth2") }, "dws.redirect_urls", "缺少：http://127.0.0.1", ""},
	{"redirect URL of another host", func(c *env) { c.redirect("127.0.0.1", "localhost") }, "dws.redirect_urls", "http://localhost", ""},
	{"redirect URL of another prefix", func(c *env) { c.redirect("/oauth2", "/auth") }, "dws.redirect_urls", "/auth/callback,http", ""},
	{"redirect URL that a shell would run", func(c *env) { c.dws.redirects = []string{"https://x/$(id)"} }, "dws.redirect_urls", "'https://x/$(id),http", ""},
	{"Contact.User.Read not granted",
		func(c *env) { c.dws.permissions = without(c.dws.permissions, "Contact.User.Read") },
		"dws.permissions", "--scope-values Contact.User.Read --format", ""},
	{"open_app_api_base taken away",
		func(c *env) { c.dws.permissions = without(c.dws.permissions, "open_app_api_base") }, "dws.permissions", "open_app_api_base", ""},
	{"fieldEmail not granted", func(c *env) { c.dws.permissions = without(c.dws.permissions, "fieldEmail") }, "dws.permissions", "邮箱等个人信息 fieldEmail", ""},
	{"two permissions at once", func(c *env) {
		c.dws.permissions = without(c.dws.permissions, "Contact.User.Read", "fieldEmail")
	}, "dws.permissions", "--scope-values Contact.User.Read,fieldEmail", ""},
	{"mirror without lists", func(c *env) { c.cfg.DingTalk.Directory = "mirror" }, "dws.permissions", "qyapi_get_department_member", ""},
	{"mirror without the lists' permission", func(c *env) {
		c.cfg.DingTalk.Directory = "mirror"
		c.missing("qyapi_get_department_member")
	}, "dingtalk.directory", "无法读取", "dws.permissions"},
	{"no events", func(c *env) { c.dws.events = nil }, "dws.events", "event subscribe --unified-app-id u-1 --event-codes", ""},
	{"leavers not subscribed to",
		func(c *env) { c.dws.events = without(c.dws.events, "user_leave_org") }, "dws.events", "--event-codes user_leave_org --", ""},
	{"changes not subscribed to",
		func(c *env) { c.dws.events = without(c.dws.events, "user_modify_org") }, "dws.events", "--event-codes user_modify_org --", ""},
	{"workbench entry of the old host", func(c *env) { c.dws.homepage = "https://old.example.com/" }, "dws.webapp", "指向 https://old.example.com/", ""},
	{"workbench entry on PCs of the old host",
		func(c *env) { c.dws.pcHomepage = "https://old.example.com/" }, "dws.webapp", "指向 https://old.example.com/", ""},
	{"no version", func(c *env) { c.dws.versions = nil }, "dws.version", "version create --unified-app-id u-1", ""},
	{"version not published", func(c *env) { c.publish("v-7", "INIT") }, "dws.version", "version publish --unified-app-id u-1 --version-id v-7", ""},
	{"version waits for approval", func(c *env) { c.publish("v-8", "AUDIT") }, "dws.version", "正在审批", ""},
	{"change after the release", func(c *env) { c.dws.versions["v-2"] = "INIT" }, "dws.version", "其中的变更不生效", ""},
	{"app of another administrator", func(c *env) { c.dws.clientID = "dingelse" }, "dws.app", "看不到 dingtalk.client_id", ""},
	{"dws signed out", func(c *env) { c.dws.refusal = `{"ok":false,"error":{"message":"not logged in"}}` }, "dws.app", "dws auth login", ""},
	{"dws of another format", func(c *env) { c.dws.refusal = `"table"` }, "dws.app", "看不到", ""},
}

// TestDoctorApp makes one misconfiguration of the app at a time. doctor reports it with a
// hint, and reports no other problem.
func TestDoctorApp(t *testing.T) {
	if len(appFaults) < 40 {
		t.Fatalf("%d misconfigurations, want 40", len(appFaults))
	}
	falseAlarms := 0
	for _, tt := range appFaults {
		t.Run(tt.name, func(t *testing.T) {
			c := newEnv(t)
			c.dws = newDWS(c)
			tt.fault(c)
			found, order := c.examine()
			f := found[tt.check]
			if f.Severity != doctor.Wrong && f.Severity != doctor.Warning {
				t.Errorf("%s is %+v, want a problem", tt.check, f)
			}
			if got := f.Text[i18n.Chinese] + " " + f.Hint[i18n.Chinese]; !strings.Contains(got, tt.says) {
				t.Errorf("%s says %q, want %q", tt.check, got, tt.says)
			}
			for _, check := range order {
				f := found[check]
				if failed := f.Severity == doctor.Wrong || f.Severity == doctor.Warning; failed && check != tt.check &&
					!slices.Contains(strings.Fields(tt.also), check) {
					falseAlarms++
					t.Errorf("%s reports a problem too: %s (%s)", check, f.Text[i18n.English], f.Detail)
				}
				if strings.Contains(f.Text[i18n.English]+f.Hint[i18n.English]+f.Detail, servertest.Canary) {
					t.Errorf("%s shows a secret: %+v", check, f)
				}
			}
		})
	}
	t.Logf("%d misconfigurations, %d false alarms", len(appFaults), falseAlarms)
}

// TestDoctorDWSHealthy checks that there is no false alarm, however a version of dws wraps
// its answers.
func TestDoctorDWSHealthy(t *testing.T) {
	for name, wrap := range map[string]func(items []any, next string) any{
		"of the first versions": nil,
		"named lists": func(items []any, next string) any {
			return map[string]any{"permissions": items, "hasMore": next != "", "nextCursor": next}
		},
		"envelope": func(items []any, next string) any {
			return map[string]any{"ok": true, "outcome": "success", "data": map[string]any{"items": items},
				"meta": map[string]any{"pagination": map[string]any{"endpoint_exhausted": next == "", "next_token": next}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newEnv(t)
			c.dws = newDWS(c)
			if wrap != nil {
				c.dws.wrap = wrap
			}
			found, order := c.examine()
			n := 0
			for _, check := range order {
				if f := found[check]; strings.HasPrefix(check, "dws.") {
					n++
					if f.Severity != doctor.Fine {
						t.Errorf("%s: %+v", check, f)
					}
				}
			}
			if n != 6 {
				t.Errorf("%d rows of dws, want 6", n)
			}
		})
	}
}

// TestDoctorDWSCommand checks that --dws runs the program in the PATH, without our secrets
// in its environment.
func TestDoctorDWSCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the substitute is a shell script")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\n/usr/bin/env | grep DINGGATE_ >>" + dir + "/leaked\necho '{\"ok\":false,\"error\":{\"message\":\"x\"}}'; exit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "dws"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	env := servertest.DingTalkEnviron(t, simulator.Demo())
	t.Setenv("DINGGATE_DINGTALK_CLIENT_SECRET", servertest.Canary)
	for _, tt := range []struct{ path, want string }{{dir, "dws does not answer"}, {t.TempDir(), "dws is not installed here"}} {
		t.Setenv("PATH", tt.path)
		var out, stderr strings.Builder
		if code := servertest.RunCommand(doctor.Command, []string{"doctor", "--dws"}, env, &out, &stderr); code != 1 || !strings.Contains(out.String(), tt.want) {
			t.Errorf("doctor --dws = %d, want %q\n%s%s", code, tt.want, &out, &stderr)
		}
	}
	if leaked, _ := os.ReadFile(filepath.Join(dir, "leaked")); len(leaked) > 0 {
		t.Errorf("dws was given %s", leaked)
	}
}
