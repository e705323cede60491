package doctor_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/internal/tlstest"
	"dinggate/proxy/access"
)

// doctorFaults are faults that make sign-ins fail, with the check that reports each, its
// text and its hint. also lists other checks that correctly report the fault.
var doctorFaults = []struct {
	name  string
	fault func(c *env)
	check string
	text  string // in the Chinese result
	hint  string // in the Chinese hint
	also  string
}{
	{"login host down", func(c *env) { c.login.Close() }, "dingtalk.login_url", "无法连接", "防火墙", ""},
	{"API host down", func(c *env) { c.api.Close() }, "dingtalk.api_url", "无法连接", "HTTPS_PROXY", ""},
	{"older API host down", func(c *env) { c.oapi.Close() }, "dingtalk.oapi_url", "无法连接", "防火墙", ""},
	{"host does not resolve", func(c *env) { c.cfg.DingTalk.LoginURL = "https://login.invalid" },
		"dingtalk.login_url", "无法连接", "DNS", ""},
	{"API hangs", func(c *env) { c.patience = 2 * time.Second; c.fault("unknown", simulator.Hang()) },
		"dingtalk.api_url", "无法连接", "防火墙", "dingtalk.login_url dingtalk.oapi_url"},
	{"an interceptor with a certificate of its own", func(c *env) {
		c.cfg.DingTalk.LoginURL = c.behindTLS(tlstest.NewAuthority().Pair(valid("127.0.0.1", 9999*time.Hour))).URL
	}, "dingtalk.login_url", "由未知机构签发", "SSL_CERT_DIR", ""},
	{"certificate of another name",
		func(c *env) {
			c.cfg.DingTalk.LoginURL = c.behindTLS(c.ca.Pair(valid("proxy.example", 9999*time.Hour))).URL
		},
		"dingtalk.login_url", "证书域名不符", "中间设备", ""},
	{"a Wi-Fi's page instead of DingTalk",
		func(c *env) { c.fault("", simulator.Body("<html>please log in to the Wi-Fi</html>")) },
		"dingtalk.credentials", "应答无法识别", "代理、防火墙", "dingtalk.scope"},
	{"api_url with a path", func(c *env) { c.cfg.DingTalk.APIURL += "/v1.0" }, "dingtalk.credentials", "不识别该调用",
		"并核对 dingtalk.api_url", ""},
	{"oapi_url of another server", func(c *env) { c.cfg.DingTalk.OAPIURL = c.app.URL }, "dingtalk.scope", "应答",
		"并核对 dingtalk.oapi_url", ""},
	{"clock behind", func(c *env) { c.platform.Advance(305 * time.Second) }, "clock", "慢 30", "timedatectl", ""},
	{"clock ahead", func(c *env) { c.platform.Advance(-3655 * time.Second) }, "clock", "快 365", "timedatectl", ""},
	{"wrong Client ID", func(c *env) { c.cfg.DingTalk.ClientID = "dingother" }, "dingtalk.credentials",
		"Client Secret 不正确", "基础信息 > 凭证与基础信息", ""},
	{"wrong Client Secret", func(c *env) { c.cfg.DingTalk.ClientSecret = conf.NewSecret("wrong-" + servertest.Canary) },
		"dingtalk.credentials", "Client Secret 不正确", "基础信息 > 凭证与基础信息", ""},
	{"corp_id of another organisation", func(c *env) { c.cfg.DingTalk.CorpID = "dingother" }, "dingtalk.corp_id",
		"与应用不匹配", "开发者后台首页", ""},
	{"egress address not listed",
		func(c *env) { c.mend(func(a *simulator.App) { a.Addresses = []string{"203.0.113.9"} }) },
		"dingtalk.egress_ip", "不在服务器出口IP", "127.0.0.1 不在服务器出口IP中 — 开发者后台 > 开发配置 > 安全设置", ""},
	{"contact scope too small", func(c *env) { c.mend(func(a *simulator.App) { a.Scope = []int64{42} }) },
		"dingtalk.scope", "不是全部员工", "权限管理 > 通讯录权限 > 授权范围", ""},
	{"no qyapi_get_member",
		func(c *env) { c.mend(func(a *simulator.App) { a.Missing = []string{"qyapi_get_member"} }) },
		"dingtalk.members", "权限未开通", "成员信息读权限 qyapi_get_member — 开发者后台 > 权限管理", ""},
	{"no qyapi_get_department_list",
		func(c *env) { c.mend(func(a *simulator.App) { a.Missing = []string{"qyapi_get_department_list"} }) },
		"department.42", "权限未开通", "通讯录部门信息读权限 qyapi_get_department_list", ""},
	{"no qyapi_base", func(c *env) { c.mend(func(a *simulator.App) { a.Missing = []string{"qyapi_base"} }) },
		"dingtalk.scope", "权限未开通", "调用企业API时需要具备的基本权限 qyapi_base", ""},
	{"no fieldEmail, and a rule on e-mails", func(c *env) {
		c.route("/mail/", &access.RuleConfig{Emails: []string{"*@yunfan.example"}}, c.app.URL)
		c.user = "lisi"
		c.mend(func(a *simulator.App) { a.Missing = []string{"fieldEmail"} })
	}, "dingtalk.record", "没有邮箱", "邮箱等个人信息 fieldEmail", ""},
	{"rule's department does not exist",
		func(c *env) { c.route("/x/", &access.RuleConfig{Departments: []string{"77"}}, c.app.URL) },
		"department.77", "不存在或不在授权范围内：规则中的这一项不会放行任何人；最接近的是 ", "授权范围", ""},
	{"rule's department outside the scope",
		func(c *env) { c.user = ""; c.mend(func(a *simulator.App) { a.Scope = []int64{43} }) }, "department.42",
		"授权范围", "权限管理 > 通讯录权限 > 授权范围", "dingtalk.scope"},
	{"rule's role does not exist",
		func(c *env) { c.route("/x/", &access.RuleConfig{Roles: []string{"总裁"}}, c.app.URL) }, "roles",
		"角色 总裁 不存在：规则中的这一项不会放行任何人；最接近的是 总监 (101)", "角色管理", ""},
	{"two roles of one name",
		func(c *env) { c.route("/x/", &access.RuleConfig{Roles: []string{"主管"}}, c.app.URL) }, "roles",
		"同名角色 主管 有 2 个", "100、300", ""},
	{"not published", func(c *env) { c.mend(func(a *simulator.App) { a.Unpublished = true }) }, "dingtalk.silent",
		"应用未发布", "应用发布 > 版本管理与发布 > 可使用范围", ""},
	{"app stopped", func(c *env) { c.mend(func(a *simulator.App) { a.Stopped = true }) }, "dingtalk.scope",
		"应用已停用", "https://oa.dingtalk.com > 工作台", "dingtalk.stream"},
	{"colleague has left", func(c *env) { c.leave("zhangsan") }, "dingtalk.record", "不是本企业成员", "正确拒绝", ""},
	{"colleague never activated", func(c *env) { c.user = "wujiu" }, "dingtalk.record", "未激活", "激活账号", ""},
	{"colleague's account disabled", func(c *env) { c.user = "zhengshi" }, "dingtalk.record", "已停用", "通讯录 中启用", ""},
	{"colleague outside the scope", func(c *env) {
		c.user = "wangwu"
		c.mend(func(a *simulator.App) { a.Scope = []int64{4201}; a.ScopeUsers = nil })
	}, "dingtalk.record", "授权范围", "可使用范围", "dingtalk.scope department.42"},
	{"username from an empty field", func(c *env) { c.user = "wangwu"; c.cfg.DingTalk.Username = "job_number" },
		"dingtalk.record", "dingtalk.username 所选的字段", "fieldEmail", ""},
	{"events refused", func(c *env) {
		c.fault("/v1.0/gateway/connections/open", simulator.Code("Forbidden.AccessDenied.AccessTokenPermissionDenied"))
	}, "dingtalk.stream", "权限未开通", "调用 /v1.0/gateway/connections/open 所需的权限", ""},
	{"stream's host unreachable", func(c *env) {
		c.fault("/v1.0/gateway/connections/open",
			simulator.Body(`{"endpoint":"wss://`+servertest.ClosedAddress(c.t)+`/connect","ticket":"t"}`))
	}, "dingtalk.stream", "收不到事件", "防火墙", ""},
	{"monthly quota used up", func(c *env) { c.fault("/topapi/user/getbyunionid", simulator.Code(90020)) },
		"dingtalk.quota", "调用量已用完", "资源管理", ""},
	{"throttled", func(c *env) { c.fault("/topapi/user/getbyunionid", simulator.Code(90018)) }, "dingtalk.rate",
		"限流", "几分钟后再试", ""},
	{"our address is punished", func(c *env) { c.fault("", simulator.Body(simulator.PunishBody)) },
		"dingtalk.rate", "限流", "5 分钟后再试", ""},
	{"DingTalk unavailable", func(c *env) { c.fault("/topapi/v2/user/getuserinfo", simulator.Status(503)) },
		"dingtalk.silent", "没有可用的应答", "钉钉服务状态", ""},
	{"专有钉钉", func(c *env) { c.cfg.DingTalk.LoginURL = "https://login.dg-work.cn" }, "dingtalk.login_url",
		"专有钉钉（浙政钉）", "不受支持", ""},
	{"bindings of an older release", func(c *env) {
		c.cfg.Accounts.Binding = "required"
		c.redis.HSet("dinggate:{bindings}:people", "U1", "zs")
	}, "bindings", "旧版本的 1 条绑定", "dinggate bindings import", ""},
	{"bindings of another owner", func(c *env) {
		c.cfg.Accounts.Binding = "required"
		c.redis.HSet("dinggate:{bindings}:sealed:people", "x", "zs")
	}, "bindings", "无法用 cookie.secrets 打开", "重新导入", ""},
	{"Redis away", func(c *env) { c.redis.Close() }, "redis", "refused", "redis.url", ""},
	{"Redis wants a password", func(c *env) { c.redis.RequireAuth("other") }, "redis", "noauth",
		"redis.password_file", ""},
	{"Redis out of memory",
		func(c *env) { c.redis.SetError("OOM command not allowed when used memory > 'maxmemory'.") }, "redis",
		"oom", "maxmemory", ""},
	{"Redis is a replica",
		func(c *env) { c.redis.SetError("READONLY You can't write against a read only replica.") }, "redis",
		"readonly", "redis-sentinel://", ""},
	{"audit file in a folder that is not there",
		func(c *env) { c.cfg.Audit.File = filepath.Join(c.cfg.StateDir, "none", "audit") }, "audit", "无法追加写入",
		"归运行 dinggate 的用户所有", ""},
	{"no collector for the traces", func(c *env) { c.cfg.Tracing.Endpoint = "http://" + servertest.ClosedAddress(c.t) },
		"tracing", "无法连接", "防火墙", ""},
	{"state_dir in a folder that is not there", func(c *env) { c.cfg.StateDir = filepath.Join(c.cfg.StateDir, "none", "state") },
		"state_dir", "无法写入", "install -d -m 700", ""},
	{"application down", func(c *env) { c.app.Close() }, "upstream.APP", "无法连接", "请确认应用在该地址运行", ""},
	{"application speaks no TLS", func(c *env) { c.route("/y/", nil, "https://"+c.app.Listener.Addr().String()) },
		"upstream.APP", "不使用 TLS", "http://", ""},
	{"application's certificate expired",
		func(c *env) { c.cfg.Routes[1].Upstream = c.behindTLS(c.ca.Pair(valid("127.0.0.1", -time.Hour))).URL },
		"upstream.NEW", "已过期", "更换证书", ""},
	{"application's certificate of another name",
		func(c *env) {
			c.cfg.Routes[1].Upstream = c.behindTLS(c.ca.Pair(valid("app.example", 9999*time.Hour))).URL
		},
		"upstream.NEW", "证书域名不符", "使用证书上的域名", ""},
	{"application's certificate of a private authority", func(c *env) {
		c.cfg.Routes[1].Upstream = c.behindTLS(tlstest.NewAuthority().Pair(valid("127.0.0.1", 9999*time.Hour))).URL
	}, "upstream.NEW", "由未知机构签发", "SSL_CERT_DIR", ""},
	{"application's certificate ends soon", func(c *env) {
		c.cfg.Routes[1].Upstream = c.behindTLS(c.ca.Pair(valid("127.0.0.1", 3*24*time.Hour+time.Hour))).URL
	}, "upstream.NEW", "还有 3 天到期", "前更换证书", ""},
	{"socket of the application missing", func(c *env) { c.cfg.Routes[1].Upstream = "unix:/nonexistent/app.sock" },
		"upstream./nonexistent/app.sock", "无法连接", "请确认应用在该地址运行", ""},
	{"own certificate expired", func(c *env) { c.own(valid("127.0.0.1", -48*time.Hour)) }, "tls", "过期",
		"tls.cert_file", ""},
	{"own certificate ends soon", func(c *env) { c.own(valid("127.0.0.1", 5*24*time.Hour+time.Hour)) }, "tls",
		"还有 5 天到期", "前更换证书", ""},
	{"own certificate for another host", func(c *env) { c.own(valid("old.example", 9999*time.Hour)) }, "tls",
		"不适用于 127.0.0.1", "public_url", ""},
	{"own certificate gone", func(c *env) { c.cfg.TLS = config.TLSConfig{CertFile: "gone", KeyFile: "gone"} },
		"tls", "无法读取", "tls.cert_file", ""},
	{"public_url leads elsewhere", func(c *env) { c.cfg.PublicURL = c.serves(404) }, "public_url",
		"不是 dinggate：回调无法到达", "dinggate gen", ""},
	{"no program behind public_url's proxy", func(c *env) { c.cfg.PublicURL = c.serves(502) }, "public_url", "应答 502",
		"请启动 dinggate", ""},
	{"proxy does TLS and is not trusted",
		func(c *env) {
			c.cfg.PublicURL = "https://" + servertest.ClosedAddress(c.t)
			c.cfg.TrustedProxies = nil
		},
		"trusted_proxies", "未信任任何代理", "127.0.0.1/32", ""},
	{"the gateway is not listed",
		func(c *env) { c.h.Kit.UntrustedForwarders.Note(netip.MustParseAddr("10.0.0.5"), time.Now()) }, "trusted_proxies",
		"未受信任：10.0.0.5", "10.0.0.5/32", ""},
	{"an old configuration serves", func(c *env) {
		c.h.Reload = admin.ReloadResult{
			Refused: time.Now(),
			Problems: config.Problems{{File: "config.yaml", Line: 6, Key: "log.level",
				Text: conf.Textf("is not debug, info, warn or error")}},
		}
	}, "running", "新配置被拒绝: config.yaml:6: log.level", "dinggate check", ""},
	{"lookups of the running one fail", func(c *env) { c.grace() }, "running", "1 人处于宽限期", "session.grace",
		"dingtalk.record"},
	{"SSO service away", func(c *env) { c.sso("http://" + servertest.ClosedAddress(c.t)) }, "sso.url", "无法连接", "防火墙", ""},
	{"SSO service is some other site", func(c *env) { c.sso(c.serves(404)) }, "sso.userinfo", "不是 SSO 服务的格式",
		"sso.url", ""},
	{"SSO service knows no such client", func(c *env) { c.sso(c.ssoService(401)) }, "sso.client", "拒绝 client_id",
		"sso.client_secret", ""},
}

