package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/store/grant"
)

// Grant types.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
)

// tokenAnswer is the answer of the token endpoint (RFC 6749 §5.1).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope"`
}

// Token is the token endpoint: tokens for a code, a refresh token or a device code. It reads and
// writes the store, and never waits for DingTalk.
func (p *Provider) Token(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "oidc_token"
	form, f := p.called(w, r)
	if f != nil {
		return p.refuse(w, r, "token", nil, f)
	}
	c, f := p.authenticate(w, r, form)
	if f != nil {
		return p.refuse(w, r, "token", p.clients.all[form.get("client_id")], f)
	}
	ctx, cancel := context.WithTimeout(r.Context(), memberTimeout)
	defer cancel()
	call := &tokenCall{p: p, ctx: ctx, x: web.From(w), c: c, form: form}
	var answer tokenAnswer
	switch form.get("grant_type") {
	case grantCode:
		answer, f = call.code()
	case grantRefresh:
		answer, f = call.refresh()
	case grantDevice:
		answer, f = call.device()
	case "":
		f = invalidRequest("grant_type is missing")
	default:
		f = fail(
			"unsupported_grant_type",
			"authorization_code, refresh_token or device_code",
			"the application uses grant_type %.60q; set it to the authorization code flow",
			form.get("grant_type"),
		)
	}
	if f != nil {
		return p.refuse(w, r, "token", c, f)
	}
	p.measure(c.ClientID, "token", "ok")
	w.Header()["Pragma"] = []string{"no-cache"}
	return web.JSON(w, r, http.StatusOK, answer)
}

// tokenCall is one call of a known client.
type tokenCall struct {
	p    *Provider
	ctx  context.Context
	x    *web.Exchange
	c    *client
	form params
}

