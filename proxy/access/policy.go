// Package access decides who may enter which route.
//
//	Target ──► match ──► one route ──► its rule, identity.User ──► Decision
//	             │                        │
//	             └─ none: Deny            └─ nothing lets in: SignIn (nobody yet) or Deny
//
// It is pure: no clock, no network, no net/http. The proxy and every gateway's
// question come here with the same Target, so one path has one answer at all
// endpoints (threats P16). Package internal/web makes the path canonical; pages,
// redirects and status codes are the handlers' work.
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

// Target is what somebody wants to enter. The zero value is let in nowhere.
type Target struct {
	Method string // as sent; "" = unknown. Anything but a token in capitals counts as unknown (CVE-2020-14359)
	Host   string // as sent, a port may follow; "" = unknown
	Path   string // decoded and canonical, as internal/web makes it

	// Readings are other paths that some server behind us makes of the same
	// request line; usually nil. All of them must meet one route (threats P3, P7, P17).
	Readings []string

	// Variants are readings that clients mean too; usually nil. The sternest of
	// the routes that they and Path meet decides.
	Variants []string

	// Odd marks a path that was not written plainly: never public, and no
	// network lets it in; a signed-in person is asked for (threats P2, P4).
	Odd bool

	Client netip.Addr // zero = unknown, in no network; with a zone, in no network either

	// SignIn is when and how the person signed in, for rules with Fresh.
	SignIn SignInAge

	// Granted reports whether the person was let in to a route for a while, which
	// replaces the lists of its rule and SignedIn; Deny, All and Fresh still count.
	// It is called only where the rule names them in no list. Nil: nobody was.
	Granted func(route int) bool

	// Unknown says that the path is unknown. A person passes if every route
	// would let them in, nobody in particular only if every route is public.
	// Networks count for nothing: an address is no person.
	Unknown bool
}

// SignInAge is how a person signed in. The zero value is unknown, which is fresh
// nowhere.
type SignInAge struct {
	Known  bool
	Silent bool // inside the DingTalk client, without a click
	Age    time.Duration
}

// Route is where a rule holds. Routes are tried in order, the first match decides.
type Route struct {
	Name string // for people, in Explain and in logs; may be empty

	// Host is compared without letter case and final dot; "" = any. The port
	// counts only if it is written here, as in "app.example.com:8443".
	// "*.apps.example.com" is every name with one label in front of that.
	Host string

	// Path is /healthz for exactly that, /admin/ for /admin, /admin/ and all
	// below, / for everything. Letter case is Policy's.
	Path string

	Methods []string // nil = any; GET lets HEAD through
	Rule    Rule
}

// Verdict is the answer. The zero value denies.
type Verdict int

const (
	Deny   Verdict = iota // signed in or not, this person may not enter
	SignIn                // somebody who is signed in might
	Allow
)

// String gives the word for the log: deny, sign_in, allow.
func (v Verdict) String() string {
	switch v {
	case SignIn:
		return "sign_in"
	case Allow:
		return "allow"
	}
	return "deny"
}

// Why a verdict is not Allow.
const (
	NoRoute       = "no_route"       // Deny: no route matches
	NotAllowed    = "not_allowed"    // Deny: the rule does not name this person; only here a grant could let them in
	NotAll        = "not_all"        // Deny: an entry of Rule.All does not hold
	Denied        = "denied"         // Deny: Rule.Deny names the person or the client
	AmbiguousPath = "ambiguous_path" // Deny: readings of the path meet different routes, or its letter case decides
	NotSignedIn   = "sign_in"        // SignIn: the rule asks who it is
	NotFresh      = "not_fresh"      // SignIn: Rule.Fresh wants a newer sign-in of this person
	OddPath       = "odd_path"       // SignIn: the route is public, but the path is not written plainly
)

// Decision is a verdict and what led to it. The zero value is Deny.
type Decision struct {
	Verdict Verdict

	// Route is the index of the deciding route; -1 for NoRoute, for
	// AmbiguousPath, and for an Allow of an unknown path, which all routes gave.
	Route int

	Rule   string // what lets in: "public", "signed_in", "departments 42" …, "grant"; "" unless Allow
	Reason string // one of the constants above; "" with Allow
}

// Code is the reason as people and programs receive it: which part of a rule keeps
// somebody out is the operator's to know.
func (d Decision) Code() string {
	if d.Reason == NotAll || d.Reason == Denied {
		return NotAllowed
	}
	return d.Reason
}

