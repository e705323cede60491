package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/session/redisstore"
)

// soon is when a certificate's end is worth a warning.
const soon = 14 * 24 * time.Hour

// connect opens a connection as an upstream's transport would, and gives the
// end of the certificate where there is TLS.
func (d *doctor) connect(ctx context.Context, network, address, name string, secure bool) (until time.Time, err error) {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return until, err
	}
	defer conn.Close()
	if !secure {
		return until, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: d.roots, MinVersion: tls.VersionTLS12})
	if err := client.HandshakeContext(ctx); err != nil {
		return until, err
	}
	return client.ConnectionState().PeerCertificates[0].NotAfter, nil
}

// ends judges the end of a certificate that is valid now.
func (d *doctor) ends(until time.Time, f finding) finding {
	if until.IsZero() {
		return f
	}
	days := int(until.Sub(d.now()).Hours() / 24)
	f.text[english] += fmt.Sprintf(", certificate for %d more days", days)
	f.text[chinese] += fmt.Sprintf("，证书还有 %d 天到期", days)
	if until.Sub(d.now()) < soon {
		f.severity = max(f.severity, warning)
		f.cure = message{"renew it before " + until.Format(time.DateOnly), "请在 " + until.Format(time.DateOnly) + " 前更换证书"}
	}
	return f
}

// upstreamChecks connect to each upstream once. No request is made: the
// application's pages are not ours to ask for.
func (d *doctor) upstreamChecks() (all []check) {
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
		key := u.Scheme + " " + address
		if seen[key] {
			continue
		}
		seen[key] = true
		all = append(all, check{name: "upstream." + address, title: message{"upstream " + address, "应用 " + address}, run: func(ctx context.Context) finding {
			until, err := d.connect(ctx, network, address, name, u.Scheme == "https")
			if err != nil {
				f := unreachable(address, err)
				if f.text[english] == "cannot be reached: "+address {
					f.cure = message{"is the application running there? routes and upstream name the address", "应用是否在该地址运行？请核对 routes 或 upstream 中的地址"}
				}
				return f
			}
			return d.ends(until, good(message{"answers", "可以连接"}))
		}})
	}
	return all
}

// storeChecks look at what keeps sessions.
func (d *doctor) storeChecks() (all []check) {
	if d.cfg.Session.Store == session.StoreRedis {
		all = append(all, check{name: "redis", title: message{"Redis", "Redis"}, run: d.redis})
	}
	if d.cfg.StateDir != "" {
		all = append(all, check{name: "state_dir", title: message{"state_dir", "state_dir"}, run: func(context.Context) finding { return stateDir(d.cfg.StateDir) }})
	}
	if d.cfg.Audit.File != "" {
		all = append(all, check{name: "audit", title: message{"audit file", "审计文件"}, run: func(context.Context) finding { return d.audit() }})
	}
	if d.cfg.Tracing.Endpoint != "" {
		all = append(all, check{name: "tracing", title: message{"tracing endpoint", "追踪端点"}, run: d.tracing})
	}
	return all
}

// audit appends nothing: it opens the file, or looks whether one could be made.
func (d *doctor) audit() finding {
	file, err := os.OpenFile(d.cfg.Audit.File, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = os.CreateTemp(filepath.Dir(d.cfg.Audit.File), ".doctor-*")
		if err == nil {
			defer os.Remove(file.Name())
		}
	}
	if err != nil {
		f := finding{severity: wrong, text: message{"cannot be appended to, so that serve does not start", "无法追加写入，serve 将无法启动"}, detail: why(err)}
		f.cure = message{"let the user that dinggate runs as own its directory: " + filepath.Dir(d.cfg.Audit.File), "目录应归运行 dinggate 的用户所有：" + filepath.Dir(d.cfg.Audit.File)}
		return f
	}
	file.Close()
	return good(message{d.cfg.Audit.File + ", on_error: " + d.cfg.Audit.OnError, d.cfg.Audit.File + "，on_error: " + d.cfg.Audit.OnError})
}

