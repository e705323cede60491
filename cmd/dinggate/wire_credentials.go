package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/limit"
	"dinggate/session"
)

// credentials finds the person behind the Authorization header of an API
// client (api_tokens). A scheme that nobody here answers for is the
// application's own.
type credentials struct {
	bearer func(ctx context.Context, token string) (*session.Session, error)
	basic  *passwords // nil: there are no local accounts
}

// newCredentials is what proxy.Front asks; nil when api_tokens is off.
func newCredentials(cfg *Config, g *gate) func(context.Context, netip.Addr, []string) (*session.Session, error) {
	if !cfg.APITokens {
		return nil
	}
	c := credentials{basic: newPasswords(cfg, g)}
	switch client, behind := g.provider.Provider.(*sso.Client); {
	case g.sso != nil: // our own tokens; a service's, where we are both, are for us as its client and not for others
		c.bearer = (&ownTokens{server: g.sso, sessions: g.sessions}).find
	case behind:
		c.bearer = (&serviceTokens{tokenMemory: g.lasting.tokens, cfg: cfg, client: client, sessions: g.sessions}).find
	}
	return c.find
}

// find reads the one Authorization header. Two of them are two claims.
func (c credentials) find(ctx context.Context, client netip.Addr, lines []string) (*session.Session, error) {
	scheme, rest, _ := strings.Cut(lines[0], " ")
	bearer, basic := strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "Basic")
	switch {
	case len(lines) > 1:
		return nil, fmt.Errorf("%w: several Authorization headers", session.ErrForged)
	case bearer && c.bearer != nil:
		return c.bearer(ctx, strings.TrimLeft(rest, " "))
	case basic && c.basic != nil:
		return c.basic.find(ctx, client, lines[0])
	case bearer || basic:
		return nil, fmt.Errorf("%w: nobody here gives such credentials", session.ErrForged)
	}
	return nil, nil
}

var errToken = fmt.Errorf("%w: the access token opens nothing", session.ErrForged)

// ownTokens are those of our own SSO service. A token leads to the sign-in it
// came from, so what ends that ends it on the next request; that the token
// itself was taken back is noticed within tokenTrust.
type ownTokens struct {
	server   *sso.Server
	sessions *session.Manager

	known tokenCache[string] // the reference to the sign-in
}

const tokenTrust = 10 * time.Second

func (o *ownTokens) find(ctx context.Context, token string) (*session.Session, error) {
	now := time.Now()
	key := sha256.Sum256([]byte(token))
	ref, ok := o.known.get(key, now)
	if !ok {
		p, _, expires, err := o.server.Identify(ctx, token)
		switch {
		case errors.Is(err, sso.ErrNobody):
			return nil, errToken
		case err != nil:
			return nil, fmt.Errorf("%w: %w", session.ErrStore, err)
		}
		ref = p.Ref
		o.known.put(key, ref, earlier(expires, now.Add(tokenTrust)), now)
	}
	return o.sessions.Load(ctx, []string{ref}, gatePatience)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// serviceTokens are those of the SSO service that people sign in at. Its
// userinfo is asked once per token and again after session.recheck; while it is
// away the last answer stands for session.grace.
type serviceTokens struct {
	*tokenMemory
	cfg      *Config
	client   *sso.Client
	sessions *session.Manager
}

// tokenMemory outlives gates: a reload while the service is away would else
// leave every API client outside.
type tokenMemory struct {
	of    sso.ClientConfig
	known tokenCache[*apiPerson]
	asks  limit.Keyed[struct{}] // whoever invents tokens makes us call: not faster than this (threats D6)
}

var asksLimit = limit.Rate{Every: time.Second / 20, Burst: 200}

// apiPerson is what userinfo said last; nil session: that the token is none.
type apiPerson struct {
	mu      sync.Mutex // one question at a time per token
	session *session.Session
	by      *serviceTokens // whose headers the session has
	fresh   time.Time      // until then nobody is asked
	stands  time.Time      // until then the answer holds while the service is away
}

func (s *serviceTokens) find(ctx context.Context, token string) (*session.Session, error) {
	now := time.Now()
	key := sha256.Sum256([]byte(token))
	p := s.known.entry(key, now, func() *apiPerson { return new(apiPerson) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != nil && p.by != s {
		p.session, p.by = s.person(key, p.session.User, p.session.Checked), s
	}
	if now.Before(p.fresh) {
		return p.answer()
	}
	if _, ok := s.asks.Allow(asksLimit, struct{}{}, now); !ok {
		return nil, fmt.Errorf("%w: too many unknown tokens at once", session.ErrUnconfirmed)
	}
	user, err := s.client.Person(ctx, token)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class != identity.Refused {
		if p.session != nil && now.Before(p.stands) {
			return p.session, nil
		}
		return nil, fmt.Errorf("%w: %w", session.ErrUnconfirmed, err)
	}
	life := s.cfg.Session.Recheck
	if p.session = nil; err == nil {
		p.session, p.by = s.person(key, user, now), s
	} else {
		life = min(life, tokenTrust)
	}
	p.fresh, p.stands = now.Add(life), now.Add(life+s.cfg.Session.Grace)
	s.known.put(key, p, p.stands, now)
	return p.answer()
}

func (p *apiPerson) answer() (*session.Session, error) {
	if p.session == nil {
		return nil, errToken
	}
	return p.session, nil
}

// person is a session that no cookie stands for.
func (s *serviceTokens) person(key [32]byte, user identity.User, now time.Time) *session.Session {
	h := s.sessions.Headers
	return &session.Session{ID: "api-" + base64.RawURLEncoding.EncodeToString(key[:12]), Realm: s.cfg.Realm(), User: user, SignedIn: now, Checked: now,
		Headers: identity.HeaderSet{Request: h.Request.Render(&user, identity.Token{}), Response: h.Response.Render(&user, identity.Token{})}}
}

// tokenCache remembers what tokens stand for, by their hashes, and never more
// than maxTokens of them. The zero value is ready.
type tokenCache[T any] struct {
	mu  sync.Mutex
	all map[[32]byte]cachedToken[T]
}

type cachedToken[T any] struct {
	value T
	until time.Time
}

const maxTokens = 10_000

func (c *tokenCache[T]) get(key [32]byte, now time.Time) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.all[key]
	if !ok || !now.Before(found.until) {
		return value, false
	}
	return found.value, true
}

// entry finds a value or makes one that is forgotten soon unless it is put.
func (c *tokenCache[T]) entry(key [32]byte, now time.Time, make func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.all[key]; ok && now.Before(found.until) {
		return found.value
	}
	v := make()
	c.keep(key, v, now.Add(tokenTrust), now)
	return v
}

func (c *tokenCache[T]) put(key [32]byte, value T, until, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(key, value, until, now)
}

func (c *tokenCache[T]) keep(key [32]byte, value T, until, now time.Time) {
	if c.all == nil {
		c.all = map[[32]byte]cachedToken[T]{}
	}
	if _, known := c.all[key]; !known && len(c.all) >= maxTokens {
		for k, found := range c.all { // those that are over, or else any few
			if !now.Before(found.until) || len(c.all) >= maxTokens-maxTokens/100 {
				delete(c.all, k)
			}
		}
	}
	c.all[key] = cachedToken[T]{value, until}
}
