package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
)

// soon is how long before its end a certificate causes a warning.
const soon = 14 * 24 * time.Hour

// connect opens a connection like an upstream's transport, and returns the end of the
// certificate's validity if TLS is used.
func (d *Doctor) connect(ctx context.Context, network, address string, security *tls.Config) (until time.Time, err error) {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return until, err
	}
	defer conn.Close()
	if security == nil {
		return until, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := tls.Client(conn, security)
	if err := client.HandshakeContext(ctx); err != nil {
		return until, err
	}
	return client.ConnectionState().PeerCertificates[0].NotAfter, nil
}

// proxied is the result for a URL that the service calls through the HTTP proxy of the
// environment. connect uses no proxy: it would report a failure that the service does not have.
func proxied(u *url.URL) (Result, bool) {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return Result{}, false
	}
	return Result{
		Severity: Note,
		Text: i18n.Message{u.Host + ", through the HTTP proxy " + proxy.Host + "; not connected",
			u.Host + "，经 HTTP 代理 " + proxy.Host + "；没有尝试连接"},
		Hint: i18n.Message{"if this host is internal, add it to NO_PROXY", "如果这台主机在内网，请把它加入 NO_PROXY"},
	}, true
}

// tlsTo is the TLS configuration for a host of this name: nil unless secure. A nil trust
// means the roots of this machine.
func (d *Doctor) tlsTo(secure bool, name string, trust *tls.Config) *tls.Config {
	if !secure {
		return nil
	}
	if trust == nil {
		trust = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if trust.ServerName == "" {
		trust.ServerName = name
	}
	if trust.RootCAs == nil {
		trust.RootCAs = d.Roots
	}
	return trust
}

// ends checks the remaining validity of a certificate.
func (d *Doctor) ends(until time.Time, f Result) Result {
	if until.IsZero() {
		return f
	}
	days := int(until.Sub(d.now()).Hours() / 24)
	f.Text[i18n.English] += fmt.Sprintf(", certificate valid for %d more days", days)
	f.Text[i18n.Chinese] += fmt.Sprintf("，证书还有 %d 天到期", days)
	if until.Sub(d.now()) < soon {
		f.Severity = max(f.Severity, Warning)
		f.Hint = i18n.Message{"renew it before " + until.Format(time.DateOnly),
			"请在 " + until.Format(time.DateOnly) + " 前更换证书"}
	}
	return f
}

// upstreamChecks connect to each upstream once. They make no request, because every
// page belongs to the application.
func (d *Doctor) upstreamChecks() (all []check) {
	seen := map[string]bool{}
	for _, r := range d.cfg.AllRoutes() {
		u, err := url.Parse(r.Upstream)
		if r.Upstream == "" || err != nil {
			continue
		}
		network, address, name := "tcp", u.Host, u.Hostname()
		switch {
		case u.Scheme == "unix":
			network, address = "unix", u.Path
		case u.Port() == "" && u.Scheme == "https":
			address = net.JoinHostPort(name, "443")
		case u.Port() == "":
			address = net.JoinHostPort(name, "80")
		}
		security := r.TLS
		key := fmt.Sprint(u.Scheme, " ", address, security)
		if seen[key] {
			continue
		}
		seen[key] = true
		all = append(all, check{
			Name:  "upstream." + address,
			title: i18n.Message{"upstream " + address, "应用 " + address},
			run: func(ctx context.Context) Result {
				trust, err := security.Open()
				if err != nil {
					return failed(err)
				}
				until, err := d.connect(ctx, network, address, d.tlsTo(u.Scheme == "https", name, trust))
				if err != nil {
					f := unreachable(address, err)
					if f.offline {
						f.Hint = i18n.Message{"check that the application runs there, and the address in routes or upstream",
							"请确认应用在该地址运行，并核对 routes 或 upstream 中的地址"}
					}
					return f
				}
				return d.ends(until, good(i18n.Message{"answers", "可以连接"}))
			},
		})
	}
	return all
}

// entryChecks check how browsers reach dinggate.
func (d *Doctor) entryChecks() []check {
	all := []check{{Name: "public_url", title: i18n.Message{"public_url", "public_url"}, run: d.publicURL}}
	if d.cfg.TLS.On() {
		all = append(all, check{Name: "tls", title: i18n.Message{"dinggate's certificate", "自有证书"}, run: d.certificate})
	}
	return append(all,
		check{Name: "trusted_proxies", title: i18n.Message{"trusted_proxies", "trusted_proxies"}, run: d.seen},
		check{Name: "running", title: i18n.Message{"dinggate on this machine", "本机运行的 dinggate"}, run: d.running},
		check{Name: "cookie", title: i18n.Message{"session cookie", "会话 Cookie"}, run: d.cookie})
}

// publicURL makes a request to public_url, as a browser does, and checks whether this
// dinggate answers.
func (d *Doctor) publicURL(ctx context.Context) Result {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.cfg.PublicURL+d.cfg.Prefix+"/userinfo", nil)
	if err != nil {
		return failed(err)
	}
	r.Header.Set("Accept", "application/json")
	res, _, err := d.get(r)
	if err != nil {
		f := unreachable(r.URL.Host, err)
		if f.offline {
			f.Severity = Note
			f.Hint = i18n.Message{"dinggate is not running, or this machine cannot reach its own public address",
				"dinggate 没有运行，或本机无法访问自己的公网地址"}
		}
		return f
	}
	defer res.Body.Close()
	var until time.Time
	if res.TLS != nil {
		until = res.TLS.PeerCertificates[0].NotAfter
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var answer struct{ Error string }
	ours := res.StatusCode == http.StatusUnauthorized && json.Unmarshal(body, &answer) == nil &&
		answer.Error == "unauthenticated"
	switch {
	case ours:
		return d.ends(until, good(i18n.Message{"reaches dinggate", "指向 dinggate"}))
	case res.StatusCode >= 500:
		return d.ends(until, Result{
			Severity: Warning,
			Text: i18n.Message{fmt.Sprintf("answers %d: check that dinggate is running behind it", res.StatusCode),
				fmt.Sprintf("应答 %d：请确认后面的 dinggate 正在运行", res.StatusCode)},
			Hint: i18n.Message{"start dinggate, or check the gateway's log", "请启动 dinggate，或查看网关日志"},
		})
	}
	return d.ends(until, Result{Severity: Wrong, Text: i18n.Message{
		fmt.Sprintf("%s/userinfo answers %d, but not from dinggate: the callback would not arrive",
			d.cfg.Prefix, res.StatusCode),
		fmt.Sprintf("其 %s/userinfo 应答 %d，不是 dinggate：回调无法到达", d.cfg.Prefix, res.StatusCode)},
		Hint: i18n.Message{"make the gateway in front forward " + d.cfg.Prefix +
			"/ to dinggate unchanged (see dinggate gen), and check that public_url is the address in the browser",
			"请让前面的网关把 " + d.cfg.Prefix + "/ 原样转发给 dinggate（dinggate gen 可打印配置）；并核对 public_url 是否为浏览器地址栏中的地址"}})
}

// certificate checks tls.cert_file as a browser would.
func (d *Doctor) certificate(context.Context) Result {
	data, _, err := d.Files(d.cfg.TLS.CertFile)
	if err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be read", "无法读取"},
			Detail:   config.Cause(err),
			Hint:     i18n.Message{"see tls.cert_file", "核对 tls.cert_file"},
		}
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if one, err := x509.ParseCertificate(block.Bytes); err == nil {
			chain = append(chain, one)
		}
	}
	if len(chain) == 0 {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"contains no certificate", "没有证书"},
			Hint:     i18n.Message{"see tls.cert_file", "核对 tls.cert_file"},
		}
	}
	leaf, host := chain[0], web.HostName(d.cfg.PublicHost())
	switch now := d.now(); {
	case now.After(leaf.NotAfter):
		day := leaf.NotAfter.Format(time.DateOnly)
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"expired on " + day, "已于 " + day + " 过期"},
			Hint:     i18n.Message{"renew it; tls.cert_file is read again on reload", "请更换证书；重新加载时会重新读取 tls.cert_file"},
		}
	case now.Before(leaf.NotBefore):
		return Result{
			Severity: Wrong,
			Text: i18n.Message{"is not valid before " + leaf.NotBefore.Format(time.RFC3339),
				leaf.NotBefore.Format(time.RFC3339) + " 之前无效"},
			Hint: i18n.Message{"check this machine's clock", "请检查本机时钟"},
		}
	case leaf.VerifyHostname(host) != nil:
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"is not for " + host, "不适用于 " + host},
			Hint: i18n.Message{"get one for the host of public_url: " + host,
				"请申请包含 public_url 主机 " + host + " 的证书"},
		}
	}
	between := x509.NewCertPool()
	for _, one := range chain[1:] {
		between.AddCert(one)
	}
	f := good(i18n.Message{"for " + host, "适用于 " + host})
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots:         d.Roots,
		Intermediates: between,
		CurrentTime:   d.now(),
	}); err != nil {
		f.Severity = Note
		f.Text[i18n.English] += ", from an authority that this machine does not trust"
		f.Text[i18n.Chinese] += "，签发机构不被本机信任"
		f.Hint = i18n.Message{
			"if it is a public authority, the file lacks the chain: the certificate first, then its intermediates",
			"若为公共机构签发，说明文件缺少证书链：先证书，后中间证书",
		}
	}
	return d.ends(leaf.NotAfter, f)
}

