// Package gatewayconf generates the configuration of gateways from our own.
package gatewayconf

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// Run prints the configuration with which a gateway calls dinggate:
//
//	dinggate gen caddy --config config.yaml > /etc/caddy/Caddyfile
//	dinggate gen nginx --config config.yaml --out nginx
//
// Standard output has only the snippet, several files with a `# --- name` line before
// each, or with --out the paths of the files. Mistakes and advice go to standard error.
// The exit code is 1 if the configuration has a mistake that affects the snippet, 2 if
// the gateway is unknown.
func Run(c cli.Invocation) int {
	if c.Given["out"] == "" && (c.Has("out") || c.Has("force")) {
		return c.Misused(conf.Problem{Key: "--out", Text: conf.Textf("is missing")})
	}
	gateway := c.Args[0]
	cfg, problems := c.Load()
	problems = slices.DeleteFunc(problems, func(p conf.Problem) bool {
		return p.Warning || !p.Usage && !config.AffectsGateway(p.Key)
	})
	if len(problems) == 0 {
		var more conf.Problems
		s := New(gateway, cfg, &more)
		s.Language = c.Language
		if problems = more.All(); len(problems) == 0 {
			for _, advice := range s.advice(gateway, cfg) {
				fmt.Fprintln(c.Stderr, "dinggate gen: "+c.Say(advice))
			}
			if c.Has("out") {
				return writeFiles(c, s.Render(gateway))
			}
			fmt.Fprint(c.Stdout, joined(s.Render(gateway)))
			return 0
		}
	}
	config.PrintProblems(c.Stderr, c.Language, problems)
	return config.ExitCode(problems)
}

// joined returns one file unchanged, several with the name of each before it.
func joined(files []File) string {
	var b strings.Builder
	for _, f := range files {
		if len(files) > 1 {
			b.WriteString("# --- " + f.Name + "\n")
		}
		b.WriteString(f.Text)
	}
	return b.String()
}

// inCluster are the gateways whose snippet names dinggate and the application as
// Kubernetes services, so that their requests come from another machine.
var inCluster = []string{"apisix", "envoy", "envoy-gateway", "gateway-api", "higress", "ingress-nginx", "istio",
	"k8s", "kong", "traefik-kubernetes"}

// manyLabels are the gateways whose wildcards cannot be narrowed to one label.
var manyLabels = []string{"apisix", "envoy-gateway", "gateway-api", "higress", "ingress-nginx", "istio", "kong"}

// advice lists settings that the snippet does not contain.
func (s *GatewayConfig) advice(gateway string, cfg *config.Config) (all []i18n.Message) {
	all = s.trustAdvice(slices.Contains(inCluster, gateway), cfg)
	if gateway == "k8s" {
		all = append(all, s.podAdvice(cfg)...)
	}
	if hosts := s.Wildcards(); len(hosts) > 0 && slices.Contains(manyLabels, gateway) {
		all = append(all, i18n.Message{
			fmt.Sprintf("this gateway takes any number of labels for the star of %s, dinggate one: it refuses a.b below it "+
				"(403), unless the host is below cookie.domain, where the routes without a host decide", hosts[0]),
			fmt.Sprintf("此网关把 %s 中的星号当作任意多段，dinggate 只当作一段：其下的 a.b 会被拒绝（403），除非它在 cookie.domain 之下，"+
				"此时由不带 host 的路由决定", hosts[0])})
	}
	switch gateway { // a cookie of 3.5 KB and a page's headers exceed nginx's default of one page (4 KB)
	case "traefik", "traefik-kubernetes":
		all = append(all, i18n.Message{
			"set aliasHeadersStrategy: delete on the entry point (Traefik's static configuration, from 3.7 on): " +
				"a name such as X_Real_IP is X-Real-IP to many applications",
			"请在入口点设置 aliasHeadersStrategy: delete（Traefik 静态配置，3.7 起）：许多应用会把 X_Real_IP 当成 X-Real-IP"})
	case "apisix":
		all = append(all, i18n.Message{
			`set nginx_config.http.underscores_in_headers to "off" in APISIX's config.yaml: a name such as ` +
				`X_Real_IP is X-Real-IP to many applications`,
			`请在 APISIX 的 config.yaml 中把 nginx_config.http.underscores_in_headers 设为 "off"：许多应用会把 X_Real_IP 当成 ` +
				`X-Real-IP`})
	case "nginx":
		all = append(all, i18n.Message{
			"keep the buffer lines: the answer to a sign-in can be larger than nginx's default of 4 KB, and " +
				"would be a 502",
			"请保留 buffer 相关的行：登录的应答可能超过 nginx 默认的 4 KB，那样会变成 502"})
	case "ingress-nginx":
		all = append(all, i18n.Message{
			"the Ingress of " + s.Prefix +
				"/ needs the annotation nginx.ingress.kubernetes.io/proxy-buffer-size: 16k: the answer to a " +
				"sign-in can be larger than nginx's default of 4 KB, and would be a 502",
			s.Prefix + "/ 的 Ingress 需要注解 nginx.ingress.kubernetes.io/proxy-buffer-size: 16k：登录的应答可能超过 nginx 默认的 " +
				"4 KB，那样会变成 502"}, i18n.Message{
			"the controller's own ConfigMap must name the one of the snippet, proxy-set-headers: " +
				"auth/dinggate-headers, or what a client claims reaches the application",
			"控制器自己的 ConfigMap 必须引用片段中的 ConfigMap：proxy-set-headers: auth/dinggate-headers，否则客户端的声明会到达应用"})
	}
	if cfg.TLS.On() {
		all = append(all, i18n.Message{
			"tls.cert_file is set, so dinggate speaks https, but the snippet asks it by http: change the scheme " +
				"in the snippet, or let the gateway do TLS",
			"已设置 tls.cert_file，dinggate 使用 https，而此片段用 http 询问：请修改片段中的协议，或由网关负责 TLS"})
	}
	return append(all, s.appAdvice(cfg)...)
}

