// Package login implements sign-in: it creates a session for a browser that has none.
//
//	page load ─► RequireSignIn ─┬─► attempt cookie + 302 ─► DingTalk ─► Callback ─► session cookie + 302 back
//	/start?rd= ─► Start ────────┘                                          │
//	                              state of this browser, used once ────────┤ otherwise 403, before any call
//	fetch, POST, WebSocket ─► 401 JSON with login_url                      └─► Provider.Exchange
//	page load on a host out of the cookie's reach ─► /leave on public_url ─► /arrive there (see handOver)
//	/sign_out ─► confirm ─► POST ─► revoked ─► signed-out page with a button
//
// Access rules are in proxy/access, sessions in session, pages in internal/page;
// DingTalk is behind Provider.
package login

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/store"
)

// Provider authenticates people.
type Provider interface {
	// AuthURL is the address that starts a sign-in, which ends at redirectURI with a code and the
	// same state. It makes no call.
	AuthURL(redirectURI, state string) string

	// Exchange redeems a code, once. Every error is or wraps *identity.Failure; a person without
	// an error is complete and a member.
	Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error)
}

// Flow is the sign-in of one installation. All fields down to ClientID are required (Check reports
// a missing one); the others have useful zero values. Its methods are web.HandlerFuncs, safe for
// concurrent use; a Flow must not be copied after first use.
//
// Each endpoint is served by a type of its own, which embeds the Flow: starter,
// completion, silentFlow, passwordForm, loginAPI, signOut, userInfo,
// ownSessions.
type Flow struct {
	Provider Provider
	Sessions *session.Manager
	Keyring  *keyring.Keyring
	Used     store.Store // the redeemed attempts; shared by all replicas, otherwise a replay would succeed once at each
	Pages    *page.Pages
	Origins  *web.Origins // knows public_url, on whose origin every sign-in ends
	Prefix   string       // of dinggate's endpoints, such as /oauth2
	ClientID string       // the app at DingTalk; an attempt for another app is refused

	// Tickets transfer a session to hosts that the cookie does not reach. If nil, hand-over is
	// disabled.
	Tickets Tickets

	// Queue makes sign-ins wait for their turn before their code is spent; see Silent.Queue. If
	// nil, none waits.
	Queue Queue

	// StrictAPI restricts LoginAPI to the published document: every refusal is a 500 with code
	// 500, also that of a person who has to bind an account, and `type` is 0 or 1.
	StrictAPI bool

	// AttemptIn names the callback parameter that carries the attempt's state, for a provider
	// whose `state` is its own; "" is state.
	AttemptIn string

	// Accounts are the local accounts, and which of them a DingTalk person is bound to. If nil,
	// there are none.
	Accounts *account.File
	People   *account.Policy

	// Interactive reports whether the page at target, a path or one of our absolute URLs, accepts
	// only a sign-in with a click: no silent sign-in is made for it. If nil, no page requires one.
	Interactive func(target string) bool

	// Hint returns the username that the page at target requests of the person who signs in, for the
	// form of the local accounts; "" is none. Anyone can write it: it is shown, and decides nothing.
	// If nil, there is none.
	Hint func(target string) string

	Silent    *Silent       // signs in inside the DingTalk client without a click; if nil, disabled
	QRLogin   string        // DingTalk's login_url, to draw its QR code on the sign-in page; "" draws none
	PageFirst bool          // show a page with a button before DingTalk
	MaxWait   time.Duration // how long one request waits for a membership check that is due; 0 is 3 s
	// Audit receives one event per sign-in, sign-out, refusal and binding. If it returns an error
	// for a sign_in, the sign-in is refused; its other errors are ignored. If nil, it is not
	// called.
	Audit func(Event) error
	Now   func() time.Time

	Limits
	turn atomic.Uint32 // the first slot tried for the last attempt
}

// Event is one audit record. It contains no code, state, token or cookie.
type Event struct {
	What      string // sign_in, sign_out, sessions_ended, application_ended, refused, bound, unbound
	How       string // silent, password or bind; "" is a redirect; sessions: from the page of one's own sessions
	Code      string // the reason for a refusal, such as not_member
	User      string // username, "" when unknown
	UserID    string
	Name      string // of the person who was refused
	UnionID   string // of the person who was bound
	Session   string // the session's id
	App       string // of application_ended: its client id
	Client    netip.Addr
	RequestID string
	Host      string // of the application, as the browser sent it
	UserAgent string // as sent
	Err       error  // detail for the operator, or nil
}

// about adds who was refused: u, or the person whom the provider's failure names.
func (e *Event) about(u *identity.User) {
	known := identity.Subject{UserID: u.UserID, Name: u.Name, UnionID: u.UnionID}
	if failure, ok := errors.AsType[*identity.Failure](e.Err); ok && known == (identity.Subject{}) {
		known = failure.Subject
	}
	e.UserID, e.Name, e.UnionID = known.UserID, known.Name, known.UnionID
}

