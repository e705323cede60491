package login

import (
	"errors"
	"net/http"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
)

// passwordForm is the sign-in with a local account.
type passwordForm struct{ *Flow }

// formRequest is one request of the form: where it leads, and which DingTalk person it binds.
type formRequest struct {
	target string
	person *locallogin.Link // if nil, it binds no person
	token  string
}

// action is the URL that the form posts to.
func (f passwordForm) action(e formRequest) string {
	if e.person != nil {
		return f.linkURL(e.token)
	}
	return f.urls().path("/sign_in", e.target)
}

// parse determines what a request of the sign-in page is for.
func (f passwordForm) parse(r *http.Request, x *web.Exchange) (formRequest, error) {
	token, err := parameter(r.URL.RawQuery, "link")
	if err != nil {
		return formRequest{}, err
	}
	if token != "" {
		l, err := f.openLink(r, token)
		if err != nil {
			return formRequest{}, err
		}
		target, _ := f.urls().allowed(l.Target)
		return formRequest{target, l, token}, nil
	}
	target, err := f.urls().returnTarget(x, r)
	return formRequest{target: target}, err
}

// hint is the username that the form begins with.
func (f passwordForm) hint(e formRequest) string {
	if f.Hint == nil || e.person != nil {
		return ""
	}
	return f.Hint(e.target)
}

// show shows the page with the form; problem is the code of what was wrong.
func (f passwordForm) show(w http.ResponseWriter, r *http.Request, e formRequest, username, problem string,
	status int) error {
	d := page.AccountData{Action: f.action(e), Username: username, Problem: problem, Status: status, Next: f.urls().finalPage(e.target)}
	if problem != "" {
		d.Again = locallogin.WithProblem(d.Action, problem)
	}
	if e.person == nil {
		d.StartURL = f.LoginURL(e.target)
		var err error
		if d.QR, err = f.qr(w, r, web.From(w), e.target); err != nil {
			return err
		}
	} else {
		d.Person = e.person.Name
	}
	f.Pages.Account(w, r, d)
	return nil
}

// signIn signs in by the form:
//
//	POST ─► our own page ─► form ─► link, if one is used ─► limits ─► File.Verify ─► binding, if linked ─► session
//
// Unknown names and wrong passwords look the same and cost the same (threats T6).
func (f passwordForm) signIn(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if !web.SameOrigin(r, f.Origins.SameHost(x.Host)) { // an attacker must not be able to sign a person in as themselves
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	username, password, err := locallogin.Credentials(r)
	if err != nil {
		return err
	}
	e, err := f.parse(r, x)
	if err != nil {
		return f.refused(x, "", err)
	}
	since := f.Sessions.Time()
	fingerprint, err := f.Accounts.Verify(r.Context(), x.Client, username, password)
	if errors.Is(err, account.ErrWrong) {
		x.Err = &web.Error{Status: http.StatusUnauthorized, Code: locallogin.WrongPassword, Err: err}
		f.refused(x, f.known(username), x.Err)
		if web.WantsJSON(r.Header) {
			return x.Err
		}
		return f.show(w, r, e, username, locallogin.WrongPassword, http.StatusUnauthorized)
	}
	if err != nil {
		return f.refused(x, f.known(username), locallogin.Unverified(err, f.action(e)))
	}
	if e.person != nil {
		return f.bind(w, r, x, e, username)
	}
	in := session.SignIn{
		User:        identity.User{Username: username, Name: username, Local: true},
		Since:       since,
		Fingerprint: fingerprint,
	}
	s, cookie, err := completion{f.Flow}.create(w, r, in, e.target)
	if err != nil {
		return f.refused(x, username, err)
	}
	addCookie(w, cookie)
	x.User = username
	if err := f.recorded(w, r, x, Event{What: "sign_in", How: "password", User: username, Session: s.ID}); err != nil {
		return err
	}
	redirect(w, http.StatusSeeOther, f.afterSignIn(r.Context(), s, e.target))
	return nil
}

// bind binds the person of a link to the account whose password was verified, and signs that
// person in.
func (f passwordForm) bind(w http.ResponseWriter, r *http.Request, x *web.Exchange, e formRequest,
	username string) error {
	in, err := f.useLink(r, x, e.person, username)
	if err != nil {
		return f.refused(x, username, err)
	}
	f.links().Drop(w)
	s, _, err := completion{f.Flow}.admit(w, r, in, e.target)
	if err != nil {
		return f.refused(x, username, err)
	}
	x.User = s.User.Username
	if err := f.recorded(w, r, x, Event{
		What:    "sign_in",
		How:     "password",
		User:    s.User.Username,
		UserID:  s.User.UserID,
		Session: s.ID,
	}); err != nil {
		return err
	}
	redirect(w, http.StatusSeeOther, e.target)
	return nil
}

// known is a name for the log: people type their password into the wrong field.
func (f passwordForm) known(username string) string {
	if f.Accounts.Has(username) {
		return username
	}
	return ""
}

func (f passwordForm) refused(x *web.Exchange, username string, err error) error {
	e := Event{What: "refused", How: "password", Code: "internal", User: username, Err: err}
	if refusal, ok := errors.AsType[*web.Error](err); ok {
		e.Code, e.Err = refusal.Code, refusal.Err
	}
	f.audit(x, e)
	return err
}
