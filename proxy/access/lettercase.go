package access

import (
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// CaseSensitive is a policy with the same routes for applications that all distinguish letter
// case: /ADMIN/x is just another path.
func (p *Policy) CaseSensitive() *Policy {
	sensitive := *p
	sensitive.folds, sensitive.sensitive = false, true
	return &sensitive
}

// caseDecides reports whether a path, or one of its readings, selects another rule in lower case.
func (p *Policy) caseDecides(q *query, d Decision, t *Target) bool {
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
			q.steps.add(-1, "letter case alone selects another rule")
			return true
		}
	}
	return false
}

// grantFolded is d, which a grant allowed, or the decision of another route that a path or one of
// its readings selects in lower case, if that is stricter: a grant applies to its own route only,
// also if another route has the same rule (threats G4).
func (p *Policy) grantFolded(q *query, d Decision, t *Target) Decision {
	for i := -1; i < len(t.Readings); i++ {
		path := t.Path
		if i >= 0 {
			path = t.Readings[i]
		}
		if !p.upper && !hasUpper(path) {
			continue
		}
		q.steps.folded(path)
		if e := p.folded(q, path); e.Route != d.Route && e.Verdict < d.Verdict {
			return e
		}
	}
	return d
}

func (p *Policy) folded(q *query, path string) Decision {
	q.fold = true
	defer func() { q.fold = false }()
	return p.first(q, path)
}

// CaseRoute is a route of which some spelling in another letter case is AmbiguousPath, or selects
// another route if letter case is distinguished.
type CaseRoute struct {
	Route, Other int    // indexes
	Path         string // of Route
	Example      string // such a spelling
}

// CaseRoutes lists the routes that depend on letter case, in their order; nil if a route has a
// mistake.
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

// caseRoute finds another route that a spelling of route i selects.
func (p *Policy) caseRoute(i int) (CaseRoute, bool) {
	r := &p.routes[i]
	for j := range i {
		if p.routes[j].shadows(r) {
			return CaseRoute{}, false
		}
	}
	segment, _ := firstSegment(r.folded)
	for _, example := range []string{swapCase(r.path), r.path} {
		tried := map[[2]string]bool{} // a thousand routes ask mostly the same
		for j := range p.routes {
			o := &p.routes[j]
			if o.same == r.same || !o.meets(r) {
				continue
			}
			t := r.target(o, example)
			key := [2]string{t.Host, t.Method}
			if host, port := splitHost(t.Host); !p.index.ownRoutes(host, segment) {
				key[0] = port // any such host will do
			}
			if tried[key] {
				continue
			}
			tried[key] = true
			if p.Decide(t, nil).Reason == AmbiguousPath {
				return CaseRoute{i, p.CaseSensitive().Decide(t, nil).Route, r.path, example}, true
			}
		}
	}
	return CaseRoute{}, false
}

// target is a request for path that matches the hosts and methods of both routes.
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
	for _, methods := range [2][]string{r.methods, o.methods} {
		for _, m := range methods {
			if r.takes(m) && o.takes(m) {
				t.Method = m
				return t
			}
		}
	}
	return t
}

func (r *route) takes(method string) bool {
	return len(r.methods) == 0 || slices.Contains(r.methods, method)
}

// CheckCase warns of routes that are unreachable because letter case is ignored.
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

// meets reports whether some request matches the host and the method of both.
func (r *route) meets(o *route) bool {
	hosts := (r.hostCovers(o) || o.hostCovers(r)) && (r.port == "" || o.port == "" || r.port == o.port)
	return hosts &&
		(len(r.methods) == 0 || len(o.methods) == 0 ||
			slices.ContainsFunc(r.methods, func(m string) bool { return slices.Contains(o.methods, m) }))
}

// opensAs reports whether r matches the host and method of each request that s matches.
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

// swapCase returns the path with the letter case of each letter reversed.
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

// sameFold folds ASCII only: strings.EqualFold would treat a Kelvin sign as a k.
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

// lower lowers ASCII only.
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
