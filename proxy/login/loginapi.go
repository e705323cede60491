package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
)

// bindErrand is the kind of an attempt that binds DingTalk to the account which
// is signed in; its target is the id of that session. A sign-in's state is
// worth nothing for it, and the other way round (threats T28).
const bindErrand = "bind"

// envelope is every answer of LoginAPI, to the letter.
type envelope struct {
	Success bool    `json:"success"`
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Data    *string `json:"data"`
}

// LoginAPI is GET /dingtalk/login/callback, for pages that draw their own QR
// code: page script hands over the `code` and `state` that DingTalk sent the
// page back with.
//
//	type=0  as Callback: session cookie, or why not; a person who has to bind an
//	        account first gets the one-time link in `data`
//	type=1  binds the person to the account of this browser's session
//
// The answer is 200 or 500, nothing else, and always the envelope (threats T27).
func (f *Flow) LoginAPI(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "login_callback"
	err := f.loginAPI(w, r, x)
	if err == nil {
		return web.JSON(w, r, http.StatusOK, envelope{Success: true, Code: http.StatusOK, Message: "SUCCESS"})
	}
	x.Err = err
	e, ok := errors.AsType[*web.Error](err)
	if !ok {
		e = &web.Error{Status: http.StatusInternalServerError, Code: "internal", Err: err}
	}
	answer := envelope{Code: http.StatusInternalServerError, Message: f.Pages.Message(r, e)}
	if unbound, ok := errors.AsType[*notBound](err); ok {
		answer.Data = &unbound.token
	}
	return web.JSON(w, r, http.StatusInternalServerError, answer)
}

func (f *Flow) loginAPI(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if err := getOnly(r); err != nil {
		return err
	}
	if !web.SameOrigin(r, f.Origins.Ours) { // it changes something, although it is a GET
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	kind, err := parameter(r.URL.RawQuery, "type")
	if err != nil {
		return err
	}
	if q, err := parseCallback(r.URL.RawQuery, f.AttemptIn); err != nil {
		return err
	} else if q.attempt == "" || q.code == "" && !q.failed { // said before the state is judged: what is missing is no unknown state
		return badRequest("no code or no state")
	}
	present := strings.HasPrefix(r.URL.RawQuery, "type=") || strings.Contains(r.URL.RawQuery, "&type=")
	switch {
	case kind == "0" || kind == "" && !present:
		_, _, _, err := f.arrive(w, r, x, f.byBrowser(r, ""), nil)
		return err
	case kind == "1":
		return f.bindSession(w, r, x)
	}
	return badRequest("type is not 0 or 1")
}

// localSession is the account that is signed in here, by its password.
func (f *Flow) localSession(r *http.Request) (*session.Session, error) {
	if f.Accounts == nil || !f.binds() {
		return nil, &web.Error{Status: http.StatusForbidden, Code: "binding_off"}
	}
	s, err := f.who(r, f.wait())
	switch {
	case nobody(err):
		return nil, &web.Error{Status: http.StatusForbidden, Code: "not_local_account", Retry: f.path("/sign_in", "/"), Err: err}
	case err != nil:
		return nil, trouble(err)
	case s.User.UnionID != "" || s.Token != (identity.Token{}) || !f.Accounts.Has(s.User.Username):
		return nil, &web.Error{Status: http.StatusForbidden, Code: "not_local_account", Retry: f.path("/sign_in", "/"), Err: errors.New("login: the session is not a local account's")}
	}
	return s, nil
}

// bindSession ends an attempt to bind DingTalk to this browser's account. The
// attempt names the session it was begun in: another account that has signed
// in meanwhile gets nobody's DingTalk.
func (f *Flow) bindSession(w http.ResponseWriter, r *http.Request, x *web.Exchange) (err error) {
	defer func() {
		if e, ok := errors.AsType[*web.Error](err); ok {
			f.audit(x, Event{What: "refused", How: "bind", Code: e.Code, User: x.User, Err: e.Err})
		}
	}()
	s, err := f.localSession(r)
	if err != nil {
		return err
	}
	x.User = s.User.Username
	by := f.byBrowser(r, bindErrand)
	q, _, err := f.redeem(w, r, x, by, func(target string) error {
		if subtle.ConstantTimeCompare([]byte(target), []byte(s.ID)) != 1 {
			return f.refuse(r, "state_unknown", "/")
		}
		return nil
	})
	if err != nil {
		return err
	}
	person, _, err := f.person(r.Context(), by, q, "/")
	if err != nil {
		return err
	}
	if person.UnionID == "" {
		return f.failed(&identity.Failure{Code: "bad_answer", Err: errors.New("login: a person without a unionId cannot be bound")}, "/")
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	return f.makeBinding(ctx, x, account.Binding{UnionID: person.UnionID, Username: s.User.Username})
}
