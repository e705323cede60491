package login

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"dinggate/internal/web"
	"dinggate/session"
)

// signOut ends the sessions of a browser.
type signOut struct{ *Flow }

// SignOut ends the session; if a browser sends several, it ends all of them, since it is unknown
// which one was planted. A GET shows a confirmation, a POST from one of our pages signs out, so
// that no image and no form of another site signs a person out (threats S15, W3a). The browser
// then goes to `rd`, if that is one of our paths, or to a page with a button that never signs in
// by itself (K17).
//
// If the state of the session is unknown, the answer is 503 and nothing has changed. If the
// session ended here but other replicas could not be notified, the answer is 503 too, since it has
// not ended everywhere; this browser is signed out.
func (f *Flow) SignOut(w http.ResponseWriter, r *http.Request) error { return signOut{f}.serve(w, r) }

func (f signOut) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "sign_out"
	raw, err := returnParameter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	then, err := parameter(r.URL.RawQuery, "then")
	if err != nil {
		return err
	}
	target, given := f.urls().target(x, raw)
	if then == "sign_in" {
		return f.switchAccount(w, r, x, target)
	}
	self := f.Prefix + "/sign_out"
	if given {
		self = f.urls().path("/sign_out", target)
	}
	if r.Method != http.MethodPost {
		return f.confirm(w, r, self, target)
	}
	if !web.SameOrigin(r, f.Origins.SameHost(x.Host)) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	if err := f.end(w, r, x); err != nil {
		return err
	}
	// form-action applies to a form's redirects: a page on another of our hosts is offered as a
	// link. In the DingTalk client any page of the application would sign in again silently: the
	// browser stays on our page (threats K17).
	if f.Silent != nil && web.IsDingTalk(r) {
		f.attempts().markSignedOut(w, signedOutFor)
	} else if given && strings.HasPrefix(target, "/") {
		self = target
	}
	redirect(w, http.StatusSeeOther, self)
	return nil
}

func (f signOut) confirm(w http.ResponseWriter, r *http.Request, self, target string) error {
	who, err := f.signedInAs(r)
	if err != nil {
		return err
	}
	if who == "" {
		f.clearStaleCookie(w, r)
		f.Pages.SignedOut(w, r, f.LoginURL(target))
		return nil
	}
	f.Pages.ConfirmSignOut(w, r, self, who)
	return nil
}

// switchAccount is for a person whose present account may not access target: one confirmation, a
// sign-out, a sign-in with the choice of another account, and target again.
func (f signOut) switchAccount(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) error {
	next := f.Prefix + interactivePath + url.QueryEscape(target)
	inside := f.Silent != nil && web.IsDingTalk(r) // there our page would silently sign in as the same person
	if !inside && (f.PageFirst || f.Accounts != nil) {
		next = f.urls().path("/sign_in", target)
	}
	if r.Method == http.MethodPost {
		if !web.SameOrigin(r, f.Origins.SameHost(x.Host)) {
			return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
		}
		if err := f.end(w, r, x); err != nil {
			return err
		}
		if inside {
			f.attempts().markSignedOut(w, signedOutFor)
		}
		if f.AttemptIn != "" { // an SSO service redirects to origins that the page's policy cannot name
			htmlRedirect(w, next)
			return nil
		}
		redirect(w, http.StatusSeeOther, next)
		return nil
	}
	who, err := f.signedInAs(r)
	if err != nil {
		return err
	}
	if who == "" {
		f.clearStaleCookie(w, r)
		redirect(w, http.StatusFound, next)
		return nil
	}
	f.Pages.ConfirmSwitch(w, r, f.Prefix+"/sign_out?then=sign_in&rd="+url.QueryEscape(target), who,
		f.Provider.AuthURL(f.urls().redirectURI(), ""), target)
	return nil
}

// signedInAs names the people that this browser is signed in as, "" for none.
func (f signOut) signedInAs(r *http.Request) (string, error) {
	if err := pageOnly(r, "GET, HEAD, POST"); err != nil {
		return "", err
	}
	all, err := f.presentedSessions(r)
	if err != nil {
		return "", err
	}
	var names []string
	for _, s := range all {
		if name := fullName(&s.User); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", "), nil
}

// presentedSessions lists the sessions of this browser. If it could not check every cookie, it
// returns an error, so that the answer does not claim a sign-out.
func (f signOut) presentedSessions(r *http.Request) ([]*session.Session, error) {
	all, err := f.Sessions.Presented(r.Context(), sessionTexts(f.Flow, r))
	switch {
	case errors.Is(err, session.ErrForged):
		return nil, &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: err}
	case err != nil:
		return nil, unavailable(err)
	}
	return all, nil
}

// end revokes the sessions of this browser.
func (f signOut) end(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	all, err := f.presentedSessions(r)
	if err != nil {
		return err
	}
	addCookie(w, f.Sessions.At(placeOf(f.Flow, r)).Clear())
	var failed error
	for _, s := range all {
		err := f.Sessions.RevokeSession(r.Context(), s)
		if x.User == "" {
			x.User = s.User.Username
		}
		f.audit(x, Event{What: "sign_out", User: s.User.Username, UserID: s.User.UserID, Session: s.ID, Err: err})
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return unavailable(failed)
	}
	return nil
}
