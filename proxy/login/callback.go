package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
)

const (
	exchangeTimeout = 8 * time.Second // for all that DingTalk is asked at a sign-in (threats V1)
	storeTimeout    = time.Second
	retryAfter      = 5 * time.Second

	maxCallbackQuery = 8 << 10
	maxCode          = 1 << 10
)

// Callback ends a sign-in:
//
//	GET ─► parameters ─► state of this browser ─► young, of this host and app ─► limit ─► used once ─► Exchange ─► session
//
// Everything left of Exchange is local, and whoever fails there calls nobody
// (threats S1–S8, D6). A HEAD or a prefetch uses nothing up. A refusal is a
// page with a way forward, leaves no session behind, and takes the attempt
// with it, save where a reload can still succeed: 429, and 503 for an ill store.
func (f *Flow) Callback(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "callback"
	if err := getOnly(r); err != nil {
		return err
	}
	target, err := f.finish(w, r, x)
	if err != nil {
		f.clearDead(w, r)
		e := Event{What: "refused", Code: "internal", Err: err}
		if refusal, ok := errors.AsType[*web.Error](err); ok {
			e.Code, e.Err = refusal.Code, refusal.Err
		}
		f.audit(x, e)
		return err
	}
	f.redirect(w, http.StatusFound, target)
	return nil
}

// finish puts the session cookie on w and tells where to go.
func (f *Flow) finish(w http.ResponseWriter, r *http.Request, x *web.Exchange) (target string, err error) {
	q, err := parseCallback(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	state, ok := parseState(q.state)
	if !ok {
		return "", f.refuse(r, "state_unknown", "/")
	}
	a, slot, ok := f.find(r.Header, state)
	if !ok {
		return "", f.refuse(r, "state_unknown", "/")
	}
	target, _ = f.allowed(a.target)
	forget := func() { addCookie(w, f.attemptCookie(slot, "", -1)) }
	if err := f.judge(r, x, &a, q, target); err != nil {
		forget()
		return "", err
	}
	now := f.now()
	if wait, ok := f.exchanges.allow(f.Exchanges.or(exchangesLimit), x.Client, now); !ok {
		return "", &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait}
	}
	if err := f.useUp(r.Context(), state); errors.Is(err, session.ErrExists) {
		forget()
		return "", f.refuse(r, "state_used", target)
	} else if err != nil { // nothing is used up: a reload tries again
		return "", &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter, Err: err}
	}
	forget()
	s, cookie, err := f.exchange(r.Context(), q.code, q.state, target)
	if err != nil {
		return "", err
	}
	addCookie(w, cookie)
	x.User = s.User.Username
	f.audit(x, Event{What: "sign_in", User: s.User.Username, UserID: s.User.UserID, Session: s.ID})
	return target, nil
}

// judge looks at all that can be said about an attempt of this browser without
// asking anybody.
func (f *Flow) judge(r *http.Request, x *web.Exchange, a *attempt, q callbackQuery, target string) error {
	switch {
	case a.app != f.ClientID || a.host != web.HostName(x.Host): // begun for another app, or on another host of ours (threats S8, S17)
		return f.refuse(r, "state_unknown", "/")
	case !a.live(f.now()):
		return f.refuse(r, "state_expired", target)
	case q.failed: // its words are a stranger's and are not shown (threats S11)
		return f.refuse(r, "denied_at_dingtalk", target)
	case q.code == "":
		return badRequest("no code, or two that differ")
	}
	return nil
}

// useUp marks a state as used. Of equal callbacks, on any replica, one gets
// nil, the others session.ErrExists (threats S4, S18).
func (f *Flow) useUp(ctx context.Context, state [32]byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sum := sha256.Sum256(state[:])
	return f.Used.Add(ctx, "attempt:"+base64.RawURLEncoding.EncodeToString(sum[:]), []byte("1"), attemptLife+2*attemptSkew)
}

func (f *Flow) exchange(ctx context.Context, code, state, target string) (*session.Session, *http.Cookie, error) {
	asking, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	user, token, err := f.Provider.Exchange(asking, code, state)
	if err != nil {
		return nil, nil, f.failed(err, target)
	}
	if user.Username == "" {
		return nil, nil, f.failed(&identity.Failure{Code: "bad_answer", Err: errors.New("login: a person without a username")}, target)
	}
	s, cookie, err := f.Sessions.Create(ctx, user, token)
	switch {
	case errors.Is(err, session.ErrStore):
		return nil, nil, &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter, Retry: f.path("/start", target), Err: err}
	case err != nil:
		return nil, nil, &web.Error{Status: http.StatusInternalServerError, Code: "internal", Retry: f.path("/start", target), Err: err}
	}
	return s, cookie, nil
}

// failed turns a provider's error into what the person reads.
func (f *Flow) failed(err error, target string) error {
	e := &web.Error{Status: http.StatusBadGateway, Code: "bad_answer", Retry: f.path("/start", target), Err: err}
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
		e.Status, e.Retry = http.StatusForbidden, "" // the same person would be refused again; the page offers another account
	case identity.Restart:
		e.Status = http.StatusForbidden
	case identity.Operator:
		e.Status = http.StatusServiceUnavailable
	case identity.Later:
		e.Status, e.RetryAfter = http.StatusServiceUnavailable, retryAfter
	}
	return e
}

// refuse is a 403 with a way forward: to the page, for somebody who is signed
// in by now (a double click, the back button, another tab), else to a new
// sign-in.
func (f *Flow) refuse(r *http.Request, code, target string) error {
	e := &web.Error{Status: http.StatusForbidden, Code: code, Retry: f.path("/start", target)}
	if _, err := f.who(r, 0); err == nil && strings.HasPrefix(target, "/") {
		e.Retry = target
	}
	return e
}

func badRequest(text string) error {
	return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: errors.New("login: " + text)}
}

// callbackQuery is what DingTalk sends a browser back with.
type callbackQuery struct {
	state  string
	code   string // authCode, else code; "" when there is none or they differ
	failed bool   // an error instead of a code
}

// parseCallback reads the raw query. One of our parameters twice is an error,
// and so is one that does not decode: two readers would see two values
// (threats S7, S12).
func parseCallback(query string) (callbackQuery, error) {
	if len(query) > maxCallbackQuery {
		return callbackQuery{}, badRequest("the query is too long")
	}
	values := map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "state", "code", "authCode", "error":
		default:
			continue
		}
		text, err := url.QueryUnescape(value)
		if _, twice := values[name]; twice || err != nil {
			return callbackQuery{}, badRequest("a parameter is there twice or unreadable")
		}
		values[name] = text
	}
	q := callbackQuery{state: values["state"], code: values["authCode"]}
	_, q.failed = values["error"]
	switch code := values["code"]; {
	case q.code == "":
		q.code = code
	case code != "" && code != q.code:
		q.code = ""
	}
	if len(q.code) > maxCode || strings.ContainsFunc(q.code, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return callbackQuery{}, badRequest("the code is no code")
	}
	return q, nil
}
