package config

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/buildinfo"
	"dinggate/internal/conf"
	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// Check reports every mistake: those of each part, then those between parts. It
// opens nothing. It normalizes a valid public_url: lower case, no default port, no
// trailing slash.
func (c *Config) Check(p *conf.Problems) {
	version := p.At("config_version")
	version.If(c.Version > FormVersion, "is %d, a newer form than this version of dinggate (%s) reads; update dinggate, or write config_version: %d",
		c.Version, buildinfo.Version(), FormVersion)
	version.If(c.Version < 1, "is not a version; write %d", FormVersion)
	c.checkPublicURL(p.At("public_url"))
	checkListen(p.At("listen"), c.Listen)
	p.At("prefix").If(!isPlainPath(c.Prefix), "is not a path such as /oauth2, which has no final slash")
	c.checkProxies(p)
	c.checkHosts(p.At("hosts"))
	for i, origin := range c.AllowedRedirects {
		_, err := web.NewOrigins(origin, nil, nil, "")
		p.At("allowed_redirects[%d]", i).If(err != nil,
			"is not an origin such as https://other.example.com, without a path")
	}
	c.checkProvider(p)
	c.checkSSOServer(p)
	c.checkOIDC(p)
	c.Cookie.Check(p, "cookie")
	c.checkCookie(p)
	c.Session.Check(p, "session")
	c.checkStores(p)
	c.checkRoutes(p)
	c.checkAccessRequests(p)
	c.Console.Check(p, "console")
	c.Headers.Check(p, "headers")
	c.SignIn.Check(p, "sign_in")
	p.At("sign_in.embed_qr").If(c.SignIn.EmbedQR && c.SSO.On(), "needs dingtalk; an SSO service shows its own page")
	c.Assertion.Check(p, "assertion")
	c.checkAccounts(p)
	c.checkAdmin(p)
	c.checkEnvoyGRPC(p)
	p.At("admin.ready").If(c.Admin.Ready != ReadyStrict && c.Admin.Ready != ReadyDegraded, "is not strict or degraded")
	p.At("redis.timeout").If(c.Redis.Timeout < 50*time.Millisecond || c.Redis.Timeout > time.Minute, "is not between 50ms and 1m")
	c.Limits.Check(p, "limits")
	c.Server.Check(p, "server")
	p.At("tls.key_file").If(c.TLS.CertFile != "" && c.TLS.KeyFile == "", "is missing; tls.cert_file is set")
	p.At("tls.cert_file").If(c.TLS.CertFile == "" && c.TLS.KeyFile != "", "is missing; tls.key_file is set")
	p.At("tls.client_ca_file").If(c.TLS.ClientCAFile != "" && !c.TLS.On(), "needs tls.cert_file")
	p.At("tls.hsts").If(c.TLS.HSTS < 0 || c.TLS.HSTS > 20000*time.Hour, "is not between 0s and 20000h")
	p.At("tls.hsts").If(c.TLS.HSTS > 0 && c.PublicURL != "" && !c.Secure(), "needs an https public_url")
	p.At("log.format").If(c.Log.Format != "json" && c.Log.Format != "console", "is not json or console")
	_, known := LogLevels[c.Log.Level]
	p.At("log.level").If(!known, "is not debug, info, warn or error")
	c.Audit.Check(p, "audit")
	c.Tracing.Check(p, "tracing")
}

// checkStores does not require the address of Redis if Redis is not used.
func (c *Config) checkStores(p *conf.Problems) {
	if c.Session.Store == session.StoreRedis {
		c.Redis.Check(p, "redis")
	} else {
		c.Redis.CheckPrefix(p, "redis")
	}
	p.At("redis.url").Warn(c.Session.Store != session.StoreRedis && !c.Redis.URL.IsZero(),
		"is set, but session.store is not redis: nothing is stored there")
	p.At("admin.control").If(strings.ContainsAny(c.Admin.Control, "\x00\n"), "is not the path of a socket")
	p.At("state_dir").If(strings.ContainsAny(c.StateDir, "\x00\n"), "is not the path of a directory")
}