// trusted compares trusted_proxies with the scheme and host of public_url.
func (d *Doctor) trusted() Result {
	if len(d.cfg.TrustedProxies) == 0 && d.cfg.Secure() && !d.cfg.TLS.On() {
		return Result{Severity: Warning, Text: i18n.Message{
			"no proxy is trusted, but public_url is https and dinggate uses http: all clients appear as the proxy that terminates " +
				"TLS",
			"未信任任何代理，但 public_url 为 https 而自身使用 http：所有客户端的地址都会显示为前面终止 TLS 的代理"},
			Hint: i18n.Message{"add its address, such as 127.0.0.1/32, or the pod network of the gateway",
				"请加入该代理的地址，例如 127.0.0.1/32 或网关的 Pod 网段"}}
	}
	list := strings.Join(d.cfg.TrustedProxies, ", ")
	if list == "" {
		return good(i18n.Message{"none: browsers connect directly", "无：浏览器直接访问"})
	}
	return good(i18n.Message{list, list})
}

func (d *Doctor) cookie(context.Context) Result {
	c := d.cfg.Cookie
	name := session.CookieName(d.cfg.Secure(), c.Domain)
	if strings.EqualFold(c.SameSite, "strict") {
		return Result{
			Severity: Note,
			Text: i18n.Message{
				"same_site is strict: people who follow a link on another site, or come from an application of " +
					"sso_server, must sign in again", "same_site 为 strict：从其他网站的链接或 sso_server 的第三方进入时需重新登录",
			},
			Hint: i18n.Message{"cookie.same_site: lax is recommended", "多数情况应使用 cookie.same_site: lax"},
		}
	}
	if c.Domain != "" {
		return good(i18n.Message{name + ", shared by all hosts below " + c.Domain,
			name + "，由 " + c.Domain + " 下的所有主机共享"})
	}
	return good(i18n.Message{name + ", only for " + d.cfg.PublicHost(), name + "，仅用于 " + d.cfg.PublicHost()})
}

