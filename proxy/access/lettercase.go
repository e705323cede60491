package access

import (
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// CaseSensitive is a policy with the same routes for applications that all count
// letter case: /ADMIN/x is no more than another path.
func (p *Policy) CaseSensitive() *Policy {
	sensitive := *p
	sensitive.folds = false
	return &sensitive
}

// caseDecides reports whether a path, or one of its readings, meets another rule
// in lower case.
func (p *Policy) caseDecides(q *question, d Decision, t *Target) bool {
	for i := -1; i < len(t.Readings); i++ {
		path := t.Path
		if i >= 0 {
			path = t.Readings[i]
		}
		if !p.upper && !hasUpper(path) {
			continue
		}
		q.steps.folded(path)
		if folded := p.folded(q, path); folded.Route < 0 || p.routes[folded.Route].same != p.routes[d.Route].same {
			q.steps.add(-1, "letter case alone leads to another rule")
			return true
		}
	}
	return false
}

func (p *Policy) folded(q *question, path string) Decision {
	q.fold = true
	defer func() { q.fold = false }()
	return p.first(q, path)
}

// CaseRoute is a route of which some spelling in another letter case is
// AmbiguousPath, or another route's where letter case counts.
type CaseRoute struct {
	Route, Other int    // indexes
	Path         string // of Route
	Example      string // such a spelling
}

// CaseRoutes lists the routes that letter case concerns, in their order; nil
// where a route has a mistake.
func (c Config) CaseRoutes() (list []CaseRoute) {
	p, err := New(c.Routes())
	if err != nil {
		return nil
	}
	for i := range p.routes {
		if found, ok := p.caseRoute(i); ok {
			list = append(list, found)
		}
	}
	return list
}

// caseRoute looks for another route that takes a spelling of route i.
func (p *Policy) caseRoute(i int) (CaseRoute, bool) {
	r := &p.routes[i]
	if slices.ContainsFunc(p.routes[:i], func(before route) bool { return before.shadows(r) }) {
		return CaseRoute{}, false
	}
	for _, example := range []string{swapCase(r.path), r.path} {
		for j := range p.routes {
			o := &p.routes[j]
			if o.same == r.same || !o.meets(r) {
				continue
			}
			t := r.target(o, example)
			if p.Decide(t, nil).Reason == AmbiguousPath {
				return CaseRoute{i, p.CaseSensitive().Decide(t, nil).Route, r.path, example}, true
			}
		}
	}
	return CaseRoute{}, false
}

// target is a request for path that the hosts and methods of both routes allow.
func (r *route) target(o *route, path string) Target {
	t := Target{Method: "GET", Path: path}
	host, port := "any.invalid", ""
	for _, one := range []*route{o, r} {
		if one.host != "" && (host == "any.invalid" || !one.wild) {
			host = one.sampleHost()
		}
		if one.port != "" {
			port = one.port
		}
	}
	if t.Host = host; port != "" {
		t.Host += ":" + port
	}
	for _, m := range append(slices.Clone(r.methods), o.methods...) {
		both := func(c *route) bool { return len(c.methods) == 0 || slices.Contains(c.methods, m) }
		if both(r) && both(o) {
			t.Method = m
			break
		}
	}
	return t
}

// CheckCase warns of routes that are never reached because letter case does not
// count.
func (c Config) CheckCase(p *conf.Problems, key string) {
	policy, err := New(c.Routes())
	if err != nil {
		return
	}
	for i := range policy.routes {
		r := &policy.routes[i]
		for j := range policy.routes[:i] {
			o := &policy.routes[j]
			if o.same != r.same && o.opensAs(r) && covers(o.folded, r.folded, false) && !covers(o.path, r.path, false) {
				at := p.At("%s[%d]", key, i)
				at.If(c[j].File != c[i].File,
					"is never reached: in lower case %s[%d] (%s) at %s covers all of it; a path belongs to one file", key,
					j, c[j].Path, c[j].Place())
				at.Warn(c[j].File == c[i].File,
					"is never reached: in lower case %s[%d] (%s) covers all of it, with another rule; path_case: "+
						"sensitive makes them differ", key, j, c[j].Path)
				break
			}
		}
	}
}

// meets reports that some request is for the host and the method of both.
func (r *route) meets(o *route) bool {
	hosts := (r.hostCovers(o) || o.hostCovers(r)) && (r.port == "" || o.port == "" || r.port == o.port)
	return hosts &&
		(len(r.methods) == 0 || len(o.methods) == 0 ||
			slices.ContainsFunc(r.methods, func(m string) bool { return slices.Contains(o.methods, m) }))
}

// opensAs reports that each request for the host and a method of s is for those of r.
func (r *route) opensAs(s *route) bool {
	if !r.hostCovers(s) || r.port != "" && r.port != s.port {
		return false
	}
	if len(r.methods) == 0 {
		return true
	}
	missing := func(m string) bool { return !slices.Contains(r.methods, m) }
	return len(s.methods) > 0 && !slices.ContainsFunc(s.methods, missing)
}

// swapCase gives the path whose letters are of the other case.
func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// sameFold folds ASCII alone: strings.EqualFold would take a Kelvin sign for a k.
func sameFold(lower, s string) bool {
	if len(lower) != len(s) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// lower lowers ASCII alone.
func lower(s string) string {
	if !hasUpper(s) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return true
		}
	}
	return false
}
