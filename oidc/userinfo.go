package oidc

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/store/grant"
)

// Userinfo is the userinfo endpoint (OpenID Connect Core §5.3).
func (p *Provider) Userinfo(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "oidc_userinfo"
	token, f := bearer(w, r)
	if f != nil {
		return p.refuse(w, r, "userinfo", nil, f)
	}
	ctx, cancel := context.WithTimeout(r.Context(), memberTimeout)
	defer cancel()
	found, f := p.identifyToken(ctx, token)
	if f != nil {
		return p.refuse(w, r, "userinfo", nil, f)
	}
	x.User = found.user.Username
	if !found.what.has(scopeOpenID) {
		f := fail(
			"insufficient_scope",
			"the access token is without scope openid",
			"the application calls userinfo with a token without openid; add openid to its scopes",
		)
		f.status, f.challenge = http.StatusForbidden, `Bearer realm="dinggate", error="insufficient_scope", scope="openid"`
		return p.refuse(w, r, "userinfo", found.client, f)
	}
	claims, err := p.disclosure().claims(ctx, found.client, found.what, found.user, found.what.Userinfo)
	if err != nil {
		return p.refuse(w, r, "userinfo", found.client, unavailable(err))
	}
	p.measure(found.client.ClientID, "userinfo", "ok")
	return web.JSON(w, r, http.StatusOK, claims)
}

// bearer finds the access token of a request: in the header, or in a form body (RFC 6750 §2). A
// token in the URL is ignored.
func bearer(w http.ResponseWriter, r *http.Request) (string, *failure) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header()["Allow"] = []string{"GET, POST"}
		return "", &failure{
			status: http.StatusMethodNotAllowed,
			code:   "invalid_request",
			text:   "GET or POST",
			why:    errors.New("the endpoint takes GET and POST only"),
		}
	}
	inBody := ""
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		body, err := formBody(r, maxForm)
		if errors.Is(err, errTooLarge) {
			return "", tooLarge()
		}
		if err == nil {
			form, err := parseForm(body, maxForm)
			if err != nil || form.twice["access_token"] {
				return "", invalidRequest("the body does not read")
			}
			inBody = form.get("access_token")
		}
	}
	lines := r.Header["Authorization"]
	switch {
	case len(lines) == 0 && inBody != "":
		return inBody, nil
	case len(lines) == 0:
		f := &failure{
			status:    http.StatusUnauthorized,
			code:      "invalid_token",
			text:      "an access token is required",
			why:       errors.New("the application sends no access token in the Authorization header"),
			challenge: `Bearer realm="dinggate"`,
		}
		return "", f
	case len(lines) > 1 || inBody != "":
		return "", invalidRequest("more than one access token")
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", invalidToken(errors.New("the Authorization header is no Bearer"))
	}
	return strings.TrimLeft(token, " "), nil
}

// tokenOwner is the grant of an access token.
type tokenOwner struct {
	client  *client
	what    *given
	user    *identity.User
	family  grant.Family
	expires time.Time
}

// identifyToken finds the person of an access token: the grant lives, the client still exists, its
// rule admits the person, and the person's membership has not ended.
func (p *Provider) identifyToken(ctx context.Context, token string) (tokenOwner, *failure) {
	g, terms, err := p.Grants.ByAccess(ctx, token)
	switch {
	case errors.Is(err, grant.ErrForeign), errors.Is(err, grant.ErrNone):
		return tokenOwner{}, invalidToken(err)
	case err != nil:
		return tokenOwner{}, unavailable(err)
	}
	var what given
	if err := g.Read(&what); err != nil {
		return tokenOwner{}, invalidToken(err)
	}
	c := p.clients.all[what.Client]
	if c == nil {
		return tokenOwner{}, invalidToken(errors.New("the client is configured no more"))
	}
	u, f := p.member(ctx, &what)
	switch {
	case f != nil && f.retry:
		return tokenOwner{}, f
	case f != nil:
		return tokenOwner{}, invalidToken(f)
	}
	if _, ok := c.admits(u); !ok {
		return tokenOwner{}, invalidToken(errors.New("the client's rule does not admit this person any more"))
	}
	if terms.Narrow {
		what.narrow(scopesOf(terms.Scope))
	}
	return tokenOwner{c, &what, u, g.Family, terms.Expires}, nil
}
