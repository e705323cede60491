package apiauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dinggate/dingtalk/sso"
	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/session"
)

// ServiceTokens are the access tokens of the SSO service that people sign in with.
//
//	known ───► younger than session.recheck ─► the last answer
//	   │       older ─► userinfo, in the background if slow ─► the last answer holds for session.grace
//	unknown ─► a failure of a moment ago ─► the same again
//	           none ─► public route: no call ─► limit per client ─► a place ─► userinfo
//
// Known tokens are not subject to the limits on unknown ones, and have a cache of their own, which
// invented tokens cannot fill (threats D12, D13).
type ServiceTokens struct {
	*ServiceState
	Client   *sso.Client
	Sessions *session.Manager
	Clients  []string      // ids of the clients whose tokens are accepted
	MaxWait  time.Duration // as proxy.Handler.MaxWait

	// Judge returns the person as a sign-in in a browser would have them: without a unionid that
	// identifies no one (threats T36), under the name of the account that they are bound to. It
	// refuses whom a sign-in refuses: otherwise a person of the service whose name is a local
	// account's would be that account (threats T32). Its errors are *identity.Failure.
	Judge func(ctx context.Context, u identity.User) (identity.User, error)

	// OnNoAudience is called once if the service sends no aud.
	OnNoAudience func()
}

// ServiceState is what is known about the tokens of one SSO service. It outlives reloads:
// otherwise a reload while the service is unreachable would refuse every API client, and would
// reset the attempts that clients have used up.
type ServiceState struct {
	Service sso.ClientConfig

	good   bounded.Map[[32]byte, *tokenOwner]
	failed bounded.Map[[32]byte, error]
	calls  sharedCalls[*tokenOwner]

	unknown    ratelimit.Keyed[netip.Prefix] // per client: tokens that the service did not know
	unknownAll ratelimit.Keyed[struct{}]     // the same for all clients together
	firstCalls ratelimit.Queue               // calls for unknown tokens
	laterCalls ratelimit.Queue               // calls for known ones
	noAudience sync.Once
}

// maxTokens bounds the valid tokens that are remembered, and the invalid ones.
const maxTokens = 10_000

// NewServiceState returns an empty state for the service of a configuration.
func NewServiceState(of sso.ClientConfig) *ServiceState {
	return &ServiceState{
		Service:    of,
		good:       bounded.Map[[32]byte, *tokenOwner]{Max: maxTokens},
		failed:     bounded.Map[[32]byte, error]{Max: maxTokens},
		firstCalls: ratelimit.Queue{Places: 64, Share: 8, Waiting: 256},
		laterCalls: ratelimit.Queue{Places: 64, Waiting: maxTokens},
	}
}

var (
	unknownLimit    = ratelimit.Rate{Every: time.Second / 5, Burst: 60}
	unknownAllLimit = ratelimit.Rate{Every: time.Second / 20, Burst: 200}
)

const (
	callTimeout    = 5 * time.Second // one call, including the wait for a slot
	refusedFor     = 10 * time.Second
	unansweredFor  = 5 * time.Second
	retryKnown     = 5 * time.Second // the pause after a failed call for a known token
	rememberTokens = 12 * time.Hour  // how long a valid token counts as known
)

// tokenOwner is the last answer of userinfo. Immutable.
type tokenOwner struct {
	session  *session.Session
	audience []string       // nil if the service sent none
	by       *ServiceTokens // has the header configuration of the session
	fresh    time.Time      // no call before this time
	retry    time.Time      // no retry before this time
	expires  time.Time      // how long the answer is valid while the service is unreachable
}

var (
	errNoCall   = fmt.Errorf("%w: no call about an unknown token for a public route", session.ErrUnconfirmed)
	errRevoked  = fmt.Errorf("%w: the service no longer accepts the access token", session.ErrForged)
	errTooSlow  = fmt.Errorf("%w: the service did not answer in time", session.ErrUnconfirmed)
	errNoAnswer = fmt.Errorf("%w: the service cannot be reached", session.ErrUnconfirmed)
	errPerson   = fmt.Errorf("%w: its person may not sign in here", session.ErrForged)
)

