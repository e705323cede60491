package access

import (
	"slices"
	"strings"

	"dinggate/internal/identity"
	"dinggate/internal/scriptname"
)

// route is a compiled Route.
type route struct {
	name       string
	host, port string // lower case, no final dot; "" is any
	wild       bool   // host begins with a dot and matches with one more label
	path       string
	folded     string   // path in lower case
	script     bool     // path is exact and that of a script
	methods    []string // HEAD added to GET; nil is any
	rule       ruleset
	same       int // index of the first route with an equal rule
}

func compile(r Route) route {
	c := route{
		name:    r.Name,
		path:    r.Path,
		folded:  lower(r.Path),
		script:  scriptname.Path(r.Path),
		methods: slices.Clone(r.Methods),
		rule:    r.Rule.compile(),
	}
	c.host, c.port = splitHost(strings.ToLower(r.Host))
	if rest, ok := strings.CutPrefix(c.host, "*."); ok {
		c.host, c.wild = "."+rest, true
	}
	if slices.Contains(c.methods, "GET") {
		c.methods = append(c.methods, "HEAD")
	}
	return c
}

// query is a Target, parsed once for all routes.
type query struct {
	target     *Target
	user       *identity.User // nil: not signed in
	method     string         // "" is unknown
	host, port string
	fold       bool   // compare paths without letter case
	steps      *trace // nil unless Explain evaluates
}

func newQuery(t *Target, u *identity.User, steps *trace) query {
	q := query{target: t, user: u, steps: steps}
	if u != nil && u.Username == "" { // the zero User is not signed in
		q.user = nil
	}
	if isMethod(t.Method) {
		q.method = t.Method
	}
	q.host, q.port = splitHost(t.Host)
	return q
}

// fit reports whether a route matches a request.
type fit int

const (
	no      fit = iota
	perhaps     // nothing excludes it, but a part of the request is unknown
	yes
)

func (r *route) match(q *query, i int, path string) fit {
	if q.target.Unknown {
		q.steps.add(i, "may match: the path is unknown")
		return perhaps
	}
	found := yes
	switch prefix := r.prefix(q.fold); {
	case covers(prefix, path, q.fold):
	case slashed(prefix, path, q.fold):
		q.steps.add(i, "may match: many applications ignore the final slash")
		found = perhaps
	case r.script && below(prefix, path, q.fold):
		q.steps.add(i, "may match: servers also run a script for the path after its name")
		found = perhaps
	default:
		q.steps.add(i, "does not match: another path")
		return no
	}
	switch {
	case r.host == "":
	case q.host == "":
		q.steps.add(i, "may match: the host is unknown")
		found = perhaps
	case !r.isFor(q.host) || r.port != "" && r.port != q.port:
		q.steps.add(i, "does not match: another host")
		return no
	}
	switch {
	case len(r.methods) == 0:
	case q.method == "":
		q.steps.add(i, "may match: the method is unknown")
		found = perhaps
	case !slices.Contains(r.methods, q.method):
		q.steps.add(i, "does not match: another method")
		return no
	}
	if found == yes {
		q.steps.add(i, "matches")
	}
	return found
}

// isFor compares a host as it was sent with the route's, which is not empty. The star of a
// wildcard is exactly one label.
func (r *route) isFor(host string) bool {
	if !r.wild {
		return sameFold(r.host, host)
	}
	label := len(host) - len(r.host)
	return label > 0 && strings.IndexByte(host[:label], '.') < 0 && sameFold(r.host, host[label:])
}

// hostCovers reports whether each host of s is one of r's.
func (r *route) hostCovers(s *route) bool {
	return r.host == "" || r.host == s.host || s.host != "" && !s.wild && r.isFor(s.host)
}

// sampleHost is one host of the route, without its port.
func (r *route) sampleHost() string {
	if r.wild {
		return "any" + r.host
	}
	return r.host
}

func (r *route) prefix(fold bool) string {
	if fold {
		return r.folded
	}
	return r.path
}

// covers compares byte by byte: another letter case is another path (threats P8), unless fold is
// set; route is then in lower case.
func covers(route, path string, fold bool) bool {
	n := len(route)
	switch {
	case route == "":
		return false
	case route[n-1] != '/':
		return len(path) == n && equal(route, path, fold)
	case len(path) >= n:
		return equal(route, path[:n], fold)
	}
	return n > 1 && len(path) == n-1 && equal(route[:n-1], path, fold)
}

// slashed reports whether path is that of an exact route with an added final slash, which Express,
// Spring and others treat as the same page (threats P9).
func slashed(route, path string, fold bool) bool {
	n := len(route)
	return len(path) == n+1 && path[n] == '/' && n > 0 && route[n-1] != '/' && equal(route, path[:n], fold)
}

// below reports whether path continues that of an exact route. If the route is that of a script,
// the rest is its path info: PHP-FPM, CGI and ASP.NET run /report.php for /report.php/x (threats
// P17). An earlier route for a part of the path info decides alone.
func below(route, path string, fold bool) bool {
	n := len(route)
	return len(path) > n && path[n] == '/' && equal(route, path[:n], fold)
}

func equal(s, path string, fold bool) bool {
	if fold {
		return sameFold(s, path)
	}
	return s == path
}

// shadows reports whether r matches every request for s.
func (r *route) shadows(s *route) bool {
	return r.opensAs(s) && covers(r.path, s.path, false)
}

// splitHost separates host and port, and removes what gives one host two spellings: the final dot
// and zeros before the port (threats H13).
func splitHost(s string) (host, port string) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], strings.TrimLeft(s[i+1:], "0")
	}
	return strings.TrimSuffix(host, "."), port
}

// isMethod reports whether s is a method as in RFC 9110 §9 and its registry: capitals, with
// digits, `-` or `_` after the first.
func isMethod(s string) bool {
	for i := range len(s) {
		c := s[i]
		rest := i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '_')
		if !rest && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}
