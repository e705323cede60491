package login

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
)

// person is the answer of userinfo. Pages written for oauth2-proxy read the first four names.
type person struct {
	User              string   `json:"user"`
	Email             string   `json:"email"`
	Groups            []string `json:"groups"` // names of roles
	PreferredUsername string   `json:"preferredUsername"`
	Username          string   `json:"username"`
	Name              string   `json:"name"`
	UserID            string   `json:"userid"`
	UnionID           string   `json:"unionid"`
	JobNumber         string   `json:"job_number"`
	Departments       []int64  `json:"departments"`
}

// Authenticate finds the session of a request: by its Authorization header if that is ours, which
// credential reports, otherwise by its cookie. Errors are those of session.Manager's Load, or a
// *web.Error that is the answer.
type Authenticate func(ctx context.Context, client netip.Addr, host string, h http.Header,
	maxWait time.Duration) (s *session.Session, credential bool, err error)

// userInfo answers who is signed in, and removes their binding.
type userInfo struct {
	*Flow
	find Authenticate
}

// UserInfo answers page scripts and API clients with the signed-in person: 200, or 401 with a
// login_url, or 503 if the session's state is unknown. It sends no CORS header, so that only pages
// of the same origin can read it (threats W5). A person who opens it gets a page, with the binding
// of their account and a form that removes it. find is proxy.Handler.Authenticate; if nil, only a
// cookie authenticates.
func (f *Flow) UserInfo(find Authenticate) web.HandlerFunc { return userInfo{f, find}.serve }

func (f userInfo) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "userinfo"
	removable := f.bindings().Enabled() && f.Accounts != nil
	if removable && r.Method == http.MethodPost {
		return f.unbind(w, r, x)
	}
	visit := isVisit(r)
	if !visit {
		web.AsJSON(r)
	}
	allow := "GET, HEAD"
	if removable {
		allow = "GET, HEAD, POST"
	}
	if err := pageOnly(r, allow); err != nil {
		return err
	}
	s, credential, err := f.authenticate(r, x)
	switch {
	case session.Absent(err) && credential:
		return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials", Err: err}
	case session.Absent(err) && visit:
		f.clearStaleCookie(w, r)
		return f.visitor(err)
	case session.Absent(err):
		f.clearStaleCookie(w, r)
		return f.unauthenticated(r)
	case err != nil:
		return unavailable(err)
	}
	u := &s.User
	x.User = u.Username
	if visit && !credential {
		raw, err := returnParameter(r.URL.RawQuery)
		if err != nil {
			return err
		}
		next := ""
		if target, given := f.urls().target(x, raw); given {
			next = target
		}
		return f.showPerson(w, r, x, s, next)
	}
	return web.JSON(w, r, http.StatusOK,
		person{User: u.Username, Email: u.Email, Groups: u.RoleNames(), PreferredUsername: u.Name,
			Username: u.Username, Name: u.Name, UserID: u.UserID, UnionID: u.UnionID, JobNumber: u.JobNumber, Departments: append([]int64{}, u.Departments...)})
}

// isVisit reports whether a person opens userinfo in a browser. `Accept: text/html` alone does not
// show that: command-line clients send it, and a browser's navigation also names
// application/xhtml+xml.
func isVisit(r *http.Request) bool {
	if !web.IsPageLoad(r.Method, r.Header) || web.WantsJSON(r.Header) {
		return false
	}
	return len(r.Header["Sec-Fetch-Mode"]) > 0 || strings.Contains(strings.Join(r.Header["Accept"], ","),
		"application/xhtml+xml")
}

// visitor is the answer to a person who opens userinfo without a session: a page with a button
// that returns here.
func (f userInfo) visitor(err error) error {
	return &web.Error{
		Status:   http.StatusUnauthorized,
		Code:     "unauthenticated",
		LoginURL: f.LoginURL(f.Prefix + "/userinfo"),
		Err:      err,
	}
}

// authenticate finds the session of a credential, otherwise that of the cookie.
func (f userInfo) authenticate(r *http.Request, x *web.Exchange) (s *session.Session, credential bool, err error) {
	if f.find != nil {
		return f.find(r.Context(), x.Client, x.Host, r.Header, f.maxWait())
	}
	s, err = f.loadSession(r, f.maxWait())
	return s, false, err
}

