package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/describe"
	"dinggate/dingtalk"
	"dinggate/internal/httpclient"
	"dinggate/internal/i18n"
)

// dingtalkChecks are the checks of DingTalk.
func (d *Doctor) dingtalkChecks() []check {
	c := d.cfg.DingTalk
	all := []check{
		{Name: "dingtalk.login_url", title: i18n.Message{"DingTalk's sign-in page", "钉钉登录页"}, host: "login",
			run: func(ctx context.Context) Result { return d.reach(ctx, "login", c.LoginURL) }},
		{Name: "dingtalk.api_url", title: i18n.Message{"DingTalk's API", "钉钉新版接口"}, host: "api",
			run: func(ctx context.Context) Result { return d.reach(ctx, "api", c.APIURL) }},
		{Name: "dingtalk.oapi_url", title: i18n.Message{"DingTalk's older API", "钉钉旧版接口"}, host: "oapi",
			run: func(ctx context.Context) Result { return d.reach(ctx, "oapi", c.OAPIURL) }},
		{Name: "clock", title: i18n.Message{"clock", "本机时钟"}, derive: d.clock},
		{Name: "dingtalk.egress_ip", title: i18n.Message{"egress address (服务器出口IP)", "服务器出口IP"},
			derive: d.derived("ip_not_allowed", i18n.Message{"not refused", "未被拒绝"})},
		{Name: "dingtalk.rate", title: i18n.Message{"call rate", "调用频率"},
			derive: d.derived("throttled", i18n.Message{"not throttled", "未被限流"})},
		{Name: "dingtalk.quota", title: i18n.Message{"monthly quota", "本月调用量"},
			derive: d.derived("quota_exhausted", i18n.Message{"not used up", "未用完"})},
		{Name: "dingtalk.credentials",
			title: i18n.Message{"Client ID and Client Secret", "Client ID 与 Client Secret"}, host: "api",
			run: d.asks(d.probe.Credentials, i18n.Message{"accepted", "正确"})},
		{Name: "dingtalk.corp_id", title: i18n.Message{"corp_id", "corp_id"}, host: "api",
			run: d.asks(d.probe.Corp, i18n.Message{"is the app's organisation", "与应用匹配"})},
		{Name: "dingtalk.scope", title: i18n.Message{"contact scope (授权范围)", "通讯录授权范围"}, host: "oapi", run: d.scope},
		{Name: "dingtalk.members",
			title: i18n.Message{"permission qyapi_get_member (成员信息读权限)", "成员信息读权限 qyapi_get_member"}, host: "oapi",
			run: func(context.Context) Result {
				return result(d.members(), i18n.Message{"looks granted", "看来已开通"})
			}},
		{Name: "dingtalk.silent", title: i18n.Message{"sign-in inside DingTalk (免登)", "端内免登"}, host: "oapi",
			run: d.asks(d.probe.Silent, i18n.Message{"codes can be redeemed", "可以兑换免登授权码"})},
	}
	if d.User != "" {
		all = append(all, check{
			Name:  "dingtalk.record",
			title: i18n.Message{"the record of " + cli.Printable(d.User), "通讯录记录 " + cli.Printable(d.User)},
			host:  "oapi",
			run:   d.record,
		})
	}
	all = append(all, d.ruleChecks()...)
	if c.Directory != dingtalk.DirectoryLookup {
		all = append(all, check{
			Name:  "dingtalk.directory",
			title: i18n.Message{"lists of members (directory)", "成员列表（directory）"},
			host:  "oapi",
			run:   func(ctx context.Context) Result { return lists(ctx, d) },
		})
	}
	if c.Events {
		all = append(all, check{
			Name:  "dingtalk.leavers",
			title: i18n.Message{"records of leavers", "离职记录"},
			host:  "api",
			run:   func(ctx context.Context) Result { return leavers(ctx, d.probe) },
		}, check{
			Name:  "dingtalk.stream",
			title: i18n.Message{"event stream", "事件订阅 Stream"},
			host:  "api",
			run:   d.stream,
		})
	}
	if len(d.cfg.OIDC.Clients) > 0 || d.cfg.Accounts.Binds() || d.cfg.AccessRequests.On() {
		all = append(all, check{
			Name:  "dingtalk.migrations",
			title: i18n.Message{"migrated accounts", "迁移过的账号"},
			host:  "api",
			run:   func(ctx context.Context) Result { return migrations(ctx, d.probe) },
		})
	}
	return append(all,
		check{Name: "dingtalk.callback", title: i18n.Message{"callback URL (重定向URL)", "重定向URL（回调域名）"}, run: d.callback},
		check{Name: "dingtalk.person", title: i18n.Message{"verified only by a sign-in", "需真人登录才能确认"}, run: onlyPeople})
}