func (s *ServiceTokens) find(ctx context.Context, q proxy.CredentialQuery, token string) (proxy.Credential, error) {
	now, key := time.Now(), sha256.Sum256([]byte(token))
	if p, ok := s.good.Get(key, now); ok {
		return s.known(ctx, q, key, token, p, now)
	}
	if err, ok := s.failed.Get(key, now); ok {
		return proxy.Credential{Foreign: errors.Is(err, errToken)}, err
	}
	if q.Local {
		return proxy.Credential{}, errNoCall
	}
	from := ratelimit.Client(q.Client)
	// longer than the call, whose result is to be remembered
	ctx, cancel := context.WithTimeout(ctx, callTimeout+time.Second)
	defer cancel()
	p, err := s.calls.do(ctx, key,
		func() error { return s.admit(from, now) }, func(ctx context.Context) (*tokenOwner, error) {
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

// admit takes one attempt from the client's allowance; it is returned if the token is valid. All
// clients that sent unknown tokens recently share a second allowance, which bounds the load on the
// service (threats D6).
func (s *ServiceTokens) admit(from netip.Prefix, now time.Time) error {
	clean := s.unknown.Whole(from, now)
	wait, ok := s.unknown.Allow(unknownLimit, from, now)
	if ok && !clean {
		if wait, ok = s.unknownAll.Allow(unknownAllLimit, struct{}{}, now); !ok {
			s.unknown.Return(unknownLimit, from)
		}
	}
	if !ok {
		return &web.Error{
			Status:     http.StatusTooManyRequests,
			Code:       "too_many_attempts",
			RetryAfter: wait,
			Err:        errors.New("too many unknown access tokens from this client"),
		}
	}
	return nil
}

// first looks up an unknown token and remembers the result: of a valid token for long, of an
// invalid one briefly.
func (s *ServiceTokens) first(ctx context.Context, from netip.Prefix, key [32]byte, token string) (*tokenOwner, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	class := 0
	if !s.unknown.Whole(from, time.Now().Add(unknownLimit.Every)) { // other tokens of this client are unknown too
		class = 1
	}
	leave, err := s.firstCalls.Enter(ctx, from, class)
	if err != nil {
		return nil, errNoAnswer
	}
	defer leave()
	p, err := s.userinfo(ctx, key, token)
	now := time.Now()
	switch {
	case err == nil:
		s.unknown.Return(unknownLimit, from)
		s.good.Put(key, p, now.Add(rememberTokens), now)
	case errors.Is(err, errToken), errors.Is(err, errAudience), errors.Is(err, errPerson):
		s.failed.Put(key, err, now.Add(refusedFor), now)
	case errors.Is(ctx.Err(), context.Canceled): // no request waits any longer: this is no result
	default:
		s.failed.Put(key, err, now.Add(unansweredFor), now)
	}
	return p, err
}

// userinfo calls userinfo. Errors are errToken, errAudience, errPerson, or session.ErrUnconfirmed.
func (s *ServiceTokens) userinfo(ctx context.Context, key [32]byte, token string) (*tokenOwner, error) {
	user, audience, err := s.Client.Identify(ctx, token)
	switch {
	case refused(err):
		return nil, errToken
	case err != nil:
		return nil, fmt.Errorf("%w: %w", session.ErrUnconfirmed, err)
	case !s.accepts(audience):
		return nil, errAudience
	}
	user, err = s.Judge(ctx, user)
	switch {
	case refused(err):
		return nil, fmt.Errorf("%w: %w", errPerson, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", session.ErrUnconfirmed, err)
	}
	return s.owner(key, user, audience, time.Now()), nil
}

func refused(err error) bool {
	f, ok := errors.AsType[*identity.Failure](err)
	return ok && f.Class == identity.Refused
}

// accepts checks a token against api_token_clients, if the service sends an audience (threats
// T30).
func (s *ServiceTokens) accepts(audience []string) bool {
	if audience == nil {
		s.noAudience.Do(s.OnNoAudience)
		return true
	}
	return slices.ContainsFunc(audience, func(client string) bool { return slices.Contains(s.Clients, client) })
}

// known answers for a token that was valid. If it has to be looked up again, a request waits for
// MaxWait; after the grace period it waits as long as for an unknown token. The call continues
// without the request.
func (s *ServiceTokens) known(ctx context.Context, q proxy.CredentialQuery, key [32]byte, token string, p *tokenOwner,
	now time.Time) (proxy.Credential, error) {
	if p.by != s { // the configuration changed
		again := *p
		again.by, again.session = s, newSession(s.Sessions, key, p.session.User, p.session.SignedIn, p.session.Checked)
		p = &again
		s.good.Put(key, p, now.Add(rememberTokens), now)
	}
	if !s.accepts(p.audience) {
		return proxy.Credential{}, errAudience
	}
	if now.Before(p.fresh) || now.Before(p.retry) || q.Local {
		return p.answer(now)
	}
	maxWait := s.MaxWait
	if !now.Before(p.expires) {
		maxWait = callTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	newer, err := s.calls.doDetached(ctx,
		key, func(ctx context.Context) (*tokenOwner, error) { return s.repeat(ctx, key, token, p) })
	switch {
	case err == nil:
		return newer.answer(time.Now())
	case errors.Is(err, errRevoked), errors.Is(err, errAudience), errors.Is(err, errPerson):
		return proxy.Credential{}, err
	}
	return p.answer(time.Now())
}

// repeat looks up again a token that was valid.
func (s *ServiceTokens) repeat(ctx context.Context, key [32]byte, token string, p *tokenOwner) (*tokenOwner, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	leave, err := s.laterCalls.Enter(ctx, netip.Prefix{}, 0)
	if err != nil {
		return nil, errNoAnswer
	}
	defer leave()
	newer, err := s.userinfo(ctx, key, token)
	now := time.Now()
	switch {
	case err == nil:
		newer.session.SignedIn = p.session.SignedIn
		s.good.Put(key, newer, now.Add(rememberTokens), now)
		return newer, nil
	case errors.Is(err, errToken):
		err = errRevoked // and not foreign, since it belonged to a person
	case !errors.Is(err, errAudience) && !errors.Is(err, errPerson):
		later := *p
		later.retry = now.Add(retryKnown)
		s.good.Put(key, &later, now.Add(rememberTokens), now)
		return nil, err
	}
	s.good.Delete(key)
	s.failed.Put(key, err, now.Add(refusedFor), now)
	return nil, err
}

func (p *tokenOwner) answer(now time.Time) (proxy.Credential, error) {
	if !now.Before(p.expires) {
		return proxy.Credential{}, errNoAnswer
	}
	return proxy.Credential{Session: p.session}, nil
}

func (s *ServiceTokens) owner(key [32]byte, user identity.User, audience []string, now time.Time) *tokenOwner {
	fresh := now.Add(s.Sessions.Config.Recheck)
	return &tokenOwner{
		session:  newSession(s.Sessions, key, user, now, now),
		audience: audience,
		by:       s,
		fresh:    fresh,
		expires:  fresh.Add(s.Sessions.Config.Grace),
	}
}
