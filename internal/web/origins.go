package web

import (
	"fmt"
	"net/url"
	"strings"
)

// Origins is the set of origins that are ours, and to which a browser may be
// redirected. The zero value is empty. Immutable after NewOrigins; safe for concurrent
// use.
type Origins struct {
	public     string // scheme://host of public_url
	publicHost string
	allowed    map[string]bool // of origins; the host of a wildcard begins with a dot
	ours       map[string]bool // of allowed, those whose pages are ours
	domain     string          // cookie.domain without its leading dot
	scheme     string
	apart      bool // some route's host is outside the scope of the session cookie
}

// NewOrigins takes public_url, further origins (https://other.example.com), the
// hosts of routes (served under the scheme of public_url, and one without a port
// on public_url's port too) and cookie.domain.
func NewOrigins(publicURL string, more, hosts []string, cookieDomain string) (*Origins, error) {
	o := &Origins{
		allowed: map[string]bool{},
		ours:    map[string]bool{},
		domain:  strings.ToLower(strings.TrimPrefix(cookieDomain, ".")),
	}
	var err error
	if o.scheme, o.publicHost, err = parseOrigin(publicURL); err != nil {
		return nil, err
	}
	o.public = o.scheme + "://" + o.publicHost
	o.allowed[o.public], o.ours[o.public] = true, true
	for _, raw := range more {
		scheme, host, err := parseOrigin(raw)
		if err != nil {
			return nil, err
		}
		o.allowed[scheme+"://"+host] = true
	}
	port := strings.TrimPrefix(o.publicHost, HostName(o.publicHost))
	for _, host := range hosts {
		clean, err := cleanPattern(host, o.scheme)
		if err != nil {
			return nil, fmt.Errorf("web: %q is not a host", host)
		}
		o.allowed[o.scheme+"://"+clean], o.ours[o.scheme+"://"+clean] = true, true
		o.apart = o.apart || !o.reached(clean)
		if HostName(clean) == clean {
			o.allowed[o.scheme+"://"+clean+port], o.ours[o.scheme+"://"+clean+port] = true, true
		}
	}
	return o, nil
}

// parseOrigin reads scheme://host, both canonical in what it returns.
func parseOrigin(raw string) (scheme, host string, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return "", "", fmt.Errorf("web: %q is not an origin such as https://app.example.com", raw)
	}
	if host, err = CleanHost(u.Host, u.Scheme); err != nil {
		return "", "", fmt.Errorf("web: %q is not an origin such as https://app.example.com", raw)
	}
	return u.Scheme, host, nil
}

// Public is scheme://host of public_url.
func (o *Origins) Public() string { return o.public }

// Scheme is that of public_url.
func (o *Origins) Scheme() string { return o.scheme }

// PublicHost is the canonical host of public_url, with its port if that is not the
// scheme's.
func (o *Origins) PublicHost() string { return o.publicHost }

// OnPublic reports whether a canonical host is public_url's. Ports are ignored:
// cookies have none, and gateways may drop them.
func (o *Origins) OnPublic(host string) bool { return HostName(host) == HostName(o.publicHost) }

// Target is the return target of a request: uri on the origin that the request came
// to, in the form of Return. On public_url's host the scheme and port of public_url
// are used, since a load balancer in front may drop them; on a route's host, which is
// served under the same scheme, its scheme.
func (o *Origins) Target(scheme, host, uri string) (target string, ok bool) {
	origin := scheme + "://" + host
	switch {
	case o.OnPublic(host):
		origin = o.public
	case o.HasHost(host) && !o.has(origin):
		origin = o.scheme + "://" + host
	}
	return o.Return(origin + uri)
}

// Ours reports whether an Origin header names one of our pages: one on public_url, on
// a route's host, or on a host within the scope of the session cookie. An origin that
// is only an allowed redirect target is not ours: its pages, on a sibling host, could
// otherwise open WebSockets with our cookie (threats W3).
func (o *Origins) Ours(raw string) bool {
	scheme, host, ok := o.read(raw)
	return ok && (listed(o.ours, scheme, host) || scheme == o.scheme && o.underDomain(host))
}

