package proxy

import (
	"context"
	"slices"
	"time"

	"dinggate/internal/identity"
	"dinggate/proxy/access"
	"dinggate/session"
)

// Route is a route of the policy with its upstream. Its Name is for logs and metrics.
type Route struct {
	access.Route
	Upstream  *Upstream // nil: for authorization subrequests only; a direct request is 404
	WebSocket bool      // false: an Upgrade header is not forwarded

	// Assert makes the signed identity assertion of a session, for this route alone,
	// with the grant that allows access ("": the rule itself does), as the read-only
	// value of a header; nil if it cannot. If the func is nil, none is sent; either
	// all routes have one, or none has.
	Assert func(s *session.Session, grant string) []string

	// Granted reports whether a user has a grant for this route, its id and its
	// expiry. An error means that this is unknown. If nil, access cannot be requested.
	Granted func(context.Context, *identity.User) (id string, until time.Time, err error)

	// OnResponse receives how long after the arrival of a request the upstream's
	// response headers came. If nil, it is not called.
	OnResponse func(time.Duration)
}

// Routes is a list of routes with the policy that selects among them. Build it
// with NewRoutes; it never changes, and is safe for concurrent use.
type Routes struct {
	policy *access.Policy
	list   []Route
	grants bool // access can be requested for some route
	recent bool // some route requires a recent sign-in
}

// NewRoutes compiles routes; the first that matches a request decides. Errors are
// those of access.New, caseSensitive is access.Policy.CaseSensitive.
func NewRoutes(list []Route, caseSensitive bool) (*Routes, error) {
	rules := make([]access.Route, len(list))
	for i := range list {
		rules[i] = list[i].Route
	}
	policy, err := access.New(rules)
	if err != nil {
		return nil, err
	}
	if caseSensitive {
		policy = policy.CaseSensitive()
	}
	grants := slices.ContainsFunc(list, func(r Route) bool { return r.Granted != nil })
	recent := slices.ContainsFunc(list, func(r Route) bool { return r.Rule.Fresh > 0 })
	return &Routes{policy, list, grants, recent}, nil
}

// of returns the route that a decision of the policy names; nil if it names none.
func (r *Routes) of(d access.Decision) *Route {
	if d.Route < 0 || d.Route >= len(r.list) {
		return nil
	}
	return &r.list[d.Route]
}
