// Package forwardauth answers authorization subrequests of gateways.
//
//	gateway ─► /auth, /forward-auth, /ext-authz/… ─► Dialect.Original ─► Target ─► Authorize (proxy)
//	        ◄─ 200 + headers | Dialect's refusal  ◄──────────────────── Decision ◄──┘
//
// Each endpoint has one dialect and one list of sources for the original request; nothing is
// inferred from a User-Agent. The body is never read. An answer waits for the network only if
// the recheck of the person is overdue, with a deadline. Package proxy authorizes.
package forwardauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/access"
)

// Handler answers the authorization subrequests of gateways. All fields except Hosts, Proofs and
// AtRoot are required. Safe for concurrent use after Handlers has been called.
type Handler struct {
	Prefix   string // of dinggate's endpoints, such as /oauth2
	Origins  *web.Origins
	LoginURL func(target string) string // absolute address of /start with its rd

	// ReauthURL is LoginURL for a person whose sign-in is not recent enough; it is
	// login.Flow.ReauthURL.
	ReauthURL func(target string, silent bool) string

	// Authorize is proxy.Handler.Authorize, and MaxWait its last argument.
	Authorize func(context.Context, access.Target, http.Header, time.Duration) (proxy.Decision, error)
	MaxWait   time.Duration

	// AtRoot also treats GET / as an authorization subrequest, as oauth2-proxy does with
	// `upstreams = static://202`. Set it only if no route has an upstream, so that nothing else is
	// served at /. The peer must be trusted and send method and path as at forward-auth; any other
	// request is not a subrequest.
	AtRoot bool

	// Hosts are the hosts that subrequests may name; if nil, all are allowed.
	Hosts *web.Hosts

	// Proofs are the names of headers.response that carry an access token. Like the assertion they
	// prove a person to other services, so that only trusted peers receive them.
	Proofs []string
}

// Dialect is how one family of gateways sends a subrequest, and which refusals it understands.
type Dialect struct {
	Name string

	// Original returns the original request. An error means that its sources are incomplete,
	// repeated, contradictory or malformed: the request is denied.
	Original func(g *Handler, x *web.Exchange, r *http.Request) (OriginalRequest, error)

	// Plain marks gateways that understand only 200, 401 and 403 and turn any other status into
	// 500.
	Plain bool
}

// OriginalRequest is the original request as a gateway reports it.
type OriginalRequest struct {
	Method       string // "" when unknown
	Scheme, Host string // canonical
	OwnName      bool   // Host is the name by which a trusted gateway reaches us: it does not report the browser's
	URI          string // raw path and query; "" when unknown
}

// errOriginal is returned for every original request that cannot be trusted.
var errOriginal = errors.New(
	"forwardauth: the gateway's account of the original request is missing a part, repeated, contradictory or " +
		"unreadable",
)

// Handlers returns a lookup of the handler for a raw path, nil for any other path.
func (h *Handler) Handlers() func(rawPath string) web.HandlerFunc {
	auth, forward, ext := h.handler(nginx), h.handler(forwarded), h.handler(envoy)
	root := func(w http.ResponseWriter, r *http.Request) error {
		if !web.From(w).Trusted || r.Method != http.MethodGet || len(r.Header["X-Forwarded-Uri"]) == 0 ||
			len(r.Header["X-Forwarded-Method"]) == 0 {
			return web.ErrNotSubrequest
		}
		return forward(w, r)
	}
	authPath, forwardPath, extPath := h.Prefix+"/auth", h.Prefix+"/forward-auth", h.Prefix+"/ext-authz"
	return func(rawPath string) web.HandlerFunc {
		switch {
		case rawPath == authPath:
			return auth
		case rawPath == forwardPath:
			return forward
		case rawPath == "/" && h.AtRoot:
			return root
		case strings.HasPrefix(rawPath, extPath) && (len(rawPath) == len(extPath) || rawPath[len(extPath)] == '/'):
			return ext
		}
		return nil
	}
}

