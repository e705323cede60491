package gatewayconf

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/headername"
	"dinggate/internal/web"
	"dinggate/session"
)

// GatewayConfig is all that templates know. Each of its texts has been judged by
// New: none holds a blank, a quote, a brace, `$`, `;`, `#` or a line
// break, so none can end the word that contains it, in any gateway's language.
type GatewayConfig struct {
	Hosts   []string // without port, that of public_url first
	Port    string   // where browsers reach the gateway: 443, 80 or what public_url says
	TLS     bool     // browsers come by https
	Prefix  string
	Gate    string   // us on the gateway's own machine: host:port, or unix:/path
	App     string   // the application on the gateway's own machine
	Cookie  string   // name of the session cookie
	Headers []string // of headers.response
	Proofs  []string // of our answers, what proves a person: no page's script may read it
	Remove  []string // less Headers: what no client may set, for gateways that remove headers by name

	// In a cluster we are the service `dinggate`, and an application that has no
	// name yet is `app`: AppHost is how one reaches it, AppName its first word.
	GatePort, AdminPort, AppHost, AppName, AppPort string

	adapt bool // App stands for something that is not host:port
}

const anApp = "127.0.0.1:8080" // where no upstream is given

// New reads what has passed Config.Check, and is stricter: a value that
// could break out of a gateway's syntax is a mistake.
func New(gateway string, cfg *config.Config, p *conf.Problems) *GatewayConfig {
	s := &GatewayConfig{
		Prefix: cfg.Prefix,
		Cookie: session.CookieName(cfg.Secure(), cfg.Cookie.Domain),
		TLS:    cfg.Secure(),
		Port:   "80",
	}
	if s.TLS {
		s.Port = "443"
	}
	s.hosts(cfg, p)
	s.gate(gateway, cfg.Listen, p)
	s.AdminPort = "9180"
	if _, port, err := net.SplitHostPort(cfg.Admin.Listen); err == nil && isSafe(port, "") && port != "0" {
		s.AdminPort = port
	}
	s.app(cfg)
	s.headers(cfg.Headers, p)
	return s
}

func (s *GatewayConfig) hosts(cfg *config.Config, p *conf.Problems) {
	public := cfg.PublicHost()
	p.At("public_url").If(public == "", "has no host")
	name := web.HostName(public)
	p.At("public_url").If(!isSafe(name, "-._"),
		"is an address in brackets, which not every gateway can read; give it a name")
	s.Hosts = []string{name}
	if port := strings.TrimPrefix(public[len(name):], ":"); port != "" {
		s.Port = port
	}
	for i, r := range cfg.Routes {
		if r.Host == "" {
			continue
		}
		host, err := web.CleanHost(r.Host, "https")
		host = web.HostName(host)
		p.At("routes[%d].host", i).If(err != nil || !isSafe(host, "-._"), "is no name that every gateway can read")
		if err == nil && !slices.Contains(s.Hosts, host) {
			s.Hosts = append(s.Hosts, host)
		}
	}
}

// gate wants an address that a gateway can have.
func (s *GatewayConfig) gate(gateway, listen string, p *conf.Problems) {
	if socket, ok := strings.CutPrefix(listen, "unix:"); ok {
		p.At("listen").If(gateway != "nginx" && gateway != "caddy",
			"is a socket, which %s cannot ask; for this snippet add --listen 127.0.0.1:4180", gateway)
		p.At("listen").If(!isSafe(socket, "-_./@"),
			"has a socket whose name holds something else than letters, digits and - _ . / @, which not every "+
				"gateway can read")
		s.Gate, s.GatePort = listen, "4180"
		return
	}
	host, port, _ := net.SplitHostPort(listen)
	p.At("listen").If(port == "0", "takes any free port, which a gateway cannot know; write a fixed one")
	p.At("listen").If(!isSafe(port, ""), "has no port in digits")
	if config.IsAny(host) {
		host = "127.0.0.1"
	}
	if _, err := web.CleanHost(bracketed(host), "http"); err != nil {
		p.At("listen").If(true, "has a host that cannot be read")
	}
	s.Gate, s.GatePort = net.JoinHostPort(host, port), port
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// mainRoute is the route whose upstream a snippet sends everything to: that of /, for
// every host or the public one if there is such a route, otherwise the first.
func mainRoute(cfg *config.Config) (main config.Route) {
	best := -1
	for _, r := range cfg.AllRoutes() {
		rank := 0
		if r.Path == "/" {
			rank = 1
			if r.Host == "" || strings.EqualFold(r.Host, cfg.PublicHost()) {
				rank = 2
			}
		}
		if r.Upstream != "" && rank > best {
			main, best = r, rank
		}
	}
	return main
}

// app is the upstream of the main route, otherwise a usual one.
func (s *GatewayConfig) app(cfg *config.Config) {
	s.App = anApp
	if r := mainRoute(cfg); r.Upstream != "" {
		u, err := url.Parse(r.Upstream)
		host := ""
		if err == nil {
			host, err = web.CleanHost(u.Host, "")
		}
		switch {
		case err != nil || u.Scheme != "http" || strings.Trim(u.Path, "/") != "":
			s.adapt = true
		case web.HostName(host) == host:
			s.App = host + ":80"
		default:
			s.App = host
		}
	}
	name, port, _ := net.SplitHostPort(s.App)
	s.AppHost, s.AppName, s.AppPort = "app", "app", port
	if _, err := netip.ParseAddr(name); err != nil && !config.IsLoopback(name) {
		s.AppHost = name
		s.AppName, _, _ = strings.Cut(name, ".")
	}
}

// headers takes letters, digits and dashes: what nginx can name in a variable,
// Lua in a string, YAML as a plain word. `_` is none of them, for nginx drops
// such a header from a request. What a client may not set is what our own proxy
// removes (threats H16), and the names that the configuration gives to upstreams.
func (s *GatewayConfig) headers(c config.HeadersConfig, p *conf.Problems) {
	for _, rule := range c.Response.Rules() {
		p.At("headers.response.%s", rule.Name).If(!isSafe(rule.Name, "-"),
			"cannot be named in every gateway's configuration; use letters, digits and dashes")
		s.Headers = append(s.Headers, rule.Name)
	}
	s.Proofs = append([]string{"X-Dinggate-Assertion"}, c.Response.Proofs()...)
	p.At("headers.response").If(len(s.Headers) == 0, "is empty, so there is nothing that a gateway could pass on")
	for _, rule := range c.Request.Rules() {
		p.At("headers.request.%s", rule.Name).If(!isSafe(rule.Name, "-"),
			"cannot be named in every gateway's configuration; use letters, digits and dashes")
	}
	names := slices.Clone(headername.Names)
	for _, rule := range c.Request.Rules() {
		names = append(names, rule.Name)
	}
	for _, name := range names {
		same := func(other string) bool { return strings.EqualFold(other, name) }
		if !slices.ContainsFunc(s.Headers, same) && !slices.ContainsFunc(s.Remove, same) {
			s.Remove = append(s.Remove, name)
		}
	}
}

// isSafe reports whether s has letters, digits and more, and something at all.
func isSafe(s, more string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return s != ""
}
