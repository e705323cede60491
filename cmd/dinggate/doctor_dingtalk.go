package main

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
	"strconv"
	"strings"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/httpclient"
	"dinggate/internal/identity"
)

// dingtalkChecks are those of the DingTalk side.
func (d *doctor) dingtalkChecks() []check {
	c := d.cfg.DingTalk
	all := []check{
		{name: "dingtalk.login_url", title: message{"DingTalk's sign-in page", "钉钉登录页"}, host: "login", run: func(ctx context.Context) finding { return d.reach(ctx, "login", c.LoginURL) }},
		{name: "dingtalk.api_url", title: message{"DingTalk's API", "钉钉新版接口"}, host: "api", run: func(ctx context.Context) finding { return d.reach(ctx, "api", c.APIURL) }},
		{name: "dingtalk.oapi_url", title: message{"DingTalk's older API", "钉钉旧版接口"}, host: "oapi", run: func(ctx context.Context) finding { return d.reach(ctx, "oapi", c.OAPIURL) }},
		{name: "clock", title: message{"clock", "本机时钟"}, derive: d.clock},
		{name: "dingtalk.egress_ip", title: message{"egress address (服务器出口IP)", "服务器出口IP"}, derive: d.derived("ip_not_allowed", message{"not refused", "未被拒绝"})},
		{name: "dingtalk.rate", title: message{"call rate", "调用频率"}, derive: d.derived("throttled", message{"not throttled", "未被限流"})},
		{name: "dingtalk.quota", title: message{"monthly quota", "本月调用量"}, derive: d.derived("quota_exhausted", message{"not used up", "未用完"})},
		{name: "dingtalk.credentials", title: message{"Client ID and Client Secret", "Client ID 与 Client Secret"}, host: "api", run: d.asks(d.probe.Credentials, message{"accepted", "正确"})},
		{name: "dingtalk.corp_id", title: message{"corp_id", "corp_id"}, host: "api", run: d.asks(d.probe.Corp, message{"is the app's organisation", "与应用匹配"})},
		{name: "dingtalk.scope", title: message{"contact scope (授权范围)", "通讯录授权范围"}, host: "oapi", run: d.scope},
		{name: "dingtalk.members", title: message{"permission qyapi_get_member (成员信息读权限)", "成员信息读权限 qyapi_get_member"}, host: "oapi", run: func(context.Context) finding {
			return result(d.members(), message{"looks granted", "看来已开通"})
		}},
		{name: "dingtalk.silent", title: message{"sign-in inside DingTalk (免登)", "端内免登"}, host: "oapi", run: d.asks(d.probe.Silent, message{"codes can be redeemed", "可以兑换免登授权码"})},
	}
	if d.user != "" {
		all = append(all, check{name: "dingtalk.record", title: message{"the record of " + printable(d.user), "通讯录记录 " + printable(d.user)}, host: "oapi", run: d.record})
	}
	all = append(all, d.ruleChecks()...)
	if c.Events {
		all = append(all, check{name: "dingtalk.stream", title: message{"event stream", "事件订阅 Stream"}, host: "api", run: d.stream})
	}
	return append(all,
		check{name: "dingtalk.callback", title: message{"callback URL (重定向URL)", "重定向URL（回调域名）"}, run: d.callback},
		check{name: "dingtalk.person", title: message{"only a sign-in can tell", "需真人登录才能确认"}, run: onlyPeople})
}

// asks makes a check of one question.
func (d *doctor) asks(ask func(context.Context) error, yes message) func(context.Context) finding {
	return func(ctx context.Context) finding { return result(ask(ctx), yes) }
}

func result(err error, yes message) finding {
	if err != nil {
		return failed(err)
	}
	return good(yes)
}

// derived tells a cause that any call may run into, in a row of its own.
func (d *doctor) derived(code string, yes message) func([]finding) finding {
	return func(others []finding) finding {
		out := good(yes)
		if len(d.skew) == 0 {
			out = finding{severity: note, text: message{"nobody answered", "没有任何应答"}}
		}
		for _, f := range others {
			if f.cause == code || strings.HasPrefix(f.cause, code+" ") {
				if out.severity != wrong || f.cure != cureLater { // one of them may know more
					out = f
				}
			}
		}
		return out
	}
}