// tracing connects to the collector. Without it nobody is kept out.
func (d *doctor) tracing(ctx context.Context) finding {
	u, err := url.Parse(d.cfg.Tracing.Endpoint)
	if err != nil {
		return failed(err)
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if _, err := d.connect(ctx, "tcp", address, u.Hostname(), u.Scheme == "https"); err != nil {
		f := unreachable(address, err)
		f.severity = warning
		return f
	}
	return good(message{address + " answers", "可以连接 " + address})
}

// redisSlow is a round trip that sign-ins and sign-outs feel.
const redisSlow = 50 * time.Millisecond

func (d *doctor) redis(ctx context.Context) finding {
	store, err := redisstore.Open(d.cfg.Redis)
	if err != nil {
		return finding{severity: wrong, text: message{"cannot be used", "无法使用"}, detail: err.Error(), cure: cureRedis["other"]}
	}
	defer store.Close()
	began := d.now()
	ping := func() (err error) { // one that is late is not away: again, for a while
		for {
			if err = store.Ping(ctx); err == nil || redisstore.Reason(err) != "timeout" || d.now().Sub(began) > d.patience {
				return err
			}
		}
	}
	err = ping() // the first one connects
	if err != nil {
		reason := redisstore.Reason(err)
		cure, known := cureRedis[reason]
		if !known {
			cure = cureRedis["other"]
		}
		return finding{severity: wrong, text: message{"takes no writes: " + reason, "无法写入：" + reason}, detail: err.Error(), cure: cure}
	}
	began = d.now()
	if err := ping(); err != nil {
		return finding{severity: wrong, text: message{"answers once and then not", "应答一次后不再应答"}, detail: err.Error(), cure: cureRedis["other"]}
	}
	took := d.now().Sub(began)
	policy, known := store.Eviction(ctx)
	if policy != "" {
		return finding{severity: wrong, cure: cureRedis["evicts"], text: message{
			"drops what it was given as it fills up: maxmemory-policy is " + policy, "内存不足时会丢弃数据：maxmemory-policy 为 " + policy}}
	}
	f := good(message{fmt.Sprintf("writes within %.1f ms", took.Seconds()*1000), fmt.Sprintf("写入耗时 %.1f 毫秒", took.Seconds()*1000)})
	if !known {
		f.detail = "maxmemory-policy is not known: INFO memory is refused"
	}
	if took > d.slow {
		f.severity = warning
		f.cure = cureRedis["slow"]
	}
	return f
}

var cureRedis = map[string]message{
	"slow":     {"is it in the same network? every sign-in and sign-out waits for it", "是否与本机在同一网络？每次登录和退出都要等待它"},
	"refused":  {"is redis.url right, and does Redis listen there?", "核对 redis.url，Redis 是否在该地址监听？"},
	"timeout":  {"is redis.url right? a firewall swallows the packets, or Redis hangs", "核对 redis.url；可能被防火墙丢弃，或 Redis 无响应"},
	"noauth":   {"see redis.username, redis.password_file and the rules of the ACL", "核对 redis.username、redis.password_file 以及 ACL 规则"},
	"readonly": {"this is a replica: name the master, or the sentinels (redis-sentinel://)", "这是从库：请指向主库，或使用哨兵（redis-sentinel://）"},
	"moved":    {"this is a cluster: write redis-cluster://", "这是集群：请写 redis-cluster://"},
	"evicts":   {"set maxmemory-policy noeviction, and give Redis room enough; under another policy sign-outs are forgotten, and used codes count again", "请设置 maxmemory-policy noeviction 并留足内存；否则退出登录的记录会丢失，用过的授权码会再次有效"},
	"oom":      {"raise its maxmemory", "请调大 maxmemory"},
	"loading":  {"Redis is starting: try again in a moment", "Redis 正在启动：请稍后再试"},
	"other":    {"see redis.url; TLS is rediss://", "核对 redis.url；TLS 请用 rediss://"},
}

func stateDir(dir string) finding {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return finding{severity: wrong, text: message{"cannot be written to", "无法写入"}, detail: why(err), cure: message{
			"let the user that dinggate runs as own it: install -d -m 700 -o USER " + dir, "目录应归运行 dinggate 的用户所有：install -d -m 700 -o 用户 " + dir}}
	}
	f.Close()
	os.Remove(f.Name())
	return good(message{"can be written to", "可写"})
}

