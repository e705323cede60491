package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/oidc/keys"
)

// Authorize is the authorization endpoint, to which an application redirects a browser.
//
//	GET ─► client, redirect_uri ─► the rest ─► session, fresh enough ─► rule ─► consent ─► code, back
//	           └── page                └── error, back  └── sign-in        └── page, or error, back
//
// A POST with a request is redirected to a GET: only a navigation from another site carries our
// cookie. A POST of our own page is the answer to the consent form.
func (p *Provider) Authorize(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "oidc_authorize"
	switch {
	case r.Method == http.MethodPost:
		return p.authorization().authorizePost(w, r)
	case r.Method != http.MethodGet:
		return methodNotAllowed("GET, POST")
	case web.IsPrefetch(r): // must use nothing up
		return pageError(http.StatusBadRequest, "bad_request", "a prefetch")
	}
	raw, back, err := p.authorization().resumed(r)
	if err != nil {
		return err
	}
	return p.authorization().authorize(w, r, raw, back)
}

// attempt is the processing of one authorization request.
type attempt struct {
	p    *Provider
	w    http.ResponseWriter
	r    *http.Request
	q    *request
	back pending // restored when the browser returns from a sign-in
	in   Login
	sub  string
}

func (p authorization) authorize(w http.ResponseWriter, r *http.Request, raw string, back pending) error {
	q, params, err := p.identify(raw)
	if err != nil {
		p.measure("", "authorize", "page")
		return err
	}
	a := &attempt{p: p.Provider, w: w, r: r, q: q, back: back}
	if f := q.read(params); f != nil {
		return a.fail(f)
	}
	p.keepLanguage(w, r, q)
	a.in, err = p.Browser.Current(r)
	switch {
	case errors.Is(err, ErrSignedOut):
		return a.signIn()
	case err != nil:
		return err
	}
	if a.stale() || a.outdated() {
		return a.signIn()
	}
	return a.person()
}

// stale reports whether the person has to sign in again although there is a session. A sign-in
// that began with this request is recent enough.
func (a *attempt) stale() bool {
	since := a.in.SignedIn
	if !a.back.Since.IsZero() && !since.Before(a.back.Since) {
		return false
	}
	if a.q.prompts(promptLogin) || a.q.prompts(promptSelect) {
		return true
	}
	return a.q.hasMaxAge && a.p.now().Sub(since) > a.q.maxAge
}

func (a *attempt) signIn() error {
	if a.q.prompts(promptNone) {
		return a.fail(fail(
			"login_required",
			"not signed in, or not recently enough",
			"prompt=none without a session; if the application uses a frame, third-party cookies may be off: let it "+
				"navigate instead",
		))
	}
	target, err := a.p.authorization().target(a)
	if err != nil {
		return err
	}
	if a.r.Method == http.MethodPost && a.outdated() { // the answer of our page; a sign-in begins with a page load
		sendTo(a.w, http.StatusSeeOther, target)
		return nil
	}
	return a.p.Browser.SignIn(a.w, a.r, target)
}

// person continues after a session is found.
func (a *attempt) person() error {
	p, x := a.p, web.From(a.w)
	ctx, cancel := context.WithTimeout(a.r.Context(), memberTimeout)
	defer cancel()
	x.User = a.in.User.Username
	u, checked, err := p.People.Member(ctx, a.in, false)
	switch {
	case errors.Is(err, ErrSignedOut):
		return a.signIn()
	case err != nil:
		return a.fail(unavailable(err))
	}
	if err := p.mailboxes().confirm(ctx, &u); err != nil {
		return a.fail(unavailable(err))
	}
	a.in.User, a.in.Checked = u, checked
	if a.sub, err = p.subjects().of(ctx, &u); err != nil {
		return a.noSubject(err)
	}
	if err := a.replaced(ctx); err != nil {
		return a.fail(unavailable(err))
	}
	if a.q.hint != "" && !a.hinted(ctx) {
		if !a.back.Since.IsZero() {
			return a.another(otherHint)
		}
		return a.changePerson(otherHint)
	}
	if a.back.Since.IsZero() && a.q.hintsElsewhere(&a.in.User) {
		return a.changePerson("login_hint names another person")
	}
	if _, ok := a.q.client.admits(&u); !ok {
		return a.notAdmitted()
	}
	if a.q.client.namesPaths() {
		if err := p.disclosure().learnPaths(ctx, a.in.User.Departments); err != nil {
			return a.fail(unavailable(err))
		}
	}
	return a.consented(ctx)
}

