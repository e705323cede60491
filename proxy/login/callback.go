package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/store"
)

const (
	exchangeTimeout = 8 * time.Second // for all calls to DingTalk during one sign-in (threats V1)
	storeTimeout    = time.Second
	retryAfter      = 5 * time.Second

	maxCallbackQuery = 8 << 10
	maxCode          = 1 << 10
)

// completion completes sign-ins: it redeems the attempt and the code with which a browser returns,
// and creates the session. Every flow ends here.
type completion struct{ *Flow }

// Callback completes a sign-in:
//
//	GET ─► parameters ─► state of this browser ─► age, of this host and app ─► limit ─► used once ─► Exchange ─► session
//
// The steps before Exchange are local, so that a request that fails there causes no call (threats
// S1–S8, D6). A HEAD request or a prefetch uses nothing up. A refusal is a page that offers the
// next step. It leaves no session, and invalidates the attempt unless a reload can still succeed:
// 429, and 503 for a store that fails. A page load does not stay at an address whose code is still
// valid (see refusal).
func (f *Flow) Callback(w http.ResponseWriter, r *http.Request) error {
	return completion{f}.serve(w, r)
}

func (f completion) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "callback"
	if err := getOnly(r); err != nil {
		return err
	}
	query, err := refusedCallback{f.Flow}.query(r, x)
	if err != nil {
		return err
	}
	by := f.byBrowser(query, "")
	by.mayWait = web.IsPageLoad(r.Method, r.Header)
	if name, err := parameter(query, waitParam); err == nil && name != "" && !carriesCode(query) {
		by.read = func() (callbackQuery, error) { return f.waitingQuery(r, name) }
	}
	s, _, target, err := f.complete(w, r, x, by, nil)
	if not, waits := errors.AsType[*waiting](err); waits {
		if err = f.wait(w, r, not); err == nil {
			return nil
		}
	}
	if err != nil {
		return refusedCallback{f.Flow}.shownAgain(r, x, err, *by.spent)
	}
	target = f.afterSignIn(r.Context(), s, target)
	if strings.EqualFold(f.Sessions.Cookie.SameSite, "strict") {
		htmlRedirect(w, target)
		return nil
	}
	redirect(w, http.StatusFound, target)
	return nil
}

// htmlRedirect redirects with one of our pages. A chain of redirects that another site began
// carries no SameSite=Strict cookie: the page would start a sign-in again and again.
func htmlRedirect(w http.ResponseWriter, target string) {
	target = web.EscapeNonASCII(target)
	web.SecurityHeaders(w, "")
	w.Header()["Refresh"] = []string{"0; url=" + target}
	w.Header()["Content-Type"] = []string{"text/html; charset=utf-8"}
	io.WriteString(w, "<!doctype html><title>…</title><a href=\""+html.EscapeString(target)+"\">→</a>\n")
}

// codeSource describes where an attempt's code comes from: how a browser delivers it, and what
// redeems it.
type codeSource struct {
	spent    *bool  // set when the provider has redeemed the code, or refused it permanently; if nil, not set
	purpose  string // of the attempt; an attempt with another purpose is refused (threats S8)
	how      string // for the audit log, as in Event.How
	queue    Queue  // where the sign-in waits before the code is spent; if nil, it does not wait
	mayWait  bool   // the answer may be a page that waits
	read     func() (callbackQuery, error)
	exchange func(ctx context.Context, code, state string) (identity.User, identity.Token, error)
}

// byBrowser is the source of a code in the query of a redirect.
func (f completion) byBrowser(query, purpose string) codeSource {
	return codeSource{
		purpose: purpose, spent: new(bool), exchange: f.Provider.Exchange, queue: f.Queue,
		read: func() (callbackQuery, error) { return parseCallback(query, f.AttemptIn) },
	}
}

// complete completes an attempt and sets the session cookie on w. Once the attempt is found,
// target is returned with an error too. check may refuse the target before anything is used up;
// nil refuses none.
func (f completion) complete(w http.ResponseWriter, r *http.Request, x *web.Exchange, by codeSource,
	check func(string) error) (s *session.Session, cookie *http.Cookie, target string, err error) {
	var in session.SignIn
	defer func() {
		if _, waits := errors.AsType[*waiting](err); err == nil || waits {
			return
		}
		f.clearStaleCookie(w, r)
		e := Event{What: "refused", How: by.how, Code: "internal", Err: err}
		if refusal, ok := errors.AsType[*web.Error](err); ok {
			e.Code, e.Err = refusal.Code, refusal.Err
		}
		e.about(&in.User)
		f.audit(x, e)
	}()
	q, a, err := f.redeem(w, r, x, by, check)
	target = a.target
	if err != nil {
		return nil, nil, target, err
	}
	in.Silent = by.purpose == silentPurpose
	in.Since = f.Sessions.Time() // a revocation before the provider answers applies to this session (threats K18)
	if in.User, in.Token, err = f.person(r.Context(), x, by, q, target); err != nil {
		return nil, nil, target, err
	}
	if s, cookie, err = f.admit(w, r, in, target); err != nil {
		return nil, nil, target, err
	}
	x.User = s.User.Username
	if err = f.recorded(w, r, x, Event{What: "sign_in", How: by.how, User: s.User.Username, UserID: s.User.UserID, Session: s.ID}); err != nil {
		return nil, nil, target, err
	}
	return s, cookie, target, nil
}

