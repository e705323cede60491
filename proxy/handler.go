// Package proxy is the authenticating reverse proxy: it matches a request to a route, authorizes it,
// and forwards it or answers.
//
//	request ─► Handler.Serve ─► session ─► access.Policy ─┬─ SignIn ─► RequireSignIn (login)
//	                                                      ├─ Deny ───► 403, 404, 400
//	                                                      └─ Allow ──► Upstream.rewrite ─► application
//	client ◄─ Upstream.modify ◄─ answer ◄────────────────────────────────────┘
//
// rewrite removes our cookies and the identity headers that the client sent, and sets those
// of the person; modify removes our cookies and headers that the application sent. watch
// ends an open stream with its session, its grant or its rule.
//
// Handler.Authorize makes the same decision for gateways, which forward by
// themselves. Host and path of a request have been made canonical by internal/web;
// rules are in proxy/access, sessions in session, the sign-in in proxy/login.
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
	// login.Flow.RequireSignIn. target is where the browser returns afterwards: a path
	// on public_url, or one of our absolute URLs.
	RequireSignIn func(w http.ResponseWriter, r *http.Request, target string) error

	// Reauthenticate answers a request whose sign-in is not recent enough for its
	// route; it is login.Flow.Reauthenticate, with target as in RequireSignIn. If nil,
	// such a request is denied.
	Reauthenticate func(w http.ResponseWriter, r *http.Request, target string, q web.Reauthentication) error

	// Credentials, if set, verifies the Authorization header of an API client; it is
	// not called for a request without one. If Foreign is set without an error, the
	// scheme is not ours, and the cookie is used. Errors are those of
	// session.Manager's Load: a client that sends a wrong credential is not
	// authenticated, whatever cookie it sends, and gets 401 in JSON; a public page is
	// served. A *web.Error is answered as it is: nothing was verified.
	Credentials func(ctx context.Context, q CredentialQuery) (Credential, error)

	// MaxWait is how long a request waits for a membership check that is
	// overdue; 0 does not wait.
	MaxWait time.Duration

	// Failed is called for each request that an upstream failed to answer. reason is
	// upstream_unreachable, upstream_timeout, bad_gateway or upstream_aborted.
	// If nil, it is not called.
	Failed func(route, reason string)

	// HSTS, if set, is the value of Strict-Transport-Security on every answer of an
	// upstream, replacing the upstream's own. If nil, the upstream's stays.
	HSTS []string

	// Streams, if set, tracks the open WebSockets and event streams, so that a
	// shutdown can end them. A Handler that replaces another shares it, so that open
	// connections are authorized by the new rules.
	Streams *ConnTracker

	// AskURL returns the path on public_url at which a user can request access to
	// wanted, which is as target in RequireSignIn. If nil, access cannot be requested.
	AskURL func(wanted string) string

	once  sync.Once
	empty []identity.Header // headers.response without values
}

// assertionHeader carries the signed identity assertion (see Route.Assert).
const assertionHeader = "X-Dinggate-Assertion"

var unproven = []string{""}

func (h *Handler) init() {
	h.once.Do(func() {
		h.empty = h.Sessions.Headers.Response.Render(nil, identity.Token{})
	})
}

// Authenticate loads the session of a request for a canonical host: by its credential
// if it has one, otherwise by its cookie. credential reports that the request has an
// Authorization header which is ours to verify: a wrong one never falls through to
// another identity. Errors are those of Credentials and of session.Manager's Load;
// maxWait is as in Handler.MaxWait.
func (h *Handler) Authenticate(ctx context.Context, client netip.Addr, host string, header http.Header,
	maxWait time.Duration) (s *session.Session, credential bool, err error) {
	who, err := h.identify(ctx, CredentialQuery{Client: client, Lines: header["Authorization"]}, host, header, maxWait)
	return who.Session, who.sent, err
}

// retryAfter is the Retry-After while a store or DingTalk fails.
const retryAfter = 5 * time.Second

// Serve answers a routed request; it is a web.HandlerFunc and requires the
// web.Exchange of a Chain.
//
// An invalid session cookie is not cleared here: the sign-in that follows replaces it,
// and of two cookies with the name it is unknown which one to clear.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	upgrade := len(r.Header["Upgrade"]) > 0
	err := h.serve(w, r, web.From(w))
	if err != nil && upgrade {
		// The bytes after a refused handshake belong to the new protocol; they must
		// not be parsed as requests (RFC 9931 §4, threats M8).
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
	x.Route, x.Rule, x.User, x.Verdict = d.Route, d.Rule, d.Username(), d.Verdict.String()
	if err != nil {
		x.Verdict = Undecided(err)
		return err
	}
	if d.Verdict == access.Deny {
		return h.named(errorFor(d.Reason), &d, x, r)
	}
	route := h.Routes.of(d.Decision)
	if route == nil || route.Upstream == nil {
		x.Verdict = access.Deny.String() // no upstream: do not start a sign-in first
		return errorFor(access.NoRoute)
	}
	if d.WrongCredential {
		web.AsJSON(r)
		return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials", Err: d.sessionErr}
	}
	if d.Fresh > 0 {
		if h.Reauthenticate == nil { // a sign-in could be silent, which need not suffice: an endless loop
			x.Verdict = access.Deny.String()
			return errorFor(d.Reason)
		}
		return h.Reauthenticate(w, r, h.returnURL(x, r), web.Reauthentication{
			Fresh: d.Fresh, Silent: d.FreshSilent, APIClient: d.APIClient(),
		})
	}
	if d.Verdict != access.Allow {
		// logged, since it is an attack or two cookies with the name (threats C3)
		if errors.Is(d.sessionErr, session.ErrForged) {
			x.Err = &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: d.sessionErr}
		}
		return h.RequireSignIn(w, r, h.returnURL(x, r))
	}
	if d.withheld {
		delete(r.Header, "Authorization") // it was meant for us, or may have been
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

// named adds to a refusal the signed-in user, and the page to return to after
// switching accounts.
func (h *Handler) named(e *web.Error, d *Decision, x *web.Exchange, r *http.Request) error {
	u := d.Person()
	if e.Status != http.StatusForbidden || u == nil {
		return e
	}
	e.Who = u.FullName()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		e.Wanted = h.returnURL(x, r)
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

// returnURL is where the browser returns after the sign-in: the requested URL, if it is
// on one of our origins.
func (h *Handler) returnURL(x *web.Exchange, r *http.Request) string {
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