// checkPublicURL quotes nothing: the URL may contain a user and a password.
func (c *Config) checkPublicURL(at conf.Place) {
	if c.PublicURL == "" {
		at.If(true, "is missing; it is the address that browsers use, such as https://app.example.com")
		return
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		at.If(true, "is not a URL such as https://app.example.com")
		return
	}
	at.If(u.User != nil, "contains a user name; write scheme and host only")
	at.If(u.Path != "" && u.Path != "/",
		"has a path; write scheme and host only (prefix sets the path of dinggate's own endpoints)")
	at.If(u.RawQuery != "" || u.ForceQuery || u.Fragment != "", "has a query or a fragment; write scheme and host only")
	_, err = web.CleanHost(u.Host, u.Scheme)
	at.If(err != nil, "has an invalid host; write 中文.cn as xn--fiq228c.cn")
	origins, err := web.NewOrigins(c.PublicURL, nil, nil, "")
	if err != nil {
		return
	}
	c.PublicURL = origins.Public()
	at.Warn(u.Scheme == "http" && !IsLoopback(u.Hostname()),
		"is http: an eavesdropper can read the session cookie and impersonate the user")
}

// PublicHost returns the canonical host of public_url, "" if there is none.
func (c *Config) PublicHost() string {
	origins, err := web.NewOrigins(c.PublicURL, nil, nil, "")
	if err != nil {
		return ""
	}
	return origins.PublicHost()
}

func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.Unmap().IsLoopback()
}

// checkListen requires host:port, where the host may be empty, or unix:/path.
func checkListen(at conf.Place, text string) {
	if path, unix := strings.CutPrefix(text, "unix:"); unix {
		at.If(!strings.HasPrefix(path, "/"), "is not a socket such as unix:/run/dinggate.sock")
		at.If(len(path) > 107, "is longer than 107 bytes, the limit for the path of a socket")
		return
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		at.If(true, "is not host:port such as 127.0.0.1:4180, nor unix:/path")
		return
	}
	_, err = strconv.ParseUint(port, 10, 16)
	at.If(err != nil, "has a port that is not a number from 0 to 65535")
}

// IsHostPort reports whether text is a listen address other than a socket.
func IsHostPort(text string) bool {
	var faults conf.Problems
	checkListen(faults.At(""), text)
	return faults.Mistakes() == 0 && !strings.HasPrefix(text, "unix:")
}

// checkProxies: a trusted proxy reports the client address and the requested page.
func (c *Config) checkProxies(p *conf.Problems) {
	for i, text := range c.ProxyProtocol {
		_, err := web.ParsePeers([]string{text})
		p.At("proxy_protocol[%d]", i).If(err != nil,
			"is %q; write a network such as 10.0.0.0/8 (one address: add /32 or /128), or the word unix", text)
	}
	for i, text := range c.TrustedProxies {
		at := p.At("trusted_proxies[%d]", i)
		_, err := web.ParsePeers([]string{text})
		at.If(err != nil,
			"is %q; write a network such as 10.0.0.0/8 (one address: add /32 or /128), or the word unix", text)
		network, err := netip.ParsePrefix(text)
		at.Warn(err == nil && (network.Bits() == 0 || network.Addr().Is4In6() && network.Bits() == 96),
			"TRUSTS EVERYBODY: any client that reaches the listener can claim any address, host and path; "+
				"list only your own proxies")
	}
}

func (c *Config) checkCookie(p *conf.Problems) {
	domain := strings.ToLower(strings.TrimPrefix(c.Cookie.Domain, "."))
	host := web.HostName(c.PublicHost())
	p.At("cookie.domain").If(domain != "" && host != "" && !under(host, domain),
		"does not cover the host of public_url, %s; browsers would reject the cookie", host)
	p.At("cookie.same_site").If(strings.EqualFold(c.Cookie.SameSite, "none") && c.PublicURL != "" && !c.Secure(),
		"is none, which browsers accept only with an https public_url")
}

func under(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }

func (c *Config) checkRoutes(p *conf.Problems) {
	if len(c.Routes) == 0 {
		c.AllRoutes()[0].UpstreamConfig.Check(p, "")
	}
	p.At("upstream").If(c.Upstream != "" && len(c.Routes) > 0,
		"is set together with routes; it is short for one route, so move it there")
	if len(c.Routes) > 0 {
		c.AccessRoutes().Check(p, "routes")
	}
	c.checkOwnListeners(p)
	c.checkUseless(p.At("upstream"))
	c.checkReadings(p)
	p.At("path_case").If(c.PathCase != PathCaseInsensitive && c.PathCase != PathCaseSensitive,
		"is not insensitive or sensitive")
	if c.PathCase != PathCaseSensitive {
		c.AccessRoutes().CheckCase(p, "routes")
	}
	for i, r := range c.Routes {
		r.UpstreamConfig.Check(p, "routes["+strconv.Itoa(i)+"]")
		p.At("routes[%d].path",
			i).Warn(isPlainPath(c.Prefix) && strings.HasPrefix(strings.TrimSuffix(r.Path, "/")+"/", c.Prefix+"/"),
			"is below prefix, which is reserved for dinggate's own endpoints")
		strip, path := strings.TrimSuffix(r.StripPrefix, "/")+"/", strings.TrimSuffix(r.Path, "/")+"/"
		p.At("routes[%d].strip_prefix",
			i).If(strings.HasPrefix(r.StripPrefix, "/") && !strings.HasPrefix(strip, path) &&
			!strings.HasPrefix(path, strip),
			"is not a prefix of any of the route's paths, so all its requests would be refused")
	}
}

// checkUseless warns of a configuration that protects nothing: no application, and no
// gateway whose reported request is trusted. A configuration that signs people in for
// other applications needs neither.
func (c *Config) checkUseless(at conf.Place) {
	for _, r := range c.AllRoutes() {
		if r.Upstream != "" {
			return
		}
	}
	serves := len(c.TrustedProxies) > 0 || c.SSOServer.On() || c.OIDC.On() || c.LoginAPI
	at.Warn(!serves && len(c.Routes) == 0,
		"is missing, and so are routes and trusted_proxies: nothing is proxied, and headers of gateways are not "+
			"trusted; set the application here, or list the gateway in trusted_proxies")
	at.Warn(!serves && len(c.Routes) > 0,
		"is missing, routes have none, and trusted_proxies is empty: nothing is proxied, and headers of gateways are "+
			"not trusted; set the application in routes, or list the gateway in trusted_proxies")
}

// checkReadings warns of routes whose own requests are refused because applications
// interpret their path in more than one way.
func (c *Config) checkReadings(p *conf.Problems) {
	policy, err := c.Policy()
	if err != nil { // a mistake of its own, reported elsewhere
		return
	}
	for i, r := range c.Routes {
		path, err := web.CleanPath((&url.URL{Path: r.Path}).EscapedPath())
		t := access.Target{Host: r.Host, Path: path.Plain, Readings: path.Readings}
		if len(r.Methods) > 0 {
			t.Method = r.Methods[0]
		}
		p.At("routes[%d].path",
			i).Warn(err != nil ||
			len(path.Readings) > 0 && policy.CaseSensitive().Decide(t, nil).Reason == access.AmbiguousPath,
			"is a path that servers interpret in different ways, so its requests get 400 (docs/paths.md)")
	}
}

// Reached reports whether browsers send our session cookie to a route's host.
func (c *Config) Reached(host string) bool {
	scheme, _, _ := strings.Cut(c.PublicURL, "://")
	if rest, wild := strings.CutPrefix(host, "*."); wild {
		host = "any." + rest
	}
	clean, err := web.CleanHost(host, scheme)
	public := c.PublicHost()
	if err != nil || public == "" {
		return true // a mistake of its own, reported elsewhere
	}
	name, domain := web.HostName(clean), strings.ToLower(strings.TrimPrefix(c.Cookie.Domain, "."))
	return clean == public || clean == web.HostName(public) || clean == name && domain != "" && under(name, domain)
}

func (c *Config) checkAdmin(p *conf.Problems) {
	at := p.At("admin.listen")
	checkListen(at, c.Admin.Listen)
	host, _, _ := net.SplitHostPort(c.Admin.Listen)
	at.If(sameListener(c.Admin.Listen, c.Listen), "is used by listen; it must not be public")
	// A pod's probes come from the node: in a pod every installation listens on all
	// addresses, and a NetworkPolicy decides who reaches it.
	at.Warn(IsHostPort(c.Admin.Listen) && !IsLoopback(host) && !c.inPod,
		"is not a loopback address; every client that reaches it can read the metrics")
}