// trustAdvice: X-Forwarded-* and X-Original-* of an untrusted peer are ignored, and then
// every route must admit the person.
func (s *GatewayConfig) trustAdvice(away bool, cfg *config.Config) []i18n.Message {
	host, _, _ := net.SplitHostPort(s.Address)
	addr, err := netip.ParseAddr(host)
	switch {
	case strings.HasPrefix(s.Address, "unix:"):
		if slices.Contains(cfg.TrustedProxies, "unix") {
			return nil
		}
		return []i18n.Message{
			{"trusted_proxies lacks `unix`: what the gateway says of the original request is not believed",
				"trusted_proxies 中缺少 `unix`：网关转述的原始请求不会被采信"},
		}
	case !away && err == nil && addr.IsLoopback():
		if covers(cfg.TrustedProxies, addr) {
			return nil
		}
		one := netip.PrefixFrom(addr, addr.BitLen())
		return []i18n.Message{{
			fmt.Sprintf(
				"trusted_proxies lacks %s, from where this gateway asks: what it says of the original request is "+
					"not believed", one,
			),
			fmt.Sprintf("trusted_proxies 中缺少 %s，即此网关的来源地址：它转述的原始请求不会被采信", one)}}
	case !slices.ContainsFunc(cfg.TrustedProxies, beyondLoopback):
		return []i18n.Message{{
			"trusted_proxies names no address of another machine: add the network that this gateway asks from, " +
				"such as its pods' 10.244.0.0/16",
			"trusted_proxies 中没有其他机器的地址：请加入此网关所在的网段，例如其 Pod 网段 10.244.0.0/16"}}
	}
	return nil
}

// podAdvice: requests to a loopback listener in a pod come only from that pod.
func (s *GatewayConfig) podAdvice(cfg *config.Config) (all []i18n.Message) {
	all = append(all, i18n.Message{
		"kustomization.yaml reads config.yaml beside it: copy your configuration there",
		"kustomization.yaml 读取同目录的 config.yaml：请把你的配置复制到那里"})
	for _, listener := range []struct{ key, address string }{{"listen", cfg.Listen},
		{"admin.listen", cfg.Admin.Listen}} {
		host, port, err := net.SplitHostPort(listener.address)
		if err == nil && config.IsLoopback(host) {
			all = append(all, i18n.Message{
				fmt.Sprintf("%s is %s, which nobody outside the pod reaches: write \":%s\"", listener.key,
					listener.address, port),
				fmt.Sprintf("%s 为 %s，Pod 之外无法访问：请写 \":%s\"", listener.key, listener.address, port)})
		}
	}
	return all
}

func covers(networks []string, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(text string) bool {
		network, err := netip.ParsePrefix(text)
		return err == nil && network.Contains(addr)
	})
}

func beyondLoopback(text string) bool {
	network, err := netip.ParsePrefix(text)
	return err == nil && !network.Addr().IsLoopback()
}

// appAdvice: a snippet forwards all requests to one application.
func (s *GatewayConfig) appAdvice(cfg *config.Config) (all []i18n.Message) {
	var upstreams []string
	for _, r := range cfg.AllRoutes() {
		if r.Upstream != "" && !slices.Contains(upstreams, r.Upstream) {
			upstreams = append(upstreams, r.Upstream)
		}
	}
	if len(upstreams) > 1 {
		all = append(all, i18n.Message{
			fmt.Sprintf(
				"routes lead to %d applications, the snippet sends everything to that of the route /, without "+
					"such a route to the first; who may enter is still decided by all routes", len(upstreams),
			),
			fmt.Sprintf("routes 中有 %d 个应用，片段把全部请求发给路由 / 的应用，没有该路由时发给第一个；能否进入仍由全部路由决定", len(upstreams))})
	}
	if s.adapt {
		all = append(all, i18n.Message{
			fmt.Sprintf(
				"the upstream is not plain http://host:port; the snippet names %s in its place: write down "+
					"yourself how the gateway reaches the application", s.App,
			),
			fmt.Sprintf("upstream 不是 http://主机:端口 的形式；片段中以 %s 代替：请自行填写网关如何访问应用", s.App)})
	}
	return all
}