// TestDoctorFaults makes one fault at a time. doctor reports it with its hint, and reports
// no other problem.
func TestDoctorFaults(t *testing.T) {
	if len(doctorFaults) < 25 {
		t.Fatalf("%d faults", len(doctorFaults))
	}
	for _, tt := range doctorFaults {
		t.Run(tt.name, func(t *testing.T) {
			c := newEnv(t)
			tt.fault(c)
			want := tt.check
			switch want {
			case "upstream.APP":
				want = "upstream." + c.app.Listener.Addr().String()
			case "upstream.NEW":
				want = "upstream." + strings.TrimPrefix(c.cfg.Routes[1].Upstream, "https://")
			}
			found, order := c.examine()
			f, ok := found[want]
			if !ok || f.Severity != doctor.Wrong && f.Severity != doctor.Warning {
				t.Errorf("%s is %+v, want a problem", want, f)
			}
			if !strings.Contains(f.Text[i18n.Chinese], tt.text) || !strings.Contains(f.Hint[i18n.Chinese], tt.hint) ||
				f.Text[i18n.English] == "" {
				t.Errorf("%s says %q, hint %q; want %q and %q", want, f.Text[i18n.Chinese], f.Hint[i18n.Chinese],
					tt.text, tt.hint)
			}
			for _, check := range order {
				f := found[check]
				if failed := f.Severity == doctor.Wrong || f.Severity == doctor.Warning; failed && check != want &&
					!slices.Contains(strings.Fields(tt.also), check) {
					t.Errorf("%s reports a problem too: %s (%s)", check, f.Text[i18n.English], f.Detail)
				}
				if strings.Contains(f.Text[i18n.English]+f.Text[i18n.Chinese]+f.Hint[i18n.English]+
					f.Hint[i18n.Chinese]+f.Detail, servertest.Canary) {
					t.Errorf("%s shows a secret: %+v", check, f)
				}
			}
		})
	}
}

// TestDoctorOptionalRows checks that the rows of optional permissions do not repeat a cause
// that another row reports.
func TestDoctorOptionalRows(t *testing.T) {
	c := newEnv(t)
	c.cfg.DingTalk.ClientSecret = conf.NewSecret("wrong")
	found, _ := c.examine()
	for _, check := range []string{"dingtalk.directory", "dingtalk.leavers"} {
		if f := found[check]; doctor.SeverityNames[f.Severity].Name != "skipped" {
			t.Errorf("%s with a wrong Client Secret is %+v, want skipped", check, f)
		}
	}
}
