// Package server builds the product from a configuration and serves it.
//
//	Run ─► Stores, Listeners ─► reloader ─► Gateway ─► web.Entrance ─► our endpoints
//	                               ▲                                └─► proxy.Front
//	        SIGHUP, a changed file ┘
//
// A Gateway belongs to one configuration. Stores and State outlive it: a reload
// builds the next Gateway over them.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/access"
	"dinggate/proxy/assertion"
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

// Observability is where a gate reports to.
type Observability struct {
	Log     *slog.Logger
	Access  *telemetry.AccessLog
	Metrics *telemetry.Metrics
	Tracing *telemetry.Tracing // nil: no spans
	Audits  *telemetry.Audit   // nil: the log takes the audit records
	Today   *telemetry.Today   // for the status page
	Health  *telemetry.Health  // how the calls to DingTalk went last, for the status page
	denials *denials           // who was kept out a moment ago

	Strangers *telemetry.Strangers // who spoke for others without being believed
	rules     map[string]string    // whom the routes let in, by their names, for the audit records
}

// Gateway is the product for one configuration: everything wired together.
type Gateway struct {
	http.Handler
	Sessions  *session.Manager
	Provider  provider
	Events    *dingtalk.Stream   // nil: the organisation's events are not followed
	SSO       *sso.Server        // nil: we are no SSO service
	InFlight  *atomic.Int64      // requests that are being answered
	Streams   *proxy.ConnTracker // those of the gates before this one too
	front     *proxy.Handler
	upstreams []*proxy.Upstream
	Accounts  Accounts
	Lasting   State
}

// New wires cfg, which has been checked, over stores. It opens no network.
func New(cfg *config.Config, stores *Stores, t Observability) (*Gateway, error) {
	return Next(cfg, stores, t, nil)
}

