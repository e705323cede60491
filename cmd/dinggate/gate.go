package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/assertion"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/access"
	"dinggate/proxy/forwardauth"
	"dinggate/proxy/login"
	"dinggate/session"
)

var _ login.Provider = (*dingtalk.WebLogin)(nil)

const (
	// How long a request waits for a membership check that is overdue, say after
	// a night: a page may, a gateway gives its question about a second.
	pagePatience = 5 * time.Second
	gatePatience = 800 * time.Millisecond

	// rechecksPerSecond stays below DingTalk's 20 calls a second, app and API.
	rechecksPerSecond = 15
)

// telemetryKit is where a gate reports to.
type telemetryKit struct {
	log     *slog.Logger
	access  *telemetry.AccessLog
	metrics *telemetry.Metrics
	tracing *telemetry.Tracing // nil: no spans
	audits  *telemetry.Audit   // nil: the log takes the audit records
	today   *telemetry.Today   // for the status page
	health  *telemetry.Health  // how the calls to DingTalk went last, for the status page
	denials *denials           // who was kept out a moment ago

	strangers *telemetry.Strangers // who spoke for others without being believed
	rules     map[string]string    // whom the routes let in, by their names, for the audit records
}

// gate is everything wired together: the only place where all rooms meet.
type gate struct {
	http.Handler
	sessions  *session.Manager
	provider  provider
	events    *dingtalk.Stream // nil: the organisation's events are not followed
	sso       *sso.Server      // nil: we are no SSO service
	inFlight  *atomic.Int64    // requests that are being answered
	streams   *proxy.Streams   // those of the gates before this one too
	front     *proxy.Front
	upstreams []*proxy.Upstream
	accounts  accounts
	lasting   lasting
}

// newGate wires cfg, which has been checked, over stores. It opens no network.
func newGate(cfg *Config, stores *stores, t telemetryKit) (*gate, error) {
	return nextGate(cfg, stores, t, nil)
}

// nextGate is newGate for a gate that takes the place of another: what that one
// knows of sign-outs, of open connections and of who tried what it knows too.
func nextGate(cfg *Config, stores *stores, t telemetryKit, before *gate) (*gate, error) {
	t.rules = ruleTexts(cfg)
	peers, err := web.ParsePeers(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	origins, err := cfg.Origins()
	if err != nil {
		return nil, err
	}
	hosts, err := cfg.hosts()
	if err != nil {
		return nil, err
	}
	pages, err := newPages(cfg, origins)
	if err != nil {
		return nil, err
	}
	keyring, err := session.NewKeyring(cfg.Cookie.Secrets)
	if err != nil {
		return nil, err
	}
	kept := newLasting(cfg, before, t)
	g := &gate{lasting: kept, provider: newProvider(cfg, stores, kept, t), inFlight: new(atomic.Int64), streams: new(proxy.Streams)}
	if g.accounts, err = newAccounts(cfg, stores.Bindings, before, t); err != nil {
		return nil, err
	}
	g.sessions = newSessions(cfg, stores, keyring, g.provider, t)
	if before != nil {
		g.inFlight, g.streams = before.inFlight, before.streams
		g.sessions.Inherit(before.sessions)
	}
	g.sessions.Recheck, g.sessions.Accounts = g.accounts.recheck(g.sessions.Recheck), g.accounts.known()
	g.events = newEvents(cfg, g, kept.client, t)
	flow := &login.Flow{
		Provider: g.provider, AttemptIn: g.provider.attemptIn,
		Sessions: g.sessions, Keyring: keyring, Used: stores.Used, Pages: pages, Origins: origins, Prefix: cfg.Prefix,
		ClientID: cfg.ProviderClientID(),
		Silent:   newSilent(cfg, kept.client),
		Accounts: g.accounts.file, People: g.accounts.policy, StrictAPI: cfg.LoginAPIStatus == loginAPIStrict,
		PageFirst: cfg.SignIn.First() || g.accounts.file != nil, Patience: pagePatience, Audit: t.audit, Counts: kept.signIns,
	}
	if cfg.SignIn.EmbedQR {
		flow.QRLogin = cfg.DingTalk.LoginURL
	}
	if err := flow.Check(); err != nil {
		return nil, err
	}
	assertions, err := newAssertions(cfg, keyring, origins)
	if err != nil {
		return nil, err
	}
	front, err := newFront(cfg, g, flow, origins, assertions, t)
	if err != nil {
		return nil, err
	}
	g.front = front
	own := newEndpoints(cfg.Prefix, flow, pages.Answer)
	if cfg.SSOServer.On() {
		if g.sso, err = newSSOServer(cfg, flow, g.sessions, stores.SSO, kept.sso, t); err != nil {
			return nil, err
		}
		own.addTree(ssoRoot, g.sso.Handlers())
	}
	if assertions != nil {
		own.add(cfg.Prefix+"/jwks.json", jwks(assertions))
	}
	for _, path := range cfg.loginAPIPaths() {
		own.addTree(path, map[string]web.HandlerFunc{path: flow.LoginAPI})
	}
	front.Credentials = newCredentials(cfg, g, t)
	flow.Authenticate = front.Authenticate
	g.Handler = counting(t.traced(newEntrance(cfg, front, flow, own, pages, origins, hosts, peers, t), peers), g.inFlight)
	if value := insist(cfg.TLS); value != nil {
		g.Handler = insisting(g.Handler, value)
	}
	g.measure(kept.client, before, t.metrics)
	g.accounts.serve(g.sessions)
	stores.keys.use(keyring)
	return g, nil
}

// run does what goes on in the background until ctx ends.
func (g *gate) run(ctx context.Context) { g.runWith(ctx, ctx) }

// runWith is run with events followed only until theirs ends.
func (g *gate) runWith(ctx, events context.Context) {
	var all sync.WaitGroup
	all.Go(func() { g.sessions.Run(ctx) })
	all.Go(func() { g.accounts.run(ctx, g.sessions) })
	if g.events != nil {
		all.Go(func() { g.events.Run(events) })
	}
	all.Wait()
	g.closeIdle()
}

// closeIdle closes the connections that no request uses, and each of the others
// when its request is done, unless another request comes.
func (g *gate) closeIdle() {
	g.provider.close()
	for _, u := range g.upstreams {
		u.CloseIdleConnections()
	}
}

func newPages(cfg *Config, origins *web.Origins) (*page.Pages, error) {
	c, err := cfg.SignIn.pages(origins.Public(), cfg.Prefix)
	if err != nil {
		return nil, err
	}
	c.Username = cfg.DingTalk.Username
	return page.New(c)
}

func newSessions(cfg *Config, stores *stores, keyring *session.Keyring, p provider, t telemetryKit) *session.Manager {
	m := &session.Manager{
		Keyring: keyring, Store: stores.Sessions, Journal: stores.Journal, Config: cfg.Session, Cookie: cfg.Cookie, Realm: cfg.Realm(), Secure: cfg.Secure(), Service: cfg.SSO.On(),
		Headers: session.Headers{Request: cfg.Headers.Request.Rules(), Response: cfg.Headers.Response.Rules()},
		Recheck: t.counted(stores.paced(cfg, p.recheck)), Refresh: p.refresh,
		Ended: t.auditEnded, Unkept: t.unkept(cfg),
	}
	p.ids.use(m, keyring)
	return m
}

// recheck looks members up again, paced.
func recheck(cfg *Config, l lasting) func(context.Context, *session.Session) (identity.User, error) {
	directory := &dingtalk.Directory{Client: l.client, Username: cfg.DingTalk.Username, Ancestors: cfg.NamesDepartments(), Pace: l.rechecks}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := directory.Person(ctx, s.User.UnionID)
		if err == nil && u.UserID != s.User.UserID { // a userid given to somebody new (threats K10)
			err = &identity.Failure{Class: identity.Refused, Code: "not_member", Err: errors.New("the organisation knows this person under another userid now")}
		}
		return u, err
	}
}

