// Package login implements sign-in: it turns a browser without a session into one with a session.
//
//	page load ─► RequireSignIn ─┬─► attempt cookie + 302 ─► DingTalk ─► Callback ─► session cookie + 302 back
//	/start?rd= ─► Start ────────┘                                          │
//	                              state of this browser, used once ────────┤ otherwise 403, and the provider is not asked
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

// Provider is where people prove who they are.
type Provider interface {
	// AuthURL is the address that begins a sign-in and ends it at redirectURI
	// with a code and the same state. It makes no call.
	AuthURL(redirectURI, state string) string

	// Exchange redeems a code, once. Every error is or wraps *identity.Failure;
	// a person without an error is complete and a member.
	Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error)
}

// Flow is the sign-in of one installation. All fields down to ClientID are
// required (Check reports which is missing), the others have useful zeros. Its
// methods are web.HandlerFuncs, safe for concurrent use; a Flow must not be
// copied after first use.
//
// Each endpoint is served by a type of its own, which embeds the Flow: starter,
// completion, silentFlow, passwordForm, loginAPI, signOut, userInfo,
// ownSessions.
type Flow struct {
	Provider Provider
	Sessions *session.Manager
	Keyring  *keyring.Keyring
	Used     store.Store // remembers which attempts were redeemed; shared by all replicas, or a replay works once at each
	Pages    *page.Pages
	Origins  *web.Origins // knows public_url, on whose origin every sign-in ends
	Prefix   string       // of our own endpoints, such as /oauth2
	ClientID string       // the app at DingTalk; an attempt begun for one is worth nothing for another

	// Tickets are what brings a session to hosts out of the cookie's reach. Nil: there
	// are none.
	Tickets Tickets

	// Queue has sign-ins wait for their turn before their code is spent; see Silent.Queue.
	// Nil: none waits.
	Queue Queue

	// StrictAPI has LoginAPI answer as it did at first: every refusal is a 500 with
	// code 500, a person who has to bind an account among them, and `type` is 0 or 1.
	StrictAPI bool

	// AttemptIn names the parameter of our callback in which the attempt's state
	// comes back, for a provider whose own `state` is not ours; "" is state.
	AttemptIn string

	// Local accounts, and which of them a DingTalk person is bound to. Nil: none.
	Accounts *account.File
	People   *account.Policy

	// Interactive reports whether the page at target, a path or one of our absolute
	// addresses, counts a sign-in by a click alone: none is made silently for it.
	// Nil: no page does.
	Interactive func(target string) bool

	Silent    *Silent       // sign in inside the DingTalk client without a click; nil: there as anywhere
	QRLogin   string        // DingTalk's login_url, to draw its QR code into the sign-in page; "" draws none
	PageFirst bool          // a page with a button comes before DingTalk
	MaxWait   time.Duration // how long one request waits for a membership check that is due; zero: 3 s
	// Audit takes one event per sign-in, sign-out, refusal and binding. Its error
	// on a sign_in keeps the person out; on another it changes nothing. nil: none.
	Audit func(Event) error
	Now   func() time.Time

	Limits
	turn atomic.Uint32 // the slot that the last attempt tried first
}

// Event is one line of the audit log. It holds no code, state, token or cookie.
type Event struct {
	What      string // sign_in, sign_out, sessions_ended, refused, bound, unbound
	How       string // browser when "", silent, password, bind; sessions: from the page of one's sessions
	Code      string // why refused, such as not_member
	User      string // username, "" when unknown
	UserID    string
	Name      string // of the person who was refused
	UnionID   string // of the person who was bound
	Session   string // the session's id
	Client    netip.Addr
	RequestID string
	Host      string // the application's, as the browser asked for it
	UserAgent string // as sent
	Err       error  // detail for the operator, or nil
}

// about names who was refused: u, or, where the provider did not get as far as
// that, whom its failure is about.
func (e *Event) about(u *identity.User) {
	known := identity.Subject{UserID: u.UserID, Name: u.Name, UnionID: u.UnionID}
	if failure, ok := errors.AsType[*identity.Failure](e.Err); ok && known == (identity.Subject{}) {
		known = failure.Subject
	}
	e.UserID, e.Name, e.UnionID = known.UserID, known.Name, known.UnionID
}

// Check finds what a Flow cannot work without.
func (f *Flow) Check() error {
	switch {
	case f.Provider == nil || f.Sessions == nil || f.Keyring == nil || f.Used == nil || f.Pages == nil || f.Origins == nil:
		return errors.New("login: checking the flow: Provider, Sessions, Keyring, Used, Pages and Origins are required")
	case f.Accounts != nil && f.Sessions.Accounts == nil:
		return errors.New("login: checking the flow: with Accounts, Sessions.Accounts is required: nobody's session would live")
	case !strings.HasPrefix(f.Prefix, "/") || strings.HasSuffix(f.Prefix, "/"):
		return errors.New("login: checking the flow: Prefix must begin with a slash and not end with one")
	case f.ClientID == "" || len(f.ClientID) > maxApp:
		return errors.New("login: checking the flow: ClientID is empty or too long")
	}
	return nil
}

// RequireSignIn answers a request for target that needs a session and has none.
// target is the request target as sent, or an absolute URL; it is checked here.
// A page load is sent to sign in, in the DingTalk client by the silent page.
// Anything else gets 401 with a login_url that leads back to the page the person
// is on (the Referer, when it is ours, otherwise /): a fetch's own address is
// nothing to look at (threats W9, W10). It sets no cookie, so that a page's 200
// fetches cannot push the person's own attempts out (S10).
func (f *Flow) RequireSignIn(w http.ResponseWriter, r *http.Request, target string) error {
	x := web.From(w)
	if !web.IsTopLevel(r.Method, r.Header) { // in a frame DingTalk could not bring the attempt's cookie back
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
		// The attempt cookie would be left on a host, or offered on a scheme, where
		// the callback never sees it (threats S17).
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

// LoginURL is the absolute address at which a person can sign in and come back
// to target, or to / when target is not ours.
func (f *Flow) LoginURL(target string) string {
	target, _ = f.urls().allowed(target)
	if place, origin := f.Origins.PlaceOf(target); place != "" { // it begins where the page is
		return origin + f.urls().path("/start", target)
	}
	return f.Origins.Public() + f.urls().path("/start", target)
}

// getOnly refuses other methods and requests that only look ahead (threats S13).
func getOnly(r *http.Request) error {
	if r.Method != http.MethodGet {
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET"}
	}
	if web.IsPrefetch(r) {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: errors.New("login: a prefetch")}
	}
	return nil
}

// redirect answers with a Location and nothing else: none of our pages stays in
// the browser whose address or Referer could show a code (threats S14, W11).
// Bytes above ASCII leave percent-encoded, so that no decoder on the way makes
// a line break of them (R7).
func redirect(w http.ResponseWriter, status int, location string) {
	web.SecurityHeaders(w, "")
	w.Header()["Location"] = []string{escapeNonASCII(location)}
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

// recorded writes the record of a sign-in. Where that cannot be written and has
// to be, the session ends before its cookie has gone out.
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