// redeem finds the attempt that a callback belongs to and uses it up; only the exchange with the
// provider remains. The attempt's target is one that its purpose permits.
func (f completion) redeem(w http.ResponseWriter, r *http.Request, x *web.Exchange, by codeSource, check func(string) error) (callbackQuery, attempt, error) {
	q, err := by.read()
	if err != nil {
		return q, attempt{}, err
	}
	state, ok := parseState(q.attempt)
	if !ok {
		return q, attempt{}, f.refuse(r, "state_unknown", "/")
	}
	a, slot, ok := f.attempts().find(r.Header, state)
	switch { // the first two are mistakes of the calling page, which has to learn of them
	case ok && a.purpose == "" && by.purpose == bindPurpose:
		return q, attempt{}, f.refuse(r, "not_begun_to_bind", "/")
	case ok && a.purpose == bindPurpose && by.purpose == "":
		return q, attempt{}, f.refuse(r, "begun_to_bind", "/")
	case !ok || a.purpose != by.purpose:
		return q, attempt{}, f.refuse(r, "state_unknown", "/")
	}
	// The page that a link on an error page leads to; the target of a purpose belongs to the
	// caller, and may equal one of our paths by chance.
	page, _ := f.urls().allowed(a.target)
	if by.purpose == "" || by.purpose == silentPurpose {
		a.target = page
	}
	forget := func() { addCookie(w, f.attempts().cookie(slot, "", -1)) }
	if err := f.checkAttempt(r, x, &a, q, page); err != nil {
		forget()
		return q, a, err
	}
	if check != nil {
		if err := check(a.target); err != nil {
			return q, a, err
		}
	}
	if err := f.mayExchange(x); err != nil {
		return q, a, err
	}
	if err := f.takeTurn(r, by, a, slot, q); err != nil {
		return q, a, err
	}
	if err := f.mayExchange(x); err != nil { // several may have waited together
		return q, a, err
	}
	if err := f.useUp(r.Context(), state); errors.Is(err, store.ErrExists) {
		forget()
		return q, a, f.refuse(r, "state_used", page)
	} else if err != nil { // nothing is used up: a reload tries again
		return q, a, &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter, Err: err}
	}
	forget()
	return q, a, nil
}

// checkAttempt makes all checks of an attempt of this browser that need no network.
func (f completion) checkAttempt(r *http.Request, x *web.Exchange, a *attempt, q callbackQuery, target string) error {
	switch {
	case a.app != f.ClientID || a.host != web.HostName(x.Host): // another app, or another served host (threats S8, S17)
		return f.refuse(r, "state_unknown", "/")
	case !a.live(f.now()):
		return f.refuse(r, "state_expired", target)
	case q.failed: // its text may come from an attacker and is not shown (threats S11)
		return f.refuse(r, "denied_at_dingtalk", target)
	case q.code == "":
		return badRequest("no code, or two that differ")
	}
	return nil
}

// useUp marks a state as used. Of equal callbacks, on any replica, one gets nil, the others
// store.ErrExists (threats S4, S18).
func (f completion) useUp(ctx context.Context, state [32]byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sum := sha256.Sum256(state[:])
	return f.Used.Add(ctx, "attempt:"+base64.RawURLEncoding.EncodeToString(sum[:]), []byte("1"), attemptLife+2*attemptSkew)
}

// person redeems a code for the person it was issued to.
func (f completion) person(ctx context.Context, x *web.Exchange, by codeSource, q callbackQuery, target string) (identity.User, identity.Token, error) {
	asking, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	user, token, err := by.exchange(asking, q.code, q.state)
	failure, failed := errors.AsType[*identity.Failure](err)
	refused := failed && (failure.Class == identity.Refused || failure.Class == identity.Restart)
	if refused { // an office that signs in at nine is no flood, nor is one whose provider is unreachable
		f.counts().exchanges.Allow(f.Exchanges.Or(exchangesLimit), ratelimit.Client(x.Client), f.now())
	}
	if by.spent != nil {
		*by.spent = err == nil || refused
	}
	if err == nil && user.Username == "" {
		err = &identity.Failure{Code: "bad_answer", Err: errors.New("login: a person without a username")}
	}
	if err != nil {
		return identity.User{}, identity.Token{}, f.failed(err, target)
	}
	return user, token, nil
}

