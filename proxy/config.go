package proxy

import (
	"net/url"
	"strings"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/web"
)

// UpstreamConfig is the part of a route's configuration that says where it
// leads; access.RouteConfig is inlined beside it. Begin with Defaults: the
// zero value passes no WebSocket.
type UpstreamConfig struct {
	// http://host:port, https://host or h2c://host:port (HTTP/2 in clear, for gRPC), each with a
	// path to put in front; unix:/path; empty: the route only answers gateways
	Upstream    string        `yaml:"upstream"`
	WebSocket   bool          `yaml:"websocket"`    // WebSocket handshakes pass
	StripPrefix string        `yaml:"strip_prefix"` // cut off the path, at a slash; a path without it is refused
	Timeout     time.Duration `yaml:"timeout"`      // until the response headers are there; the body may take any time

	PassHost       PassHost    `yaml:"pass_host"`       // the Host that the application gets
	TLS            UpstreamTLS `yaml:"tls"`             // of an https upstream
	ConnectionAuth string      `yaml:"connection_auth"` // what becomes of NTLM and Negotiate; refuse: see ConnectionRefuse
}

// Defaults is the upstream part of a route that says nothing about it.
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
		p.At("%sstrip_prefix", key).Warn(c.Upstream == "", "does nothing: the route has no upstream")
	}
	p.At("%spass_host", key).Fault(c.PassHost.fault())
	c.TLS.check(p, key+"tls", c.Upstream)
	p.At("%sconnection_auth", key).If(c.ConnectionAuth != "" && c.ConnectionAuth != ConnectionRefuse,
		"is %q; the only value is refuse", c.ConnectionAuth)
	p.At("%stimeout", key).If(c.Timeout <= 0, "must be longer than 0s")
}

// parse reads Upstream. What it cannot mean is an error that reads on after the key.
func (c UpstreamConfig) parse() (*url.URL, error) {
	want := conf.Textf("write http://host:port, https://host, h2c://host:port or unix:/path")
	u, err := url.Parse(c.Upstream)
	switch {
	case err != nil: // its text quotes the URL, and that may hold a password
		return nil, conf.Errorf("is not a URL; %s", want)
	case u.User != nil:
		return nil, conf.Errorf("has a user name in it; the client's Authorization header passes as it is")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(c.Upstream, "#"):
		return nil, conf.Errorf("has a query or a fragment; only a path may follow the host")
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasSuffix(u.Path, "/") {
			return nil, conf.Errorf(
				"does not name a socket; write unix: and its absolute path, as in unix:/run/app.sock",
			)
		}
		return u, nil
	case "http", "https", schemeH2C:
	case "static": // oauth2-proxy's
		return nil, conf.Errorf(
			"is how oauth2-proxy answers gateways; leave it out, dinggate answers them without an upstream",
		)
	default:
		return nil, conf.Errorf("has the scheme %q; %s", u.Scheme, want)
	}
	if _, err := web.CleanHost(u.Host, u.Scheme); err != nil {
		return nil, conf.Errorf("has no readable host; %s", want)
	}
	base, err := web.CleanPath(strings.TrimSuffix(u.EscapedPath(), "/") + "/")
	if err != nil || base.Odd || len(base.Readings) > 0 {
		return nil, conf.Errorf("has a path that can be read in more than one way")
	}
	return u, nil
}

// strip reads StripPrefix: decoded, without its final slash.
func (c UpstreamConfig) strip() (string, error) {
	prefix := strings.TrimSuffix(c.StripPrefix, "/")
	if prefix == "" && c.StripPrefix != "" {
		return "", conf.Errorf("is a slash alone, which strips nothing; leave it out")
	}
	if prefix == "" {
		return "", nil
	}
	path, err := web.CleanPath((&url.URL{Path: prefix}).EscapedPath())
	if err != nil || path.Odd || len(path.Readings) > 0 || path.Plain != prefix {
		return "", conf.Errorf("is %q; it begins with a slash and is written decoded, as in /app", c.StripPrefix)
	}
	return prefix, nil
}