// reach asks for any answer: it shows the way there, TLS and the clock.
func (d *doctor) reach(ctx context.Context, host, base string) finding {
	silence := finding{severity: wrong, cause: "silence of " + host}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/", nil)
	if err != nil {
		return failed(err)
	}
	if dingtalk.Government(r.URL.Hostname()) {
		silence.text = message{r.URL.Host + " is 专有钉钉 (浙政钉), another product with another protocol", r.URL.Host + " 是专有钉钉（浙政钉），产品与协议都不同"}
		silence.cure = message{"other hosts alone do not make it work: use the hosts of DingTalk, or an SSO service of your own (sso)", "只改地址无法使用：请使用钉钉的地址，或通过自建 SSO 服务接入（sso）"}
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
	return good(message{text, text})
}

// get follows no redirect and takes the proxy of the environment, as all calls to DingTalk do.
func (d *doctor) get(r *http.Request) (res *http.Response, via string, err error) {
	if proxy, err := http.ProxyFromEnvironment(r); err == nil && proxy != nil {
		via = ", HTTP proxy " + proxy.Host
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, TLSHandshakeTimeout: 2 * time.Second,
		TLSClientConfig: &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, ResponseHeaderTimeout: d.patience}
	res, err = httpclient.New(t).Kept.Do(r)
	if u, ok := errors.AsType[*url.Error](err); ok { // its text quotes the address
		err = u.Err
	}
	return res, via, err
}

// unreachable says why a connection did not come about, and what to look at.
func unreachable(host string, err error) finding {
	f := finding{severity: wrong, detail: err.Error(), cause: "unreachable " + host,
		text: message{"cannot be reached: " + host, "无法连接 " + host},
		cure: message{"look at firewall and proxy (HTTPS_PROXY); " + host + " has to be reachable from here", "检查防火墙与代理（HTTPS_PROXY），本机需能访问 " + host}}
	_, dns := errors.AsType[*net.DNSError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case dns:
		f.cure = message{"the name does not resolve: look at DNS (/etc/resolv.conf)", "域名无法解析：检查 DNS（/etc/resolv.conf）"}
	case isInvalid && invalid.Reason == x509.Expired:
		f.text = message{"the certificate of " + host + " is expired or not valid yet", host + " 的证书已过期或尚未生效"}
		f.cure = message{"renew it; or is this machine's clock wrong?", "请更换证书；或检查本机时钟"}
	case name:
		f.text = message{"the certificate of " + host + " is for another name", host + " 的证书域名不符"}
		f.cure = message{"use the name that the certificate is for; or somebody stands in between", "使用证书上的域名；或有中间设备替换了证书"}
	case authority:
		f.text = message{"the certificate of " + host + " is from an unknown authority", host + " 的证书由未知机构签发"}
		f.cure = message{"add the authority to the system's certificates (SSL_CERT_FILE); or a TLS inspection stands in between", "把该机构加入系统证书（SSL_CERT_FILE）；或有 TLS 检查设备介入"}
	case record:
		f.text = message{host + " speaks no TLS", host + " 不使用 TLS"}
		f.cure = message{"write http:// if that is meant, or the right port", "若确实不用 TLS 请写 http://，否则请核对端口"}
	case isInvalid, alert:
		f.text = message{"no TLS with " + host, "与 " + host + " 的 TLS 握手失败"}
	}
	return f
}

// mostSkew is how far clocks may be apart before sealed times and codes suffer.
const mostSkew = time.Minute

func (d *doctor) clock([]finding) finding {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.skew) == 0 {
		return finding{severity: note, text: message{"cannot be compared: nobody answered", "无法比对：没有任何应答"}}
	}
	slices.Sort(d.skew)
	off := d.skew[len(d.skew)/2].Round(time.Second)
	if off.Abs() < mostSkew {
		return good(message{fmt.Sprintf("%d s from DingTalk's", int(off.Abs().Seconds())), fmt.Sprintf("与钉钉相差 %d 秒", int(off.Abs().Seconds()))})
	}
	which := message{"behind", "慢"}
	if off < 0 {
		which = message{"ahead of", "快"}
	}
	n := int(off.Abs().Seconds())
	return finding{severity: wrong, text: message{fmt.Sprintf("%d s %s DingTalk's", n, which[english]), fmt.Sprintf("本机时钟比钉钉%s %d 秒", which[chinese], n)},
		cure: message{"set the clock: timedatectl set-ntp true", "校准时钟：timedatectl set-ntp true"}}
}

