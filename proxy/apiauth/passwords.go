package apiauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"dinggate/account"
	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/session"
)

// Passwords finds the local account behind HTTP Basic. bcrypt is slow on purpose,
// and an API client sends its password with each request: a right one is
// remembered, under a hash whose key only this process has, until the file of the
// accounts changes or passwordTrust is over. A wrong one is never remembered, so
// that guessing stays as slow as at the sign-in form.
type Passwords struct {
	*PasswordState
	Accounts *account.File
	Sessions *session.Manager
}

// PasswordState is which passwords were verified. It lasts as long as the file of
// the accounts: after a reload, every API client's password at once would be
// seconds of bcrypt.
type PasswordState struct {
	key   [32]byte
	known bounded.Map[[32]byte, verifiedPassword]
	calls sharedCalls[uint64] // a client that begins with many requests at once is verified once
}

// NewPasswordState knows no password.
func NewPasswordState() *PasswordState {
	s := &PasswordState{}
	rand.Read(s.key[:])
	return s
}

type verifiedPassword struct {
	session *session.Session
	by      *Passwords // whose headers the session has
	version uint64     // of the file
	until   time.Time
}

const (
	passwordTrust   = 5 * time.Minute
	passwordMaxWait = 5 * time.Second
)

var errPassword = fmt.Errorf("%w: unknown name or wrong password", session.ErrForged)

// find returns the session of an API client. The errors are session.Manager's, or
// a *web.Error for a client with too many attempts. A name without an account is
// foreign: the application may know it. So is a wrong password that was verified;
// one that was not verified may be right (threats T31).
func (p *Passwords) find(ctx context.Context, q proxy.CredentialQuery) (proxy.Credential, error) {
	name, password, ok := (&http.Request{Header: http.Header{"Authorization": q.Lines}}).BasicAuth()
	if !ok {
		return proxy.Credential{}, errPassword
	}
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(name), name, password)
	key, now := [32]byte(mac.Sum(nil)), time.Now()
	version := p.Accounts.Version() // before the password is verified: a change meanwhile outdates what follows
	if found, ok := p.known.Get(key, now); ok && found.version == version {
		if found.by != p {
			found.session, found.by = p.session(key, name, found.session.Fingerprint, found.session.Checked), p
			p.known.Put(key, found, found.until, now)
		}
		return proxy.Credential{Session: found.session, SignIn: proxy.SignedInNow()}, nil
	}
	fingerprint, err := p.verify(ctx, q.Client, key, name, password)
	if wait, ok := errors.AsType[*account.WaitError](err); ok {
		err = &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait.Wait, Err: err}
		return proxy.Credential{Foreign: !p.Accounts.Has(name)}, err
	}
	switch {
	case errors.Is(err, account.ErrWrong):
		return proxy.Credential{Foreign: true}, errPassword
	case err != nil:
		err = &web.Error{Status: http.StatusServiceUnavailable, Code: "unready", RetryAfter: passwordMaxWait, Err: err}
		return proxy.Credential{Foreign: !p.Accounts.Has(name)}, err
	}
	found := verifiedPassword{p.session(key, name, fingerprint, now), p, version, now.Add(passwordTrust)}
	p.known.Put(key, found, found.until, now)
	return proxy.Credential{Session: found.session, SignIn: proxy.SignedInNow()}, nil
}

// verify verifies a password. Requests that share a name, a password and an address
// share the attempt too; others do not wait for them.
func (p *Passwords) verify(ctx context.Context, client netip.Addr, key [32]byte,
	name, password string) (fingerprint uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, passwordMaxWait)
	defer cancel()
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%s %s", client, key[:])
	return p.calls.do(ctx, [32]byte(mac.Sum(nil)), func() error { return nil },
		func(ctx context.Context) (uint64, error) {
			return p.Accounts.Verify(ctx, client, name, password)
		})
}

func (p *Passwords) session(key [32]byte, name string, fingerprint uint64, now time.Time) *session.Session {
	s := newSession(p.Sessions, key, identity.User{Username: name, Name: name, Local: true}, now, now)
	s.Fingerprint = fingerprint
	return s
}
