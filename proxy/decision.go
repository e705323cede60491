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
	Session *session.Session // nil if not signed in
	Cookie  *http.Cookie     // a renewed session cookie; nil if not needed, or if the request is no page load

	// Headers are those of headers.response for a gateway to forward, every one of
	// them, empty if the value is unknown: if one were missing, a client's own copy
	// could pass (GHSA-7r4p-vjf4-gxv4).
	Headers []identity.Header

	// Assertion is the signed identity assertion for a gateway to forward: empty if
	// not signed in, nil if none is sent at all.
	Assertion []string

	// Fresh is how recent the sign-in would have to be; 0 unless that is the only
	// reason for the refusal (access.NotFresh).
	Fresh       time.Duration
	FreshSilent bool // a silent sign-in suffices

	// WrongCredential reports an Authorization header that is not valid where the
	// route requires a session: 401, never a sign-in.
	WrongCredential bool

	Grant string // the grant that allows access, "" if the rule itself does

	credential *CredentialQuery // the credential that the session belongs to; nil: a cookie, or no session
	withheld   bool             // the Authorization header is not forwarded
	sessionErr error            // why the cookie or credential is no valid session
}

// Username is the username, "" if not signed in.
func (d *Decision) Username() string {
	if d.Session == nil {
		return ""
	}
	return d.Session.User.Username
}

// Person is the user who is signed in by a cookie, nil if there is none or for an API
// client.
func (d *Decision) Person() *identity.User {
	if d.Session == nil || d.credential != nil {
		return nil
	}
	return &d.Session.User
}

// APIClient reports that the identity is that of a credential, and not of a cookie.
func (d *Decision) APIClient() bool { return d.credential != nil }

// Undecided is the verdict of a request for which Authorize returned err: unavailable
// if the state of the session is unknown, deny for a client that has made too many
// attempts.
func Undecided(err error) string {
	if e, ok := errors.AsType[*web.Error](err); ok && e.Status < http.StatusInternalServerError {
		return access.Deny.String()
	}
	return "unavailable"
}

// Authorize decides whether the request with these headers may access t, for every
// endpoint. An error is always a *web.Error of status 503, or 429 for an API client
// with too many attempts: the state of the session is unknown now, so keep the cookie
// and deny the request (threats V14, F14). maxWait is as Handler.MaxWait.
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
	if method == "" { // a gateway that does not report the method: assume a page load
		method = http.MethodGet
	}
	if h.Sessions.Renewable(d.Session) && web.IsPageLoad(method, header) {
		d.Cookie = h.Sessions.Renew(d.Session)
	}
	return d, nil
}

// assertion is Decision.Assertion. If the gateway does not report the path, the route
// is unknown unless there is only one, and so is the audience.
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
	who, sessionErr := h.identify(ctx, q, t.Host, header, maxWait)
	var user *identity.User
	if sessionErr == nil {
		user = &who.Session.User
	}
	t.SignIn = who.SignIn
	decided, grant, unknown := h.decide(ctx, t, user)
	d := Decision{
		Decision:   decided,
		Grant:      grant,
		Session:    who.Session,
		Headers:    h.empty,
		withheld:   who.withheld(),
		sessionErr: sessionErr,
	}
	if who.Session != nil {
		d.Headers = who.Session.Headers.Response
	}
	if who.sent && sessionErr == nil {
		d.credential = new(CredentialQuery{Client: q.Client, Lines: q.Lines})
	}
	d.WrongCredential = who.sent && sessionErr != nil && session.Absent(sessionErr) && d.Verdict == access.SignIn
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
	if sessionErr == nil || session.Absent(sessionErr) || d.Verdict != access.SignIn {
		return d, nil
	}
	d.Decision = access.Decision{Verdict: access.Deny, Route: d.Decision.Route}
	if e, ok := errors.AsType[*web.Error](sessionErr); ok {
		return d, e
	}
	return d, web.Unavailable(sessionErr, errors.Is(sessionErr, session.ErrUnconfirmed), retryAfter)
}