// newFront builds the routes. Without any, gateways may ask and every member passes.
func newFront(cfg *Config, g *gate, flow *login.Flow, origins *web.Origins, assertions *assertion.Signer, t telemetryKit) (*proxy.Front, error) {
	policy, err := cfg.Policy()
	if err != nil {
		return nil, err
	}
	protected := web.NewProtected(cfg.Headers.Names()...)
	front := &proxy.Front{Policy: policy, Sessions: g.sessions, RequireSignIn: flow.RequireSignIn, Origins: origins, Patience: pagePatience, Failed: t.metrics.UpstreamError, Streams: g.streams, Insist: insist(cfg.TLS)}
	for _, r := range cfg.AllRoutes() {
		route := proxy.Route{Name: r.Path, WebSocket: r.WebSocket, Answered: t.metrics.UpstreamTime(r.Path), Assert: asserted(assertions, r, origins)}
		if r.Upstream != "" {
			if route.Upstream, err = proxy.NewUpstream(r.UpstreamConfig, protected); err != nil {
				return nil, err
			}
			g.upstreams = append(g.upstreams, route.Upstream)
		}
		front.Routes = append(front.Routes, route)
	}
	return front, nil
}

// newEntrance is the stack in front of everything, drawn in web.Entrance.
func newEntrance(cfg *Config, front *proxy.Front, flow *login.Flow, own *endpoints, pages *page.Pages, origins *web.Origins, hosts *web.Hosts, peers *web.Peers, t telemetryKit) *web.Entrance {
	questions := &forwardauth.Gate{Prefix: cfg.Prefix, Origins: origins, LoginURL: flow.LoginURL, Hosts: hosts, Proofs: cfg.Headers.Response.proofs(),
		AtRoot: !slices.ContainsFunc(cfg.AllRoutes(), func(r Route) bool { return r.Upstream != "" }),
		Ask: func(ctx context.Context, target access.Target, h http.Header) (forwardauth.Reply, error) {
			answer, err := front.Ask(ctx, target, h, gatePatience)
			return forwardauth.Reply{Decision: answer.Decision, Route: answer.Route, User: answer.User(), Person: answer.Person(), Headers: answer.Headers(), Cookie: answer.Cookie,
				Assertion: answer.Assertion, WrongCredential: answer.WrongCredential}, err
		}}
	return &web.Entrance{Peers: peers, Scheme: origins.Scheme(), Asked: questions.Handlers(), Known: origins.HasHost, Hosts: hosts, Answer: pages.Answer, Record: t.record,
		Next: func(w http.ResponseWriter, r *http.Request) error {
			if mine, err := own.match(web.From(w).Path); mine || err != nil {
				if err != nil {
					return err
				}
				return own.serve(w, r)
			}
			return front.Serve(w, r)
		}}
}

// state is what the status page shows of a gateway.
func (g *gate) state() gatewayState {
	s := gatewayState{sessions: g.sessions.Stats(), replicated: g.sessions.Journal != nil, inFlight: int(g.inFlight.Load()), sharedUnionIDs: g.provider.ids.voids()}
	if g.events != nil {
		events := g.events.State()
		s.events = &events
	}
	return s
}
