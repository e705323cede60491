package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Hosts is the set of names that we serve: those of public_url and of routes, and all
// below cookie.domain. A request for any other name is either DNS rebinding, by which
// a page reaches us from inside a network that a rule allows, or an attempt to make an
// application write that name into its links (threats W12). Ports are ignored, since a
// page cannot choose them. A nil *Hosts serves every host. Immutable after NewHosts;
// safe for concurrent use.
type Hosts struct {
	names    map[string]bool // a wildcard's begins with a dot
	domain   string          // cookie.domain without its leading dot; "" = none
	loopback bool            // public_url is on this machine, and so localhost and every loopback address are it
}

// NewHosts takes public_url, the hosts of routes and cookie.domain.
func NewHosts(publicURL string, routes []string, cookieDomain string) (*Hosts, error) {
	scheme, host, err := parseOrigin(publicURL)
	if err != nil {
		return nil, err
	}
	h := &Hosts{
		names:  map[string]bool{HostName(host): true},
		domain: strings.ToLower(strings.TrimPrefix(cookieDomain, ".")),
	}
	addr, isAddr := hostAddr(HostName(host))
	h.loopback = HostName(host) == "localhost" || isAddr && addr.IsLoopback()
	for _, route := range routes {
		clean, err := cleanPattern(route, scheme)
		if err != nil {
			return nil, fmt.Errorf("web: %q is not a host", route)
		}
		h.names[HostName(clean)] = true
	}
	return h, nil
}

// Serves reports whether a canonical host is served. An IP address is served if the
// request's connection was made to it: DNS rebinding cannot produce it, and health
// probes use addresses only. r may be nil.
func (h *Hosts) Serves(host string, r *http.Request) bool {
	if h == nil {
		return true
	}
	name := HostName(host)
	if h.names[name] || h.names[behindLabel(name)] {
		return true
	}
	if h.domain != "" && (name == h.domain || strings.HasSuffix(name, "."+h.domain)) {
		return true
	}
	if h.loopback && name == "localhost" {
		return true
	}
	addr, ok := hostAddr(name)
	if !ok {
		return false
	}
	if h.loopback && addr.IsLoopback() {
		return true
	}
	if r == nil {
		return false
	}
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap().WithZone("") == addr
}

// cleanPattern is CleanHost for the host of a route: `*.apps.example.com`, any one
// label in front of that, is `.apps.example.com`.
func cleanPattern(raw, scheme string) (string, error) {
	name, wild := strings.CutPrefix(raw, "*.")
	clean, err := CleanHost(name, scheme)
	if wild && err == nil {
		clean = "." + clean
	}
	return clean, err
}

// behindLabel is a canonical host without its first label, which is the wildcard that
// covers it as cleanPattern writes it; "." if it has one label only.
func behindLabel(host string) string {
	if i := strings.IndexByte(host, '.'); i > 0 {
		return host[i:]
	}
	return "."
}

// hostAddr reads a host that is an address.
func hostAddr(name string) (netip.Addr, bool) {
	if strings.HasPrefix(name, "[") {
		name = strings.TrimSuffix(name[1:], "]")
	}
	addr, err := netip.ParseAddr(name)
	return addr.Unmap(), err == nil
}

// IsAddress reports whether a canonical host, with or without a port, is an IP address.
func IsAddress(host string) bool {
	_, ok := hostAddr(HostName(host))
	return ok
}

// UnknownHost is the refusal of a host that is not served.
func UnknownHost(status int, host string, trusted bool) *Error {
	hint := ""
	if !trusted {
		hint = "; if a gateway of yours sent it, list it in trusted_proxies"
	}
	return &Error{Status: status, Code: "unknown_host",
		Err: fmt.Errorf(
			"web: %q is neither public_url's host nor a route's nor below cookie.domain (hosts: any serves "+
				"every host)%s", host, hint,
		)}
}
