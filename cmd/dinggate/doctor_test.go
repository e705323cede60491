package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/proxy/access"
	"dinggate/session"

	"github.com/alicebob/miniredis/v2"
)

// clinic is a set-up in good health, everything in it real: DingTalk on three
// addresses, an application in the clear and one behind TLS, Redis, a directory,
// a dinggate that runs at public_url.
type clinic struct {
	t                *testing.T
	h                *testEnv // dinggate that runs
	cfg              *config.Config
	platform         *simulator.Platform
	login, api, oapi *httptest.Server
	app, secure      *httptest.Server
	redis            *miniredis.Miniredis
	ca               *authority
	files            map[string][]byte
	user             string
	patience         time.Duration
}

func newClinic(t *testing.T) *clinic {
	c := &clinic{t: t, ca: newAuthority(t), files: map[string][]byte{}, user: "zhangsan", patience: 5 * time.Second}
	h := newTestEnv(t, func(cfg *config.Config) { c.cfg = cfg })
	c.platform = h.platform
	for _, s := range []**httptest.Server{&c.login, &c.api, &c.oapi} {
		*s = httptest.NewServer(h.platform)
		t.Cleanup((*s).Close)
	}
	c.app = httptest.NewServer(h.app)
	t.Cleanup(c.app.Close)
	c.secure = c.behindTLS(c.ca.pair(90*24*time.Hour, "127.0.0.1"))
	c.redis = miniredis.RunT(t)
	change := *c.cfg // dinggate keeps its own
	c.cfg = &change
	c.cfg.DingTalk.LoginURL, c.cfg.DingTalk.APIURL, c.cfg.DingTalk.OAPIURL = c.login.URL, c.api.URL, c.oapi.URL
	c.cfg.Session.Store, c.cfg.Redis.URL = "redis", conf.NewSecret("redis://"+c.redis.Addr())
	c.cfg.StateDir = t.TempDir()
	c.cfg.Audit.File, c.cfg.Tracing.Endpoint = filepath.Join(c.cfg.StateDir, "audit"), c.serves(200)
	c.cfg.Routes = nil
	c.route("/admin/", &access.RuleConfig{Departments: []string{"42"}, Roles: []string{"财务"}}, c.app.URL)
	c.route("/", nil, c.secure.URL)
	admin := httptest.NewServer(h.admin())
	t.Cleanup(admin.Close)
	c.h, c.cfg.Admin.Listen = h, admin.Listener.Addr().String()
	return c
}

func (c *clinic) route(path string, rule *access.RuleConfig, upstream string) {
	r := config.DefaultRoute()
	r.Path, r.Access, r.Upstream = path, rule, upstream
	c.cfg.Routes = append(c.cfg.Routes, r)
}

// behindTLS serves the application with a certificate.
func (c *clinic) behindTLS(pair tls.Certificate) *httptest.Server {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	c.t.Cleanup(s.Close)
	return s
}

func (c *clinic) mend(change func(*simulator.App)) {
	c.t.Helper()
	if err := c.platform.ChangeApp("", change); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clinic) fault(on string, do simulator.Verb) {
	c.platform.Fault(simulator.Fault{On: on, Do: do})
}