// doorChecks look at how browsers reach us.
func (d *doctor) doorChecks() []check {
	all := []check{{name: "public_url", title: message{"public_url", "public_url"}, run: d.publicURL}}
	if d.cfg.TLS.On() {
		all = append(all, check{name: "tls", title: message{"our own certificate", "自有证书"}, run: d.certificate})
	}
	return append(all,
		check{name: "trusted_proxies", title: message{"trusted_proxies", "trusted_proxies"}, run: d.seen},
		check{name: "running", title: message{"the dinggate that runs here", "本机运行的 dinggate"}, run: d.running},
		check{name: "cookie", title: message{"session cookie", "会话 Cookie"}, run: d.cookie})
}

// publicURL comes in by the front door, as a browser does, and looks whether it
// is us who opens.
func (d *doctor) publicURL(ctx context.Context) finding {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.cfg.PublicURL+d.cfg.Prefix+"/userinfo", nil)
	if err != nil {
		return failed(err)
	}
	r.Header.Set("Accept", "application/json")
	res, _, err := d.get(r)
	if err != nil {
		f := unreachable(r.URL.Host, err)
		if f.text[english] == "cannot be reached: "+r.URL.Host {
			f.severity = note
			f.cure = message{"dinggate does not run yet, or this machine cannot reach its own public address", "dinggate 尚未运行，或本机无法访问自己的公网地址"}
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
	ours := res.StatusCode == http.StatusUnauthorized && json.Unmarshal(body, &answer) == nil && answer.Error == "unauthenticated"
	switch {
	case ours:
		return d.ends(until, good(message{"leads to dinggate", "指向 dinggate"}))
	case res.StatusCode >= 500:
		return d.ends(until, finding{severity: warning, text: message{fmt.Sprintf("answers %d: does dinggate run behind it?", res.StatusCode), fmt.Sprintf("应答 %d：后面的 dinggate 是否在运行？", res.StatusCode)},
			cure: message{"start dinggate, or look at the gateway's log", "请启动 dinggate，或查看网关日志"}})
	}
	return d.ends(until, finding{severity: wrong, text: message{
		fmt.Sprintf("%s/userinfo there answers %d, and not as dinggate does: the callback would not reach us", d.cfg.Prefix, res.StatusCode),
		fmt.Sprintf("其 %s/userinfo 应答 %d，不是 dinggate：回调无法到达", d.cfg.Prefix, res.StatusCode)},
		cure: message{"let what stands in front forward " + d.cfg.Prefix + "/ to dinggate unchanged (dinggate gen prints how); is public_url the address in the browser?",
			"请让前面的网关把 " + d.cfg.Prefix + "/ 原样转发给 dinggate（dinggate gen 可打印配置）；并核对 public_url 是否为浏览器地址栏中的地址"}})
}

// certificate reads tls.cert_file as a browser would judge it.
func (d *doctor) certificate(context.Context) finding {
	data, _, err := d.files(d.cfg.TLS.CertFile)
	if err != nil {
		return finding{severity: wrong, text: message{"cannot be read", "无法读取"}, detail: why(err), cure: message{"see tls.cert_file", "核对 tls.cert_file"}}
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if one, err := x509.ParseCertificate(block.Bytes); err == nil {
			chain = append(chain, one)
		}
	}
	if len(chain) == 0 {
		return finding{severity: wrong, text: message{"holds no certificate", "没有证书"}, cure: message{"see tls.cert_file", "核对 tls.cert_file"}}
	}
	leaf, host := chain[0], web.HostName(d.cfg.publicHost())
	switch now := d.now(); {
	case now.After(leaf.NotAfter):
		day := leaf.NotAfter.Format(time.DateOnly)
		return finding{severity: wrong, text: message{"expired on " + day, "已于 " + day + " 过期"}, cure: message{"renew it; tls.cert_file is read again on reload", "请更换证书；重新加载时会重新读取 tls.cert_file"}}
	case now.Before(leaf.NotBefore):
		return finding{severity: wrong, text: message{"is not valid before " + leaf.NotBefore.Format(time.RFC3339), leaf.NotBefore.Format(time.RFC3339) + " 之前无效"}, cure: message{"is this machine's clock right?", "请检查本机时钟"}}
	case leaf.VerifyHostname(host) != nil:
		return finding{severity: wrong, text: message{"is not for " + host, "不适用于 " + host}, cure: message{"get one for the host of public_url: " + host, "请申请包含 public_url 主机 " + host + " 的证书"}}
	}
	between := x509.NewCertPool()
	for _, one := range chain[1:] {
		between.AddCert(one)
	}
	f := good(message{"for " + host, "适用于 " + host})
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: d.roots, Intermediates: between, CurrentTime: d.now()}); err != nil {
		f.severity = note
		f.text[english] += ", from an authority that this machine does not know"
		f.text[chinese] += "，签发机构不被本机信任"
		f.cure = message{"with a public authority the file lacks the chain: the certificate first, then its intermediates", "若为公共机构签发，说明文件缺少证书链：先证书，后中间证书"}
	}
	return d.ends(leaf.NotAfter, f)
}

