package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
)

// bindPurpose is the purpose of an attempt that binds DingTalk to the signed-in account; its
// target is the id of that session. The state of a sign-in is not accepted for it, nor the reverse
// (threats T28).
const bindPurpose = "bind"

// envelope is every answer of LoginAPI, exactly as documented.
type envelope struct {
	Success bool    `json:"success"`
	Code    int     `json:"code"`
	Message string  `json:"message"`
	Data    *string `json:"data"`
}

// Values of the document's `code`. Its generated clients, and page scripts written for it, treat
// every HTTP status except 200 as an exception: refusals that a person can cause are a 200 with
// one of these codes.
const (
	apiSuccess   = 200
	apiSignIn    = 201 // type=1, and no local account has signed in here recently
	apiParameter = 221
	apiFailure   = 500
)

// errSignInFirst is in the error of a binding that requires a sign-in with an account first.
var errSignInFirst = errors.New("login: no local account has signed in here lately")

// loginAPI is the login callback for page scripts, and the sign-in that such a page begins.
type loginAPI struct{ *Flow }

// LoginAPI is GET /dingtalk/login/callback, for pages that draw their own QR code: a page script
// passes the `code` and `state` with which DingTalk redirected to the page.
//
//	type=0  as Callback: session cookie, or why not; a person who has to bind an
//	        account first gets the one-time link in `data`
//	type=1  binds the person to the account of this browser's session
//
// The answer is always the envelope. Its status is 200, or 500 if DingTalk or our store is
// unreachable or the fault is ours (threats T27). A request that no client of the document sends,
// such as a POST or a prefetch, is 500 too.
func (f *Flow) LoginAPI(w http.ResponseWriter, r *http.Request) error { return loginAPI{f}.serve(w, r) }

func (f loginAPI) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "login_callback"
	err := getOnly(r)
	status := http.StatusInternalServerError
	answer := envelope{Code: apiFailure}
	if err == nil {
		err = f.call(w, r, x)
		status, answer = f.outcome(err)
	}
	if err == nil {
		answer.Message = "SUCCESS"
		return web.JSON(w, r, status, answer)
	}
	x.Err = err
	e, ok := errors.AsType[*web.Error](err)
	if !ok {
		e = &web.Error{Status: http.StatusInternalServerError, Code: "internal", Err: err}
	}
	answer.Message = f.Pages.Message(r, e)
	if e.RetryAfter > 0 {
		w.Header()["Retry-After"] = []string{strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10)}
	}
	return web.JSON(w, r, status, answer)
}

// outcome maps an error of loginAPI to the status and the envelope.
func (f loginAPI) outcome(err error) (status int, answer envelope) {
	if err == nil {
		return http.StatusOK, envelope{Success: true, Code: apiSuccess}
	}
	answer.Code = apiFailure
	unbound, ok := errors.AsType[*notBound](err)
	if ok {
		answer.Data = &unbound.token
	}
	e, known := errors.AsType[*web.Error](err)
	switch {
	case f.StrictAPI, !known, e.Status >= http.StatusInternalServerError:
		return http.StatusInternalServerError, answer
	case ok: // the page continues with its binding step
		answer.Success, answer.Code = true, apiSuccess
	case errors.Is(err, errSignInFirst):
		answer.Code = apiSignIn
	case e.Code == "bad_request":
		answer.Code = apiParameter
	}
	return http.StatusOK, answer
}

