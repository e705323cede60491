package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/session"
)

// serviceTokens are those of the SSO service that people sign in at.
//
//	known ───► younger than session.recheck ─► the answer of then
//	   │       older ─► userinfo, in the background where it takes long ─► the answer of then stands for session.grace
//	unknown ─► a failure of a moment ago ─► the same again
//	           none ─► public route: nobody is asked ─► limit per client ─► a place ─► userinfo
//
// What is known is outside the limits that are there for strangers' inventions,
// and in a memory of its own, which those cannot fill (threats D12, D13).
type serviceTokens struct {
	*tokenMemory
	cfg      *config.Config
	client   *sso.Client
	sessions *session.Manager
	clients  []string // whose tokens count
	untold   func()   // hears that the service tells no aud
}

func newServiceTokens(cfg *config.Config, client *sso.Client, g *Gateway, t Observability) *serviceTokens {
	s := &serviceTokens{tokenMemory: g.Lasting.tokens, cfg: cfg, client: client, sessions: g.Sessions, clients: cfg.TokenClients()}
	s.untold = func() {
		s.told.Do(func() {
			t.Log.Warn("the SSO service tells no aud: a token that it gave any of its clients opens routes here", "hint", "api_token_clients")
		})
	}
	return s
}

// tokenMemory outlives gates: a reload while the service is away would otherwise
// leave every API client outside, and give strangers their tries back.
type tokenMemory struct {
	of     sso.ClientConfig
	good   tokenCache[*apiPerson]
	failed tokenCache[error]
	calls  sharedCalls[*apiPerson]

	wrong  ratelimit.Keyed[netip.Prefix] // tokens per client that the service did not know
	crowd  ratelimit.Keyed[struct{}]     // all clients together that have such tokens
	asking ratelimit.Queue               // calls about unknown tokens
	again  ratelimit.Queue               // calls about known ones
	told   sync.Once
}

func newTokenMemory(of sso.ClientConfig) *tokenMemory {
	return &tokenMemory{of: of, asking: ratelimit.Queue{Places: 64, Share: 8, Waiting: 256}, again: ratelimit.Queue{Places: 64, Waiting: maxTokens}}
}

var (
	wrongLimit = ratelimit.Rate{Every: time.Second / 5, Burst: 60}
	asksLimit  = ratelimit.Rate{Every: time.Second / 20, Burst: 200}
)

const (
	askWithin      = 5 * time.Second // one call, with the wait for a place
	refusedFor     = 10 * time.Second
	unansweredFor  = 5 * time.Second
	retryKnown     = 5 * time.Second // a service that did not answer is not asked again about somebody known
	rememberTokens = 12 * time.Hour  // how long a token that was good is no stranger's
)

// apiPerson is what userinfo said last. Immutable.
type apiPerson struct {
	session  *session.Session
	audience []string       // nil: none was told
	by       *serviceTokens // whose headers the session has
	fresh    time.Time      // until then nobody is asked
	retry    time.Time      // nor until then
	stands   time.Time      // until then the answer holds while the service is away
}

var (
	errUnasked  = fmt.Errorf("%w: the service is not asked about an unknown token for a page that everybody may see", session.ErrUnconfirmed)
	errOver     = fmt.Errorf("%w: the service does not take the access token any more", session.ErrForged)
	errTooSlow  = fmt.Errorf("%w: the service did not answer in time", session.ErrUnconfirmed)
	errNoAnswer = fmt.Errorf("%w: the service cannot be asked", session.ErrUnconfirmed)
)

func (s *serviceTokens) find(ctx context.Context, q proxy.CredentialQuery, token string) (proxy.Credential, error) {
	now, key := time.Now(), sha256.Sum256([]byte(token))
	if p, ok := s.good.get(key, now); ok {
		return s.known(ctx, q, key, token, p, now)
	}
	if err, ok := s.failed.get(key, now); ok {
		return proxy.Credential{Foreign: errors.Is(err, errToken)}, err
	}
	if q.Local {
		return proxy.Credential{}, errUnasked
	}
	from := ratelimit.Client(q.Client)
	ctx, cancel := context.WithTimeout(ctx, askWithin+time.Second) // longer than the call, whose end is to be remembered
	defer cancel()
	p, err := s.calls.do(ctx, key, func() error { return s.admit(from, now) }, func(ctx context.Context) (*apiPerson, error) {
		return s.first(ctx, from, key, token)
	})
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return proxy.Credential{}, errTooSlow
	case err != nil:
		return proxy.Credential{Foreign: errors.Is(err, errToken)}, err
	}
	return proxy.Credential{Session: p.session}, nil
}

// admit takes one from the client's allowance; it comes back where the token is
// good. Clients that sent unknown tokens lately are held together, too, to what
// the service can bear (threats D6).
func (s *serviceTokens) admit(from netip.Prefix, now time.Time) error {
	clean := s.wrong.Whole(from, now)
	wait, ok := s.wrong.Allow(wrongLimit, from, now)
	if ok && !clean {
		if wait, ok = s.crowd.Allow(asksLimit, struct{}{}, now); !ok {
			s.wrong.Return(wrongLimit, from)
		}
	}
	if !ok {
		return &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait, Err: errors.New("too many unknown access tokens from this client")}
	}
	return nil
}

