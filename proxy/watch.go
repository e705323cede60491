package proxy

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// track registers a stream, so that a shutdown can end it.
func (p *proxiedRequest) track(one stream) {
	if p.handler.Streams != nil {
		p.stream = one
		p.handler.Streams.add(one)
	}
}

// streamAge is the age from which a body without Content-Length, in either direction,
// counts as a stream that outlives its request. Most end long before, and need no watch.
const streamAge = time.Second

var (
	errSessionEnded  = errors.New("proxy: the session ended under an open stream")
	errGrantEnded    = errors.New("proxy: the grant under an open stream ended")
	errSecretRemoved = errors.New("proxy: the secret that sealed the cookie of an open stream was removed")
	errRuleChanged   = errors.New("proxy: the new rules do not allow an open stream")
)

// watch ends a stream together with its session, or when new rules would deny it: end
// ends the upstream's side, which makes httputil end the client's (threats W2). It
// begins after the given time. A request is watched once.
func (p *proxiedRequest) watch(end func(), after time.Duration) {
	if p.release != nil {
		return
	}
	finished := make(chan struct{})
	begin := time.AfterFunc(after, func() {
		if why := p.reasonToEnd(finished); why != nil {
			p.ended.Store(why)
			end()
		}
	})
	p.release = func() {
		begin.Stop()
		close(finished)
	}
}

// watchUpload is watch for a request whose body has no length: it may be open for as
// long as the client wants, and the upstream need not answer before its end. A Read of
// such a body does not return when the context is done, but at its deadline.
func (p *proxiedRequest) watchUpload() {
	p.Context, p.cancel = context.WithCancel(p.Context)
	var mu sync.Mutex
	over := false // w must not be used any more
	p.watch(func() {
		p.cancel()
		mu.Lock()
		defer mu.Unlock()
		if !over {
			_ = http.NewResponseController(p.w).SetReadDeadline(time.Now())
		}
	}, streamAge)
	release := p.release
	p.release = func() {
		release()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// reasonToEnd waits until a stream has to end, and returns why; nil if it has finished.
func (p *proxiedRequest) reasonToEnd(finished <-chan struct{}) *web.Error {
	var gone <-chan struct{} // nil without a session, which cannot end
	if p.session != nil {
		watched, stop := p.handler.Sessions.Watch(p.session)
		defer stop()
		gone = watched
	}
	var again <-chan time.Time
	if p.credential != nil {
		ticker := time.NewTicker(credentialRecheckEvery)
		defer ticker.Stop()
		again = ticker.C
	}
	var granted <-chan time.Time
	if p.grant != "" {
		ticker := time.NewTicker(grantRecheckEvery)
		defer ticker.Stop()
		granted = ticker.C
	}
	for seen := p.handler; ; {
		next, changed := p.handler.Streams.handler()
		if next != nil && next != seen {
			if seen = next; !next.stillSealed(p) {
				return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: errSecretRemoved}
			}
			if !next.stillAllowed(p) {
				return &web.Error{Status: http.StatusForbidden, Code: "not_allowed", Err: errRuleChanged}
			}
		}
		select {
		case <-changed:
		case <-granted:
			if !seen.stillAllowed(p) {
				return &web.Error{Status: http.StatusForbidden, Code: "not_allowed", Err: errGrantEnded}
			}
		case <-again:
			if why := seen.recheckCredential(p); why != nil {
				return why
			}
		case <-gone:
			return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: errSessionEnded}
		case <-finished:
			return nil
		}
	}
}

// stillSealed reports whether the secrets that are configured now open the cookie of a
// request that a previous Handler accepted. A secret is removed when it has leaked: a
// connection under a cookie that was forged with it must end like the cookie itself.
func (h *Handler) stillSealed(p *proxiedRequest) bool {
	if p.session == nil || p.credential != nil {
		return true
	}
	place := h.Origins.Place(p.x.Host)
	values := web.AppendCookieValues(nil, p.in.Header, h.Sessions.At(place).Name())
	return session.Opens(h.Sessions, session.TextsAt(place, values))
}

// stillAllowed authorizes again a request that a previous Handler accepted.
func (h *Handler) stillAllowed(p *proxiedRequest) bool {
	var user *identity.User
	if p.session != nil {
		user = &p.session.User
	}
	t := target(p.x, p.in.Method)
	t.SignIn.Known = true // Fresh applies to new requests, and ends nothing that is open
	d, _, _ := h.decide(p.Context, t, user)
	route := h.Routes.of(d)
	return d.Verdict == access.Allow && route != nil && route.Upstream != nil && (!p.websocket || route.WebSocket)
}

// grantRecheckEvery is the interval at which the grant of an open stream is looked up:
// the stream ends when the grant expires or is revoked, within two seconds on every
// replica, including the cache's lifetime and streamAge.
const grantRecheckEvery = 750 * time.Millisecond

// An open stream's credential is verified again at this interval: like a cookie's
// session, the stream ends with its revocation or the end of the membership (threats
// W2). A cached result costs a lookup in memory.
const (
	credentialRecheckEvery   = time.Second
	credentialRecheckTimeout = 3 * time.Second
)

var (
	errCredentialEnded = errors.New("proxy: the credential that an open stream came with opens nothing any more")
	errPersonChanged   = errors.New("proxy: what is known of the person behind an open stream changed")
)

// recheckCredential returns why a stream that a credential opened has to end; nil: it
// continues. A failing store, or a client that has made too many attempts in the
// meantime, ends nothing.
func (h *Handler) recheckCredential(p *proxiedRequest) *web.Error {
	ctx, cancel := context.WithTimeout(p.Context, credentialRecheckTimeout)
	defer cancel()
	var c Credential
	err := session.ErrNone // api_tokens is disabled now
	if h.Credentials != nil {
		c, err = h.Credentials(ctx, *p.credential)
	}
	switch {
	case p.Context.Err() != nil:
		return nil
	case c.Session != nil && !reflect.DeepEqual(c.Session.User, p.session.User):
		return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: errPersonChanged}
	case err == nil && c.Session == nil, session.Absent(err):
		return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials", Err: errCredentialEnded}
	case errors.Is(err, session.ErrUnconfirmed):
		return &web.Error{Status: http.StatusUnauthorized, Code: "unconfirmed", Err: err}
	}
	return nil
}