// admit creates the session of a person whom the provider has identified, with the name of the
// account that the person is bound to, if any, and sets the cookie on w. A person who has to be
// bound first gets no session, but a link to do so.
func (f completion) admit(w http.ResponseWriter, r *http.Request, in session.SignIn, target string) (*session.Session, *http.Cookie, error) {
	resolving, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	named, err := f.People.Resolve(resolving, in.User)
	if failure, ok := errors.AsType[*identity.Failure](err); ok && failure.Code == account.NotBound {
		return nil, nil, f.accountLinkToken(r.Context(), w, in, target, err)
	}
	if err != nil {
		return nil, nil, f.failed(err, target)
	}
	in.User = named
	s, cookie, err := f.create(w, r, in, target)
	if err != nil {
		return nil, nil, err
	}
	addCookie(w, cookie)
	if f.attempts().signedOutRecently(r) {
		f.attempts().markSignedOut(w, -1)
	}
	return s, cookie, nil
}

func (f completion) create(w http.ResponseWriter, r *http.Request, in session.SignIn, target string) (*session.Session, *http.Cookie, error) {
	in.Device, in.Client = web.Device(r.Header.Get("User-Agent")), web.From(w).Client
	if wait, ok := f.counts().signIns.Allow(f.SignIns.Or(signInsLimit), signInKey{in.User.Local, in.User.UnionID, in.User.Username}, f.now()); !ok {
		return nil, nil, &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait, Retry: f.urls().path("/start", target)}
	}
	s, cookie, err := f.Sessions.Begin(r.Context(), in)
	switch {
	case errors.Is(err, session.ErrStore):
		return nil, nil, &web.Error{
			Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter,
			Retry: f.urls().path("/start", target), Err: err,
		}
	case err != nil:
		return nil, nil, &web.Error{Status: http.StatusInternalServerError, Code: "internal", Retry: f.urls().path("/start", target), Err: err}
	}
	return s, cookie, nil
}

// failed maps a provider's error to the answer for the person.
func (f completion) failed(err error, target string) error {
	e := &web.Error{Status: http.StatusBadGateway, Code: "bad_answer", Retry: f.urls().path("/start", target), Err: err}
	failure, ok := errors.AsType[*identity.Failure](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "unavailable", retryAfter
		}
		return e
	}
	if failure.Code != "" {
		e.Code = failure.Code
	}
	switch failure.Class {
	case identity.Refused:
		// The same person would be refused again: show a page where another account can be chosen.
		e.Status, e.Retry = http.StatusForbidden, f.Prefix+interactivePath+url.QueryEscape(target)
	case identity.Restart:
		e.Status = http.StatusForbidden
	case identity.Operator:
		e.Status = http.StatusServiceUnavailable
	case identity.Later:
		e.Status, e.RetryAfter = http.StatusServiceUnavailable, retryAfter
	}
	return e
}

// refuse is a 403 that leads on: to the page, if the browser is signed in by now (a double click,
// the back button, another tab), otherwise to a new sign-in.
func (f completion) refuse(r *http.Request, code, target string) error {
	e := &web.Error{Status: http.StatusForbidden, Code: code, Retry: f.urls().path("/start", target)}
	if _, err := f.loadSession(r, 0); err == nil && strings.HasPrefix(target, "/") {
		e.Retry = target
	}
	return e
}

func badRequest(text string) error {
	return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: errors.New("login: " + text)}
}

// callbackQuery holds the parameters with which the provider redirects a browser back.
type callbackQuery struct {
	attempt string // the attempt's state
	state   string // the provider's, for the exchange; equal to attempt unless Flow.AttemptIn is set
	code    string // authCode, otherwise code; "" if there is none or they differ
	failed  bool   // an error instead of a code
}

// parseCallback parses the raw query. A parameter that is repeated is an error, and so is one that
// cannot be decoded: two parsers would see two values (threats S7, S12).
//
// attemptIn is Flow.AttemptIn. It accepts a query to which the service has appended another
// `?code=…`: an attempt's state contains no `?`.
func parseCallback(query, attemptIn string) (callbackQuery, error) {
	if len(query) > maxCallbackQuery {
		return callbackQuery{}, badRequest("the query is too long")
	}
	if attemptIn == "" {
		attemptIn = "state"
	} else if at := strings.Index("&"+query, "&"+attemptIn+"="); at >= 0 {
		end := at + strings.IndexAny(query[at:]+"&", "?&")
		if end < len(query) && query[end] == '?' {
			query = query[:end] + "&" + query[end+1:]
		}
	}
	values := map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case attemptIn, "state", "code", "authCode", "error":
		default:
			continue
		}
		text, err := url.QueryUnescape(value)
		if _, twice := values[name]; twice || err != nil {
			return callbackQuery{}, badRequest("a parameter is repeated or unreadable")
		}
		values[name] = text
	}
	q := callbackQuery{attempt: values[attemptIn], state: values["state"], code: values["authCode"]}
	_, q.failed = values["error"]
	switch code := values["code"]; {
	case q.code == "":
		q.code = code
	case code != "" && code != q.code:
		q.code = ""
	}
	if unprintable(q.code) || attemptIn != "state" && unprintable(q.state) {
		return callbackQuery{}, badRequest("the code is no code")
	}
	return q, nil
}

func unprintable(s string) bool {
	return len(s) > maxCode || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
