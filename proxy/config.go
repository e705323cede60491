package proxy

import (
	"net/url"
	"strings"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/web"
)

// UpstreamConfig is the part of a route's configuration that describes its upstream;
// access.RouteConfig is inlined beside it. Begin with Defaults: the zero value allows
// no WebSocket.
type UpstreamConfig struct {
	// http://host:port, https://host or h2c://host:port (HTTP/2 without TLS, for
	// gRPC), each with an optional path prefix; unix:/path; empty: the route only
	// answers authorization subrequests
	Upstream    string        `yaml:"upstream"`
	WebSocket   bool          `yaml:"websocket"`    // WebSocket handshakes are forwarded
	StripPrefix string        `yaml:"strip_prefix"` // removed from the path, at a slash; a path without it is refused
	Timeout     time.Duration `yaml:"timeout"`      // until the response headers arrive; the body has no limit

	PassHost       PassHost    `yaml:"pass_host"`       // the Host header that the application receives
	TLS            UpstreamTLS `yaml:"tls"`             // of an https upstream
	ConnectionAuth string      `yaml:"connection_auth"` // how NTLM and Negotiate are handled; refuse: see ConnectionRefuse
}

// Defaults is the upstream part of a route without any settings.
func Defaults() UpstreamConfig {
	return UpstreamConfig{WebSocket: true, Timeout: time.Minute, PassHost: passBrowsers, ConnectionAuth: ConnectionRefuse}
}

// Check finds the mistakes below key (`routes[2]`; "" is the top of the file);
// it opens and changes nothing.
func (c UpstreamConfig) Check(p *conf.Problems, key string) {
	if key != "" {
		key += "."
	}
	if c.Upstream != "" {
		_, err := c.parse()
		p.At("%supstream", key).Fault(err)
	}
	if c.StripPrefix != "" {
		_, err := c.strip()
		p.At("%sstrip_prefix", key).Fault(err)
		p.At("%sstrip_prefix", key).Warn(c.Upstream == "", "has no effect: the route has no upstream")
	}
	p.At("%spass_host", key).Fault(c.PassHost.fault())
	c.TLS.check(p, key+"tls", c.Upstream)
	p.At("%sconnection_auth", key).If(c.ConnectionAuth != "" && c.ConnectionAuth != ConnectionRefuse,
		"is %q; the only value is refuse", c.ConnectionAuth)
	p.At("%stimeout", key).If(c.Timeout <= 0, "must be longer than 0s")
}

// parse reads Upstream. The text of an error continues after the key's name.
func (c UpstreamConfig) parse() (*url.URL, error) {
	want := conf.Textf("write http://host:port, https://host, h2c://host:port or unix:/path")
	u, err := url.Parse(c.Upstream)
	switch {
	case err != nil: // its text quotes the URL, and that may hold a password
		return nil, conf.Errorf("is not a URL; %s", want)
	case u.User != nil:
		return nil, conf.Errorf("contains a user name; the client's Authorization header is forwarded unchanged")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(c.Upstream, "#"):
		return nil, conf.Errorf("has a query or a fragment; only a path may follow the host")
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasSuffix(u.Path, "/") {
			return nil, conf.Errorf(
				"has no socket; write unix: and its absolute path, as in unix:/run/app.sock",
			)
		}
		return u, nil
	case "http", "https", schemeH2C:
	case "static": // oauth2-proxy's
		return nil, conf.Errorf(
			"is oauth2-proxy's syntax for gateways; remove it, dinggate needs no upstream for authorization subrequests",
		)
	default:
		return nil, conf.Errorf("has the scheme %q; %s", u.Scheme, want)
	}
	if _, err := web.CleanHost(u.Host, u.Scheme); err != nil {
		return nil, conf.Errorf("has an invalid host; %s", want)
	}
	base, err := web.CleanPath(strings.TrimSuffix(u.EscapedPath(), "/") + "/")
	if err != nil || base.Odd || len(base.Readings) > 0 {
		return nil, conf.Errorf("has a path that servers interpret in different ways")
	}
	return u, nil
}

// strip reads StripPrefix: decoded, without its final slash.
func (c UpstreamConfig) strip() (string, error) {
	prefix := strings.TrimSuffix(c.StripPrefix, "/")
	if prefix == "" && c.StripPrefix != "" {
		return "", conf.Errorf("is only a slash, which removes nothing; remove it")
	}
	if prefix == "" {
		return "", nil
	}
	path, err := web.CleanPath((&url.URL{Path: prefix}).EscapedPath())
	if err != nil || path.Odd || len(path.Readings) > 0 || path.Plain != prefix {
		return "", conf.Errorf("is %q; it must begin with a slash and be in decoded form, as in /app", c.StripPrefix)
	}
	return prefix, nil
}
