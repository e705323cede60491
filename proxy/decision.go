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

// Answer is what Ask found out. The zero Answer keeps everybody out.
type Answer struct {
	Decision access.Decision
	Session  *session.Session // nil for nobody
	Route    string           // name of the deciding route; "" when there is none
	Cookie   *http.Cookie     // a renewed session for the browser; nil when there is no need, or no page load

	// Assertion is the signed proof of who this is, for a gateway to hand on: empty
	// for nobody, nil where none is sent at all.
	Assertion []string

	// an Authorization header came that opens nothing, and somebody has to be known here: 401,
	// never a sign-in
	WrongCredential bool

	credential *CredentialQuery // what stands for the session; nil: a cookie, or nothing
	withheld   bool             // the Authorization header does not travel on
	dead       error            // why what was sent is no session
	nobody     []identity.Header
}

// User is the username, "" for nobody.
func (a *Answer) User() string {
	if a.Session == nil {
		return ""
	}
	return a.Session.User.Username
}

// Person is who is signed in by a cookie, nil for nobody and for an API client.
func (a *Answer) Person() *identity.User {
	if a.Session == nil || a.credential != nil {
		return nil
	}
	return &a.Session.User
}

// Headers are those of headers.response for a gateway to hand on, every one of
// them, empty where unknown: a missing one could let a client's own copy
// through (GHSA-7r4p-vjf4-gxv4).
func (a *Answer) Headers() []identity.Header {
	if a.Session == nil {
		return a.nobody
	}
	return a.Session.Headers.Response
}

// Authorize decides whether the sender of h may enter t, for every endpoint. An error is always a
// *web.Error of status 503 (or 429, for an API client who tries too often): nothing is known about
// the session now, so keep the cookie and let nobody in (threats V14, F14). patience is as in
// Handler.MaxWait.
func (f *Handler) Authorize(ctx context.Context, t access.Target, h http.Header,
	patience time.Duration) (Answer, error) {
	a, err := f.authorize(ctx, t, h, patience)
	if err == nil && a.Decision.Verdict == access.Allow {
		a.Assertion = f.assertion(&a)
	}
	if err != nil || a.Session == nil || a.credential != nil || a.Decision.Verdict != access.Allow {
		return a, err
	}
	method := t.Method
	if method == "" { // a gateway that does not tell asks about page loads like any other
		method = http.MethodGet
	}
	if f.Sessions.Renewable(a.Session) && web.IsPageLoad(method, h) {
		a.Cookie = f.Sessions.Renew(a.Session)
	}
	return a, nil
}

// assertion is Answer.Assertion. A page that the gateway did not tell has no route,
// unless there is only one, and so none to prove anything to.
func (f *Handler) assertion(a *Answer) (value []string) {
	if len(f.Routes) == 0 || f.Routes[0].Assert == nil { // all routes have one, or none
		return nil
	}
	route := a.Decision.Route
	if route < 0 && len(f.Routes) == 1 {
		route = 0
	}
	if a.Session != nil && route >= 0 && route < len(f.Routes) {
		value = f.Routes[route].Assert(a.Session)
	}
	if value == nil { // a missing header could let a client's own copy through
		value = unproven
	}
	return value
}

func (f *Handler) authorize(ctx context.Context, t access.Target, h http.Header,
	patience time.Duration) (Answer, error) {
	f.init()
	q := f.credentialQuery(t, h)
	who, dead := f.identify(ctx, q, h, patience)
	var user *identity.User
	if dead == nil {
		user = &who.Session.User
	}
	d := f.Policy.Decide(t, user)
	a := Answer{Decision: d, Session: who.Session, withheld: who.withheld(), dead: dead, nobody: f.nobody}
	if who.sent && dead == nil {
		a.credential = new(CredentialQuery{Client: q.Client, Lines: q.Lines})
	}
	a.WrongCredential = who.sent && dead != nil && session.Absent(dead) && d.Verdict == access.SignIn
	if d.Route >= 0 && d.Route < len(f.Routes) {
		a.Route = f.Routes[d.Route].Name
	}
	// What lets nobody in particular in, or keeps everybody out, needs no session.
	if dead == nil || session.Absent(dead) || d.Verdict != access.SignIn {
		return a, nil
	}
	a.Decision = access.Decision{Verdict: access.Deny, Route: d.Route}
	if e, ok := errors.AsType[*web.Error](dead); ok {
		return a, e
	}
	return a, &web.Error{Status: http.StatusServiceUnavailable, Code: session.FailureCode(dead), Err: dead, RetryAfter: retryAfter}
}