// SameHost returns Ours for a form that is posted to a canonical host: dinggate's pages post to the
// host that they are on. A page of another of our hosts belongs to another application, and must
// not sign a person in or out either; a browser without fetch metadata shows that by Origin alone
// (threats W13). A host that is not ours is a gateway's name for dinggate.
func (o *Origins) SameHost(host string) func(origin string) bool {
	known := o.OnPublic(host) || o.HasHost(host)
	return func(origin string) bool {
		_, from, _ := o.read(origin)
		return o.Ours(origin) && (!known || HostName(from) == HostName(host))
	}
}

// has reports whether this origin is an allowed redirect target.
func (o *Origins) has(raw string) bool {
	scheme, host, ok := o.read(raw)
	return ok && (listed(o.allowed, scheme, host) || scheme == o.scheme && o.underDomain(host))
}

func (o *Origins) read(raw string) (scheme, host string, ok bool) {
	scheme, host, ok = strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", "", false
	}
	host, err := CleanHost(host, scheme)
	return scheme, host, err == nil
}

// HasHost reports whether a canonical host is ours.
func (o *Origins) HasHost(host string) bool {
	return listed(o.allowed, o.scheme, host) || o.underDomain(host)
}

// listed looks a canonical host up by itself and by the wildcard that covers it.
func listed(origins map[string]bool, scheme, host string) bool {
	return origins[scheme+"://"+host] || origins[scheme+"://"+behindLabel(host)]
}

func (o *Origins) underDomain(host string) bool {
	name := HostName(host)
	return o.domain != "" && (name == o.domain || strings.HasSuffix(name, "."+o.domain)) && name == host
}

// reached reports whether browsers send the session cookie of public_url's host to a
// canonical host. Cookies ignore ports.
func (o *Origins) reached(host string) bool {
	name := HostName(host)
	return o.OnPublic(host) || o.domain != "" && (name == o.domain || strings.HasSuffix(name, "."+o.domain))
}

// Place is the scope of a host's session cookie: "" for public_url's host and all that
// cookie.domain covers, and the host without its port for a route's host outside that
// scope, where the browser gets a separate cookie. Any other host is "".
func (o *Origins) Place(host string) string {
	if !o.apart || o.reached(host) {
		return ""
	}
	if name := HostName(host); listed(o.ours, o.scheme, host) || listed(o.ours, o.scheme, name) {
		return name
	}
	return ""
}

// PlaceOf is Place of the host of a return target as Return gives it, and the
// target's origin; both are "" for a path on public_url.
func (o *Origins) PlaceOf(target string) (place, origin string) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.HasPrefix(target, "/") {
		return "", ""
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
	}
	if scheme != o.scheme {
		return "", ""
	}
	return o.Place(host), scheme + "://" + host
}

// MaxReturn bounds a return target: a longer one would not fit into the cookie that
// carries it through the sign-in.
const MaxReturn = 1024

// Return checks a requested redirect target and returns it in the form to send: a path
// if it is on public_url's origin, otherwise an absolute URL of one of our origins.
// Anything that a browser might read as another host is refused: `//`, `\`, control
// bytes and spaces anywhere, user names, other schemes, dot segments
// (GHSA-qqxw-m5fj-f7gv, GHSA-j7px-6hwj-hpjg, GHSA-4mf2-f3wh-gvf2). That url.Parse
// finds no host proves nothing, so the text itself is checked.
func (o *Origins) Return(raw string) (target string, ok bool) {
	if raw == "" || len(raw) > MaxReturn {
		return "", false
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] <= ' ' || raw[i] == 0x7f || raw[i] == '\\' {
			return "", false
		}
	}
	rest := raw
	prefix := ""
	if raw[0] != '/' {
		scheme, after, found := strings.Cut(raw, "://")
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		if !found || !o.has(scheme+"://"+after[:end]) {
			return "", false
		}
		scheme = strings.ToLower(scheme)
		host, _ := CleanHost(after[:end], scheme) // no error: o.has parsed it already
		if prefix = scheme + "://" + host; prefix == o.public {
			prefix = ""
		}
		if rest = after[end:]; rest == "" || rest[0] != '/' {
			rest = "/" + rest
		}
	}
	if strings.HasPrefix(rest, "//") {
		return "", false
	}
	path := rest
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	for seg := range strings.SplitSeq(path, "/") {
		switch strings.ReplaceAll(strings.ToLower(seg), "%2e", ".") {
		case ".", "..":
			return "", false
		}
	}
	return prefix + rest, true
}

// EscapeNonASCII percent-encodes the bytes above 0x7f, as a Location header has them.
func EscapeNonASCII(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x80 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