// ssoChecks call the SSO service with a token and a code that do not exist.
func (d *Doctor) ssoChecks() []check {
	const missing = "dinggate-doctor-asks-for-nobody"
	expect := func(err error, code string, yes i18n.Message) Result {
		if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == code {
			return good(yes)
		}
		if err == nil {
			return Result{
				Severity: Wrong,
				Text:     i18n.Message{"accepts credentials that do not exist", "接受了不存在的凭据"},
				Hint:     i18n.Message{"check that sso.url is an SSO service", "核对 sso.url 是否为 SSO 服务"},
			}
		}
		return failed(err)
	}
	return []check{
		{Name: "sso.url", title: i18n.Message{"the SSO service", "SSO 服务"}, host: "sso",
			run: func(ctx context.Context) Result { return d.reach(ctx, "sso", d.cfg.SSO.URL) }},
		{Name: "clock", title: i18n.Message{"clock", "本机时钟"}, derive: d.clock},
		{Name: "sso.userinfo", title: i18n.Message{"SSO userinfo", "SSO userinfo 接口"}, host: "sso",
			run: func(ctx context.Context) Result {
				_, err := d.sso.Person(ctx, missing)
				return expect(err, "sso_over", i18n.Message{"refuses a made-up token, as it should", "拒绝了虚构的令牌，符合预期"})
			}},
		{Name: "sso.client", title: i18n.Message{"SSO client_id and client_secret", "SSO client_id 与 client_secret"},
			host: "sso", run: func(ctx context.Context) Result {
				_, _, err := d.sso.Exchange(ctx, missing, missing)
				return expect(err, "sso_code_rejected", i18n.Message{"accepted", "正确"})
			}},
		{Name: "sso.callback", title: i18n.Message{"callback URL", "回调地址"}, run: func(context.Context) Result {
			u := d.cfg.CallbackURL()
			return Result{
				Severity: Note,
				Text:     i18n.Message{u, u},
				Hint: i18n.Message{"register it at the SSO service; its query varies (allow_query)",
					"请在 SSO 服务登记；其查询参数会变化（allow_query）"},
			}
		}},
	}
}