// Check reports missing required fields.
func (f *Flow) Check() error {
	switch {
	case f.Provider == nil || f.Sessions == nil || f.Keyring == nil || f.Used == nil || f.Pages == nil || f.Origins == nil:
		return errors.New("login: checking the flow: Provider, Sessions, Keyring, Used, Pages and Origins are required")
	case f.Accounts != nil && f.Sessions.Accounts == nil:
		return errors.New(
			"login: checking the flow: with Accounts, Sessions.Accounts is required: otherwise no account's session is valid",
		)
	case !strings.HasPrefix(f.Prefix, "/") || strings.HasSuffix(f.Prefix, "/"):
		return errors.New("login: checking the flow: Prefix must begin with a slash and not end with one")
	case f.ClientID == "" || len(f.ClientID) > maxApp:
		return errors.New("login: checking the flow: ClientID is empty or too long")
	}
	return nil
}

// RequireSignIn answers a request for target that needs a session and has none. target is the
// request target as sent, or an absolute URL; it is checked here. A page load is redirected to
// sign in, by the silent page in the DingTalk client. Any other request gets 401 with a login_url
// that leads back to the page the person is on (the Referer if it is an allowed target, otherwise /): the URL
// of a fetch is no page (threats W9, W10). It sets no cookie, so that the 200 fetches of a page
// cannot displace the person's own attempts (S10).
func (f *Flow) RequireSignIn(w http.ResponseWriter, r *http.Request, target string) error {
	x := web.From(w)
	if !web.IsTopLevel(r.Method, r.Header) { // DingTalk's redirect to a frame would not carry the attempt's cookie
		return f.unauthenticated(r)
	}
	target, _ = f.urls().target(x, target)
	elsewhere := !f.urls().onPublic(x) || x.Scheme != f.Origins.Scheme()
	switch silent := (silentFlow{f}).wanted(r) && !f.wantsClick(target); {
	case silent && !elsewhere:
		return silentFlow{f}.show(w, r, x, target)
	case f.Silent != nil && web.IsDingTalk(r) && f.attempts().signedOutRecently(r):
		f.Pages.SignedOut(w, r, f.LoginURL(target))
	case f.Origins.Place(x.Host) != "":
		return handOver{f}.redirectToPublic(w, r, x, target, time.Time{})
	case !silent && (f.PageFirst || f.Accounts != nil):
		redirect(w, http.StatusFound, f.Origins.Public()+f.urls().path("/sign_in", target))
	case elsewhere:
		// The attempt cookie would be set on a host or a scheme from which it never reaches the
		// callback (threats S17).
		redirect(w, http.StatusFound, f.LoginURL(target))
	default:
		return starter{f}.redirectToProvider(w, r, x, target)
	}
	return nil
}

func (f *Flow) unauthenticated(r *http.Request) error {
	back := ""
	if referer := r.Header["Referer"]; len(referer) == 1 {
		back = referer[0]
	}
	return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", LoginURL: f.LoginURL(back)}
}

// LoginURL is the absolute URL at which a person can sign in and return to target, or to / if
// target is not an allowed one.
func (f *Flow) LoginURL(target string) string {
	target, _ = f.urls().allowed(target)
	if place, origin := f.Origins.PlaceOf(target); place != "" { // the sign-in begins on the page's own host
		return origin + f.urls().path("/start", target)
	}
	return f.Origins.Public() + f.urls().path("/start", target)
}

// getOnly refuses other methods, and prefetches (threats S13).
func getOnly(r *http.Request) error {
	if r.Method != http.MethodGet {
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET"}
	}
	if web.IsPrefetch(r) {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: errors.New("login: a prefetch")}
	}
	return nil
}

// redirect answers with a Location only: no page of dinggate, whose URL or Referer could contain a
// code, stays in the browser (threats S14, W11). Bytes above ASCII are percent-encoded, so that no
// decoder on the way turns them into a line break (R7).
func redirect(w http.ResponseWriter, status int, location string) {
	web.SecurityHeaders(w, "")
	w.Header()["Location"] = []string{web.EscapeNonASCII(location)}
	w.WriteHeader(status)
}

func addCookie(w http.ResponseWriter, c *http.Cookie) { w.Header().Add("Set-Cookie", c.String()) }

func (f *Flow) audit(x *web.Exchange, e Event) error {
	if f.Audit == nil {
		return nil
	}
	e.Client, e.RequestID, e.Host, e.UserAgent = x.Client, x.ID, x.Host, x.UserAgent
	return f.Audit(e)
}

// recorded writes the audit record of a sign-in. If the record is required and cannot be written,
// the session ends before its cookie is sent.
func (f *Flow) recorded(w http.ResponseWriter, r *http.Request, x *web.Exchange, e Event) error {
	err := f.audit(x, e)
	if err == nil {
		return nil
	}
	cookies := w.Header()["Set-Cookie"]
	w.Header()["Set-Cookie"] = slices.DeleteFunc(cookies, func(line string) bool { return strings.HasPrefix(line, f.Sessions.CookieName()+"=") })
	if gone := f.Sessions.Revoke(r.Context(), e.Session); gone != nil {
		err = errors.Join(err, gone)
	}
	x.User = ""
	return &web.Error{Status: http.StatusServiceUnavailable, Code: "audit_unavailable", RetryAfter: retryAfter, Err: err}
}

func (f *Flow) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}