// changePerson requires another sign-in than the present one.
func (a *attempt) changePerson(why string) error {
	if a.q.prompts(promptNone) {
		return a.another(why)
	}
	a.q.prompt = append(a.q.prompt, promptLogin)
	return a.signIn()
}

func (a *attempt) another(why string) error {
	return a.fail(fail("login_required", "another person is signed in", "%s", why))
}

// noSubject refuses a person whom an application could mistake for another one.
func (a *attempt) noSubject(err error) error {
	if !errors.Is(err, errNoSubject) && !errors.Is(err, errUnsettled) {
		return a.fail(unavailable(err))
	}
	a.p.audit(
		web.From(a.w),
		Event{
			What:        "oidc_refused",
			Application: a.q.client.ClientID,
			User:        a.in.User.Username,
			UserID:      a.in.User.UserID,
			Reason:      "no_subject",
			Err:         err,
		},
	)
	if a.q.prompts(promptNone) {
		return a.fail(fail("access_denied", "the person cannot be distinguished from others", "%w", err))
	}
	a.p.measure(a.q.client.ClientID, "authorize", "no_subject")
	return &web.Error{Status: http.StatusForbidden, Code: "oidc_no_subject", Who: a.in.User.FullName(), Err: err}
}

func (a *attempt) notAdmitted() error {
	a.p.audit(
		web.From(a.w),
		Event{
			What:        "oidc_refused",
			Application: a.q.client.ClientID,
			User:        a.in.User.Username,
			UserID:      a.in.User.UserID,
			Reason:      "not_allowed",
		},
	)
	why := "the rule of client %q names this person in no part; see its access"
	if a.q.prompts(promptNone) {
		return a.fail(fail("access_denied", "the person may not use this application", why, a.q.client.ClientID))
	}
	a.p.measure(a.q.client.ClientID, "authorize", "access_denied")
	e := pageError(http.StatusForbidden, "not_allowed", why, a.q.client.ClientID).(*web.Error)
	e.Who = a.in.User.FullName()
	return e
}

// replaced ends or links the session that a new sign-in replaced: another person's ends at once,
// the same person's ends with the new one.
func (a *attempt) replaced(ctx context.Context) error {
	if a.back.Was == "" || a.back.Was == a.in.Session {
		return nil
	}
	if a.back.Sub != a.sub {
		return a.p.People.Revoke(ctx, a.back.Was)
	}
	return a.p.people().replaces(ctx, a.in.Session, a.back.Was, a.sub)
}

const otherHint = "id_token_hint is another person's, or not an ID token of this provider"

// hinted reports whether id_token_hint names the person who is signed in. An expired token is
// accepted: it identifies a person, but proves nothing.
func (a *attempt) hinted(ctx context.Context) bool {
	c, err := a.p.readHint(ctx, a.q.hint)
	return err == nil && c.Subject == a.sub
}

// hintClaims are the claims used of an ID token that a client sends as a hint.
type hintClaims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Client  string `json:"azp"`
	SID     string `json:"sid"`
}

var errHint = errors.New("oidc: not an ID token of this provider, or signed with a key that is gone")

func (p *Provider) readHint(ctx context.Context, text string) (c hintClaims, err error) {
	set, err := p.Keys.Set(ctx)
	if err != nil {
		return c, err
	}
	body, err := set.Verify(text, keys.TypeID)
	if err != nil || json.Unmarshal(body, &c) != nil || c.Issuer != p.Issuer || c.Subject == "" {
		return hintClaims{}, errHint
	}
	return c, nil
}

// code issues a code for the person to the application.
func (a *attempt) code(ctx context.Context) error {
	p, q, x, u := a.p, a.q, web.From(a.w), &a.in.User
	if wait, ok := p.counts().codes.Allow(codesLimit, a.sub, p.now()); !ok { // a page in a loop must not fill the store
		return &web.Error{
			Status:     http.StatusTooManyRequests,
			Code:       "too_many_attempts",
			RetryAfter: wait,
			Err:        errors.New("oidc: codes for one person"),
		}
	}
	g := given{
		Client:    q.client.ClientID,
		Redirect:  q.redirect,
		Nonce:     q.nonce,
		Challenge: q.challenge,
		Scope:     q.scope,
		Sub:       a.sub,
		Login:     a.in,
		SID:       sidOf(a.in.Session),
	}
	g.Userinfo, g.IDToken = q.claims.names()
	code, _, err := p.Grants.Issue(ctx, g, p.Config.Code)
	if err != nil {
		return a.fail(unavailable(err))
	}
	if err := p.audit(x, Event{What: "oidc_sign_in", Application: q.client.ClientID, User: u.Username,
		UserID: u.UserID}); err != nil {
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "audit_unavailable", RetryAfter: retryAfter, Err: err}
	}
	p.measure(q.client.ClientID, "authorize", "ok")
	return a.answer([][2]string{{"code", code}})
}

