package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Peers is the set of peers whose X-Forwarded-* and X-Original-* headers are trusted.
// The zero value trusts none (CVE-2026-40575: all were trusted by default). Immutable
// after ParsePeers; safe for concurrent use.
type Peers struct {
	prefixes []netip.Prefix
	unix     bool
}

// ParsePeers reads CIDRs, and `unix` for every peer on a unix socket.
func ParsePeers(list []string) (*Peers, error) {
	p := &Peers{}
	for _, s := range list {
		if s == "unix" {
			p.unix = true
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf(
				"web: %q is not a CIDR such as 10.0.0.0/8 (one address: add /32 or /128) and not the word unix", s,
			)
		}
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 { // ::ffff:10.0.0.0/104 is 10.0.0.0/8
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
	return p, nil
}

func (p *Peers) contains(addr netip.Addr) bool {
	addr = addr.Unmap() // ::ffff:10.0.0.1 is 10.0.0.1
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Has reports whether the address of a connection's other end is trusted.
func (p *Peers) Has(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil { // a unix socket's peers have no address
		return p.unix && addr.Network() == "unix"
	}
	return p.contains(ap.Addr().WithZone(""))
}

// maxHops bounds the walk along X-Forwarded-For.
const maxHops = 64

// Resolve returns the peer, whether it is trusted, and the real client: the last
// X-Forwarded-For hop that is not trusted. Hops that a client adds on the left never
// change the result. An unreadable hop makes the client unknown (the zero Addr), which
// matches no network.
func (p *Peers) Resolve(r *http.Request) (peer netip.Addr, trusted bool, client netip.Addr) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		peer = ap.Addr().Unmap().WithZone("")
		trusted = p.contains(peer)
	} else { // a unix socket's peers have no address
		trusted = p.unix
	}
	if !trusted {
		return peer, false, peer
	}
	client = peer
	lines := r.Header["X-Forwarded-For"]
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		for rest := lines[i]; ; {
			hop, cut := rest, strings.LastIndexByte(rest, ',')
			if cut >= 0 {
				hop, rest = rest[cut+1:], rest[:cut]
			}
			addr, ok := parseHop(strings.Trim(hop, " \t"))
			if hops++; !ok || hops > maxHops {
				return peer, true, netip.Addr{}
			}
			if client = addr; !p.contains(addr) {
				return peer, true, client
			}
			if cut < 0 {
				break
			}
		}
	}
	return peer, true, client
}

// parseHop reads 192.0.2.1, 192.0.2.1:80, 2001:db8::1 and [2001:db8::1]:80.
func parseHop(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return addr.Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Addr().Zone() == "" {
		return ap.Addr().Unmap(), true
	}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		if addr, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && addr.Is6() && addr.Zone() == "" {
			return addr.Unmap(), true
		}
	}
	return netip.Addr{}, false
}

var errForwarded = errors.New("web: X-Forwarded-Host or X-Forwarded-Proto is repeated or unreadable")

// origin is the scheme and the canonical host that the browser used.
func (p *Peers) origin(r *http.Request, trusted bool, fallback string) (scheme, host string, err error) {
	scheme, host = fallback, r.Host
	if trusted {
		proto, ok := Single(r.Header, "X-Forwarded-Proto")
		fwd, ok2 := Single(r.Header, "X-Forwarded-Host")
		if !ok || !ok2 {
			return "", "", errForwarded
		}
		switch strings.ToLower(proto) {
		case "":
		case "https", "wss":
			scheme = "https"
		case "http", "ws":
			scheme = "http"
		default:
			return "", "", errForwarded
		}
		if fwd != "" {
			host = fwd
		}
	}
	host, err = CleanHost(host, scheme)
	return scheme, host, err
}

// Single reads a header that may occur once, with one value. If absent, value is "";
// if repeated, or a list, ok is false. The name is in canonical form.
func Single(h http.Header, name string) (value string, ok bool) {
	switch v := h[name]; len(v) {
	case 0:
		return "", true
	case 1:
		return v[0], strings.IndexByte(v[0], ',') < 0
	}
	return "", false
}
