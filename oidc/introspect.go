package oidc

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"dinggate/internal/web"
	"dinggate/store/grant"
)

// introspection is the answer of RFC 7662; without Active it is otherwise empty.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Username  string `json:"username,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
}

// Introspect is the introspection endpoint (RFC 7662), for clients with a secret and their own
// tokens. A token of another client is not active.
func (p *Provider) Introspect(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "oidc_introspect"
	form, c, f := p.inspection().caller(w, r)
	if f == nil && c.public() {
		f = invalidClient("client %q has no secret: introspection is for clients that have one", c.ClientID)
	}
	if f != nil {
		return p.refuse(w, r, "introspect", c, f)
	}
	ctx, cancel := context.WithTimeout(r.Context(), memberTimeout)
	defer cancel()
	answer, f := p.inspection().introspect(ctx, c, form.get("token"))
	if f != nil {
		return p.refuse(w, r, "introspect", c, f)
	}
	p.measure(c.ClientID, "introspect", "ok")
	return web.JSON(w, r, http.StatusOK, answer)
}

// caller parses and authenticates a call with a token in it.
func (p inspection) caller(w http.ResponseWriter, r *http.Request) (params, *client, *failure) {
	form, f := p.called(w, r)
	if f != nil {
		return form, nil, f
	}
	c, f := p.authenticate(w, r, form)
	if f == nil && form.get("token") == "" {
		f = invalidRequest("token is missing")
	}
	return form, c, f
}

func (p inspection) introspect(ctx context.Context, c *client, token string) (introspection, *failure) {
	found, f := p.identifyToken(ctx, token)
	if f != nil && f.retry {
		return introspection{}, f
	}
	if f == nil {
		if found.client != c {
			return introspection{}, nil
		}
		return p.active(found, "Bearer"), nil
	}
	g, generation, err := p.Grants.ByRefresh(ctx, token)
	if errors.Is(err, grant.ErrForeign) || errors.Is(err, grant.ErrNone) {
		return introspection{}, nil
	} else if err != nil {
		return introspection{}, unavailable(err)
	}
	var what given
	if g.Read(&what) != nil || what.Client != c.ClientID || generation != g.Generation {
		return introspection{}, nil
	}
	u, f := p.member(ctx, &what)
	if f != nil {
		if f.retry {
			return introspection{}, f
		}
		return introspection{}, nil
	}
	if _, ok := c.admits(u); !ok {
		return introspection{}, nil
	}
	return p.active(tokenOwner{c, &what, u, g.Family, g.Expires}, ""), nil
}

func (p inspection) active(o tokenOwner, kind string) introspection {
	return introspection{
		Active:    true,
		Scope:     strings.Join(o.what.Scope, " "),
		ClientID:  o.client.ClientID,
		Username:  o.user.Username,
		TokenType: kind,
		Expires:   o.expires.Unix(),
		Subject:   o.what.Sub,
		Audience:  o.client.ClientID,
		Issuer:    p.Issuer,
	}
}

// Revoke is the revocation endpoint (RFC 7009). It ends the grant of a token: with an access token
// also its refresh tokens. An invalid token is already revoked; one of another client is refused.
func (p *Provider) Revoke(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "oidc_revoke"
	form, c, f := p.inspection().caller(w, r)
	if f != nil {
		return p.refuse(w, r, "revoke", c, f)
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	token := form.get("token")
	g, _, err := p.Grants.ByAccess(ctx, token)
	if errors.Is(err, grant.ErrForeign) {
		g, _, err = p.Grants.ByRefresh(ctx, token)
	}
	switch {
	case errors.Is(err, grant.ErrForeign), errors.Is(err, grant.ErrNone):
	case err != nil:
		return p.refuse(w, r, "revoke", c, unavailable(err))
	default:
		var what given
		if g.Read(&what) != nil || what.Client != c.ClientID {
			return p.refuse(
				w,
				r,
				"revoke",
				c,
				fail("invalid_grant", "the token was given to another client", "the token is client %q's", what.Client),
			)
		}
		if _, err := p.Grants.End(ctx, g.Family); err != nil {
			return p.refuse(w, r, "revoke", c, unavailable(err))
		}
	}
	p.measure(c.ClientID, "revoke", "ok")
	web.SecurityHeaders(w, "")
	w.WriteHeader(http.StatusOK)
	return nil
}