func (c *clinic) own(pair tls.Certificate) {
	c.cfg.TLS = config.TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem"}
	c.files["cert.pem"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
}

// examine gives every finding by its check's name.
func (c *clinic) examine() (map[string]doctor.Result, []string) {
	d := doctor.New(c.cfg, nil)
	d.User, d.Roots, d.Patience, d.Slow = c.user, c.ca.pool, c.patience, time.Minute
	d.Files = func(name string) ([]byte, fs.FileMode, error) {
		if data, ok := c.files[name]; ok {
			return data, 0o600, nil
		}
		return nil, 0, fs.ErrNotExist
	}
	checks := d.Checks()
	found := d.Examine(context.Background(), checks, func(int) {})
	all, order := map[string]doctor.Result{}, []string{}
	for i, f := range found {
		all[checks[i].Name] = f
		order = append(order, checks[i].Name)
	}
	return all, order
}

// authority signs certificates for servers of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-365 * 24 * time.Hour),
		NotAfter:              time.Now().Add(365 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

// pair is good for so long from now; with a negative time it is over since then.
func (a *authority) pair(life time.Duration, host string) tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: host},
		NotBefore:    time.Now().Add(-30 * 24 * time.Hour),
		NotAfter:     time.Now().Add(life),
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestDoctorHealthy: no false alarm, in three kinds of set-up.
func TestDoctorHealthy(t *testing.T) {
	for name, change := range map[string]func(*clinic){
		"everything":           func(*clinic) {},
		"nobody named":         func(c *clinic) { c.user = "" },
		"own certificate":      func(c *clinic) { c.own(c.ca.pair(90*24*time.Hour, "127.0.0.1")) },
		"someone by e-mail":    func(c *clinic) { c.cfg.DingTalk.Username = "email" },
		"a dinggate for nginx": func(c *clinic) { c.cfg.Routes, c.cfg.Upstream = nil, "" },
		"not yet running": func(c *clinic) {
			c.cfg.PublicURL, c.cfg.Admin.Listen = "http://"+closedAddress(t), closedAddress(t)
		},
		"a stranger from far": func(c *clinic) {
			c.h.kit.UntrustedForwarders.Note(netip.MustParseAddr("198.51.100.7"), time.Now())
		},
		"sessions in cookie": func(c *clinic) { c.cfg.Session.Store, c.cfg.StateDir = "cookie", "" },
		"a strict cookie":    func(c *clinic) { c.cfg.Cookie.SameSite = "strict" },
		"without events":     func(c *clinic) { c.cfg.DingTalk.Events = false },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t)
			change(c)
			found, order := c.examine()
			for _, check := range order {
				if f := found[check]; f.Severity != doctor.Fine && f.Severity != doctor.Note {
					t.Errorf("%s: %s %q (%s)", check, doctor.SeverityNames[f.Severity].Name, f.Text[i18n.English],
						f.Detail)
				}
			}
			if len(order) < 15 {
				t.Errorf("only %d checks", len(order))
			}
			if n := c.platform.Streams(); n > 1 { // dinggate's own
				t.Errorf("%d event streams, want dinggate's alone: doctor must not swallow an event", n)
			}
		})
	}
}

func closedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// doctorFaults are what breaks sign-ins: who tells it, in which words, with
// which cure. also names checks that rightly complain besides.
var doctorFaults = []struct {
	name  string
	ill   func(c *clinic)
	check string
	text  string // in the Chinese finding
	cure  string // in the Chinese cure
	also  string
}{
	{"login host down", func(c *clinic) { c.login.Close() }, "dingtalk.login_url", "无法连接", "防火墙", ""},
	{"API host down", func(c *clinic) { c.api.Close() }, "dingtalk.api_url", "无法连接", "HTTPS_PROXY", ""},
	{"older API host down", func(c *clinic) { c.oapi.Close() }, "dingtalk.oapi_url", "无法连接", "防火墙", ""},
	{"host does not resolve", func(c *clinic) { c.cfg.DingTalk.LoginURL = "https://login.invalid" },
		"dingtalk.login_url", "无法连接", "DNS", ""},
	{"API hangs", func(c *clinic) { c.patience = 2 * time.Second; c.fault("unknown", simulator.Hang()) },
		"dingtalk.api_url", "无法连接", "防火墙", "dingtalk.login_url dingtalk.oapi_url"},
	{"somebody in between with a certificate of their own", func(c *clinic) {
		c.cfg.DingTalk.LoginURL = c.behindTLS(newAuthority(c.t).pair(time.Hour*9999, "127.0.0.1")).URL
	}, "dingtalk.login_url", "由未知机构签发", "SSL_CERT_FILE", ""},
	{"certificate of another name",
		func(c *clinic) { c.cfg.DingTalk.LoginURL = c.behindTLS(c.ca.pair(time.Hour*9999, "proxy.example")).URL },
		"dingtalk.login_url", "证书域名不符", "中间设备", ""},
	{"a Wi-Fi's page instead of DingTalk",
		func(c *clinic) { c.fault("", simulator.Body("<html>please log in to the Wi-Fi</html>")) },
		"dingtalk.credentials", "应答无法识别", "代理、防火墙", "dingtalk.scope"},
	{"clock behind", func(c *clinic) { c.platform.Advance(5 * time.Minute) }, "clock", "慢 300 秒", "timedatectl", ""},
	{"clock ahead", func(c *clinic) { c.platform.Advance(-time.Hour) }, "clock", "快 3600 秒", "timedatectl", ""},
	{"wrong Client ID", func(c *clinic) { c.cfg.DingTalk.ClientID = "dingother" }, "dingtalk.credentials",
		"Client Secret 不正确", "基础信息 > 凭证与基础信息", ""},
	{"wrong Client Secret", func(c *clinic) { c.cfg.DingTalk.ClientSecret = conf.NewSecret("wrong-" + canary) },
		"dingtalk.credentials", "Client Secret 不正确", "基础信息 > 凭证与基础信息", ""},
	{"corp_id of another organisation", func(c *clinic) { c.cfg.DingTalk.CorpID = "dingother" }, "dingtalk.corp_id",
		"与应用不匹配", "开发者后台首页", ""},
	{"egress address not listed",
		func(c *clinic) { c.mend(func(a *simulator.App) { a.Addresses = []string{"203.0.113.9"} }) },
		"dingtalk.egress_ip", "不在服务器出口IP", "127.0.0.1 不在服务器出口IP中 — 开发者后台 > 开发配置 > 安全设置", ""},
	{"contact scope too small", func(c *clinic) { c.mend(func(a *simulator.App) { a.Scope = []int64{42} }) },
		"dingtalk.scope", "不是全部员工", "权限管理 > 通讯录权限 > 授权范围", ""},
	{"no qyapi_get_member",
		func(c *clinic) { c.mend(func(a *simulator.App) { a.Missing = []string{"qyapi_get_member"} }) },
		"dingtalk.members", "权限未开通", "成员信息读权限 qyapi_get_member — 开发者后台 > 权限管理", ""},
	{"no qyapi_get_department_list",
		func(c *clinic) { c.mend(func(a *simulator.App) { a.Missing = []string{"qyapi_get_department_list"} }) },
		"department.42", "权限未开通", "通讯录部门信息读权限 qyapi_get_department_list", ""},
	{"no qyapi_base", func(c *clinic) { c.mend(func(a *simulator.App) { a.Missing = []string{"qyapi_base"} }) },
		"dingtalk.scope", "权限未开通", "调用企业API时需要具备的基本权限 qyapi_base", ""},
	{"no fieldEmail, and a rule on e-mails", func(c *clinic) {
		c.route("/mail/", &access.RuleConfig{Emails: []string{"*@yunfan.example"}}, c.app.URL)
		c.user = "lisi"
		c.mend(func(a *simulator.App) { a.Missing = []string{"fieldEmail"} })
	}, "dingtalk.record", "没有邮箱", "邮箱等个人信息 fieldEmail", ""},
	{"rule's department does not exist",
		func(c *clinic) { c.route("/x/", &access.RuleConfig{Departments: []string{"77"}}, c.app.URL) },
		"department.77", "不存在", "授权范围", ""},
	{"rule's department outside the scope",
		func(c *clinic) { c.user = ""; c.mend(func(a *simulator.App) { a.Scope = []int64{43} }) }, "department.42",
		"授权范围", "权限管理 > 通讯录权限 > 授权范围", "dingtalk.scope"},
	{"rule's role does not exist",
		func(c *clinic) { c.route("/x/", &access.RuleConfig{Roles: []string{"总裁"}}, c.app.URL) }, "roles",
		"角色 总裁 不存在", "角色管理", ""},
	{"two roles of one name",
		func(c *clinic) { c.route("/x/", &access.RuleConfig{Roles: []string{"主管"}}, c.app.URL) }, "roles",
		"同名角色 主管 有 2 个", "100、300", ""},
	{"not published", func(c *clinic) { c.mend(func(a *simulator.App) { a.Unpublished = true }) }, "dingtalk.silent",
		"应用未发布", "应用发布 > 版本管理与发布 > 可使用范围", ""},
	{"app stopped", func(c *clinic) { c.mend(func(a *simulator.App) { a.Stopped = true }) }, "dingtalk.scope",
		"应用已停用", "https://oa.dingtalk.com > 工作台", "dingtalk.stream"},
	{"colleague has left", func(c *clinic) { c.leave("zhangsan") }, "dingtalk.record", "不是本企业成员", "正确拒绝", ""},
	{"colleague never activated", func(c *clinic) { c.user = "wujiu" }, "dingtalk.record", "未激活", "激活账号", ""},
	{"colleague's account disabled", func(c *clinic) { c.user = "zhengshi" }, "dingtalk.record", "已停用", "通讯录 中启用", ""},
	{"colleague outside the scope", func(c *clinic) {
		c.user = "wangwu"
		c.mend(func(a *simulator.App) { a.Scope = []int64{4201}; a.ScopeUsers = nil })
	}, "dingtalk.record", "授权范围", "可使用范围", "dingtalk.scope department.42"},
	{"username from an empty field", func(c *clinic) { c.user = "wangwu"; c.cfg.DingTalk.Username = "job_number" },
		"dingtalk.record", "dingtalk.username 所选的字段", "fieldEmail", ""},
	{"events refused", func(c *clinic) {
		c.fault("/v1.0/gateway/connections/open", simulator.Code("Forbidden.AccessDenied.AccessTokenPermissionDenied"))
	}, "dingtalk.stream", "权限未开通", "调用 /v1.0/gateway/connections/open 所需的权限", ""},
	{"stream's host unreachable", func(c *clinic) {
		c.fault("/v1.0/gateway/connections/open",
			simulator.Body(`{"endpoint":"wss://`+closedAddress(c.t)+`/connect","ticket":"t"}`))
	}, "dingtalk.stream", "收不到事件", "防火墙", ""},
	{"monthly quota used up", func(c *clinic) { c.fault("/topapi/user/getbyunionid", simulator.Code(90020)) },
		"dingtalk.quota", "调用量已用完", "资源管理", ""},
	{"throttled", func(c *clinic) { c.fault("/topapi/user/getbyunionid", simulator.Code(90018)) }, "dingtalk.rate",
		"减少调用", "几分钟后再试", ""},
	{"our address is punished", func(c *clinic) { c.fault("", simulator.Body(simulator.PunishBody)) },
		"dingtalk.rate", "减少调用", "5 分钟后再试", ""},
	{"DingTalk ill", func(c *clinic) { c.fault("/topapi/v2/user/getuserinfo", simulator.Status(503)) },
		"dingtalk.silent", "没有可用的应答", "钉钉服务状态", ""},
	{"专有钉钉", func(c *clinic) { c.cfg.DingTalk.LoginURL = "https://login.dg-work.cn" }, "dingtalk.login_url",
		"专有钉钉（浙政钉）", "只改地址无法使用", ""},
	{"bindings of an older release", func(c *clinic) {
		c.cfg.Accounts.Binding = "required"
		c.redis.HSet("dinggate:{bindings}:people", "U1", "zs")
	}, "bindings", "旧版本的 1 条绑定", "dinggate bindings import", ""},
	{"bindings of somebody else", func(c *clinic) {
		c.cfg.Accounts.Binding = "required"
		c.redis.HSet("dinggate:{bindings}:sealed:people", "x", "zs")
	}, "bindings", "无法用 cookie.secrets 打开", "重新导入", ""},
	{"Redis away", func(c *clinic) { c.redis.Close() }, "redis", "refused", "redis.url", ""},
	{"Redis wants a password", func(c *clinic) { c.redis.RequireAuth("other") }, "redis", "noauth",
		"redis.password_file", ""},
	{"Redis out of memory",
		func(c *clinic) { c.redis.SetError("OOM command not allowed when used memory > 'maxmemory'.") }, "redis",
		"oom", "maxmemory", ""},
	{"Redis is a replica",
		func(c *clinic) { c.redis.SetError("READONLY You can't write against a read only replica.") }, "redis",
		"readonly", "redis-sentinel://", ""},
	{"audit file in a folder that is not there",
		func(c *clinic) { c.cfg.Audit.File = filepath.Join(c.cfg.StateDir, "none", "audit") }, "audit", "无法追加写入",
		"归运行 dinggate 的用户所有", ""},
	{"nobody takes the traces", func(c *clinic) { c.cfg.Tracing.Endpoint = "http://" + closedAddress(c.t) },
		"tracing", "无法连接", "防火墙", ""},
	{"state_dir does not exist", func(c *clinic) { c.cfg.StateDir = filepath.Join(c.cfg.StateDir, "none") },
		"state_dir", "无法写入", "install -d -m 700", ""},
	{"application down", func(c *clinic) { c.app.Close() }, "upstream.APP", "无法连接", "应用是否在该地址运行", ""},
	{"application speaks no TLS", func(c *clinic) { c.route("/y/", nil, "https://"+c.app.Listener.Addr().String()) },
		"upstream.APP", "不使用 TLS", "http://", ""},
	{"application's certificate expired",
		func(c *clinic) { c.cfg.Routes[1].Upstream = c.behindTLS(c.ca.pair(-time.Hour, "127.0.0.1")).URL },
		"upstream.NEW", "已过期", "更换证书", ""},
	{"application's certificate of another name",
		func(c *clinic) { c.cfg.Routes[1].Upstream = c.behindTLS(c.ca.pair(time.Hour*9999, "app.example")).URL },
		"upstream.NEW", "证书域名不符", "使用证书上的域名", ""},
	{"application's certificate of a private authority", func(c *clinic) {
		c.cfg.Routes[1].Upstream = c.behindTLS(newAuthority(c.t).pair(time.Hour*9999, "127.0.0.1")).URL
	}, "upstream.NEW", "由未知机构签发", "SSL_CERT_FILE", ""},
	{"application's certificate ends soon", func(c *clinic) {
		c.cfg.Routes[1].Upstream = c.behindTLS(c.ca.pair(3*24*time.Hour+time.Hour, "127.0.0.1")).URL
	}, "upstream.NEW", "还有 3 天到期", "前更换证书", ""},
	{"socket of the application missing", func(c *clinic) { c.cfg.Routes[1].Upstream = "unix:/nonexistent/app.sock" },
		"upstream./nonexistent/app.sock", "无法连接", "应用是否在该地址运行", ""},
	{"own certificate expired", func(c *clinic) { c.own(c.ca.pair(-48*time.Hour, "127.0.0.1")) }, "tls", "过期",
		"tls.cert_file", ""},
	{"own certificate ends soon", func(c *clinic) { c.own(c.ca.pair(5*24*time.Hour+time.Hour, "127.0.0.1")) }, "tls",
		"还有 5 天到期", "前更换证书", ""},
	{"own certificate for another host", func(c *clinic) { c.own(c.ca.pair(time.Hour*9999, "old.example")) }, "tls",
		"不适用于 127.0.0.1", "public_url", ""},
	{"own certificate gone", func(c *clinic) { c.cfg.TLS = config.TLSConfig{CertFile: "gone", KeyFile: "gone"} },
		"tls", "无法读取", "tls.cert_file", ""},
	{"public_url leads elsewhere", func(c *clinic) { c.cfg.PublicURL = c.serves(404) }, "public_url",
		"不是 dinggate：回调无法到达", "dinggate gen", ""},
	{"nobody behind public_url's proxy", func(c *clinic) { c.cfg.PublicURL = c.serves(502) }, "public_url", "应答 502",
		"请启动 dinggate", ""},
	{"proxy does TLS and is not trusted",
		func(c *clinic) { c.cfg.PublicURL = "https://" + closedAddress(c.t); c.cfg.TrustedProxies = nil },
		"trusted_proxies", "未信任任何代理", "127.0.0.1/32", ""},
	{"the gateway is not listed",
		func(c *clinic) { c.h.kit.UntrustedForwarders.Note(netip.MustParseAddr("10.0.0.5"), time.Now()) }, "trusted_proxies",
		"未受信任：10.0.0.5", "10.0.0.5/32", ""},
	{"an old configuration serves", func(c *clinic) {
		c.h.reload = admin.ReloadResult{
			Refused: time.Now(),
			Problems: config.Problems{{File: "config.yaml", Line: 6, Key: "log.level",
				Text: conf.Textf("is not debug, info, warn or error")}},
		}
	}, "running", "新配置被拒绝: config.yaml:6: log.level", "dinggate check", ""},
	{"lookups of the running one fail", func(c *clinic) { c.grace() }, "running", "1 人处于宽限期", "session.grace",
		"dingtalk.record"},
	{"SSO service away", func(c *clinic) { c.sso("http://" + closedAddress(c.t)) }, "sso.url", "无法连接", "防火墙", ""},
	{"SSO service is some other site", func(c *clinic) { c.sso(c.serves(404)) }, "sso.userinfo", "不是 SSO 服务的格式",
		"sso.url", ""},
	{"SSO service knows no such client", func(c *clinic) { c.sso(c.ssoService(401)) }, "sso.client", "拒绝 client_id",
		"sso.client_secret", ""},
}

