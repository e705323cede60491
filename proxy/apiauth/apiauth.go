// Package apiauth finds the person behind the Authorization header of an API client.
//
//	Basic ──► Passwords ─────► account.File
//	Bearer ─► OwnTokens ─────► sso.Server (this process issued the token)
//	       └► ServiceTokens ─► sso.Client, cached (an SSO service issued it)
//
// Package proxy decides which requests are authenticated this way, and what a failure means.
package apiauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/proxy"
	"dinggate/session"
)

// Authenticator finds the person behind the Authorization header of an API client. A scheme whose
// field is nil is left to the application.
type Authenticator struct {
	Passwords *Passwords // Basic; nil without local accounts

	// Bearer: at most one of them.
	OwnTokens     *OwnTokens
	ServiceTokens *ServiceTokens
}

// Find is proxy.Handler.Credentials. It refuses two Authorization headers, since they may name two
// people.
func (a *Authenticator) Find(ctx context.Context, q proxy.CredentialQuery) (proxy.Credential, error) {
	scheme, rest, _ := strings.Cut(q.Lines[0], " ")
	bearer, basic := strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "Basic")
	token := strings.TrimLeft(rest, " ")
	switch {
	case len(q.Lines) > 1:
		return proxy.Credential{}, fmt.Errorf("%w: several Authorization headers", session.ErrForged)
	case bearer && a.OwnTokens != nil:
		return a.OwnTokens.find(ctx, token)
	case bearer && a.ServiceTokens != nil:
		return a.ServiceTokens.find(ctx, q, token)
	case basic && a.Passwords != nil:
		return a.Passwords.find(ctx, q)
	case bearer || basic:
		return proxy.Credential{Foreign: true}, fmt.Errorf("%w: no such credentials are issued here", session.ErrForged)
	}
	return proxy.Credential{Foreign: true}, nil
}

var (
	errToken    = fmt.Errorf("%w: the access token is not valid here", session.ErrForged)
	errAudience = fmt.Errorf("%w: the access token was given to a client that is not in api_token_clients",
		session.ErrForged)
)

// newSession returns the session of a credential, which has no cookie. key is the hash of the
// credential.
func newSession(m *session.Manager, key [32]byte, user identity.User, signedIn, checked time.Time) *session.Session {
	return &session.Session{
		ID:       "api-" + base64.RawURLEncoding.EncodeToString(key[:12]),
		Realm:    m.Realm,
		User:     user,
		SignedIn: signedIn,
		Checked:  checked,
		Headers: identity.HeaderSet{
			Request:  m.Headers.Request.Render(&user, identity.Token{}),
			Response: m.Headers.Response.Render(&user, identity.Token{}),
		},
	}
}
