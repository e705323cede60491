package proxy

import (
	"context"
	"slices"
	"time"

	"dinggate/internal/identity"
	"dinggate/proxy/access"
	"dinggate/session"
)

// Route is a route of the policy, and where it leads. Its Name is for logs and
// metrics.
type Route struct {
	access.Route
	Upstream  *Upstream // nil: only answers gateways; a direct request is 404
	WebSocket bool      // false: an Upgrade does not travel on

	// Assert makes the signed proof of who a session is, for this route alone, and of
	// the grant that lets it in ("": the rule itself does), as
	// the ready value of a header that nobody writes to; nil if it cannot. A nil
	// func sends none; all routes have one, or none has.
	Assert func(s *session.Session, grant string) []string

	// Granted reports whether a person was let in here for a while, by which grant and
	// until when. An error says that nothing is known. Nil: nobody can ask for access.
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
	grants bool // some route can be asked for
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
	return &Routes{policy, list, grants}, nil
}

// of is the route that a decision of the policy names; nil if it names none.
func (r *Routes) of(d access.Decision) *Route {
	if d.Route < 0 || d.Route >= len(r.list) {
		return nil
	}
	return &r.list[d.Route]
}
