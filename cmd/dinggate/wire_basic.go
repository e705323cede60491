package main

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
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"

	"golang.org/x/sync/singleflight"
)

// passwords finds the local account behind HTTP Basic. bcrypt takes as long as a
// page, and an API client sends its password each time: what was right is
// remembered, under a hash whose key only this process has, until the file of
// the accounts changes or basicTrust is over. What was wrong is never
// remembered: guessing stays as slow as the sign-in form.
type passwords struct {
	*passwordMemory
	cfg      *Config
	accounts *account.File
	sessions *session.Manager
}

// passwordMemory lasts as long as the file: every API client's password at once,
// after a reload, would be seconds of bcrypt.
type passwordMemory struct {
	key    [32]byte
	known  tokenCache[basicPerson]
	flight singleflight.Group // a client that begins with many requests at once is verified once
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
func newPasswords(cfg *Config, g *gate) *passwords {
	if g.accounts.file == nil {
		return nil
	}
	return &passwords{passwordMemory: g.accounts.verified, cfg: cfg, accounts: g.accounts.file, sessions: g.sessions}
}

var errPassword = fmt.Errorf("%w: the name and the password open nothing", session.ErrForged)

// find gives the session of an API client. The errors are session.Manager's, or
// a *web.Error for somebody who tries too often.
func (p *passwords) find(ctx context.Context, client netip.Addr, authorization string) (*session.Session, error) {
	name, password, ok := (&http.Request{Header: http.Header{"Authorization": {authorization}}}).BasicAuth()
	if !ok {
		return nil, errPassword
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
		return found.session, nil
	}
	// Clients that share a name and an address share the try too; others do not
	// wait for them.
	verified, err, _ := p.flight.Do(client.String()+" "+string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), basicWithin)
		defer cancel()
		fingerprint, err := p.accounts.Verify(ctx, client, name, password)
		return fingerprint, err
	})
	if wait, ok := errors.AsType[*account.WaitError](err); ok {
		return nil, &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait.Wait, Err: err}
	}
	switch {
	case errors.Is(err, account.ErrWrong):
		return nil, errPassword
	case err != nil:
		return nil, &web.Error{Status: http.StatusServiceUnavailable, Code: "unready", RetryAfter: basicWithin, Err: err}
	}
	fingerprint, _ := verified.(uint64)
	found := basicPerson{p.person(key, name, fingerprint, now), p, version, now.Add(basicTrust)}
	p.known.put(key, found, found.until, now)
	return found.session, nil
}

// person is a session that no cookie stands for.
func (p *passwords) person(key [32]byte, name string, fingerprint uint64, now time.Time) *session.Session {
	user, h := identity.User{Username: name, Name: name, Local: true}, p.sessions.Headers
	return &session.Session{ID: "api-" + base64.RawURLEncoding.EncodeToString(key[:12]), Realm: p.cfg.Realm(), User: user, Fingerprint: fingerprint, SignedIn: now, Checked: now,
		Headers: identity.HeaderSet{Request: h.Request.Render(&user, identity.Token{}), Response: h.Response.Render(&user, identity.Token{})}}
}
