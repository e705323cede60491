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
// opens nothing. A public_url without mistakes is left in its one spelling:
// lower case, no default port, no final slash.
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
	p.At("tls.key_file").If(c.TLS.CertFile != "" && c.TLS.KeyFile == "", "is missing beside tls.cert_file")
	p.At("tls.cert_file").If(c.TLS.CertFile == "" && c.TLS.KeyFile != "", "is missing beside tls.key_file")
	p.At("tls.client_ca_file").If(c.TLS.ClientCAFile != "" && !c.TLS.On(), "needs tls.cert_file")
	p.At("tls.hsts").If(c.TLS.HSTS < 0 || c.TLS.HSTS > 20000*time.Hour, "is not between 0s and 20000h")
	p.At("tls.hsts").If(c.TLS.HSTS > 0 && c.PublicURL != "" && !c.Secure(), "needs an https public_url")
	p.At("log.format").If(c.Log.Format != "json" && c.Log.Format != "console", "is not json or console")
	_, known := LogLevels[c.Log.Level]
	p.At("log.level").If(!known, "is not debug, info, warn or error")
	c.Audit.Check(p, "audit")
	c.Tracing.Check(p, "tracing")
}

// checkStores: where Redis is not used, its address may be missing.
func (c *Config) checkStores(p *conf.Problems) {
	if c.Session.Store == session.StoreRedis {
		c.Redis.Check(p, "redis")
	} else {
		c.Redis.CheckPrefix(p, "redis")
	}
	p.At("redis.url").Warn(c.Session.Store != session.StoreRedis && !c.Redis.URL.IsZero(),
		"is given, but session.store is not redis: nothing is kept there")
	p.At("admin.control").If(strings.ContainsAny(c.Admin.Control, "\x00\n"), "is not the path of a socket")
	p.At("state_dir").If(strings.ContainsAny(c.StateDir, "\x00\n"), "is not the path of a directory")
}

// checkPublicURL quotes nothing: a user and a password may be in the URL.
func (c *Config) checkPublicURL(at conf.Place) {
	if c.PublicURL == "" {
		at.If(true, "is missing; it is how browsers reach us, such as https://app.example.com")
		return
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		at.If(true, "is not a URL such as https://app.example.com")
		return
	}
	at.If(u.User != nil, "has a user in it; write scheme and host only")
	at.If(u.Path != "" && u.Path != "/",
		"has a path; write scheme and host only (prefix names the path of our own endpoints)")
	at.If(u.RawQuery != "" || u.ForceQuery || u.Fragment != "", "has a query or a fragment; write scheme and host only")
	_, err = web.CleanHost(u.Host, u.Scheme)
	at.If(err != nil, "has no readable host; 中文.cn is written xn--fiq228c.cn")
	origins, err := web.NewOrigins(c.PublicURL, nil, nil, "")
	if err != nil {
		return
	}
	c.PublicURL = origins.Public()
	at.Warn(u.Scheme == "http" && !IsLoopback(u.Hostname()),
		"is http: everybody on the way can read the session cookie and be the person")
}

// PublicHost is the canonical host of public_url, "" when there is none.
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

// checkListen wants host:port, of which the host may be empty, or unix:/path.
func checkListen(at conf.Place, text string) {
	if path, unix := strings.CutPrefix(text, "unix:"); unix {
		at.If(!strings.HasPrefix(path, "/"), "is not a socket such as unix:/run/dinggate.sock")
		at.If(len(path) > 107, "is longer than the 107 bytes that a socket's path may have")
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

// IsHostPort reports whether text is an address as listen takes it, and no socket.
func IsHostPort(text string) bool {
	var faults conf.Problems
	checkListen(faults.At(""), text)
	return faults.Mistakes() == 0 && !strings.HasPrefix(text, "unix:")
}

// checkProxies: who is believed may say who the client is and which page was asked for.
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
			"BELIEVES EVERYBODY: anyone who reaches the listener can claim any address, host and path; name the "+
				"proxies in front of us")
	}
}

func (c *Config) checkCookie(p *conf.Problems) {
	domain := strings.ToLower(strings.TrimPrefix(c.Cookie.Domain, "."))
	host := web.HostName(c.PublicHost())
	p.At("cookie.domain").If(domain != "" && host != "" && !under(host, domain),
		"does not cover the host of public_url, %s; no browser would take the cookie", host)
	p.At("cookie.same_site").If(strings.EqualFold(c.Cookie.SameSite, "none") && c.PublicURL != "" && !c.Secure(),
		"is none, which browsers take only with an https public_url")
}

func under(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }

func (c *Config) checkRoutes(p *conf.Problems) {
	if len(c.Routes) == 0 {
		c.AllRoutes()[0].UpstreamConfig.Check(p, "")
	}
	p.At("upstream").If(c.Upstream != "" && len(c.Routes) > 0,
		"is given beside routes; it is short for one route, so move it there")
	if len(c.Routes) > 0 {
		c.AccessRoutes().Check(p, "routes")
	}
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
			"is below prefix, where only our own endpoints are")
		strip, path := strings.TrimSuffix(r.StripPrefix, "/")+"/", strings.TrimSuffix(r.Path, "/")+"/"
		p.At("routes[%d].strip_prefix",
			i).If(strings.HasPrefix(r.StripPrefix, "/") && !strings.HasPrefix(strip, path) &&
			!strings.HasPrefix(path, strip),
			"begins none of the route's paths, so all its requests would be refused")
	}
}

// checkUseless warns of a configuration behind which is nothing: no application, and
// no gateway whose account of a request counts. One that signs people in for other
// applications needs neither.
func (c *Config) checkUseless(at conf.Place) {
	for _, r := range c.AllRoutes() {
		if r.Upstream != "" {
			return
		}
	}
	serves := len(c.TrustedProxies) > 0 || c.SSOServer.On() || c.OIDC.On() || c.LoginAPI
	at.Warn(!serves && len(c.Routes) == 0,
		"is missing, and so are routes and trusted_proxies: nothing is proxied, and what a gateway reports is not "+
			"believed; name the application here, or the gateway in trusted_proxies")
	at.Warn(!serves && len(c.Routes) > 0,
		"is missing, routes have none, and trusted_proxies is empty: nothing is proxied, and what a gateway reports is "+
			"not believed; name the application in routes, or the gateway in trusted_proxies")
}

// checkReadings warns of routes whose own requests are refused, since their path
// is read in more than one way.
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
			"is a path that servers read in more than one way, so that its requests are 400 (docs/paths.md)")
	}
}

// Reached reports whether our session cookie comes to a route's host.
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
	host, port, err := net.SplitHostPort(c.Admin.Listen)
	gateHost, gatePort, gateErr := net.SplitHostPort(c.Listen)
	tcp := err == nil && gateErr == nil && port == gatePort && port != "0" &&
		(host == gateHost || IsAny(host) || IsAny(gateHost))
	at.If(tcp || c.Admin.Listen == c.Listen && strings.HasPrefix(c.Listen, "unix:"),
		"is taken by listen; the public must not see it")
	// A pod's probes come from the node: there every installation listens so, and a
	// NetworkPolicy decides who reaches it.
	at.Warn(err == nil && !IsLoopback(host) && !c.inPod,
		"is not a loopback address; anyone who reaches it reads the metrics")
}

func (c *Config) checkEnvoyGRPC(p *conf.Problems) {
	if c.EnvoyGRPC.Listen == "" {
		return
	}
	checkListen(p.At("envoy_grpc.listen"), c.EnvoyGRPC.Listen)
}

// IsAny reports whether a listener's host is all addresses of this machine.
func IsAny(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// checkFiles reads what `serve` will read at its start, so that `check` reports
// first; secrets are read before.
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
				"holds no certificate in PEM form")
			at.Warn(err == nil && key == "client_key_file" && mode&0o004 != 0,
				"names a file that everybody on this machine can read (mode %04o); chmod 600", mode.Perm())
		}
	}
}

// checkFiles: a certificate and its key are written one after the other, by
// another program and at any time, so that they are no reason to refuse what else
// has changed.
func (c TLSConfig) checkFiles(p *conf.Problems, at string, read func(string) ([]byte, fs.FileMode, error)) {
	if c.CertFile == "" || c.KeyFile == "" {
		return
	}
	if c.ClientCAFile != "" {
		text, _, err := read(c.ClientCAFile)
		p.At("%s.client_ca_file", at).Keep(err != nil, "cannot be read: %s", cause(err))
		p.At("%s.client_ca_file", at).Keep(err == nil && !x509.NewCertPool().AppendCertsFromPEM(text),
			"holds no certificate in PEM form")
	}
	cert, _, err := read(c.CertFile)
	p.At("%s.cert_file", at).Keep(err != nil, "cannot be read: %s", cause(err))
	key, mode, keyErr := read(c.KeyFile)
	p.At("%s.key_file", at).Keep(keyErr != nil, "cannot be read: %s", cause(keyErr))
	if err != nil || keyErr != nil {
		return
	}
	p.At("%s.key_file", at).Warn(mode&0o004 != 0,
		"names a file that everybody on this machine can read (mode %04o); chmod 600", mode.Perm())
	_, err = tls.X509KeyPair(cert, key)
	p.At("%s.cert_file", at).Keep(err != nil, "and tls.key_file are no pair of certificate and key in PEM form")
}

// isPlainPath takes /oauth2 and /a/b: letters, digits and - _ . ~ only, no dot
// segments, no slash at the end.
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
