package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/proxy"
	"dinggate/session"
)

// authenticator finds the person behind the Authorization header of an API
// client (api_tokens). A scheme that nobody here answers for is the
// application's own.
type authenticator struct {
	bearer func(ctx context.Context, q proxy.CredentialQuery, token string) (proxy.Credential, error)
	basic  *passwords // nil: there are no local accounts
}

// newCredentials is what proxy.Front asks; nil when api_tokens is off.
func newCredentials(cfg *config.Config, g *Gateway, t Observability) func(context.Context, proxy.CredentialQuery) (proxy.Credential, error) {
	if !cfg.APITokens {
		return nil
	}
	c := authenticator{basic: newPasswords(cfg, g)}
	switch client, behind := g.Provider.Provider.(judgedClient); {
	case g.SSO != nil: // our own tokens; a service's, where we are both, are for us as its client and not for others
		c.bearer = (&ownTokens{server: g.SSO, sessions: g.Sessions, clients: cfg.TokenClients()}).find
	case behind:
		c.bearer = newServiceTokens(cfg, client.Client, g, t).find
	}
	return c.find
}

// find reads the one Authorization header. Two of them are two claims.
func (c authenticator) find(ctx context.Context, q proxy.CredentialQuery) (proxy.Credential, error) {
	scheme, rest, _ := strings.Cut(q.Lines[0], " ")
	bearer, basic := strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "Basic")
	switch {
	case len(q.Lines) > 1:
		return proxy.Credential{}, fmt.Errorf("%w: several Authorization headers", session.ErrForged)
	case bearer && c.bearer != nil:
		return c.bearer(ctx, q, strings.TrimLeft(rest, " "))
	case basic && c.basic != nil:
		return c.basic.find(ctx, q)
	case bearer || basic:
		return proxy.Credential{Foreign: true}, fmt.Errorf("%w: nobody here gives such credentials", session.ErrForged)
	}
	return proxy.Credential{Foreign: true}, nil
}

var (
	errToken    = fmt.Errorf("%w: the access token opens nothing", session.ErrForged)
	errAudience = fmt.Errorf("%w: the access token was given to a client that is not in api_token_clients", session.ErrForged)
)

// ownTokens are those of our own SSO service. A token leads to the sign-in it
// came from, so what ends that ends it on the next request; so does its being
// taken back in this process, and within tokenTrust on another replica.
type ownTokens struct {
	server   *sso.Server
	sessions *session.Manager
	clients  []string

	known tokenCache[ownToken]
}

type ownToken struct {
	ref   string // to the sign-in
	ended uint64 // sso.Server.Ended when it was looked at
}

const tokenTrust = 2 * time.Second

func (o *ownTokens) find(ctx context.Context, _ proxy.CredentialQuery, token string) (proxy.Credential, error) {
	if !o.server.Made(token) { // nobody is asked about what a MAC tells
		return proxy.Credential{Foreign: true}, errToken
	}
	now, ended := time.Now(), o.server.Ended()
	key := sha256.Sum256([]byte(token))
	known, ok := o.known.get(key, now)
	if !ok || known.ended != ended {
		p, client, expires, err := o.server.Identify(ctx, token)
		switch {
		case errors.Is(err, sso.ErrNobody):
			return proxy.Credential{}, errToken
		case err != nil:
			return proxy.Credential{}, fmt.Errorf("%w: %w", session.ErrStore, err)
		case !slices.Contains(o.clients, client):
			return proxy.Credential{}, errAudience
		}
		known = ownToken{p.Ref, ended}
		o.known.put(key, known, earlier(expires, now.Add(tokenTrust)), now)
	}
	s, err := o.sessions.Load(ctx, []string{known.ref}, gatePatience)
	return proxy.Credential{Session: s}, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