// fail returns an error to the application. A temporary error is shown to the person, who can try
// again.
func (a *attempt) fail(f *failure) error {
	a.p.measure(a.q.client.ClientID, "authorize", f.code)
	if f.retry && !a.q.prompts(promptNone) {
		return asPage(f)
	}
	web.From(a.w).Err = &web.Error{Status: http.StatusFound, Code: f.code, Err: f}
	return a.answer([][2]string{{"error", f.code}, {"error_description", f.text}})
}

// answer sends the response to the application, by a redirect or by a form.
func (a *attempt) answer(params [][2]string) error {
	if a.q.stateSet {
		params = append(params, [2]string{"state", a.q.state})
	}
	// RFC 9207: the response of another issuer must not be accepted as dinggate's (threats E3)
	params = append(params, [2]string{"iss", a.p.Issuer})
	if a.q.mode == modeFormPost {
		a.p.Pages.PostForm(a.w, a.r, page.PostFormData{Action: a.q.redirect, Fields: params})
		return nil
	}
	status := http.StatusFound
	if a.r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	sendTo(a.w, status, withParameters(a.q.redirect, params))
	return nil
}

func sendTo(w http.ResponseWriter, status int, location string) {
	web.SecurityHeaders(w, "")
	w.Header()["Location"] = []string{location}
	w.WriteHeader(status)
}

// authorizePost handles a request of an application, or the answer of our page.
func (p authorization) authorizePost(w http.ResponseWriter, r *http.Request) error {
	body, err := formBody(r, maxAnswer)
	if err != nil {
		return bodyError(err)
	}
	if params, err := parseForm(body, maxAnswer); err == nil && params.get(consentField) != "" {
		return p.decided(w, r, params)
	}
	if len(body) > maxRequest {
		return bodyError(errTooLarge)
	}
	if _, _, err := p.identify(body); err != nil { // before anything is stored
		return err
	}
	if len(PathAuthorize)+1+len(body) <= maxTarget {
		sendTo(w, http.StatusSeeOther, PathAuthorize+"?"+body)
		return nil
	}
	target, err := p.keep(w, r, pending{Query: body}, requestParam)
	if err != nil {
		return err
	}
	sendTo(w, http.StatusSeeOther, target)
	return nil
}

var (
	errBody     = errors.New("oidc: the body is no form")
	errTooLarge = errors.New("oidc: the body is too large")
)

// formBody reads the body of a form. Its errors are errBody and errTooLarge.
func formBody(r *http.Request, limit int) (string, error) {
	types := r.Header["Content-Type"]
	if len(types) != 1 || len(r.Header["Content-Encoding"]) > 0 {
		return "", errBody
	}
	kind, _, _ := strings.Cut(types[0], ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") {
		return "", errBody
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	switch {
	case len(body) > limit:
		return "", errTooLarge
	case err != nil:
		return "", errBody
	}
	return string(body), nil
}

// keepLanguage stores the language that an application requests, unless the person has chosen one: the
// pages of the sign-in use it.
func (p authorization) keepLanguage(w http.ResponseWriter, r *http.Request, q *request) {
	if q.locales == "" || len(web.CookieValues(r.Header, "dinggate-lang")) > 0 {
		return
	}
	for tag := range strings.FieldsSeq(q.locales) {
		lang, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if slices.Contains([]string{"zh", "en"}, lang) {
			c := &http.Cookie{
				Name:     "dinggate-lang",
				Value:    lang,
				Path:     "/",
				MaxAge:   int((time.Hour).Seconds()),
				HttpOnly: true,
				SameSite: http.SameSiteLaxMode,
				Secure:   strings.HasPrefix(p.Issuer, "https:"),
			}
			w.Header().Add("Set-Cookie", c.String())
			r.Header["Accept-Language"] = []string{lang}
			return
		}
	}
}