func (h *Handler) handler(d Dialect) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		x := web.From(w)
		x.Endpoint = d.Name
		if r.ContentLength != 0 {
			// nginx announces a body and sends none: on a kept-alive connection the server would
			// wait for it before it answers.
			w.Header()["Connection"] = closing
		}
		defer func() { // a panic is never 200, and never 401, which would start a sign-in
			if v := recover(); v != nil {
				err = d.unavailable(w, web.Panicked(v))
			}
		}()
		q, err := d.Original(h, x, r)
		if err != nil {
			return d.unavailable(w, &web.Error{Status: http.StatusBadRequest, Code: "bad_forwarded", Err: err})
		}
		return h.answer(d, q, x, r)
	}
}

func (h *Handler) answer(d Dialect, q OriginalRequest, x *web.Exchange, r *http.Request) error {
	if web.NeverForwarded(q.Method) {
		return d.unavailable(x, &web.Error{Status: http.StatusForbidden, Code: "method_not_allowed"})
	}
	if q.Scheme == "https" && len(r.Header["Http2-Settings"]) > 0 {
		return d.unavailable(x, &web.Error{Status: http.StatusForbidden, Code: "bad_forwarded", Err: errH2C})
	}
	x.Scheme, x.Host = q.Scheme, q.Host
	// never 421, which some gateways treat as a failure of dinggate (threats W12)
	if !q.OwnName && !h.Hosts.Serves(q.Host, r) {
		return d.unavailable(x, web.UnknownHost(http.StatusForbidden, q.Host, x.Trusted))
	}
	target, err := h.target(q, x)
	if err != nil {
		return d.unavailable(x, err)
	}
	decision, err := h.Authorize(r.Context(), target, r.Header, h.MaxWait)
	x.Route, x.Rule, x.User = decision.Route, decision.Rule, decision.Username()
	if err != nil {
		x.Verdict = proxy.Undecided(err)
		return d.unavailable(x, err)
	}
	if decision.WrongCredential {
		x.Verdict = "deny"
		return d.wrongCredential(x, r)
	}
	switch decision.Verdict {
	case access.Allow:
		if decision.Session != nil && h.otherHost(q, r) {
			x.Verdict = "deny"
			return d.unavailable(x, &web.Error{
				Status: http.StatusForbidden,
				Code:   "cross_site",
				Err:    errors.New("forwardauth: WebSocket from a page of another origin"),
			})
		}
		x.Verdict = "allow"
		h.allow(q, x, r, &decision)
		return nil
	case access.SignIn:
		x.Verdict = "sign_in"
		if decision.Fresh > 0 {
			return h.reauthenticate(d, q, x, r, &decision)
		}
		return h.signIn(d, q, x, r)
	}
	x.Verdict = "deny"
	e := &web.Error{Status: http.StatusForbidden, Code: decision.Code()}
	if person := decision.Person(); person != nil {
		e.Who, e.Wanted = person.FullName(), h.back(q, r)
	}
	return d.unavailable(x, e)
}

// errH2C is an upgrade to HTTP/2 without TLS, which no browser requests over TLS. A gateway that
// forwards Upgrade would open a tunnel whose requests are not authorized (threats M6).
var errH2C = errors.New("forwardauth: an upgrade to h2c")

// otherHost reports a WebSocket handshake by a page that is neither ours nor on the host of the
// original request: browsers send cookies with handshakes of any page, and the same-origin policy
// does not apply (threats W3). Gateways remove Upgrade and keep the key.
func (h *Handler) otherHost(q OriginalRequest, r *http.Request) bool {
	origin := r.Header["Origin"]
	if len(r.Header["Sec-Websocket-Key"]) == 0 || len(origin) == 0 {
		return false
	}
	if len(origin) > 1 {
		return true
	}
	scheme, host, _ := strings.Cut(origin[0], "://")
	own, err := web.CleanHost(host, scheme)
	return !h.Origins.Ours(origin[0]) && (err != nil || own != q.Host)
}