// showPerson is userinfo for a person: what applications receive, and the binding with a form that
// removes it.
func (f userInfo) showPerson(w http.ResponseWriter, r *http.Request, x *web.Exchange, s *session.Session,
	next string) error {
	u := &s.User
	data := page.WhoAmIData{
		Name:       u.Name,
		Username:   u.Username,
		Email:      u.Email,
		Groups:     u.RoleNames(),
		SignOutURL: f.Prefix + "/sign_out",
		Sessions:   f.Prefix + "/sessions",
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	b, err := f.bindings().Find(ctx, s)
	if errors.Is(err, account.ErrNone) {
		f.Pages.Bindings(w, r, data, page.BindingData{Next: next})
		return nil
	}
	var n locallogin.Note
	if err == nil {
		n, err = f.bindings().Note(ctx, b)
	}
	if err != nil {
		return unavailable(err)
	}
	shown := page.BindingData{Since: n.Made, News: !n.Shown(s.User.Local), Next: next}
	if shown.Account = b.Username; s.User.Local {
		if shown.Account, shown.Person = "", n.Person; n.Person == "" {
			shown.Person = b.UnionID
		}
	}
	if f.Accounts != nil { // otherwise the person could not be bound again
		shown.ID, shown.Action = locallogin.BindingID(b), f.Prefix+"/userinfo"
		if next != "" {
			shown.Action = f.urls().path("/userinfo", next)
		}
	}
	if shown.News && n.Before(s) && r.Method == http.MethodGet && !inFrame(r) {
		if s.User.Local {
			n.AccountShown = true
		} else {
			n.PersonShown = true
		}
		if err := f.bindings().PutNote(ctx, b.UnionID, n); err != nil { // the next sign-in shows it again
			x.Err = err
		}
	}
	f.Pages.Bindings(w, r, data, shown)
	return nil
}

// inFrame reports whether a page is loaded where no person sees it: our pages are never shown in a
// frame.
func inFrame(r *http.Request) bool {
	dest := r.Header["Sec-Fetch-Dest"]
	return len(dest) > 0 && (len(dest) > 1 || dest[0] != "document") || web.IsPrefetch(r)
}

// unbind removes the binding of the signed-in person, by the form of showPerson. The DingTalk
// person's sessions end, since their username has changed.
func (f userInfo) unbind(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if !web.SameOrigin(r, f.Origins.SameHost(x.Host)) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	values, err := locallogin.PostedForm(r)
	if err != nil {
		return err
	}
	raw, err := returnParameter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	self := f.Prefix + "/userinfo"
	if target, given := f.urls().target(x, raw); given {
		self = f.urls().path("/userinfo", target)
	}
	s, err := f.loadSession(r, f.maxWait())
	switch {
	case session.Absent(err):
		f.clearStaleCookie(w, r)
		return f.visitor(err)
	case err != nil:
		return unavailable(err)
	}
	x.User = s.User.Username
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	b, err := f.bindings().Find(ctx, s)
	if err == nil && len(values["binding"]) == 1 && values["binding"][0] == locallogin.BindingID(b) {
		if lost := f.audit(x, Event{What: "unbound", User: b.Username, UnionID: b.UnionID}); lost != nil {
			return auditUnavailable(lost)
		}
		err = f.removeBinding(r.Context(), b)
	}
	if err != nil && !errors.Is(err, account.ErrNone) {
		return unavailable(err)
	}
	redirect(w, http.StatusSeeOther, self)
	return nil
}

// removeBinding ends the DingTalk person's sessions before it removes the binding, so that a store
// that is unreachable leaves both unchanged, and then again those begun meanwhile.
func (f userInfo) removeBinding(ctx context.Context, b account.Binding) error {
	end := func() error {
		return f.Sessions.RevokeUser(ctx, session.Person{UnionID: b.UnionID}, "unbound")
	}
	if err := end(); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if _, err := f.People.Bindings.Remove(within, b.Username); err != nil {
		return err
	}
	return end()
}
