// Package proxy is the authenticating reverse proxy: it matches a request to a route, finds out who
// may enter, forwards or answers.
//
//	request ─► Handler.Serve ─► session ─► access.Policy ─┬─ SignIn ─► RequireSignIn (login)
//	                                                    ├─ Deny ───► 403, 404, 400
//	                                                    └─ Allow ──► Upstream
//	   client ◄── answer, less our cookies and names ◄── rewrite ─► application
//	                                                     less forged names and our cookies,
//	                                                     plus the person's headers
//
// Handler.Authorize decides the same for gateways, which forward by themselves.
// Host and path of a request have been judged by internal/web before it comes
// here; rules live in proxy/access, sessions in session, the sign-in in
// proxy/login.
package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// Handler authorizes and forwards. Routes, Sessions, RequireSignIn and Origins are
// required. Set the fields, then share the pointer; safe for concurrent use.
type Handler struct {
	Routes   *Routes
	Sessions *session.Manager
	Origins  *web.Origins

	// RequireSignIn answers a request that needs a session and has none; it is
	// login.Flow.RequireSignIn. target is where the browser comes back to: a path
	// on public_url, or one of our absolute URLs.
	RequireSignIn func(w http.ResponseWriter, r *http.Request, target string) error

	// Reauthenticate answers a request whose sign-in is not recent enough for its route; it is
	// login.Flow.Reauthenticate, with target as in RequireSignIn. If nil, nobody enters.
	Reauthenticate func(w http.ResponseWriter, r *http.Request, target string, q web.Reauthentication) error

	// Credentials, when set, finds the person behind an Authorization header of
	// an API client; it is not called for a request without one. A foreign
	// credential without an error is a scheme that is not ours: the cookie
	// counts. An error is one of session.Manager's Load: a client that sends a
	// wrong credential is nobody, whatever cookie comes with it, and gets 401 in
	// JSON; a page behind a rule that lets everybody in is served. A *web.Error
	// is answered as it is: nothing was verified.
	Credentials func(ctx context.Context, q CredentialQuery) (Credential, error)

	// MaxWait is how long a request waits for a membership check that is
	// overdue; 0 does not wait.
	MaxWait time.Duration

	// Failed is called for each request that an upstream failed to answer. reason is
	// upstream_unreachable, upstream_timeout, bad_gateway or upstream_aborted.
	// If nil, it is not called.
	Failed func(route, reason string)

	// HSTS, when set, is the ready value of Strict-Transport-Security on whatever
	// an upstream answers; what the upstream says itself goes. Nil leaves it.
	HSTS []string

	// Streams, when set, tracks the open WebSockets and event streams, so that a
	// process that is to stop can end them. A Handler that replaces another shares
	// it, so that open connections are judged by its rules.
	Streams *ConnTracker

	// AskURL is a path on our own origin where a person can ask for access to a page.
	// If nil, nobody can.
	AskURL func(wanted string) string

	once   sync.Once
	nobody []identity.Header // headers.response, all of them empty
}

// assertionHeader carries the signed proof of who a person is (see Route.Assert).
const assertionHeader = "X-Dinggate-Assertion"

var unproven = []string{""}

func (h *Handler) init() {
	h.once.Do(func() {
		h.nobody = h.Sessions.Headers.Response.Render(nil, identity.Token{})
	})
}

// Authenticate finds the session of a request for a canonical host: by its
// credential if it sends one, otherwise by its cookie. A wrong credential never falls through to another
// identity. Errors are those of Credentials and of session.Manager's Load;
// maxWait is as in Handler.MaxWait.
func (h *Handler) Authenticate(ctx context.Context, client netip.Addr, host string, header http.Header,
	maxWait time.Duration) (s *session.Session, credential bool, err error) {
	who, err := h.identify(ctx, CredentialQuery{Client: client, Lines: header["Authorization"]}, host, header, maxWait)
	return who.Session, who.sent, err
}

// retryAfter is how long a browser is to wait while a store or DingTalk fails.
const retryAfter = 5 * time.Second

