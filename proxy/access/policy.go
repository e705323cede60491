// Package access decides who may access which route.
//
//	Target ──► match ──► one route ──► its rule, identity.User ──► Decision
//	             │                        │
//	             └─ none: Deny            └─ no list matches: SignIn (no session) or Deny
//
// It is pure: no clock, no network, no net/http. The proxy and every gateway endpoint call it with
// the same Target, so that a path has the same decision at all endpoints (threats P16). Package
// internal/web makes the path canonical; the handlers send pages, redirects and status codes.
package access

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"dinggate/internal/identity"
)

// Target is the request to decide on. The zero value is never allowed.
type Target struct {
	Method string // as sent; "" is unknown, and so is anything but a token in capitals (CVE-2020-14359)
	Host   string // as sent, a port may follow; "" is unknown
	Path   string // decoded and canonical, as internal/web makes it

	// Readings are other paths that some server behind us derives from the same request line;
	// usually nil. All of them must match one route (threats P3, P7, P17).
	Readings []string

	// Variants are readings that clients intend too; usually nil. The strictest of the routes that
	// they and Path select decides.
	Variants []string

	// Odd marks a path that is not written plainly: it is never public, and no network allows it;
	// a session is required (threats P2, P4).
	Odd bool

	Client netip.Addr // zero is unknown, and in no network; so is an address with a zone

	// SignIn is when and how the person signed in, for rules with Fresh.
	SignIn SignInAge

	// Granted reports whether the person has a grant for a route, which replaces the lists of its
	// rule and SignedIn; Deny, All and Fresh still apply. It is called only if no list of the rule
	// names the person. If nil, there are no grants.
	Granted func(route int) bool

	// Unknown means that the path is unknown. A person is allowed if every route would allow them,
	// an unauthenticated request only if every route is public. Networks are ignored: an address
	// is no person.
	Unknown bool
}

// SignInAge is when and how a person signed in. The zero value is unknown, which is never fresh.
type SignInAge struct {
	Known  bool
	Silent bool // inside the DingTalk client, without a click
	Age    time.Duration
}

// Route is a rule and the requests it applies to. Routes are tried in order, the first match
// decides.
type Route struct {
	Name string // shown by Explain and in logs; may be empty

	// Host is compared without letter case and final dot; "" is any. The port is compared only if
	// it is given, as in "app.example.com:8443". "*.apps.example.com" matches every name with
	// exactly one more label.
	Host string

	// Path is /healthz for exactly that, /admin/ for /admin, /admin/ and all below, / for
	// everything. Policy describes letter case.
	Path string

	Methods []string // nil is any; GET includes HEAD
	Rule    Rule
}

// Verdict is the result of an authorization. The zero value denies.
type Verdict int

const (
	Deny   Verdict = iota // not allowed, with or without a session
	SignIn                // a person who signs in may be allowed
	Allow
)

// String returns the word for the log: deny, sign_in, allow.
func (v Verdict) String() string {
	switch v {
	case SignIn:
		return "sign_in"
	case Allow:
		return "allow"
	}
	return "deny"
}

// Reasons for which a verdict is not Allow.
const (
	NoRoute       = "no_route"       // Deny: no route matches
	NotAllowed    = "not_allowed"    // Deny: no list of the rule names this person; the only reason that a grant overrides
	NotAll        = "not_all"        // Deny: an entry of Rule.All is not satisfied
	Denied        = "denied"         // Deny: Rule.Deny names the person or the client
	AmbiguousPath = "ambiguous_path" // Deny: readings of the path select different routes, or its letter case decides
	NotSignedIn   = "sign_in"        // SignIn: the rule requires a session
	NotFresh      = "not_fresh"      // SignIn: Rule.Fresh requires a more recent sign-in
	OddPath       = "odd_path"       // SignIn: the route is public, but the path is not written plainly
)

// Decision is a verdict and its reason. The zero value is Deny.
type Decision struct {
	Verdict Verdict

	// Route is the index of the deciding route; -1 for NoRoute, for AmbiguousPath, and for an
	// Allow of an unknown path, which all routes gave.
	Route int

	Rule   string // what allows: "public", "signed_in", "departments 42" …, "grant"; "" unless Allow
	Reason string // one of the constants above; "" with Allow
}

// Code is the reason that people and programs receive. It does not reveal which part of a rule
// refused them: that is for the operator only.
func (d Decision) Code() string {
	if d.Reason == NotAll || d.Reason == Denied {
		return NotAllowed
	}
	return d.Reason
}

// Everybody reports whether the decision allows every request, without a session and from any
// address.
func (d Decision) Everybody() bool {
	return d.Verdict == Allow && (d.Rule == rulePublic || d.Rule == ruleEvery)
}

const (
	rulePublic = "public"
	ruleGrant  = "grant"
	ruleEvery  = "every route"
)