// asks makes a check from one call.
func (d *Doctor) asks(ask func(context.Context) error, yes i18n.Message) func(context.Context) Result {
	return func(ctx context.Context) Result { return result(ask(ctx), yes) }
}

func result(err error, yes i18n.Message) Result {
	if err != nil {
		return failed(err)
	}
	return good(yes)
}

// derived reports a cause that any call may have, in a row of its own.
func (d *Doctor) derived(code string, yes i18n.Message) func([]Result) Result {
	return func(others []Result) Result {
		out := good(yes)
		if len(d.skew) == 0 {
			out = Result{Severity: Note, Text: i18n.Message{"no answer", "没有任何应答"}}
		}
		for _, f := range others {
			if f.Severity >= out.Severity && (f.cause == code || strings.HasPrefix(f.cause, code+" ")) {
				if out.Severity != Wrong || f.Hint != describe.HintLater { // one of them may be more specific
					out = f
				}
			}
		}
		return out
	}
}

// reach requests any answer: that checks the network path, TLS and the clock.
func (d *Doctor) reach(ctx context.Context, host, base string) Result {
	silence := Result{Severity: Wrong, cause: "silence of " + host}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/", nil)
	if err != nil {
		return failed(err)
	}
	if dingtalk.Government(r.URL.Hostname()) {
		silence.Text = i18n.Message{r.URL.Host + " belongs to 专有钉钉 (浙政钉), another product with another protocol",
			r.URL.Host + " 是专有钉钉（浙政钉），产品与协议都不同"}
		silence.Hint = i18n.Message{
			"it is not supported: use the hosts of DingTalk, or an SSO service of your own (sso)",
			"不受支持：请使用钉钉的地址，或通过自建 SSO 服务接入（sso）",
		}
		return silence
	}
	began := d.now()
	res, via, err := d.get(r)
	if err != nil {
		f := unreachable(r.URL.Host, err)
		f.cause = silence.cause
		return f
	}
	defer res.Body.Close()
	took := d.now().Sub(began)
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		d.mu.Lock()
		d.skew = append(d.skew, date.Add(500*time.Millisecond).Sub(began.Add(took/2))) // Date has whole seconds
		d.mu.Unlock()
	}
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	text := fmt.Sprintf("%s, %d ms%s", r.URL.Host, took.Milliseconds(), via)
	return good(i18n.Message{text, text})
}

// get follows no redirect and uses the proxy of the environment, like all calls to DingTalk.
func (d *Doctor) get(r *http.Request) (res *http.Response, via string, err error) {
	if proxy, err := http.ProxyFromEnvironment(r); err == nil && proxy != nil {
		via = ", HTTP proxy " + proxy.Host
	}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSHandshakeTimeout:   2 * time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: d.Roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:     true,
		ResponseHeaderTimeout: d.MaxWait,
	}
	res, err = httpclient.New(t).Pooled.Do(r)
	if u, ok := errors.AsType[*url.Error](err); ok { // its text quotes the URL
		err = u.Err
	}
	return res, via, err
}