// Everybody reports whether the decision lets everybody in, without a session and from anywhere
// they are.
func (d Decision) Everybody() bool {
	return d.Verdict == Allow && (d.Rule == rulePublic || d.Rule == ruleEvery)
}

const (
	rulePublic = "public"
	ruleGrant  = "grant"
	ruleEvery  = "every route"
)

// Policy answers for a list of routes. Build it with New; the zero Policy denies
// everything. It never changes and is safe for concurrent use.
//
// A rule must not be bypassed by letter case: Express, IIS and file systems that
// fold case serve /ADMIN/x as /admin/x. So a path is AmbiguousPath when its own
// spelling and its ASCII-lowered spelling, matched against routes in lower case,
// select routes with different rules (threats P19). See CaseSensitive.
type Policy struct {
	routes []route
	folds  bool // letter case can change the rule
	upper  bool // … of a path in lower case too, since a route is not
}

// New compiles routes. It refuses whatever Config.Check calls a mistake in a
// host, path, method or listed name: a route that silently matched nothing would
// hand its pages to the next, weaker one. No routes make a Policy that denies
// everything.
func New(routes []Route) (*Policy, error) {
	p := &Policy{routes: make([]route, len(routes))}
	var errs []error
	for i, r := range routes {
		for _, f := range r.faults() {
			if !f.warning {
				errs = append(errs, fmt.Errorf("access: compiling routes[%d]: %s %s", i, f.part, f.text))
			}
		}
		p.routes[i] = compile(r)
		p.routes[i].same = slices.IndexFunc(p.routes[:i+1], func(o route) bool {
			return reflect.DeepEqual(o.rule, p.routes[i].rule)
		})
		p.folds = p.folds || p.routes[i].same > 0
		p.upper = p.upper || hasUpper(r.Path)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// Decide is the only place that says who may enter. A nil u, or one without a
// Username, is somebody who has not signed in.
//
// What t leaves open never allows anything: a route whose host or method can
// not be compared is passed over, and still has to allow the person.
func (p *Policy) Decide(t Target, u *identity.User) Decision {
	return p.decide(&t, u, nil)
}

func (p *Policy) decide(t *Target, u *identity.User, steps *trace) Decision {
	q := ask(t, u, steps)
	d := p.first(&q, t.Path)
	for _, reading := range t.Readings {
		steps.reading(reading)
		if p.first(&q, reading).Route != d.Route {
			steps.add(-1, "the readings of the path meet different routes")
			return Decision{Deny, -1, "", AmbiguousPath}
		}
	}
	if p.folds && !t.Unknown && d.Route >= 0 && p.caseDecides(&q, d, t) {
		return Decision{Deny, -1, "", AmbiguousPath}
	}
	for _, variant := range t.Variants {
		steps.variant(variant)
		d = p.sterner(&q, d, variant)
	}
	return d
}

// sterner is d, or what the rule says that a variant selects when that lets fewer
// people in. A variant that selects no route is ignored.
func (p *Policy) sterner(q *question, d Decision, variant string) Decision {
	e := p.first(q, variant)
	if e.Route >= 0 && e.Verdict < d.Verdict {
		d = e
	}
	if p.folds && (p.upper || hasUpper(variant)) {
		if e = p.folded(q, variant); e.Route >= 0 && e.Verdict < d.Verdict {
			d = e
		}
	}
	return d
}

// first judges by the first route that matches path. Routes that perhaps match
// cannot let anybody in, but the sternest of them can keep out: otherwise a
// gateway that reports no method would lead around a rule for POST (threats F6).
func (p *Policy) first(q *question, path string) Decision {
	sternest := Decision{Allow, -1, ruleEvery, ""}
	for i := range p.routes {
		switch p.routes[i].match(q, i, path) {
		case perhaps:
			if d := p.routes[i].judge(q, i); d.Verdict < sternest.Verdict {
				sternest = d
			}
		case yes:
			if d := p.routes[i].judge(q, i); d.Verdict <= sternest.Verdict {
				return d
			}
			return sternest
		}
	}
	if q.target.Unknown && len(p.routes) > 0 {
		return sternest
	}
	q.steps.add(-1, "no route matches")
	return Decision{Deny, -1, "", NoRoute}
}

// Freshness is the strictest Fresh among the routes that t may be for, for any person,
// and whether a silent sign-in counts at all of them; 0: none has any.
func (p *Policy) Freshness(t Target) (fresh time.Duration, silent bool) {
	silent = true
	q := ask(&t, nil, nil)
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