func (c *Config) checkEnvoyGRPC(p *conf.Problems) {
	if c.EnvoyGRPC.Listen == "" {
		return
	}
	at := p.At("envoy_grpc.listen")
	checkListen(at, c.EnvoyGRPC.Listen)
	at.If(sameListener(c.EnvoyGRPC.Listen, c.Listen), "is used by %s; choose another one", "listen")
	at.If(sameListener(c.EnvoyGRPC.Listen, c.Admin.Listen), "is used by %s; choose another one", "admin.listen")
}

// sameListener reports whether two listeners cannot both be opened.
func sameListener(a, b string) bool {
	host, port, err := net.SplitHostPort(a)
	otherHost, otherPort, otherErr := net.SplitHostPort(b)
	return err == nil && otherErr == nil && port == otherPort && port != "0" &&
		(host == otherHost || IsAny(host) || IsAny(otherHost)) ||
		a == b && strings.HasPrefix(a, "unix:")
}

// IsAny reports whether a listener's host means all addresses of this machine.
func IsAny(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// checkFiles reads what `serve` reads at its start, so that `check` reports mistakes
// before; secrets were read earlier.
func (c *Config) checkFiles(p *conf.Problems, read func(string) ([]byte, fs.FileMode, error)) {
	c.SignIn.checkFiles(p, "sign_in", read)
	if c.Session.Store == session.StoreRedis && c.Redis.Secure() {
		for key, name := range map[string]string{"redis.ca_file": c.Redis.CAFile, "redis.cert_file": c.Redis.CertFile,
			"redis.key_file": c.Redis.KeyFile} {
			if name != "" {
				_, _, err := read(name)
				p.At("%s", key).If(err != nil, "cannot be read: %s", cause(err))
			}
		}
	}
	c.checkHtpasswd(p, read)
	c.checkAssertionKeys(p, read)
	c.checkUpstreamFiles(p, read)
	c.TLS.checkFiles(p, "tls", read)
}

func (c *Config) checkUpstreamFiles(p *conf.Problems, read func(string) ([]byte, fs.FileMode, error)) {
	for i, r := range c.Routes {
		for key, name := range r.TLS.Files() {
			at := p.At("routes[%d].tls.%s", i, key)
			text, mode, err := read(name)
			at.If(err != nil, "cannot be read: %s", cause(err))
			at.If(err == nil && key == "ca_file" && !x509.NewCertPool().AppendCertsFromPEM(text),
				"contains no certificate in PEM format")
			at.Warn(err == nil && key == "client_key_file" && mode&0o004 != 0,
				"refers to a file that every user of this machine can read (mode %04o); chmod 600", mode.Perm())
		}
	}
}

// checkFiles does not let a pair that does not match reject other changes: another program
// writes certificate and key one after the other, at any time.
func (c TLSConfig) checkFiles(p *conf.Problems, at string, read func(string) ([]byte, fs.FileMode, error)) {
	if c.CertFile == "" || c.KeyFile == "" {
		return
	}
	if c.ClientCAFile != "" {
		text, _, err := read(c.ClientCAFile)
		p.At("%s.client_ca_file", at).Keep(err != nil, "cannot be read: %s", cause(err))
		p.At("%s.client_ca_file", at).Keep(err == nil && !x509.NewCertPool().AppendCertsFromPEM(text),
			"contains no certificate in PEM format")
	}
	cert, _, err := read(c.CertFile)
	p.At("%s.cert_file", at).Keep(err != nil, "cannot be read: %s", cause(err))
	key, mode, keyErr := read(c.KeyFile)
	p.At("%s.key_file", at).Keep(keyErr != nil, "cannot be read: %s", cause(keyErr))
	if err != nil || keyErr != nil {
		return
	}
	p.At("%s.key_file", at).Warn(mode&0o004 != 0,
		"refers to a file that every user of this machine can read (mode %04o); chmod 600", mode.Perm())
	_, err = tls.X509KeyPair(cert, key)
	p.At("%s.cert_file", at).Keep(err != nil, "and tls.key_file are not a matching certificate and key in PEM format")
}

// isPlainPath accepts /oauth2 and /a/b: letters, digits and - _ . ~ only, no dot
// segments, no trailing slash.
func isPlainPath(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.Trim(segment, letters) != "" {
			return false
		}
	}
	return true
}
