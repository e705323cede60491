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
	"dinggate/internal/i18n"
	"dinggate/internal/web"
	"dinggate/session"
)

// GatewayConfig is the data of the gateway templates. New has checked each text: none
// contains a space, a quote, a brace, `$`, `;`, `#` or a line break, so none can end the
// word that contains it, in any gateway's syntax.
type GatewayConfig struct {
	Hosts   []string // without port, that of public_url first; *.apps.example.com is any one label
	Port    string   // the gateway's port for browsers: that of public_url, otherwise 443 or 80
	TLS     bool     // browsers use https
	Prefix  string
	Address string   // of dinggate on the gateway's machine: host:port, or unix:/path
	App     string   // the application on the gateway's machine
	Cookie  string   // name of the session cookie
	Headers []string // of headers.response
	Proofs  []string // headers of our answers that prove a person: no page's script may read them
	Remove  []string // headers that no client may set, without Headers, for gateways that remove headers by name

	// In a cluster dinggate is the service `dinggate`, and an application without a name is
	// `app`: AppHost is its address, AppName the first label of it.
	AddressPort, AdminPort, AppHost, AppName, AppPort string

	Language i18n.Language // of the comments

	adapt bool // App replaces an upstream that is not host:port
}

const anApp = "127.0.0.1:8080" // if no upstream is configured

// New reads a configuration that passed Config.Check, and is stricter: a value that
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
	s.setAddress(gateway, cfg.Listen, p)
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
		"is an address in brackets, which not every gateway supports; use a host name")
	s.Hosts = []string{name}
	if port := strings.TrimPrefix(public[len(name):], ":"); port != "" {
		s.Port = port
	}
	for i, r := range cfg.Routes {
		if r.Host == "" {
			continue
		}
		below, any := strings.CutPrefix(r.Host, "*.")
		host, err := web.CleanHost(below, "https")
		host = web.HostName(host)
		p.At("routes[%d].host", i).If(err != nil || !isSafe(host, "-._"), "is not a name that every gateway supports")
		if any {
			host = "*." + host
		}
		if err == nil && !slices.Contains(s.Hosts, host) {
			s.Hosts = append(s.Hosts, host)
		}
	}
}

// setAddress requires an address that a gateway can use.
func (s *GatewayConfig) setAddress(gateway, listen string, p *conf.Problems) {
	if socket, ok := strings.CutPrefix(listen, "unix:"); ok {
		p.At("listen").If(gateway != "nginx" && gateway != "caddy",
			"is a socket, to which %s cannot connect; for this configuration add --listen 127.0.0.1:4180", gateway)
		p.At("listen").If(!isSafe(socket, "-_./@"),
			"has a socket whose name contains characters other than letters, digits and - _ . / @, which not "+
				"every gateway supports")
		s.Address, s.AddressPort = listen, "4180"
		return
	}
	host, port, _ := net.SplitHostPort(listen)
	p.At("listen").If(port == "0", "selects any free port, which a gateway cannot know; write a fixed one")
	p.At("listen").If(!isSafe(port, ""), "has no port in digits")
	if config.IsAny(host) {
		host = "127.0.0.1"
	}
	if _, err := web.CleanHost(bracketed(host), "http"); err != nil {
		p.At("listen").If(true, "has an invalid host")
	}
	s.Address, s.AddressPort = net.JoinHostPort(host, port), port
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// mainRoute is the route whose upstream gets all requests of a snippet: the route of /,
// for every host or the public one, if there is one, otherwise the first route.
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

// app returns the upstream of the main route, otherwise a common address.
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

// headers accepts letters, digits and dashes, which nginx can use in a variable, Lua in a
// string and YAML in a plain word. `_` is not allowed, because nginx drops such a header
// from a request. Clients must not set the headers that our own proxy removes (threats
// H16), and the names that the configuration sends to upstreams.
func (s *GatewayConfig) headers(c config.HeadersConfig, p *conf.Problems) {
	for _, rule := range c.Response.Rules() {
		p.At("headers.response.%s", rule.Name).If(!isSafe(rule.Name, "-"),
			"cannot be written in every gateway's configuration; use letters, digits and dashes")
		s.Headers = append(s.Headers, rule.Name)
	}
	s.Proofs = append([]string{"X-Dinggate-Assertion"}, c.Response.Proofs()...)
	p.At("headers.response").If(len(s.Headers) == 0, "is empty, so there is nothing that a gateway could forward")
	for _, rule := range c.Request.Rules() {
		p.At("headers.request.%s", rule.Name).If(!isSafe(rule.Name, "-"),
			"cannot be written in every gateway's configuration; use letters, digits and dashes")
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

// isSafe reports whether s is not empty and contains only letters, digits and more.
func isSafe(s, more string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return s != ""
}