// unreachable describes why a connection failed, and what to check.
func unreachable(host string, err error) Result {
	f := Result{Severity: Wrong, Detail: err.Error(), cause: "unreachable " + host,
		Text: i18n.Message{"cannot be reached: " + host, "无法连接 " + host},
		Hint: i18n.Message{"check firewall and proxy (HTTPS_PROXY); this machine must be able to reach " + host,
			"检查防火墙与代理（HTTPS_PROXY），本机需能访问 " + host}}
	_, dns := errors.AsType[*net.DNSError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	f.offline = !isInvalid && !name && !authority && !alert && !record
	switch {
	case dns:
		f.Hint = i18n.Message{"the name does not resolve: check DNS (/etc/resolv.conf)",
			"域名无法解析：检查 DNS（/etc/resolv.conf）"}
	case isInvalid && invalid.Reason == x509.Expired:
		f.Text = i18n.Message{"the certificate of " + host + " is expired or not valid yet", host + " 的证书已过期或尚未生效"}
		f.Hint = i18n.Message{"renew it, or check this machine's clock", "请更换证书；或检查本机时钟"}
	case name:
		f.Text = i18n.Message{"the certificate of " + host + " is for another name", host + " 的证书域名不符"}
		f.Hint = i18n.Message{"use the name in the certificate; or another device intercepts the connection",
			"请使用证书上的域名；也可能有中间设备替换了证书"}
	case authority:
		f.Text = i18n.Message{"the certificate of " + host + " is from an unknown authority", host + " 的证书由未知机构签发"}
		f.Hint = i18n.Message{
			"add the authority to the system's certificates (update-ca-certificates, or SSL_CERT_DIR: " +
				"docs/corporate-network.md); or a TLS inspection device intercepts the connection",
			"请把该机构加入系统证书（update-ca-certificates，或 SSL_CERT_DIR，见 docs/corporate-network.zh-CN.md）；也可能有 TLS 检查设备介入",
		}
	case record:
		f.Text = i18n.Message{host + " does not use TLS", host + " 不使用 TLS"}
		f.Hint = i18n.Message{"write http:// if this is intended, or correct the port", "若确实不用 TLS 请写 http://，否则请核对端口"}
	case isInvalid, alert:
		f.Text = i18n.Message{"the TLS handshake with " + host + " failed", "与 " + host + " 的 TLS 握手失败"}
	}
	return f
}

// mostSkew is the clock difference from which sealed times and codes are affected.
const mostSkew = time.Minute

func (d *Doctor) clock([]Result) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.skew) == 0 {
		return Result{Severity: Note, Text: i18n.Message{"cannot be compared: no answer", "无法比对：没有任何应答"}}
	}
	slices.Sort(d.skew)
	off := d.skew[len(d.skew)/2].Round(time.Second)
	if off.Abs() < mostSkew {
		return good(i18n.Message{fmt.Sprintf("%d s from DingTalk's", int(off.Abs().Seconds())),
			fmt.Sprintf("与钉钉相差 %d 秒", int(off.Abs().Seconds()))})
	}
	which := i18n.Message{"behind", "慢"}
	if off < 0 {
		which = i18n.Message{"ahead of", "快"}
	}
	n := int(off.Abs().Seconds())
	return Result{
		Severity: Wrong,
		Text: i18n.Message{fmt.Sprintf("%d s %s DingTalk's", n, which[i18n.English]),
			fmt.Sprintf("本机时钟比钉钉%s %d 秒", which[i18n.Chinese], n)},
		Hint: i18n.Message{"set the clock: timedatectl set-ntp true", "校准时钟：timedatectl set-ntp true"},
	}
}

// stream requests a connection of the event stream and does not open it.
func (d *Doctor) stream(ctx context.Context) Result {
	target, secure, err := d.probe.Stream(ctx)
	if err != nil {
		return failed(err)
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{
		Scheme: "https",
		Host:   target,
	}}); err == nil && proxy != nil {
		return good(i18n.Message{target + ", behind the HTTP proxy " + proxy.Host, target + "，经 HTTP 代理 " + proxy.Host})
	}
	if _, err := d.connect(ctx, "tcp", target, d.tlsTo(secure, host, nil)); err != nil {
		f := unreachable(target, err)
		f.Text[i18n.English] += ": events do not arrive, leavers stay signed in until the next recheck"
		f.Text[i18n.Chinese] += "：收不到事件，离职人员到下次复查时才会退出登录"
		return f
	}
	return good(i18n.Message{target + " (event types are selected under 开发配置 > 事件订阅)", target + "（事件类型在 开发配置 > 事件订阅 中勾选）"})
}

// callback prints a setting that no call can read.
func (d *Doctor) callback(context.Context) Result {
	urls := strings.Join(d.cfg.CallbackURLs(), "\n")
	try := (&dingtalk.WebLogin{Client: d.probe.Client}).AuthURL(d.cfg.CallbackURL(), "doctor")
	return Result{Severity: Note, Text: i18n.Message{urls, urls},
		Hint: i18n.Message{"check that it is registered exactly under 开发配置 > 安全设置 > 重定向URL（回调域名）; to test, open " + try,
			"请核对 开发配置 > 安全设置 > 重定向URL（回调域名） 中的地址与以上完全一致；可在浏览器中打开以下地址验证：" + try}}
}

func onlyPeople(context.Context) Result {
	point := dingtalk.PermissionName("Contact.User.Read")
	return Result{
		Severity: Note,
		Text: i18n.Message{point + "; a published version; a visible range that covers the users",
			point + "；应用已发布；可使用范围覆盖使用者"},
		Hint: i18n.Message{
			"权限管理, and 应用发布 > 版本管理与发布 > 可使用范围 (a new app is visible to its creator only); what is missing is " +
				"reported in the log at a sign-in",
			"请在 权限管理 与 应用发布 > 版本管理与发布 > 可使用范围 中确认（新应用默认只对创建者可见）；缺失项会在有人登录时写入日志",
		},
	}
}