// grace lets the running gate's lookup of a person fail.
func (c *clinic) grace() {
	c.h.visitor().signIn(c.h.base+"/", "lisi")
	c.fault("/topapi/v2/user/get", simulator.Status(503))
	c.h.gate.Sessions.RecheckUser(session.Person{UserID: "lisi"})
	eventually(c.t, "the lookup has failed", func() bool { return c.h.gate.Sessions.Stats().Failing == 1 })
}

func (c *clinic) leave(id string) {
	if err := c.platform.Leave(id); err != nil {
		c.t.Fatal(err)
	}
}

// serves answers everything with this status.
func (c *clinic) serves(status int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	c.t.Cleanup(s.Close)
	return s.URL
}

// ssoService refuses tokens as it should, and answers the token call with this status.
func (c *clinic) ssoService(token int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			w.WriteHeader(token)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	c.t.Cleanup(s.Close)
	return s.URL
}

func (c *clinic) sso(base string) {
	c.cfg.SSO.URL, c.cfg.SSO.ClientID, c.cfg.SSO.ClientSecret = base, "app", conf.NewSecret("wrong-"+canary)
	c.cfg.DingTalk = config.Default().DingTalk
}

// TestDoctorFaults breaks one thing at a time: doctor names it with its cure,
// and nothing else is called ill.
func TestDoctorFaults(t *testing.T) {
	if len(doctorFaults) < 25 {
		t.Fatalf("%d faults", len(doctorFaults))
	}
	for _, tt := range doctorFaults {
		t.Run(tt.name, func(t *testing.T) {
			c := newClinic(t)
			tt.ill(c)
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
				t.Errorf("%s is %+v, want it ill", want, f)
			}
			if !strings.Contains(f.Text[i18n.Chinese], tt.text) || !strings.Contains(f.Hint[i18n.Chinese], tt.cure) ||
				f.Text[i18n.English] == "" {
				t.Errorf("%s says %q, cure %q; want %q and %q", want, f.Text[i18n.Chinese], f.Hint[i18n.Chinese],
					tt.text, tt.cure)
			}
			for _, check := range order {
				f := found[check]
				if ill := f.Severity == doctor.Wrong || f.Severity == doctor.Warning; ill && check != want &&
					!slices.Contains(strings.Fields(tt.also), check) {
					t.Errorf("%s complains as well: %s (%s)", check, f.Text[i18n.English], f.Detail)
				}
				if strings.Contains(f.Text[i18n.English]+f.Text[i18n.Chinese]+f.Hint[i18n.English]+
					f.Hint[i18n.Chinese]+f.Detail, canary) {
					t.Errorf("%s shows a secret: %+v", check, f)
				}
			}
		})
	}
}