// first asks about an unknown token and remembers the answer: a good one for
// long, a bad one for a moment.
func (s *serviceTokens) first(ctx context.Context, from netip.Prefix, key [32]byte, token string) (*apiPerson, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	class := 0
	if !s.wrong.Whole(from, time.Now().Add(wrongLimit.Every)) { // more than this one is missing
		class = 1
	}
	leave, err := s.asking.Enter(ctx, from, class)
	if err != nil {
		return nil, errNoAnswer
	}
	defer leave()
	p, err := s.ask(ctx, key, token)
	now := time.Now()
	switch {
	case err == nil:
		s.wrong.Return(wrongLimit, from)
		s.good.put(key, p, now.Add(rememberTokens), now)
	case errors.Is(err, errToken), errors.Is(err, errAudience):
		s.failed.put(key, err, now.Add(refusedFor), now)
	case errors.Is(ctx.Err(), context.Canceled): // nobody waits any more: that says nothing
	default:
		s.failed.put(key, err, now.Add(unansweredFor), now)
	}
	return p, err
}

// ask calls userinfo. Errors are errToken, errAudience, or that nothing is known.
func (s *serviceTokens) ask(ctx context.Context, key [32]byte, token string) (*apiPerson, error) {
	user, audience, err := s.client.Identify(ctx, token)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		return nil, errToken
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrUnconfirmed, err)
	}
	if !s.accepts(audience) {
		return nil, errAudience
	}
	return s.person(key, user, audience, time.Now()), nil
}

// accepts holds a token to api_token_clients, wherever the service tells whom it
// gave it to (threats T30).
func (s *serviceTokens) accepts(audience []string) bool {
	if audience == nil {
		s.untold()
		return true
	}
	return slices.ContainsFunc(audience, func(client string) bool { return slices.Contains(s.clients, client) })
}

// known answers for a token that was good. Where it has to be asked about again, a
// request waits for a moment, and, once the grace is over, as long as for an
// unknown one; the call goes on without it.
func (s *serviceTokens) known(ctx context.Context, q proxy.CredentialQuery, key [32]byte, token string, p *apiPerson, now time.Time) (proxy.Credential, error) {
	if p.by != s { // the configuration changed
		again := *p
		again.by, again.session = s, s.session(key, p.session.User, p.session.SignedIn, p.session.Checked)
		p = &again
		s.good.put(key, p, now.Add(rememberTokens), now)
	}
	if !s.accepts(p.audience) {
		return proxy.Credential{}, errAudience
	}
	if now.Before(p.fresh) || now.Before(p.retry) || q.Local {
		return p.answer(now)
	}
	patience := gatePatience
	if !now.Before(p.stands) {
		patience = askWithin
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	newer, err := s.calls.doKept(ctx, key, func(ctx context.Context) (*apiPerson, error) { return s.repeat(ctx, key, token, p) })
	switch {
	case err == nil:
		return newer.answer(time.Now())
	case errors.Is(err, errOver), errors.Is(err, errAudience):
		return proxy.Credential{}, err
	}
	return p.answer(time.Now())
}

// repeat asks about a token that was good.
func (s *serviceTokens) repeat(ctx context.Context, key [32]byte, token string, p *apiPerson) (*apiPerson, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	leave, err := s.again.Enter(ctx, netip.Prefix{}, 0)
	if err != nil {
		return nil, errNoAnswer
	}
	defer leave()
	newer, err := s.ask(ctx, key, token)
	now := time.Now()
	switch {
	case err == nil:
		newer.session.SignedIn = p.session.SignedIn
		s.good.put(key, newer, now.Add(rememberTokens), now)
		return newer, nil
	case errors.Is(err, errToken):
		err = errOver // and not an application's own, since it was a person's
	case !errors.Is(err, errAudience):
		later := *p
		later.retry = now.Add(retryKnown)
		s.good.put(key, &later, now.Add(rememberTokens), now)
		return nil, err
	}
	s.good.drop(key)
	s.failed.put(key, err, now.Add(refusedFor), now)
	return nil, err
}

func (p *apiPerson) answer(now time.Time) (proxy.Credential, error) {
	if !now.Before(p.stands) {
		return proxy.Credential{}, errNoAnswer
	}
	return proxy.Credential{Session: p.session}, nil
}

func (s *serviceTokens) person(key [32]byte, user identity.User, audience []string, now time.Time) *apiPerson {
	fresh := now.Add(s.cfg.Session.Recheck)
	return &apiPerson{session: s.session(key, user, now, now), audience: audience, by: s, fresh: fresh, stands: fresh.Add(s.cfg.Session.Grace)}
}

// session is one that no cookie stands for.
func (s *serviceTokens) session(key [32]byte, user identity.User, signedIn, checked time.Time) *session.Session {
	h := s.sessions.Headers
	return &session.Session{ID: "api-" + base64.RawURLEncoding.EncodeToString(key[:12]), Realm: s.cfg.Realm(), User: user, SignedIn: signedIn, Checked: checked,
		Headers: identity.HeaderSet{Request: h.Request.Render(&user, identity.Token{}), Response: h.Response.Render(&user, identity.Token{})}}
}
