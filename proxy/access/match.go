package access

import (
	"slices"
	"strings"

	"dinggate/internal/identity"
)

// route is a Route made ready for comparing.
type route struct {
	name       string
	host, port string // lower case, no final dot; "" = any
	path       string
	methods    []string // HEAD added to GET; nil = any
	rule       ruleset
}

func compile(r Route) route {
	c := route{name: r.Name, path: r.Path, methods: slices.Clone(r.Methods), rule: r.Rule.compile()}
	c.host, c.port = splitHost(strings.ToLower(r.Host))
	if slices.Contains(c.methods, "GET") {
		c.methods = append(c.methods, "HEAD")
	}
	return c
}

// question is a Target with everything read that all routes look at.
type question struct {
	target     *Target
	user       *identity.User // nil = not signed in
	method     string         // "" = unknown
	host, port string
	steps      *trace // nil unless Explain asks
}

func ask(t *Target, u *identity.User, steps *trace) question {
	q := question{target: t, user: u, steps: steps}
	if u != nil && u.Username == "" { // the zero User is nobody
		q.user = nil
	}
	if isMethod(t.Method) {
		q.method = t.Method
	}
	q.host, q.port = splitHost(t.Host)
	return q
}

// fit tells whether a route is the one for a request.
type fit int

const (
	no      fit = iota
	perhaps     // nothing speaks against it, but the request leaves something open
	yes
)

func (r *route) match(q *question, i int, path string) fit {
	if q.target.Unknown {
		q.steps.add(i, "may be meant: the path is unknown")
		return perhaps
	}
	if !r.covers(path) {
		q.steps.add(i, "does not match: another path")
		return no
	}
	found := yes
	switch {
	case r.host == "":
	case q.host == "":
		q.steps.add(i, "may be meant: the host is unknown")
		found = perhaps
	case !sameHost(r.host, q.host) || r.port != "" && r.port != q.port:
		q.steps.add(i, "does not match: another host")
		return no
	}
	switch {
	case len(r.methods) == 0:
	case q.method == "":
		q.steps.add(i, "may be meant: the method is unknown")
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

// covers compares byte by byte: another letter case is another path (threats P8).
func (r *route) covers(path string) bool {
	below, tree := strings.CutSuffix(r.path, "/")
	if !tree {
		return path == r.path
	}
	return strings.HasPrefix(path, r.path) || path == below && path != ""
}

// shadows reports that every request for s already meets r.
func (r *route) shadows(s *route) bool {
	sameDoor := r.host == "" || r.host == s.host && (r.port == "" || r.port == s.port)
	if !sameDoor || !r.covers(s.path) {
		return false
	}
	if len(r.methods) == 0 {
		return true
	}
	missing := func(m string) bool { return !slices.Contains(r.methods, m) }
	return len(s.methods) > 0 && !slices.ContainsFunc(s.methods, missing)
}

// splitHost parts a host from its port, and drops what makes one host look like
// two: the final dot and zeros before the port (threats H13).
func splitHost(s string) (host, port string) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], strings.TrimLeft(s[i+1:], "0")
	}
	return strings.TrimSuffix(host, "."), port
}

// sameHost folds ASCII alone: strings.EqualFold would take a Kelvin sign for a k.
func sameHost(lower, host string) bool {
	if len(lower) != len(host) {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// isMethod reports a method as RFC 9110 §9 and its registry write them: capitals,
// with digits, `-` or `_` after the first.
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