func (d *doctor) scope(ctx context.Context) finding {
	whole, err := d.probe.Scope(ctx)
	if err != nil {
		return failed(err)
	}
	if whole {
		return good(message{"the whole organisation", "全部员工"})
	}
	return finding{severity: warning, text: message{"not the whole organisation: whoever is outside cannot sign in", "授权范围不是全部员工，范围外的人无法登录"},
		cure: message{"开发者后台 > 权限管理 > 通讯录权限 > 授权范围 > 全部员工 (Developer console > Permission management > contact scope)", "开发者后台 > 权限管理 > 通讯录权限 > 授权范围 > 全部员工"}}
}

// record looks at a colleague as a sign-in would.
func (d *doctor) record(ctx context.Context) finding {
	directory := &dingtalk.Directory{Client: d.probe.Client, Username: d.cfg.DingTalk.Username, Ancestors: d.cfg.NamesDepartments()}
	u, err := directory.Colleague(ctx, d.user)
	if err != nil {
		return failed(err)
	}
	text := describe(&u)
	f := good(message{text.text(english), text.text(chinese)})
	if u.Email != "" {
		return f
	}
	f.severity = note
	if needsEmail(d.cfg) {
		f.severity = wrong
	}
	f.text[english] += "; without an e-mail address"
	f.text[chinese] += "；没有邮箱"
	f.cure = message{"if the directory has one: 开发者后台 > 权限管理 > " + dingtalk.PermissionName("fieldEmail") + " is not granted", "若通讯录中有邮箱：未开通 " + dingtalk.PermissionName("fieldEmail") + "（开发者后台 > 权限管理）"}
	return f
}

// needsEmail reports whether somebody without an e-mail address is kept out somewhere.
func needsEmail(c *Config) bool {
	return strings.HasPrefix(c.DingTalk.Username, "email") || slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Access != nil && len(r.Access.Emails) > 0 })
}

// named lists what rules name, each once, in their order.
func rulesList(c *Config, list func(Route) []string) (all []string) {
	for _, r := range c.Routes {
		if r.Access == nil || r.Access.Named != "" {
			continue
		}
		for _, item := range list(r) {
			if !slices.Contains(all, item) {
				all = append(all, item)
			}
		}
	}
	return all
}

// ruleChecks hold departments and roles of the rules against the directory.
func (d *doctor) ruleChecks() (all []check) {
	for _, text := range rulesList(d.cfg, func(r Route) []string { return r.Access.Departments }) {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue // check tells
		}
		all = append(all, check{name: "department." + text, title: message{"department " + text, "部门 " + text}, host: "oapi", run: func(ctx context.Context) finding {
			name, err := d.probe.Department(ctx, id)
			f := result(err, message{printable(name), printable(name)})
			if fail, ok := errors.AsType[*identity.Failure](err); ok && fail.Code == "department_unknown" {
				f.text, f.cause = message{"does not exist, or is outside the contact scope: the rule names nobody by it", "不存在或不在授权范围内：规则中的这一项不会放行任何人"}, ""
			}
			return f
		}})
	}
	if roles := rulesList(d.cfg, func(r Route) []string { return r.Access.Roles }); len(roles) > 0 {
		all = append(all, check{name: "roles", title: message{"roles in rules", "规则中的角色"}, host: "oapi", run: func(ctx context.Context) finding { return d.roles(ctx, roles) }})
	}
	return all
}