// Next is New for a gate that takes the place of another: what that one
// knows of sign-outs, of open connections and of who tried what it knows too.
func Next(cfg *config.Config, stores *Stores, t Observability, before *Gateway) (*Gateway, error) {
	t.rules = ruleTexts(cfg)
	peers, err := web.ParsePeers(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	origins, err := cfg.Origins()
	if err != nil {
		return nil, err
	}
	hosts, err := cfg.KnownHosts()
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
	kept := newState(cfg, before, t)
	g := &Gateway{Lasting: kept, Provider: newProvider(cfg, stores, kept, t), InFlight: new(atomic.Int64), Streams: new(proxy.ConnTracker)}
	if g.Accounts, err = newAccounts(cfg, stores.Bindings, before, t); err != nil {
		return nil, err
	}
	g.Sessions = newSessions(cfg, stores, keyring, g.Provider, t)
	if before != nil {
		g.InFlight, g.Streams = before.InFlight, before.Streams
		g.Sessions.Inherit(before.Sessions)
	}
	g.Sessions.Recheck, g.Sessions.Accounts = g.Accounts.Recheck(g.Sessions.Recheck), g.Accounts.known()
	g.Events = newEvents(cfg, g, kept.Client, t)
	flow := &login.Flow{
		Provider: g.Provider, AttemptIn: g.Provider.attemptIn,
		Sessions: g.Sessions, Keyring: keyring, Used: stores.Used, Pages: pages, Origins: origins, Prefix: cfg.Prefix,
		ClientID: cfg.ProviderClientID(),
		Silent:   newSilent(cfg, kept.Client),
		Accounts: g.Accounts.File, People: g.Accounts.policy, StrictAPI: cfg.LoginAPIStatus == config.LoginAPIStrict,
		PageFirst: cfg.SignIn.First() || g.Accounts.File != nil, Patience: pagePatience, Audit: t.audit, Limits: login.Limits{Counts: kept.SignIns},
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
	own := NewEndpoints(cfg.Prefix, flow, pages.Answer)
	if cfg.SSOServer.On() {
		if g.SSO, err = newSSOServer(cfg, flow, g.Sessions, stores.SSO, kept.sso, t); err != nil {
			return nil, err
		}
		own.addTree(config.SSORoot, g.SSO.Handlers())
	}
	if assertions != nil {
		own.add(cfg.Prefix+"/jwks.json", jwks(assertions))
	}
	for _, path := range cfg.LoginAPIPaths() {
		own.addTree(path, map[string]web.HandlerFunc{path: flow.LoginAPI})
	}
	front.Credentials = newCredentials(cfg, g, t)
	flow.Authenticate = front.Authenticate
	g.Handler = counting(t.traced(newEntrance(cfg, front, flow, own, pages, origins, hosts, peers, t), peers), g.InFlight)
	if value := insist(cfg.TLS); value != nil {
		g.Handler = insisting(g.Handler, value)
	}
	g.Measure(kept.Client, before, t.Metrics)
	g.Accounts.serve(g.Sessions)
	stores.keys.use(keyring)
	return g, nil
}

// Run does what goes on in the background until ctx ends.
func (g *Gateway) Run(ctx context.Context) { g.runWith(ctx, ctx) }

// runWith is run with events followed only until theirs ends.
func (g *Gateway) runWith(ctx, events context.Context) {
	var all sync.WaitGroup
	all.Go(func() { g.Sessions.Run(ctx) })
	all.Go(func() { g.Accounts.run(ctx, g.Sessions) })
	if g.Events != nil {
		all.Go(func() { g.Events.Run(events) })
	}
	all.Wait()
	g.closeIdle()
}

// closeIdle closes the connections that no request uses, and each of the others
// when its request is done, unless another request comes.
func (g *Gateway) closeIdle() {
	g.Provider.Close()
	for _, u := range g.upstreams {
		u.CloseIdleConnections()
	}
}

func newPages(cfg *config.Config, origins *web.Origins) (*page.Pages, error) {
	c, err := cfg.SignIn.Pages(origins.Public(), cfg.Prefix)
	if err != nil {
		return nil, err
	}
	c.Username = cfg.DingTalk.Username
	return page.New(c)
}

func newSessions(cfg *config.Config, stores *Stores, keyring *session.Keyring, p provider, t Observability) *session.Manager {
	m := &session.Manager{
		Keyring: keyring, Store: stores.Sessions, Journal: stores.Journal, Config: cfg.Session, Cookie: cfg.Cookie, Realm: cfg.Realm(), Secure: cfg.Secure(), Service: cfg.SSO.On(),
		Headers: session.Headers{Request: cfg.Headers.Request.Rules(), Response: cfg.Headers.Response.Rules()},
		Recheck: t.counted(stores.paced(cfg, p.recheck)), Refresh: p.refresh,
		OnRevoked: t.auditEnded, OnTokenTruncated: t.unkept(cfg),
	}
	p.Ids.use(m, keyring)
	return m
}

// recheck looks members up again, paced.
func recheck(cfg *config.Config, l State) func(context.Context, *session.Session) (identity.User, error) {
	directory := &dingtalk.Directory{Client: l.Client, Username: cfg.DingTalk.Username, Ancestors: cfg.NamesDepartments(), Pace: l.rechecks}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := directory.Person(ctx, s.User.UnionID)
		if err == nil && u.UserID != s.User.UserID { // a userid given to somebody new (threats K10)
			err = &identity.Failure{Class: identity.Refused, Code: "not_member", Err: errors.New("the organisation knows this person under another userid now")}
		}
		return u, err
	}
}

// newFront builds the routes. Without any, gateways may ask and every member passes.
func newFront(cfg *config.Config, g *Gateway, flow *login.Flow, origins *web.Origins, assertions *assertion.Signer, t Observability) (*proxy.Handler, error) {
	policy, err := cfg.Policy()
	if err != nil {
		return nil, err
	}
	protected := web.NewProtected(cfg.Headers.Names()...)
	front := &proxy.Handler{Policy: policy, Sessions: g.Sessions, RequireSignIn: flow.RequireSignIn, Origins: origins, MaxWait: pagePatience, Failed: t.Metrics.UpstreamError, Streams: g.Streams, HSTS: insist(cfg.TLS)}
	for _, r := range cfg.AllRoutes() {
		route := proxy.Route{Name: r.Path, WebSocket: r.WebSocket, Answered: t.Metrics.UpstreamTime(r.Path), Assert: asserted(assertions, r, origins)}
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
func newEntrance(cfg *config.Config, front *proxy.Handler, flow *login.Flow, own *endpoints, pages *page.Pages, origins *web.Origins, hosts *web.Hosts, peers *web.Peers, t Observability) *web.Chain {
	questions := &forwardauth.Handler{Prefix: cfg.Prefix, Origins: origins, LoginURL: flow.LoginURL, Hosts: hosts, Proofs: cfg.Headers.Response.Proofs(),
		AtRoot: !slices.ContainsFunc(cfg.AllRoutes(), func(r config.Route) bool { return r.Upstream != "" }),
		Ask: func(ctx context.Context, target access.Target, h http.Header) (forwardauth.Decision, error) {
			answer, err := front.Authorize(ctx, target, h, gatePatience)
			return forwardauth.Decision{Decision: answer.Decision, Route: answer.Route, User: answer.User(), Person: answer.Person(), Headers: answer.Headers(), Cookie: answer.Cookie,
				Assertion: answer.Assertion, WrongCredential: answer.WrongCredential}, err
		}}
	return &web.Chain{Peers: peers, Scheme: origins.Scheme(), Asked: questions.Handlers(), Known: origins.HasHost, Hosts: hosts, Answer: pages.Answer, Record: t.record,
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

// State is what the status page shows of a gateway.
func (g *Gateway) State() admin.GatewayState {
	s := admin.GatewayState{Sessions: g.Sessions.Stats(), Replicated: g.Sessions.Journal != nil, InFlight: int(g.InFlight.Load()), SharedUnionIDs: g.Provider.Ids.Voids()}
	if g.Events != nil {
		events := g.Events.State()
		s.Events = &events
	}
	return s
}