// Policy decides for a list of routes. Build it with New; the zero Policy denies everything. It
// never changes and is safe for concurrent use.
//
// A rule must not be bypassed by letter case: Express, IIS and file systems that fold case serve
// /ADMIN/x as /admin/x. A path is therefore AmbiguousPath if its own spelling and its
// ASCII-lowered spelling, matched against routes in lower case, select routes with different rules
// (threats P19). See CaseSensitive.
type Policy struct {
	routes []route
	index  *index // nil: every route is tried
	folds  bool   // letter case can change the rule
	upper  bool   // also for a path in lower case, since a route is not

	sensitive bool // letter case is distinguished: see CaseSensitive
}

// New compiles routes. It refuses every mistake of Config.Check in a host, path, method or listed
// name: a route that never matched would leave its pages to the next, weaker one. Without routes,
// the Policy denies everything.
func New(routes []Route) (*Policy, error) {
	p := &Policy{routes: make([]route, len(routes))}
	var errs []error
	firsts := map[string][]int{} // by digest, the first route of each rule: comparing all pairs takes seconds for 1,000 routes
	for i, r := range routes {
		for _, f := range r.faults() {
			if !f.warning {
				errs = append(errs, fmt.Errorf("access: compiling routes[%d]: %s %s", i, f.part, f.text))
			}
		}
		p.routes[i] = compile(r)
		p.routes[i].same = i
		digest := r.Rule.digest()
		equal := slices.IndexFunc(firsts[digest], func(j int) bool {
			return reflect.DeepEqual(p.routes[j].rule, p.routes[i].rule)
		})
		if equal >= 0 {
			p.routes[i].same = firsts[digest][equal]
		} else {
			firsts[digest] = append(firsts[digest], i)
		}
		p.folds = p.folds || p.routes[i].same > 0
		p.upper = p.upper || hasUpper(r.Path)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(p.routes) >= indexed {
		p.index = newIndex(p.routes)
	}
	return p, nil
}

// Decide is the only function that authorizes. A nil u, or one without a Username, is a request
// without a session.
//
// An unknown part of t never allows access: a route whose host or method cannot be compared does
// not decide, but has to allow the request too.
func (p *Policy) Decide(t Target, u *identity.User) Decision {
	return p.decide(&t, u, nil)
}

func (p *Policy) decide(t *Target, u *identity.User, steps *trace) Decision {
	q := newQuery(t, u, steps)
	d := p.first(&q, t.Path)
	for _, reading := range t.Readings {
		steps.reading(reading)
		if p.first(&q, reading).Route != d.Route {
			steps.add(-1, "the readings of the path select different routes")
			return Decision{Deny, -1, "", AmbiguousPath}
		}
	}
	if p.folds && !t.Unknown && d.Route >= 0 && p.caseDecides(&q, d, t) {
		return Decision{Deny, -1, "", AmbiguousPath}
	}
	if d.Rule == ruleGrant && !p.sensitive {
		d = p.grantFolded(&q, d, t)
	}
	for _, variant := range t.Variants {
		steps.variant(variant)
		d = p.stricter(&q, d, variant)
	}
	return d
}

// stricter is d, or the decision of the route that a variant selects, if that is stricter. A
// variant that selects no route is ignored.
func (p *Policy) stricter(q *query, d Decision, variant string) Decision {
	e := p.first(q, variant)
	if e.Route >= 0 && e.Verdict < d.Verdict {
		d = e
	}
	if (p.folds || d.Rule == ruleGrant && !p.sensitive) && (p.upper || hasUpper(variant)) {
		if e = p.folded(q, variant); e.Route >= 0 && e.Verdict < d.Verdict {
			d = e
		}
	}
	return d
}

// first evaluates the first route that matches path. A route that may match cannot allow access,
// but the strictest of them can refuse it: otherwise a gateway that reports no method would bypass
// a rule for POST (threats F6).
func (p *Policy) first(q *query, path string) Decision {
	strictest := Decision{Allow, -1, ruleEvery, ""}
	for c := p.candidates(q, path); ; {
		i := c.pop()
		if i < 0 {
			break
		}
		switch p.routes[i].match(q, i, path) {
		case perhaps:
			if d := p.routes[i].evaluate(q, i); d.Verdict < strictest.Verdict {
				strictest = d
			}
		case yes:
			if d := p.routes[i].evaluate(q, i); d.Verdict <= strictest.Verdict {
				return d
			}
			return strictest
		}
	}
	if q.target.Unknown && len(p.routes) > 0 {
		return strictest
	}
	q.steps.add(-1, "no route matches")
	return Decision{Deny, -1, "", NoRoute}
}

// Freshness is the strictest Fresh of the routes that t may match, for any person, and whether a
// silent sign-in satisfies all of them; 0 if none has one.
func (p *Policy) Freshness(t Target) (fresh time.Duration, silent bool) {
	silent = true
	q := newQuery(&t, nil, nil)
	look := func(path string) {
		for i := range p.routes {
			rule, fits := &p.routes[i].rule, p.routes[i].match(&q, i, path)
			if fits != no && rule.fresh > 0 {
				silent = silent && rule.freshSilent
				if fresh == 0 || rule.fresh < fresh {
					fresh = rule.fresh
				}
			}
			if fits == yes {
				return
			}
		}
	}
	look(t.Path)
	for _, variant := range t.Variants {
		look(variant)
	}
	return fresh, silent && fresh > 0
}
