package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"dinggate/internal/conf"
)

// checkOwnListeners refuses an upstream that is dinggate itself: at listen, one request would
// become thousands; the other listeners must not be public (threats L10), and authors of files in
// RoutesFolder are not administrators.
func (c *Config) checkOwnListeners(p *conf.Problems) {
	type listener struct{ key, address string }
	own := []listener{{"listen", c.Listen}, {"admin.listen", c.Admin.Listen}, {"envoy_grpc.listen", c.EnvoyGRPC.Listen}}
	if socket := ControlSocket(c, nil); socket != "" {
		own = append(own, listener{"admin.control", "unix:" + socket})
	}
	check := func(at conf.Place, upstream string) {
		for _, l := range own {
			at.If(leadsTo(upstream, l.address), "is dinggate itself (%s); write the application's address", l.key)
		}
	}
	check(p.At("upstream"), c.Upstream)
	for i, r := range c.Routes {
		check(p.At("routes[%d].upstream", i), r.Upstream)
	}
}

// leadsTo reports whether a connection to an upstream reaches a listener, as far as their
// texts show: no name is resolved and no link followed.
func leadsTo(upstream, listen string) bool {
	u, err := url.Parse(upstream)
	if err != nil {
		return false
	}
	if socket, unix := strings.CutPrefix(listen, "unix:"); unix {
		return u.Scheme == "unix" && path.Clean(u.Path) == path.Clean(socket)
	}
	host, port, err := net.SplitHostPort(listen)
	to := u.Port()
	if to == "" {
		to = map[string]string{"http": "80", "h2c": "80", "https": "443"}[u.Scheme]
	}
	if err != nil || to != port {
		return false
	}
	return IsAny(host) && (IsLoopback(u.Hostname()) || IsAny(u.Hostname())) || connectedTo(host) == connectedTo(u.Hostname())
}

// connectedTo is the address to which a connection to a host goes.
func connectedTo(host string) string {
	host = strings.ToLower(host)
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || IsAny(host):
		return "127.0.0.1"
	case err == nil:
		return addr.Unmap().String()
	}
	return host
}
