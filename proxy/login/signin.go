package login

import (
	"errors"
	"net/http"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
)

// usualMaxWait is how long one request waits for a membership check that is due.
const usualMaxWait = 3 * time.Second

// SignIn shows a page with one button, and a form if there are local accounts; the button's link
// is absolute, since gateways show the page at other URLs. A person who is signed in and names no
// target sees who they are.
func (f *Flow) SignIn(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "sign_in"
	allow := "GET, HEAD"
	if f.Accounts != nil {
		if r.Method == http.MethodPost {
			return passwordForm{f}.signIn(w, r, x)
		}
		allow = "GET, HEAD, POST"
	}
	if err := pageOnly(r, allow); err != nil {
		return err
	}
	e, err := passwordForm{f}.parse(r, x)
	if err != nil {
		return err
	}
	target := e.target
	// its form posts to the host on which it is shown
	if f.Accounts != nil && !f.urls().onPublic(x) && f.Origins.HasHost(x.Host) {
		redirect(w, http.StatusFound, f.Origins.Public()+passwordForm{f}.action(e))
		return nil
	}
	f.clearStaleCookie(w, r)
	if target == "/" && e.person == nil && !f.wantsClick(target) {
		if s, err := f.loadSession(r, f.maxWait()); err == nil {
			x.User = s.User.Username
			return userInfo{Flow: f}.showPerson(w, r, x, s, "")
		}
	}
	if f.Accounts != nil {
		problem, _ := parameter(r.URL.RawQuery, locallogin.ProblemParam)
		return passwordForm{f}.show(w, r, e, passwordForm{f}.hint(e), locallogin.Problem(problem), 0)
	}
	qr, err := f.qr(w, r, x, target)
	if err != nil {
		return err
	}
	f.Pages.SignIn(w, r, page.SignInData{StartURL: f.LoginURL(target), QR: qr})
	return nil
}

// SignedIn is the end of a sign-in that a page began in a separate window, with dinggate.js or
// otherwise: it shows who is signed in, and the window closes itself. Without a session it
// redirects to the sign-in page.
func (f *Flow) SignedIn(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "signed_in"
	if err := pageOnly(r, "GET, HEAD"); err != nil {
		return err
	}
	s, err := f.loadSession(r, f.maxWait())
	switch {
	case session.Absent(err):
		f.clearStaleCookie(w, r)
		redirect(w, http.StatusFound, f.urls().path("/sign_in", f.Prefix+"/signed_in"))
		return nil
	case err != nil:
		return unavailable(err)
	}
	x.User = s.User.Username
	f.Pages.SignedIn(w, r, fullName(&s.User))
	return nil
}

func fullName(u *identity.User) string { return u.FullName() }

// qr begins an attempt for a page that draws DingTalk's QR code, if it is configured and the
// callback is on this host: DingTalk's script requires both to have the same origin.
func (f *Flow) qr(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) (*page.QR, error) {
	if f.QRLogin == "" || !f.urls().onPublic(x) || web.IsDingTalk(r) || r.Method != http.MethodGet || web.IsPrefetch(r) || (starter{f}).mayBegin(r) != nil {
		return nil, nil
	}
	state, err := starter{f}.begin(w, r, x, "", target)
	if err != nil {
		return nil, err
	}
	return &page.QR{RedirectURI: f.urls().redirectURI(), ClientID: f.ClientID, State: state, LoginURL: f.QRLogin}, nil
}

// pageOnly refuses methods other than GET and HEAD.
func pageOnly(r *http.Request, allow string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: allow}
	}
	return nil
}

// loadSession loads the session of a request; the errors are those of session.Manager.Load.
func (f *Flow) loadSession(r *http.Request, maxWait time.Duration) (*session.Session, error) {
	return f.Sessions.Load(r.Context(), sessionTexts(f, r), maxWait)
}

// sessionTexts are the session cookies of a request.
func sessionTexts(f *Flow, r *http.Request) []string {
	place := placeOf(f, r)
	return session.TextsAt(place, web.CookieValues(r.Header, f.Sessions.At(place).Name()))
}

// placeOf is the place of the browser, as session defines it; the host of a request is canonical
// here.
func placeOf(f *Flow, r *http.Request) string { return f.Origins.Place(r.Host) }

func (f *Flow) maxWait() time.Duration {
	if f.MaxWait > 0 {
		return f.MaxWait
	}
	return usualMaxWait
}

// clearStaleCookie deletes a session cookie that is no longer valid. Call it before a page is
// written: after the status line it would be lost (threats C2, GHSA-f24x-5g9q-753f). A cookie
// whose state is unknown, because the store or DingTalk is unreachable, is kept.
func (f *Flow) clearStaleCookie(w http.ResponseWriter, r *http.Request) {
	if _, err := f.loadSession(r, 0); session.Stale(err) {
		addCookie(w, f.Sessions.At(placeOf(f, r)).Clear())
	}
}

// unavailable is the answer if it is unknown whether there is a session: the store or DingTalk is
// unreachable. The cookie is kept. A *web.Error is returned unchanged: a credential that was not
// verified, after too many attempts, is no failure of the store.
func unavailable(err error) error {
	if e, ok := errors.AsType[*web.Error](err); ok {
		return e
	}
	return web.Unavailable(err, errors.Is(err, session.ErrUnconfirmed), retryAfter)
}

// auditUnavailable is the answer if a required audit record cannot be written.
func auditUnavailable(err error) error {
	return &web.Error{
		Status:     http.StatusServiceUnavailable,
		Code:       "audit_unavailable",
		RetryAfter: retryAfter,
		Err:        err,
	}
}
