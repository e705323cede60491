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

// Passwords finds the local account behind HTTP Basic. bcrypt is slow on purpose, and an API
// client sends its password with each request. A correct password is therefore remembered, under a
// hash whose key only this process has, until the accounts file changes or passwordTrust has
// passed. A wrong one is never remembered, so that guessing stays as slow as at the sign-in form.
type Passwords struct {
	*PasswordState
	Accounts *account.File
	Sessions *session.Manager
}

// PasswordState is the set of verified passwords. It lives as long as the accounts file is
// unchanged: if a reload dropped it, every API client's password would have to be verified again
// at once, which takes seconds of bcrypt.
type PasswordState struct {
	key   [32]byte
	known bounded.Map[[32]byte, verifiedPassword]
	calls sharedCalls[uint64] // concurrent requests of one client are verified once
}

// NewPasswordState returns an empty state.
func NewPasswordState() *PasswordState {
	s := &PasswordState{}
	rand.Read(s.key[:])
	return s
}

type verifiedPassword struct {
	session *session.Session
	by      *Passwords // has the header configuration of the session
	version uint64     // of the file
	until   time.Time
}

const (
	passwordTrust   = 5 * time.Minute
	passwordMaxWait = 5 * time.Second
)

var errPassword = fmt.Errorf("%w: unknown name or wrong password", session.ErrForged)

// find returns the session of an API client. The errors are those of session.Manager, or a
// *web.Error for a client with too many attempts. A name without an account is foreign: it may
// belong to the application. So is a password that was verified and is wrong; one that was not
// verified may be correct (threats T31).
func (p *Passwords) find(ctx context.Context, q proxy.CredentialQuery) (proxy.Credential, error) {
	name, password, ok := (&http.Request{Header: http.Header{"Authorization": q.Lines}}).BasicAuth()
	if !ok {
		return proxy.Credential{}, errPassword
	}
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(name), name, password)
	key, now := [32]byte(mac.Sum(nil)), time.Now()
	version := p.Accounts.Version() // before the password is verified: a later change outdates the result
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

// verify verifies a password. Concurrent requests with the same name, password and address share
// one verification; others do not wait for it.
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
