package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"dinggate/internal/i18n"
)

const (
	oidcDiscovery = "/.well-known/openid-configuration"
	maxDiscovery  = 64 << 10
)

// oidcChecks check the OpenID Connect provider from an application's side, and the
// addresses of the applications.
func (d *Doctor) oidcChecks() (all []check) {
	if !d.cfg.OIDC.On() {
		return nil
	}
	all = []check{
		{Name: "oidc.issuer", title: i18n.Message{"OpenID Connect issuer", "OpenID Connect issuer"}, run: d.issuer},
		{Name: "oidc.keys", title: i18n.Message{"OpenID Connect keys", "OpenID Connect 密钥"}, run: d.signingKeys},
	}
	seen := map[string]bool{}
	for _, client := range d.cfg.OIDC.Clients {
		for _, raw := range append(slices.Clone(client.RedirectURIs), client.BackchannelLogoutURI) {
			u, err := url.Parse(raw)
			called := raw == client.BackchannelLogoutURI
			if err != nil || u.Host == "" || ownMachine(u.Hostname()) && !called {
				continue // a program on the user's machine
			}
			name := "oidc." + client.ClientID + "." + u.Host
			if called {
				name = "oidc." + client.ClientID + ".backchannel"
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			all = append(all, check{Name: name, title: i18n.Message{"application " + client.ClientID, "应用 " + client.ClientID},
				run: func(ctx context.Context) Result { return d.applicationAddress(ctx, u, called) }})
		}
	}
	return all
}

// ownMachine reports a name that means the machine on which it is used.
func ownMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// applicationAddress connects to an application. Browsers are sent to its redirect_uris,
// which this machine need not reach; its backchannel_logout_uri is called from here.
func (d *Doctor) applicationAddress(ctx context.Context, u *url.URL, called bool) Result {
	if f, ok := proxied(u); called && ok {
		return f
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[bool]string{true: "443", false: "80"}[u.Scheme == "https"])
	}
	until, err := d.connect(ctx, "tcp", address, d.tlsTo(u.Scheme == "https", u.Hostname(), nil))
	if err == nil {
		return d.ends(until, good(i18n.Message{u.Host + " answers", u.Host + " 可以连接"}))
	}
	f := unreachable(address, err)
	if called {
		f.Severity = Warning
		f.Hint = i18n.Message{"this machine calls backchannel_logout_uri: the application would not be notified of sign-outs",
			"backchannel_logout_uri 由本机调用：有人退出登录时无法通知该应用"}
		return f
	}
	f.Severity = Note
	f.Hint = i18n.Message{"browsers are sent to redirect_uris; this machine need not be able to reach it",
		"浏览器会被送到 redirect_uris；本机无法访问不一定有问题"}
	return f
}

// discovered holds the relevant part of the provider's metadata.
type discovered struct {
	Issuer string `json:"issuer"`
	JWKS   string `json:"jwks_uri"`
}

// fetch requests JSON as an application does.
func (d *Doctor) fetch(ctx context.Context, address string, to any) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	res, _, err := d.get(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		err = json.NewDecoder(io.LimitReader(res.Body, maxDiscovery)).Decode(to)
	}
	return res.StatusCode, err
}

func (d *Doctor) issuer(ctx context.Context) Result {
	var found discovered
	status, err := d.fetch(ctx, strings.TrimSuffix(d.cfg.PublicURL, "/")+oidcDiscovery, &found)
	want := strings.TrimSuffix(d.cfg.PublicURL, "/")
	forward := i18n.Message{
		"make the gateway in front forward /oidc/, " + oidcDiscovery + " and /.well-known/oauth-authorization-server to dinggate without forward auth",
		"请让前面的网关把 /oidc/、" + oidcDiscovery + " 和 /.well-known/oauth-authorization-server 直接转发给 dinggate"}
	switch {
	case status == 0:
		f := unreachable(d.cfg.PublicHost(), err)
		if f.offline {
			f.Severity = Note
		}
		return f
	case status != http.StatusOK || err != nil:
		return Result{Severity: Wrong, Text: i18n.Message{
			fmt.Sprintf("%s answers %d without the provider's metadata", oidcDiscovery, status),
			fmt.Sprintf("%s 应答 %d，没有提供方元数据", oidcDiscovery, status)}, Hint: forward}
	case found.Issuer != want:
		return Result{Severity: Wrong, Text: i18n.Message{
			fmt.Sprintf("the provider's issuer is %.100q, but public_url is %s", found.Issuer, want),
			fmt.Sprintf("该处提供方的 issuer 为 %.100q，而 public_url 为 %s", found.Issuer, want)},
			Hint: i18n.Message{"another dinggate, or one with an old configuration, may be answering: reload it",
				"可能由另一个 dinggate 或旧配置应答：请重新加载"}}
	}
	return good(i18n.Message{found.Issuer, found.Issuer})
}

type publishedKey struct {
	Algorithm string `json:"alg"`
}

// signingKeys reads the keys with which applications verify: every client's algorithm
// needs one.
func (d *Doctor) signingKeys(ctx context.Context) Result {
	var found discovered
	var set struct {
		Keys []publishedKey `json:"keys"`
	}
	base := strings.TrimSuffix(d.cfg.PublicURL, "/")
	status, err := d.fetch(ctx, base+oidcDiscovery, &found)
	if err != nil || status != http.StatusOK || !strings.HasPrefix(found.JWKS, base+"/") {
		return Result{Severity: Note, Text: i18n.Message{"cannot be checked: see the issuer", "无法查看：见 issuer 一项"}}
	}
	if status, err = d.fetch(ctx, found.JWKS, &set); err != nil || status != http.StatusOK {
		return Result{Severity: Wrong, Text: i18n.Message{fmt.Sprintf("jwks_uri answers %d without keys", status),
			fmt.Sprintf("jwks_uri 应答 %d，没有密钥", status)}, Hint: i18n.Message{
			"see dinggate's log: without keys, sign-ins to applications fail", "请查看 dinggate 日志：没有密钥时任何应用都无法登录"}}
	}
	for _, client := range d.cfg.OIDC.Clients {
		algorithm := client.SigningAlg
		if algorithm == "" {
			algorithm = "RS256"
		}
		if !slices.Contains(set.Keys, publishedKey{algorithm}) {
			return Result{Severity: Wrong, Text: i18n.Message{
				fmt.Sprintf("none is for %s, which client %s requires", algorithm, client.ClientID),
				fmt.Sprintf("没有 %s 的密钥，而客户端 %s 需要它", algorithm, client.ClientID)},
				Hint: i18n.Message{"add a key of that kind to oidc.key_files, or change the client's signing_alg",
					"请在 oidc.key_files 中加入该类型的密钥，或修改客户端的 signing_alg"}}
		}
	}
	return good(i18n.Message{fmt.Sprintf("%d published", len(set.Keys)), fmt.Sprintf("已公布 %d 个", len(set.Keys))})
}
