package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// Decision is the outcome of one authorization. The zero value denies.
type Decision struct {
	access.Decision
	Route   string           // name of the deciding route; "" if there is none
	Session *session.Session // nil for nobody
	Cookie  *http.Cookie     // a renewed session for the browser; nil if there is no need, or no page load

	// Headers are those of headers.response for a gateway to hand on, every one of
	// them, empty where unknown: a missing one could let a client's own copy
	// through (GHSA-7r4p-vjf4-gxv4).
	Headers []identity.Header

	// Assertion is the signed proof of who this is, for a gateway to hand on: empty
	// for nobody, nil if none is sent at all.
	Assertion []string

	// Fresh is how recent the sign-in would have to be; 0 unless that is all that is
	// missing (access.NotFresh).
	Fresh       time.Duration
	FreshSilent bool // a silent sign-in would do

	// WrongCredential reports an Authorization header that is not valid where the
	// route requires a session: 401, never a sign-in.
	WrongCredential bool

	Grant string // the grant that lets in, "" where the rule itself does

	credential *CredentialQuery // the session is this credential's; nil: a cookie's, or there is none
	withheld   bool             // the Authorization header does not travel on
	dead       error            // why what was sent is no session
}

// User is the username, "" for nobody.
func (d *Decision) User() string {
	if d.Session == nil {
		return ""
	}
	return d.Session.User.Username
}

// Person is who is signed in by a cookie, nil for nobody and for an API client.
func (d *Decision) Person() *identity.User {
	if d.Session == nil || d.credential != nil {
		return nil
	}
	return &d.Session.User
}

// APIClient reports that a credential identified the person, and no cookie.
func (d *Decision) APIClient() bool { return d.credential != nil }

// Undecided is the verdict of a request about which Authorize returned err:
// unavailable while nothing is known about the session, deny for a client that has
// made too many attempts.
func Undecided(err error) string {
	if e, ok := errors.AsType[*web.Error](err); ok && e.Status < http.StatusInternalServerError {
		return access.Deny.String()
	}
	return "unavailable"
}

// Authorize decides whether the sender of h may enter t, for every endpoint. An
// error is always a *web.Error of status 503, or 429 for an API client with too
// many attempts: nothing is known about the session now, so keep the cookie and
// let nobody in (threats V14, F14). maxWait is as Handler.MaxWait.
func (h *Handler) Authorize(ctx context.Context, t access.Target, header http.Header,
	maxWait time.Duration) (Decision, error) {
	d, err := h.authorize(ctx, t, header, maxWait)
	if err == nil && d.Verdict == access.Allow {
		d.Assertion = h.assertion(&d)
	}
	if err != nil || d.Session == nil || d.credential != nil || d.Verdict != access.Allow {
		return d, err
	}
	method := t.Method
	if method == "" { // a gateway that does not report it asks about page loads like any other
		method = http.MethodGet
	}
	if h.Sessions.Renewable(d.Session) && web.IsPageLoad(method, header) {
		d.Cookie = h.Sessions.Renew(d.Session)
	}
	return d, nil
}

// assertion is Decision.Assertion. A path that the gateway did not report has no
// route, unless there is only one, and so none to prove anything to.
func (h *Handler) assertion(d *Decision) (value []string) {
	all := h.Routes.list
	if len(all) == 0 || all[0].Assert == nil { // all routes have one, or none
		return nil
	}
	route := h.Routes.of(d.Decision)
	if route == nil && len(all) == 1 {
		route = &all[0]
	}
	if d.Session != nil && route != nil {
		value = route.Assert(d.Session, d.Grant)
	}
	if value == nil { // a missing header could let a client's own copy through
		value = unproven
	}
	return value
}

func (h *Handler) authorize(ctx context.Context, t access.Target, header http.Header,
	maxWait time.Duration) (Decision, error) {
	h.init()
	q := h.credentialQuery(t, header)
	who, dead := h.identify(ctx, q, t.Host, header, maxWait)
	var user *identity.User
	if dead == nil {
		user = &who.Session.User
	}
	t.SignIn = who.SignIn
	decided, grant, unknown := h.decide(ctx, t, user)
	d := Decision{
		Decision: decided,
		Grant:    grant,
		Session:  who.Session,
		Headers:  h.nobody,
		withheld: who.withheld(),
		dead:     dead,
	}
	if who.Session != nil {
		d.Headers = who.Session.Headers.Response
	}
	if who.sent && dead == nil {
		d.credential = new(CredentialQuery{Client: q.Client, Lines: q.Lines})
	}
	d.WrongCredential = who.sent && dead != nil && session.Absent(dead) && d.Verdict == access.SignIn
	if route := h.Routes.of(d.Decision); route != nil {
		d.Route = route.Name
		if d.Reason == access.NotFresh {
			d.Fresh, d.FreshSilent = route.Rule.Fresh, route.Rule.FreshSilent
		}
	}
	if unknown != nil {
		return d, web.Unavailable(unknown, false, retryAfter)
	}
	// A verdict that does not depend on the person needs no session.
	if dead == nil || session.Absent(dead) || d.Verdict != access.SignIn {
		return d, nil
	}
	d.Decision = access.Decision{Verdict: access.Deny, Route: d.Decision.Route}
	if e, ok := errors.AsType[*web.Error](dead); ok {
		return d, e
	}
	return d, web.Unavailable(dead, errors.Is(dead, session.ErrUnconfirmed), retryAfter)
}
