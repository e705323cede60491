package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/session"
)

// passwords finds the local account behind HTTP Basic. bcrypt takes as long as a
// page, and an API client sends its password each time: what was right is
// remembered, under a hash whose key only this process has, until the file of
// the accounts changes or basicTrust is over. What was wrong is never
// remembered: guessing stays as slow as the sign-in form.
type passwords struct {
	*passwordMemory
	cfg      *config.Config
	accounts *account.File
	sessions *session.Manager
}

// passwordMemory lasts as long as the file: every API client's password at once,
// after a reload, would be seconds of bcrypt.
type passwordMemory struct {
	key   [32]byte
	known tokenCache[basicPerson]
	calls sharedCalls[uint64] // a client that begins with many requests at once is verified once
}

func newPasswordMemory() *passwordMemory {
	m := &passwordMemory{}
	rand.Read(m.key[:])
	return m
}

type basicPerson struct {
	session *session.Session
	by      *passwords // whose headers the session has
	version uint64     // of the file
	until   time.Time
}

const (
	basicTrust  = 5 * time.Minute
	basicWithin = 5 * time.Second
)

// newPasswords is nil without local accounts.
func newPasswords(cfg *config.Config, g *Gateway) *passwords {
	if g.Accounts.File == nil {
		return nil
	}
	return &passwords{passwordMemory: g.Accounts.verified, cfg: cfg, accounts: g.Accounts.File, sessions: g.Sessions}
}

var errPassword = fmt.Errorf("%w: the name and the password open nothing", session.ErrForged)

// find gives the session of an API client. The errors are session.Manager's, or
// a *web.Error for somebody who tries too often. A name that is no account's is
// the application's own affair; of an account's a wrong password is too, once it
// was looked at, and one that was not may be right (threats T31).
func (p *passwords) find(ctx context.Context, q proxy.CredentialQuery) (proxy.Credential, error) {
	name, password, ok := (&http.Request{Header: http.Header{"Authorization": q.Lines}}).BasicAuth()
	if !ok {
		return proxy.Credential{}, errPassword
	}
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(name), name, password)
	key, now := [32]byte(mac.Sum(nil)), time.Now()
	version := p.accounts.Version() // before the password is looked at: a change meanwhile makes what follows old
	if found, ok := p.known.get(key, now); ok && found.version == version {
		if found.by != p {
			found.session, found.by = p.person(key, name, found.session.Fingerprint, found.session.Checked), p
			p.known.put(key, found, found.until, now)
		}
		return proxy.Credential{Session: found.session}, nil
	}
	fingerprint, err := p.verify(ctx, q.Client, key, name, password)
	if wait, ok := errors.AsType[*account.WaitError](err); ok {
		err = &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait.Wait, Err: err}
		return proxy.Credential{Foreign: !p.accounts.Has(name)}, err
	}
	switch {
	case errors.Is(err, account.ErrWrong):
		return proxy.Credential{Foreign: true}, errPassword
	case err != nil:
		err = &web.Error{Status: http.StatusServiceUnavailable, Code: "unready", RetryAfter: basicWithin, Err: err}
		return proxy.Credential{Foreign: !p.accounts.Has(name)}, err
	}
	found := basicPerson{p.person(key, name, fingerprint, now), p, version, now.Add(basicTrust)}
	p.known.put(key, found, found.until, now)
	return proxy.Credential{Session: found.session}, nil
}

// verify looks at a password. Requests that share a name, a password and an address
// share the try too; others do not wait for them.
func (p *passwords) verify(ctx context.Context, client netip.Addr, key [32]byte, name, password string) (fingerprint uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, basicWithin)
	defer cancel()
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%s %s", client, key[:])
	return p.calls.do(ctx, [32]byte(mac.Sum(nil)), func() error { return nil }, func(ctx context.Context) (uint64, error) {
		return p.accounts.Verify(ctx, client, name, password)
	})
}

// person is a session that no cookie stands for.
func (p *passwords) person(key [32]byte, name string, fingerprint uint64, now time.Time) *session.Session {
	user, h := identity.User{Username: name, Name: name, Local: true}, p.sessions.Headers
	return &session.Session{ID: "api-" + base64.RawURLEncoding.EncodeToString(key[:12]), Realm: p.cfg.Realm(), User: user, Fingerprint: fingerprint, SignedIn: now, Checked: now,
		Headers: identity.HeaderSet{Request: h.Request.Render(&user, identity.Token{}), Response: h.Response.Render(&user, identity.Token{})}}
}
