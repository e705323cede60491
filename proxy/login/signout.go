package login

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// SignOut ends the session: a GET asks first, a POST from a page of ours does
// it, so that no image and no foreign form signs anybody out (threats S15,
// W3a). Afterwards the browser is at `rd`, when that is a path of ours, or on a
// page with a button that never signs in by itself (K17).
//
// When the session cannot be judged, it is 503 and nothing has changed. When it
// ended here but other replicas could not be told, it is 503 too, since it is
// not over everywhere; this browser is signed out.
func (f *Flow) SignOut(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "sign_out"
	raw, err := returnParameter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	target, given := f.target(x, raw)
	self := f.Prefix + "/sign_out"
	if given {
		self = f.path("/sign_out", target)
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
	// A form's redirects are bound by form-action: another host of ours is one
	// click away, on the page. In the DingTalk client any page of the application
	// would sign in again by itself: it stays on ours (threats K17).
	if f.Silent != nil && web.IsDingTalk(r) {
		f.markLeft(w, leftFor)
	} else if given && strings.HasPrefix(target, "/") {
		self = target
	}
	f.redirect(w, http.StatusSeeOther, self)
	return nil
}

func (f *Flow) confirm(w http.ResponseWriter, r *http.Request, self, target string) error {
	if err := pageOnly(r, "GET, HEAD, POST"); err != nil {
		return err
	}
	s, err := f.who(r, f.wait())
	switch {
	case nobody(err):
		f.clearDead(w, r)
		f.Pages.SignedOut(w, r, f.LoginURL(target))
		return nil
	case err != nil:
		return trouble(err)
	}
	f.Pages.ConfirmSignOut(w, r, self, fullName(&s.User))
	return nil
}

// end revokes the session of this browser, if there is one.
func (f *Flow) end(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	s, err := f.who(r, f.wait())
	if err != nil && !nobody(err) {
		return trouble(err)
	}
	addCookie(w, f.Sessions.Clear())
	if err != nil {
		return nil
	}
	x.User = s.User.Username
	err = f.Sessions.Revoke(r.Context(), s.ID)
	f.audit(x, Event{What: "sign_out", User: s.User.Username, UserID: s.User.UserID, Session: s.ID, Err: err})
	if err != nil {
		return trouble(err)
	}
	return nil
}