func (f loginAPI) call(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if !web.SameOrigin(r, f.Origins.SameHost(x.Host)) { // it changes state, although it is a GET
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	binding, err := f.wantsBinding(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if q, err := parseCallback(r.URL.RawQuery, f.AttemptIn); err != nil {
		return err
	} else if q.attempt == "" || q.code == "" && !q.failed { // before the state is checked: missing, not unknown
		return badRequest("no code or no state")
	}
	if binding {
		return f.bindSession(w, r, x)
	}
	_, _, _, err = completion{f.Flow}.complete(w, r, x, completion{f.Flow}.byBrowser(r.URL.RawQuery, ""), nil)
	return err
}

// wantsBinding parses `type`, an integer of the document: 1 binds; a missing or empty one and any
// other number sign in. Any other text is an error, and under StrictAPI so is every number except
// 0 and 1.
func (f loginAPI) wantsBinding(query string) (bool, error) {
	kind, err := parameter(query, "type")
	if err != nil {
		return false, err
	}
	if f.StrictAPI {
		present := strings.HasPrefix(query, "type=") || strings.Contains(query, "&type=")
		if kind != "0" && kind != "1" && (kind != "" || present) {
			return false, badRequest("type is not 0 or 1")
		}
		return kind == "1", nil
	}
	if kind == "" {
		return false, nil
	}
	number := integer.FindStringSubmatch(kind)
	if number == nil {
		return false, badRequest("type is not an integer")
	}
	return number[1] != "-" && number[2] == "1", nil
}

// integer is an optional sign and any number of digits.
var integer = regexp.MustCompile(`^([+-]?)0*([0-9]+)$`)

// bindWithin is the maximum age of a password sign-in for a binding. A binding is permanent: a
// script of another application on this origin must not make one with a session that already
// exists (threats T33).
const bindWithin = 10 * time.Minute

// localSession is the session of the account that has recently signed in here with its password.
func (f loginAPI) localSession(r *http.Request) (*session.Session, error) {
	refuse := func(code string, err error) error {
		return &web.Error{Status: http.StatusForbidden, Code: code, Retry: f.urls().path("/sign_in", "/"), Err: err}
	}
	off := f.Accounts == nil || !f.bindings().Enabled()
	s, err := f.loadSession(r, f.maxWait())
	switch {
	case session.Absent(err) && off:
		return nil, &web.Error{Status: http.StatusForbidden, Code: "binding_off", Err: errSignInFirst}
	case off:
		return nil, &web.Error{Status: http.StatusForbidden, Code: "binding_off"}
	case session.Absent(err):
		return nil, refuse("not_local_account", fmt.Errorf("%w: %w", errSignInFirst, err))
	case err != nil:
		return nil, unavailable(err)
	case !s.User.Local || !f.Accounts.Has(s.User.Username):
		return nil, refuse("not_local_account", errors.New("login: the session is not a local account's"))
	case f.now().Sub(s.SignedIn) >= bindWithin:
		return nil, refuse("sign_in_too_old", errSignInFirst)
	}
	return s, nil
}

// bindSession completes an attempt to bind DingTalk to this browser's account. The attempt names
// the session in which it was begun: another account that has signed in meanwhile is not bound.
func (f loginAPI) bindSession(w http.ResponseWriter, r *http.Request, x *web.Exchange) (err error) {
	var person identity.User
	defer func() {
		if e, ok := errors.AsType[*web.Error](err); ok {
			refused := Event{What: "refused", How: "bind", Code: e.Code, User: x.User, Err: e.Err}
			refused.about(&person)
			f.audit(x, refused)
		}
	}()
	s, err := f.localSession(r)
	if err != nil {
		return err
	}
	x.User = s.User.Username
	by := completion{f.Flow}.byBrowser(r.URL.RawQuery, bindPurpose)
	q, _, err := completion{f.Flow}.redeem(w, r, x, by, func(target string) error {
		if subtle.ConstantTimeCompare([]byte(target), []byte(s.ID)) != 1 {
			return completion{f.Flow}.refuse(r, "state_unknown", "/")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if person, _, err = (completion{f.Flow}).person(r.Context(), x, by, q, "/"); err != nil {
		return err
	}
	if person.UnionID == "" {
		return completion{f.Flow}.failed(&identity.Failure{
			Code: "bad_answer",
			Err:  errors.New("login: a person without a unionId cannot be bound"),
		}, "/")
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	return f.makeBinding(ctx, x, account.Binding{UnionID: person.UnionID, Username: s.User.Username}, fullName(&person))
}

// ownPagePurpose is the purpose of a page that draws its own QR code: a sign-in, or with type=1
// the binding of the signed-in account. DingTalk redirects to our callback, or with `page` to that
// page, whose script then calls LoginAPI.
func (f loginAPI) ownPagePurpose(r *http.Request, target string) (Purpose, error) {
	e := Purpose{RedirectURI: f.urls().redirectURI(), Target: target}
	binding, err := f.wantsBinding(r.URL.RawQuery)
	if err != nil {
		return e, err
	}
	back, err := parameter(r.URL.RawQuery, "page")
	if err != nil {
		return e, err
	}
	if back != "" {
		if !strings.HasPrefix(back, "/") || strings.ContainsAny(back, "?#") || len(back) > maxPage {
			return e, badRequest("page is not one of our paths")
		}
		path, ok := f.urls().allowed(back)
		if !ok {
			return e, badRequest("page is not one of our paths")
		}
		e.RedirectURI = f.Origins.Public() + web.EscapeNonASCII(path)
	}
	if !binding {
		return e, nil
	}
	s, err := f.localSession(r)
	if err != nil {
		return e, err
	}
	e.Kind, e.Target = bindPurpose, s.ID
	return e, nil
}

const maxPage = 200 // bytes of the path in `page`
