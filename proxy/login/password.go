package login

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/session"
)

const maxForm = 8 << 10 // bytes of a name and a password

// passwordForm is the sign-in with a local account.
type passwordForm struct{ *Flow }

// formRequest is one visit to the form: where it leads, and which DingTalk person
// it binds.
type formRequest struct {
	target string
	person *link // nil: binds none
	token  string
}

// action is where the form posts to.
func (f passwordForm) action(e formRequest) string {
	if e.person != nil {
		return accountLinks{f.Flow}.url(e.token)
	}
	return f.urls().path("/sign_in", e.target)
}

// parse finds out what a visit to the sign-in page is for.
func (f passwordForm) parse(r *http.Request, x *web.Exchange) (formRequest, error) {
	token, err := parameter(r.URL.RawQuery, "link")
	if err != nil {
		return formRequest{}, err
	}
	if token != "" {
		l, err := accountLinks{f.Flow}.open(r, x, token)
		if err != nil {
			return formRequest{}, err
		}
		target, _ := f.urls().allowed(l.target)
		return formRequest{target, l, token}, nil
	}
	target, err := f.urls().asked(x, r)
	return formRequest{target: target}, err
}

// problemParam is for the page in the other language, after a try that failed.
const (
	problemParam    = "problem"
	wrongPassword   = "wrong_password"
	tooManyAttempts = "too_many_attempts"
	unready         = "unready"
)

// withProblem is the address of the form, which has a query, with what was wrong.
func withProblem(form, problem string) string { return form + "&" + problemParam + "=" + problem }

// show shows the page with the form; problem is the code of what was wrong.
func (f passwordForm) show(w http.ResponseWriter, r *http.Request, e formRequest, username, problem string,
	status int) error {
	d := page.AccountData{Action: f.action(e), Username: username, Problem: problem, Status: status, Next: e.target}
	if problem != "" {
		d.Again = withProblem(d.Action, problem)
	}
	if e.person == nil {
		d.StartURL = f.LoginURL(e.target)
		var err error
		if d.QR, err = f.qr(w, r, web.From(w), e.target); err != nil {
			return err
		}
	} else {
		d.Person = e.person.name
	}
	f.Pages.Account(w, r, d)
	return nil
}

// signIn signs in by the form:
//
//	POST ─► our own page ─► form ─► link, if one is used ─► limits ─► File.Verify ─► binding, if a link is used ─► session
//
// Wrong names and wrong passwords read the same and cost the same (threats T6).
func (f passwordForm) signIn(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if !web.SameOrigin(r, f.Origins.Ours) { // signing somebody in as the attacker is an attack too
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	username, password, err := credentials(r)
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
		x.Err = &web.Error{Status: http.StatusUnauthorized, Code: wrongPassword, Err: err}
		f.refused(x, f.known(username), x.Err)
		if web.WantsJSON(r.Header) {
			return x.Err
		}
		return f.show(w, r, e, username, wrongPassword, http.StatusUnauthorized)
	}
	if err != nil {
		return f.refused(x, f.known(username), f.unverified(err, f.action(e)))
	}
	if e.person != nil {
		return f.bind(w, r, x, e, username)
	}
	in := session.SignIn{
		User:        identity.User{Username: username, Name: username, Local: true},
		Since:       since,
		Fingerprint: fingerprint,
	}
	s, cookie, err := completion{f.Flow}.create(r.Context(), in, e.target)
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

// bind makes the person of a link the account whose password was right, and signs
// that person in.
func (f passwordForm) bind(w http.ResponseWriter, r *http.Request, x *web.Exchange, e formRequest,
	username string) error {
	in, err := accountLinks{f.Flow}.bind(r, x, e.person, username)
	if err != nil {
		return f.refused(x, username, err)
	}
	accountLinks{f.Flow}.drop(w)
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

// unverified is the answer when a password was not looked at.
func (f passwordForm) unverified(err error, again string) error {
	if wait, ok := errors.AsType[*account.WaitError](err); ok {
		return &web.Error{
			Status:     http.StatusTooManyRequests,
			Code:       tooManyAttempts,
			RetryAfter: wait.Wait,
			Retry:      again,
			Again:      withProblem(again, tooManyAttempts),
		}
	}
	return &web.Error{
		Status:     http.StatusServiceUnavailable,
		Code:       unready,
		RetryAfter: retryAfter,
		Retry:      again,
		Again:      withProblem(again, unready),
		Err:        err,
	}
}

// credentials reads the form: each field once, in the body alone.
func credentials(r *http.Request) (username, password string, err error) {
	values, err := postedForm(r)
	if err != nil {
		return "", "", err
	}
	if len(values["username"]) != 1 || len(values["password"]) != 1 {
		return "", "", badRequest("the form does not hold one username and one password")
	}
	return strings.TrimSpace(values["username"][0]), values["password"][0], nil // keyboards of phones add a blank
}

// postedForm reads the fields of a small form.
func postedForm(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || len(r.Header["Content-Encoding"]) > 0 {
		return nil, &web.Error{
			Status: http.StatusUnsupportedMediaType,
			Code:   "bad_request",
			Err:    errors.New("login: the form is of another type"),
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil {
		return nil, &web.Error{
			Status: http.StatusBadRequest,
			Code:   "bad_request",
			Err:    fmt.Errorf("login: reading the form: %w", err),
		}
	}
	if len(body) > maxForm {
		return nil, &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large"}
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("the form is unreadable")
	}
	return values, nil
}

// parameter takes one of our own parameters out of a raw query; what follows an
// rd in its raw form belongs to that (see returnParameter). Twice, or one that
// does not decode, is an error.
func parameter(query, name string) (value string, err error) {
	seen := false
	for pair := range strings.SplitSeq(query, "&") {
		key, text, _ := strings.Cut(pair, "=")
		if key == "rd" && rawForm(text) {
			break
		}
		if key != name {
			continue
		}
		if value, err = url.QueryUnescape(text); err != nil || seen {
			return "", badRequest("a parameter is there twice or unreadable")
		}
		seen = true
	}
	return value, nil
}
