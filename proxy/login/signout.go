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

// SignOut ends the session, and where a browser carries several, each of them:
// which one was planted is unknown. A GET asks first, a POST from one of our pages
// does it, so that no image and no foreign form signs anyone out (threats S15,
// W3a). Afterwards the browser is at `rd`, when that is one of our paths, or on a
// page with a button that never signs in by itself (K17).
//
// When the session cannot be judged, it is 503 and nothing has changed. When it
// ended here but other replicas could not be notified, it is 503 too, since it is
// not over everywhere; this browser is signed out.
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
	if !web.SameOrigin(r, f.Origins.Ours) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	if err := f.end(w, r, x); err != nil {
		return err
	}
	// A form's redirects are bound by form-action: another of our hosts is one
	// click away, on the page. In the DingTalk client any page of the application
	// would sign in again by itself: it stays on ours (threats K17).
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

// switchAccount is for a person who may not see target under the present account:
// one confirmation, a sign-out, a sign-in where another account can be chosen,
// and target again.
func (f signOut) switchAccount(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) error {
	next := f.Prefix + interactivePath + url.QueryEscape(target)
	inside := f.Silent != nil && web.IsDingTalk(r) // there our page would sign in without a word, as the same person
	if !inside && (f.PageFirst || f.Accounts != nil) {
		next = f.urls().path("/sign_in", target)
	}
	if r.Method == http.MethodPost {
		if !web.SameOrigin(r, f.Origins.Ours) {
			return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
		}
		if err := f.end(w, r, x); err != nil {
			return err
		}
		if inside {
			f.attempts().markSignedOut(w, signedOutFor)
		}
		if f.AttemptIn != "" { // an SSO service sends on to origins that the page's policy cannot name
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

// signedInAs names all the people whom this browser is signed in as, "" for none.
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

// presentedSessions lists the sessions that this browser carries. That it is signed out is
// said of no cookie that was not looked at.
func (f signOut) presentedSessions(r *http.Request) ([]*session.Session, error) {
	all, err := f.Sessions.Carried(r.Context(), sessionTexts(f.Flow, r))
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
	var untold error
	for _, s := range all {
		err := f.Sessions.RevokeSession(r.Context(), s)
		if x.User == "" {
			x.User = s.User.Username
		}
		f.audit(x, Event{What: "sign_out", User: s.User.Username, UserID: s.User.UserID, Session: s.ID, Err: err})
		untold = errors.Join(untold, err)
	}
	if untold != nil {
		return unavailable(untold)
	}
	return nil
}
