package apiauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"dinggate/dingtalk/sso"
	"dinggate/internal/bounded"
	"dinggate/proxy"
	"dinggate/session"
)

// OwnTokens are the access tokens of our own SSO service. A token refers to the sign-in it was
// issued for and ends with it, on the next request. A token that is revoked in this process ends
// at once, one that is revoked on another replica within ownTokenTrust.
type OwnTokens struct {
	Server   *sso.Server
	Sessions *session.Manager
	Clients  []string      // ids of the clients whose tokens are accepted
	MaxWait  time.Duration // as proxy.Handler.MaxWait

	known bounded.Map[[32]byte, ownToken]
}

type ownToken struct {
	ref   string // refers to the sign-in
	ended uint64 // sso.Server.Ended at the lookup
}

const ownTokenTrust = 2 * time.Second

func (o *OwnTokens) find(ctx context.Context, token string) (proxy.Credential, error) {
	if !o.Server.Made(token) { // the MAC is verified without a lookup
		return proxy.Credential{Foreign: true}, errToken
	}
	now, ended := time.Now(), o.Server.Ended()
	key := sha256.Sum256([]byte(token))
	known, ok := o.known.Get(key, now)
	if !ok || known.ended != ended {
		p, client, expires, err := o.Server.Identify(ctx, token)
		switch {
		case errors.Is(err, sso.ErrNobody):
			return proxy.Credential{}, errToken
		case err != nil:
			return proxy.Credential{}, fmt.Errorf("%w: %w", session.ErrStore, err)
		case !slices.Contains(o.Clients, client):
			return proxy.Credential{}, errAudience
		}
		known = ownToken{p.Ref, ended}
		o.known.Put(key, known, earlier(expires, now.Add(ownTokenTrust)), now)
	}
	s, err := o.Sessions.Load(ctx, []string{known.ref}, o.MaxWait)
	c := proxy.Credential{Session: s}
	if err == nil {
		c.SignIn = proxy.SignInAge(o.Sessions, s)
	}
	return c, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