func (d *doctor) roles(ctx context.Context, named []string) finding {
	known, err := d.probe.Roles(ctx)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == "permission_missing" && !d.cfg.NamesDepartments() {
		return finding{severity: note, text: message{"cannot be compared without " + dingtalk.PermissionName("qyapi_get_department_list") + "; a sign-in does not need it", "没有 " + dingtalk.PermissionName("qyapi_get_department_list") + " 无法核对；登录本身不需要它"}}
	}
	if err != nil {
		return failed(err)
	}
	f := good(message{strings.Join(named, ", "), strings.Join(named, "、")})
	f.text[english], f.text[chinese] = printable(f.text[english]), printable(f.text[chinese])
	for _, name := range named {
		var ids []string
		for _, r := range known {
			if r.Name == name || strconv.FormatInt(r.ID, 10) == name {
				ids = append(ids, strconv.FormatInt(r.ID, 10))
			}
		}
		switch {
		case len(ids) == 0:
			return finding{severity: wrong, text: message{"role " + printable(name) + " does not exist: the rule names nobody by it", "角色 " + printable(name) + " 不存在：规则中的这一项不会放行任何人"},
				cure: message{"compare the name with 管理后台 https://oa.dingtalk.com > 通讯录 > 角色管理", "请与 管理后台 https://oa.dingtalk.com > 通讯录 > 角色管理 中的名称核对"}}
		case len(ids) > 1 && f.severity == fine:
			f = finding{severity: warning, text: message{fmt.Sprintf("%d roles are called %s; all of them are let in", len(ids), printable(name)), fmt.Sprintf("同名角色 %s 有 %d 个，都会被放行", printable(name), len(ids))},
				cure: message{"if one is meant, write its id: " + strings.Join(ids, ", "), "若只指其中一个，请改写为 id：" + strings.Join(ids, "、")}}
		}
	}
	return f
}

// stream goes to the door of the event stream and not through it.
func (d *doctor) stream(ctx context.Context) finding {
	target, secure, err := d.probe.Stream(ctx)
	if err != nil {
		return failed(err)
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = target
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: target}}); err == nil && proxy != nil {
		return good(message{target + ", behind the HTTP proxy " + proxy.Host, target + "，经 HTTP 代理 " + proxy.Host})
	}
	if _, err := d.connect(ctx, "tcp", target, host, secure); err != nil {
		f := unreachable(target, err)
		f.text[english] += ": events do not come, a leaver stays until the next recheck"
		f.text[chinese] += "：收不到事件，离职者要到下次复查才退出"
		return f
	}
	return good(message{target + " (types are ticked under 开发配置 > 事件订阅)", target + "（事件类型在 开发配置 > 事件订阅 中勾选）"})
}

// callback prints what no call can read.
func (d *doctor) callback(context.Context) finding {
	urls := strings.Join(d.cfg.callbackURLs(), "\n")
	try := (&dingtalk.WebLogin{Client: d.probe.Client}).AuthURL(d.cfg.CallbackURL(), "doctor")
	return finding{severity: note, text: message{urls, urls},
		cure: message{"is it registered, letter by letter, under 开发配置 > 安全设置 > 重定向URL（回调域名）? To try, open " + try,
			"请核对 开发配置 > 安全设置 > 重定向URL（回调域名） 是否逐字包含以上地址；可在浏览器中打开以下地址验证：" + try}}
}

func onlyPeople(context.Context) finding {
	point := dingtalk.PermissionName("Contact.User.Read")
	return finding{severity: note, text: message{point + "; the version is published; its visible range covers the people", point + "；应用已发布；可使用范围覆盖使用者"},
		cure: message{"权限管理, and 应用发布 > 版本管理与发布 > 可使用范围 (a new app is visible to its creator alone); whatever lacks is named in the log when somebody signs in",
			"请在 权限管理 与 应用发布 > 版本管理与发布 > 可使用范围 中确认（新应用默认只对创建者可见）；缺失项会在有人登录时写入日志"}}
}