// code redeems an authorization code, once.
//
// Of any number of concurrent uses, on any replica, one gets tokens. Every other use by its own
// client ends the resulting grant, whenever it comes: an attacker uses a stolen code at once, so
// that concurrency is no excuse (threats E2). An attempt of another client invalidates a code that
// waits, and ends no grant.
func (t *tokenCall) code() (tokenAnswer, *failure) {
	p, code := t.p, t.form.get("code")
	if code == "" {
		return tokenAnswer{}, invalidRequest("code is missing")
	}
	g, family, err := p.Grants.ByCode(t.ctx, code)
	switch {
	case errors.Is(err, grant.ErrForeign):
		return tokenAnswer{}, invalidGrant("not a code of this provider")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, t.again(family, "the code was used, ended, or not redeemed within %v", p.Config.Code)
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	var what given
	if err := g.Read(&what); err != nil || what.Device != nil {
		return tokenAnswer{}, invalidGrant("a device code is no authorization code")
	}
	if what.Client != t.c.ClientID {
		t.audit(Event{What: "oidc_reuse", Reason: "code_of_another_client"})
		if !g.Live {
			if _, err := p.Grants.End(t.ctx, family); err != nil {
				return tokenAnswer{}, unavailable(err)
			}
		}
		return tokenAnswer{}, invalidGrant("the code is client %q's", what.Client)
	}
	if g.Live {
		return tokenAnswer{}, t.reused(family, &what, "code_reused")
	}
	if f := t.checkCode(&what); f != nil {
		return tokenAnswer{}, f
	}
	return t.redeem(g, &what)
}

// checkCode compares the parameters with the authorization request.
func (t *tokenCall) checkCode(what *given) *failure {
	if uri, sent := t.form.values["redirect_uri"]; !sent || uri != what.Redirect {
		return invalidGrant("redirect_uri %.200q is not that of the authorization request", uri)
	}
	verifier := t.form.get("code_verifier")
	switch {
	// a downgrade: an attacker has removed the challenge from the request (threats E4)
	case what.Challenge == "" && verifier != "":
		return invalidGrant("code_verifier without a code_challenge in the authorization request")
	case what.Challenge == "":
		return nil
	case len(verifier) < 43 || len(verifier) > 128:
		return invalidGrant(
			"code_verifier is missing, or not of 43 to 128 letters; the application's library uses PKCE only by half",
		)
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(what.Challenge)) != 1 {
		return invalidGrant("code_verifier is not the challenge's")
	}
	return nil
}

// redeem makes a family of a grant that waits. The grant is recorded for its person before the
// person is checked: an end in between finds it, an earlier one is seen here (threats E18).
func (t *tokenCall) redeem(g *grant.Grant, what *given) (tokenAnswer, *failure) {
	p := t.p
	until := what.Login.Ends
	switch {
	case what.has(scopeOffline):
		until = p.now().Add(p.Config.RefreshToken)
	case what.Device != nil:
		until = p.now().Add(p.Config.AccessToken)
	}
	if !p.now().Before(until) {
		return tokenAnswer{}, invalidGrant("the session is over")
	}
	if err := p.people().hold(t.ctx, g.Family, what, &what.Login.User, what.Login.Checked, until); err != nil {
		return tokenAnswer{}, unavailable(err)
	}
	u, f := t.member(what)
	if f != nil {
		return tokenAnswer{}, f
	}
	switch err := p.Grants.Redeem(t.ctx, g, what, until); {
	case errors.Is(err, grant.ErrReused):
		return tokenAnswer{}, t.reused(g.Family, what, "code_reused")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, invalidGrant("the code has ended meanwhile")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	return t.give(g, what, u, what.Scope, what.Nonce)
}

// again answers for a code that is no longer known: if its grant lives, it ends.
func (t *tokenCall) again(f grant.Family, why string, args ...any) *failure {
	if _, err := t.p.Grants.End(t.ctx, f); err != nil {
		return unavailable(err)
	}
	return invalidGrant(why, args...)
}

func (t *tokenCall) reused(f grant.Family, what *given, reason string) *failure {
	ended, err := t.p.Grants.End(t.ctx, f)
	if err != nil {
		return unavailable(err)
	}
	if ended != nil {
		t.audit(Event{What: "oidc_reuse", User: what.Login.User.Username, UserID: what.Login.User.UserID, Reason: reason})
	}
	return invalidGrant(
		"%s: all tokens of this sign-in have ended; either the application sent a code or token twice, or it was stolen",
		reason,
	)
}

func (t *tokenCall) audit(e Event) error {
	e.Application = t.c.ClientID
	return t.p.audit(t.x, e)
}

// member returns the person of a grant with the latest facts, if the rule still admits them.
func (t *tokenCall) member(what *given) (*identity.User, *failure) {
	t.x.User = what.Login.User.Username
	u, f := t.p.member(t.ctx, what)
	if f == nil {
		if _, ok := t.c.admits(u); !ok {
			return nil, invalidGrant("the client's rule does not admit this person any more; see its access")
		}
	}
	return u, f
}

// refresh rotates a refresh token. A used one returns its successor once more for a moment, in
// case the answer was lost; after that it ends the family (threats E5).
func (t *tokenCall) refresh() (tokenAnswer, *failure) {
	p, token := t.p, t.form.get("refresh_token")
	if token == "" {
		return tokenAnswer{}, invalidRequest("refresh_token is missing")
	}
	g, generation, err := p.Grants.ByRefresh(t.ctx, token)
	switch {
	case errors.Is(err, grant.ErrForeign), errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, invalidGrant("not a refresh token of this provider, or its family has ended")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	var what given
	if err := g.Read(&what); err != nil {
		return tokenAnswer{}, invalidGrant("the record cannot be decoded")
	}
	if what.Client != t.c.ClientID {
		t.audit(Event{What: "oidc_reuse", Reason: "refresh_of_another_client"})
		return tokenAnswer{}, invalidGrant("the refresh token belongs to client %q", what.Client)
	}
	scope := what.Scope
	if requested := strings.Fields(t.form.get("scope")); len(requested) > 0 {
		scope = knownScopes(requested)
		for _, s := range scope {
			if !slices.Contains(what.Scope, s) {
				return tokenAnswer{}, fail(
					"invalid_scope",
					"more than was granted",
					"the application requests scope %q at the refresh, which was not granted",
					s,
				)
			}
		}
	}
	u, f := t.member(&what)
	if f != nil {
		if !f.retry { // other ended grants are found too, and the application is notified once
			p.people().endLater(what.Sub)
		}
		return tokenAnswer{}, f
	}
	_, err = p.Grants.Rotate(t.ctx, g, generation)
	switch {
	case errors.Is(err, grant.ErrReused):
		return tokenAnswer{}, t.reused(g.Family, &what, "refresh_reused")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, invalidGrant("the family has ended meanwhile")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	return t.give(g, &what, u, scope, "")
}

// give issues the tokens of a live family.
func (t *tokenCall) give(g *grant.Grant, what *given, u *identity.User, scope []string, nonce string) (tokenAnswer,
	*failure) {
	p, now := t.p, t.p.now()
	expires := now.Add(p.Config.AccessToken)
	// access tokens end with the session
	if ends := what.Login.Ends; what.Device == nil && now.Before(ends) && ends.Before(expires) {
		expires = ends
	}
	if g.Expires.Before(expires) {
		expires = g.Expires
	}
	terms := grant.Terms{Expires: expires}
	narrow := *what
	if len(scope) < len(what.Scope) {
		terms.Narrow, terms.Scope = true, scopeBits(scope)
		narrow.Userinfo, narrow.IDToken = slices.Clone(what.Userinfo), slices.Clone(what.IDToken)
		narrow.narrow(scope)
	}
	a := tokenAnswer{
		AccessToken: p.Grants.Access(g.Family, terms),
		TokenType:   "Bearer",
		ExpiresIn:   int64(expires.Sub(now) / time.Second),
		Scope:       strings.Join(scope, " "),
	}
	if what.has(scopeOffline) {
		a.RefreshToken = p.Grants.Refresh(g)
	}
	if slices.Contains(scope, scopeOpenID) {
		var err error
		if a.IDToken, err = p.disclosure().idToken(t.ctx, t.c, &narrow, u, a.AccessToken, nonce, now); err != nil {
			return tokenAnswer{}, unavailable(err)
		}
	}
	return a, nil
}

// member returns the latest facts about a grant's person. A failure without retry means that the
// grant has ended.
func (p *Provider) member(ctx context.Context, what *given) (*identity.User, *failure) {
	l := what.Login
	var r personRecord
	if _, found, err := p.records().read(ctx, p.people().personKey(what.Sub), &r); err != nil {
		return nil, unavailable(err)
	} else if found && r.Checked.After(l.Checked) {
		l.User, l.Checked = r.User, r.Checked
	}
	beyond := what.Device != nil || what.has(scopeOffline) && !p.now().Before(l.Ends)
	if what.Device != nil {
		l.Session = ""
	}
	u, checked, err := p.People.Member(ctx, l, beyond)
	switch {
	case errors.Is(err, ErrSignedOut):
		return nil, invalidGrant("the person has signed out, or is no member any more")
	case err != nil:
		return nil, unavailable(err)
	}
	if err := p.mailboxes().confirm(ctx, &u); err != nil {
		return nil, unavailable(err)
	}
	what.Login.User, what.Login.Checked = u, checked
	return &u, nil
}