// trusted compares what is believed with how public_url says that we are reached.
func (d *doctor) trusted() finding {
	if len(d.cfg.TrustedProxies) == 0 && d.cfg.Secure() && !d.cfg.TLS.On() {
		return finding{severity: warning, text: message{
			"nobody is believed, but public_url is https and we speak http: the proxy that does TLS is taken for every client",
			"未信任任何代理，但 public_url 为 https 而自身使用 http：所有客户端都会被当作前面那台做 TLS 的代理"},
			cure: message{"add its address, such as 127.0.0.1/32, or the pod network of the gateway", "请加入该代理的地址，例如 127.0.0.1/32 或网关的 Pod 网段"}}
	}
	list := strings.Join(d.cfg.TrustedProxies, ", ")
	if list == "" {
		return good(message{"nobody: browsers reach us themselves", "无：浏览器直接访问"})
	}
	return good(message{list, list})
}

func (d *doctor) cookie(context.Context) finding {
	c := d.cfg.Cookie
	name := session.CookieName(d.cfg.Secure(), c.Domain)
	if strings.EqualFold(c.SameSite, "strict") {
		return finding{severity: note, text: message{"same_site is strict: whoever follows a link on another site, or comes from a third party of sso_server, signs in again", "same_site 为 strict：从其他网站的链接或 sso_server 的第三方进入时需重新登录"},
			cure: message{"cookie.same_site: lax is what most want", "多数情况应使用 cookie.same_site: lax"}}
	}
	if c.Domain != "" {
		return good(message{name + ", shared by all hosts below " + c.Domain, name + "，由 " + c.Domain + " 下的所有主机共享"})
	}
	return good(message{name + ", for " + d.cfg.publicHost() + " alone", name + "，仅用于 " + d.cfg.publicHost()})
}

// ssoChecks ask the SSO service with a token and a code that nobody has.
func (d *doctor) ssoChecks() []check {
	const nobody = "dinggate-doctor-asks-for-nobody"
	expect := func(err error, code string, yes message) finding {
		if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == code {
			return good(yes)
		}
		if err == nil {
			return finding{severity: wrong, text: message{"takes what nobody gave", "接受了不存在的凭据"}, cure: message{"is sso.url an SSO service?", "核对 sso.url 是否为 SSO 服务"}}
		}
		return failed(err)
	}
	return []check{
		{name: "sso.url", title: message{"the SSO service", "SSO 服务"}, host: "sso", run: func(ctx context.Context) finding { return d.reach(ctx, "sso", d.cfg.SSO.URL) }},
		{name: "clock", title: message{"clock", "本机时钟"}, derive: d.clock},
		{name: "sso.userinfo", title: message{"SSO userinfo", "SSO userinfo 接口"}, host: "sso", run: func(ctx context.Context) finding {
			_, err := d.sso.Person(ctx, nobody)
			return expect(err, "sso_over", message{"refuses a made-up token, as it should", "拒绝了虚构的令牌，符合预期"})
		}},
		{name: "sso.client", title: message{"SSO client_id and client_secret", "SSO client_id 与 client_secret"}, host: "sso", run: func(ctx context.Context) finding {
			_, _, err := d.sso.Exchange(ctx, nobody, nobody)
			return expect(err, "sso_code_rejected", message{"accepted", "正确"})
		}},
		{name: "sso.callback", title: message{"callback URL", "回调地址"}, run: func(context.Context) finding {
			u := d.cfg.CallbackURL()
			return finding{severity: note, text: message{u, u}, cure: message{"register it at the SSO service; its query varies (allow_query)", "请在 SSO 服务登记；其查询参数会变化（allow_query）"}}
		}},
	}
}