// Serve answers a routed request; it is a web.HandlerFunc and wants the
// web.Exchange of a Chain.
//
// A cookie that is no session is not cleared here: the sign-in that follows
// replaces it, and of two cookies of the name it is unknown which to clear.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	upgrade := len(r.Header["Upgrade"]) > 0
	err := h.serve(w, r, web.From(w))
	if err != nil && upgrade {
		// Whatever follows a refused handshake was meant for the new protocol; it
		// must not be read as requests (RFC 9931 §4, threats M8).
		w.Header()["Connection"] = closing
	}
	return err
}

var closing = []string{"close"}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	websocket, err := web.Upgrade(r)
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "websocket_handshake", Err: err}
	}
	d, err := h.authorize(r.Context(), target(x, r.Method), r.Header, h.MaxWait)
	x.Route, x.Rule, x.User, x.Verdict = d.Route, d.Rule, d.User(), d.Verdict.String()
	if err != nil {
		x.Verdict = Undecided(err)
		return err
	}
	if d.Verdict == access.Deny {
		return h.named(errorFor(d.Reason), &d, x, r)
	}
	route := h.Routes.of(d.Decision)
	if route == nil || route.Upstream == nil {
		x.Verdict = access.Deny.String() // nothing to enter here: do not send anybody to sign in first
		return errorFor(access.NoRoute)
	}
	if d.WrongCredential {
		web.AsJSON(r)
		return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials", Err: d.dead}
	}
	if d.Fresh > 0 && h.Reauthenticate != nil {
		return h.Reauthenticate(w, r, h.target(x, r), web.Reauthentication{
			Fresh: d.Fresh, Silent: d.FreshSilent, APIClient: d.APIClient(),
		})
	}
	if d.Verdict != access.Allow {
		// worth a record: an attempt, or two cookies of the name (threats C3)
		if errors.Is(d.dead, session.ErrForged) {
			x.Err = &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: d.dead}
		}
		return h.RequireSignIn(w, r, h.target(x, r))
	}
	if d.withheld {
		delete(r.Header, "Authorization") // it was for us, or may have been
	}
	websocket = websocket && route.WebSocket && !route.Upstream.h2c
	if websocket && !h.ownOrigin(r) {
		x.Verdict = access.Deny.String()
		return &web.Error{
			Status: http.StatusForbidden,
			Code:   "cross_site",
			Err:    errors.New("proxy: WebSocket from a page of another origin"),
		}
	}
	return h.forward(w, r, &proxiedRequest{
		x:          x,
		handler:    h,
		route:      route,
		session:    d.Session,
		credential: d.credential,
		grant:      d.Grant,
		websocket:  websocket,
	})
}

// named adds to a refusal who the person is here, and how to come back to
// what they asked for as another person.
func (h *Handler) named(e *web.Error, d *Decision, x *web.Exchange, r *http.Request) error {
	u := d.Person()
	if e.Status != http.StatusForbidden || u == nil {
		return e
	}
	e.Who = u.FullName()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		e.Wanted = h.target(x, r)
		e.Request = h.askURL(d, e.Wanted)
	}
	return e
}

func target(x *web.Exchange, method string) access.Target {
	return access.Target{
		Method:   method,
		Host:     x.Host,
		Path:     x.Path.Plain,
		Readings: x.Path.Readings,
		Variants: x.Path.Variants,
		Odd:      x.Path.Odd,
		Client:   x.Client,
	}
}

func errorFor(reason string) *web.Error {
	switch reason {
	case access.NoRoute:
		return &web.Error{Status: http.StatusNotFound, Code: "no_route"}
	case access.AmbiguousPath:
		return &web.Error{Status: http.StatusBadRequest, Code: "ambiguous_path"}
	}
	return &web.Error{Status: http.StatusForbidden, Code: "not_allowed"}
}

// target is where a browser comes back to after the sign-in: what it asked for,
// on the origin it asked, if that is ours.
func (h *Handler) target(x *web.Exchange, r *http.Request) string {
	uri := x.Path.Raw
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		uri += "?" + r.URL.RawQuery
	}
	if target, ok := h.Origins.Target(x.Scheme, x.Host, uri); ok {
		return target
	}
	if target, ok := h.Origins.Return(uri); ok {
		return target
	}
	return "/"
}