// TestDoctorCommand: what a shell sees.
func TestDoctorCommand(t *testing.T) {
	h := newTestEnv(t, nil)
	dingtalk := httptest.NewServer(h.platform)
	t.Cleanup(dingtalk.Close)
	env := []string{"DINGGATE_PUBLIC_URL=" + h.base, "DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
		"DINGGATE_DINGTALK_CLIENT_SECRET=" + canary + "-app-secret",
		"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
		"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
		"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL, "DINGGATE_COOKIE_SECRETS=" + newSecret(),
		"DINGGATE_TRUSTED_PROXIES=127.0.0.1/32"}
	var out, trouble strings.Builder
	doctor := func(args ...string) int {
		out.Reset()
		trouble.Reset()
		return run(append([]string{"doctor"}, args...), env, &out, &trouble)
	}
	if code := doctor("--user", "zhangsan"); code != 0 || !strings.Contains(out.String(), "wrong: 0, warnings: 0") ||
		trouble.Len() > 0 {
		t.Errorf("doctor = %d\n%s%s", code, &out, &trouble)
	}
	var told struct {
		OK     bool
		Checks []struct{ Check, Severity, Text, Cure string }
	}
	if code := doctor("--json", "--dingtalk.corp_id", "dingother"); code != 1 ||
		json.Unmarshal([]byte(out.String()), &told) != nil || told.OK || len(told.Checks) < 15 {
		t.Errorf("doctor --json = %d\n%s", code, &out)
	}
	for _, row := range told.Checks {
		if wrong := row.Check == "dingtalk.corp_id"; wrong != (row.Severity == "error") {
			t.Errorf("%s is %s %q", row.Check, row.Severity, row.Text)
		}
	}
	env = append(env, "LANG=zh_CN.UTF-8")
	if code := doctor(); code != 0 || !strings.Contains(out.String(), "钉钉登录页") ||
		!strings.Contains(out.String(), "0 项错误") {
		t.Errorf("doctor in Chinese = %d\n%s", code, &out)
	}
	if code := doctor("--user"); code != 2 {
		t.Errorf("doctor --user = %d, want 2", code)
	}
	if code := doctor("--listen", "nowhere"); code != 1 || !strings.Contains(trouble.String(), "listen") ||
		out.Len() > 0 {
		t.Errorf("doctor with a mistake = %d, want 1: %s%s", code, &out, &trouble)
	}
}