// target returns the original request in canonical form, by the rules that apply at every
// endpoint.
func (h *Handler) target(q OriginalRequest, x *web.Exchange) (access.Target, error) {
	t := access.Target{Method: q.Method, Host: q.Host, Client: x.Client, Unknown: q.URI == ""}
	if t.Unknown {
		return t, nil
	}
	raw, _, _ := strings.Cut(q.URI, "?")
	path, err := web.CleanPath(raw)
	if err != nil {
		return t, &web.Error{Status: http.StatusBadRequest, Code: "bad_path", Err: err}
	}
	if web.UnderFold(path.Plain, h.Prefix) { // a redirect here would be an endless loop
		return t, &web.Error{
			Status: http.StatusForbidden,
			Code:   "own_prefix",
			Err:    errors.New("forwardauth: exempt " + h.Prefix + "/ in the gateway"),
		}
	}
	for _, reading := range path.Readings {
		if web.UnderFold(reading, h.Prefix) {
			return t, &web.Error{Status: http.StatusForbidden, Code: "own_prefix"}
		}
	}
	x.Path = path
	t.Path, t.Readings, t.Variants, t.Odd = path.Plain, path.Readings, path.Variants, path.Odd
	return t, nil
}

// reauthenticate is signIn for a person whose sign-in is not recent enough.
func (h *Handler) reauthenticate(d Dialect, q OriginalRequest, x *web.Exchange, r *http.Request,
	decision *proxy.Decision) error {
	again := web.Reauthentication{
		Fresh: decision.Fresh, Silent: decision.FreshSilent, APIClient: decision.APIClient(),
	}
	navigates := !again.APIClient && web.IsTopLevel(q.method(r), r.Header)
	if d.Plain || !navigates {
		x.Header()["Www-Authenticate"] = []string{again.Challenge()}
	}
	switch address := h.ReauthURL(h.back(q, r), again.Silent); {
	case d.Plain:
		web.BareHeaders(x)
		x.WriteHeader(http.StatusUnauthorized)
		return nil
	case !navigates:
		web.AsJSON(r)
		return again.Error(address)
	default:
		web.SecurityHeaders(x, "")
		x.Header()["Location"] = []string{address}
		x.WriteHeader(http.StatusFound)
		return nil
	}
}

func (h *Handler) signIn(d Dialect, q OriginalRequest, x *web.Exchange, r *http.Request) error {
	if d.Plain {
		web.BareHeaders(x)
		x.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	login := h.LoginURL(h.back(q, r))
	if !web.IsTopLevel(q.method(r), r.Header) {
		web.AsJSON(r) // the subrequest is a GET whatever the original method is: a form's POST must not get a page
		return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", LoginURL: login}
	}
	web.SecurityHeaders(x, "")
	x.Header()["Location"] = []string{login}
	x.WriteHeader(http.StatusFound)
	return nil
}

// back is the URL that the browser returns to.
func (h *Handler) back(q OriginalRequest, r *http.Request) string {
	uri := q.URI
	if uri == "" || q.method(r) != http.MethodGet && q.method(r) != http.MethodHead {
		uri = "/"
	}
	if target, ok := h.Origins.Target(q.Scheme, q.Host, uri); ok {
		return target
	}
	return "/"
}

// method is the original method if it is known, otherwise that of the subrequest.
func (q OriginalRequest) method(r *http.Request) string {
	if q.Method != "" {
		return q.Method
	}
	return r.Method
}

// unavailable answers with a refusal that the gateway understands. To a Plain gateway every
// refusal is 403, with the reason in a header.
func (d Dialect) unavailable(w http.ResponseWriter, err error) error {
	e, ok := errors.AsType[*web.Error](err)
	if !ok {
		e = &web.Error{Status: http.StatusInternalServerError, Code: "internal", Err: err}
	}
	if !d.Plain {
		return e
	}
	w.Header()["X-Dinggate-Reason"] = []string{e.Code}
	return &web.Error{Status: http.StatusForbidden, Code: e.Code, Err: e.Err}
}

var closing = []string{"close"}
