// Package server builds the product from a configuration and serves it.
//
//	NewState ─► State                       everything with the lifetime of the process
//	              │
//	              ├─► New(cfg, State) ─► Gateway    everything with the lifetime of one configuration
//	              │       ▲                 │
//	              │       │ SIGHUP, a changed file (reloader)
//	              ▼       └─────────────────┤
//	           State.ServeHTTP ◄─ State.Serve
//	              │
//	              └─► web.Chain ─┬─► endpoints: sign-in, SSO service, keys, …
//	                             └─► proxy.Handler
//
// New builds in one direction: each part is complete before another part uses it. A part
// that needs a later one while it serves, such as a provider that ends sessions, calls the
// current gateway through State.
//
// A new family of endpoints is a function that returns a family and one line in
// newOwnEndpoints; its state beyond a reload is a field of State.
package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/keyring"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/oidc"
	"dinggate/proxy"
	"dinggate/proxy/access"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/apiauth"
	"dinggate/proxy/assertion"
	"dinggate/proxy/forwardauth"
	"dinggate/proxy/login"
	"dinggate/session"
)

const (
	// How long a request waits for an overdue membership check, for example after a night. A
	// page may wait; a gateway allows its subrequest about a second.
	pageMaxWait    = 5 * time.Second
	gatewayMaxWait = 800 * time.Millisecond
)

// Gateway is the product with one configuration.
type Gateway struct {
	http.Handler
	Sessions *session.Manager
	Client   *dingtalk.Client // makes no calls of its own behind an SSO service
	Events   *dingtalk.Stream // nil: the organisation's events are not followed
	SSO      *sso.Server      // nil: this process is not an SSO service
	OIDC     *oidc.Provider   // nil: no application signs people in by OpenID Connect
	Accounts Accounts

	state     *State
	people    identityProvider
	requests  *accessrequest.Handler // nil: requests for access are off
	handler   *proxy.Handler
	own       *endpoints
	upstreams []*proxy.Upstream
	tokens    *apiauth.ServiceState // kept by the next gateway if it has the same SSO service
	keyring   *keyring.Keyring
}

// New builds the gateway of cfg, which has been checked. It makes no network connection
// and changes nothing in st: the current gateway serves until Serve replaces it. The new
// one shares the sign-outs, open connections, limits and cached answers of DingTalk in
// st and in the current gateway.
func New(cfg *config.Config, st *State) (*Gateway, error) {
	c, err := newSettings(cfg)
	if err != nil {
		return nil, err
	}
	accounts, err := newAccounts(cfg, st)
	if err != nil {
		return nil, err
	}
	client, tokens := st.client(cfg), st.tokens(cfg)
	moves := newMigrations(c, st, client, accounts)
	people := newIdentityProvider(c, st, client, accounts, moves)
	sessions := newSessions(c, st, client, people, accounts)
	flow, err := newFlow(c, st, people, sessions, accounts)
	if err != nil {
		return nil, err
	}
	service, err := newSSOServer(c, flow, sessions, st)
	if err != nil {
		return nil, err
	}
	authenticate := newAuthenticator(c, st, sessions, people, service, tokens, accounts)
	handler, upstreams, err := newHandler(c, st, sessions, flow, authenticate)
	if err != nil {
		return nil, err
	}
	openID, err := newOIDC(c, flow, sessions, client, accounts, moves, st)
	if err != nil {
		return nil, err
	}
	applications := newApplications(c, st, openID, service)
	requests := newAccessRequests(c, st, flow, handler, client, moves)
	administrators, err := newConsole(c, st, flow, sessions)
	if err != nil {
		return nil, err
	}
	own := newOwnEndpoints(c, flow, handler.Authenticate, applications, service, openID, requests, administrators)
	return &Gateway{
		Handler:   hsts(cfg.TLS, st.traced(newChain(c, st, handler, flow, own), c.peers)),
		Sessions:  sessions,
		Client:    client,
		Events:    newEvents(cfg, client, sessions, st),
		SSO:       service,
		OIDC:      openID,
		Accounts:  accounts,
		state:     st,
		people:    people,
		requests:  requests,
		handler:   handler,
		own:       own,
		upstreams: upstreams,
		tokens:    tokens,
		keyring:   c.keyring,
	}, nil
}

// Endpoints lists the paths of our own endpoints, except those for gateways.
func (g *Gateway) Endpoints() []string { return slices.Clone(g.own.paths) }

// Run does the background work until ctx ends.
func (g *Gateway) Run(ctx context.Context) { g.runWith(ctx, ctx) }

// runWith is Run, but follows events only until the second context ends.
func (g *Gateway) runWith(ctx, events context.Context) {
	var all sync.WaitGroup
	all.Go(func() { g.Sessions.Run(ctx) })
	all.Go(func() { g.Accounts.run(ctx, g.Sessions, g.state.Observability) })
	if g.Events != nil {
		all.Go(func() { g.Events.Run(events) })
	}
	all.Go(func() { g.state.book.RunServed(ctx) })
	all.Go(func() { g.state.runEndNotices(ctx, g.requests) })
	all.Go(func() { g.state.replicas.run(ctx, g.keyring) })
	all.Go(func() { g.state.refusals.run(ctx, g.keyring) })
	if g.OIDC != nil {
		all.Go(func() { g.OIDC.Run(ctx) })
	}
	all.Wait()
	g.closeIdle()
}

// closeIdle closes the idle connections, and each other connection when its request is
// done, unless another request comes.
func (g *Gateway) closeIdle() {
	g.people.close()
	for _, u := range g.upstreams {
		u.CloseIdleConnections()
	}
}

// settings is a configuration in the form in which the parts of a Gateway need it.
type settings struct {
	*config.Config
	peers      *web.Peers
	origins    *web.Origins
	hosts      *web.Hosts
	pages      *page.Pages
	keyring    *keyring.Keyring
	assertions *assertion.Signer // nil: signing is off
}

func newSettings(cfg *config.Config) (c settings, err error) {
	c.Config = cfg
	if c.peers, err = web.ParsePeers(cfg.TrustedProxies); err != nil {
		return c, err
	}
	if c.origins, err = cfg.Origins(); err != nil {
		return c, err
	}
	if c.hosts, err = cfg.KnownHosts(); err != nil {
		return c, err
	}
	if c.pages, err = newPages(cfg, c.origins); err != nil {
		return c, err
	}
	if c.keyring, err = keyring.New(cfg.Cookie.Secrets); err != nil {
		return c, err
	}
	c.assertions, err = newAssertions(cfg, c.keyring, c.origins)
	return c, err
}

func newPages(cfg *config.Config, origins *web.Origins) (*page.Pages, error) {
	c, err := cfg.SignIn.Pages(origins.Public(), cfg.Prefix)
	if err != nil {
		return nil, err
	}
	c.Username = cfg.DingTalk.Username
	return page.New(c)
}

// newFlow returns the sign-in.
func newFlow(c settings, st *State, people identityProvider, sessions *session.Manager,
	accounts Accounts) (*login.Flow, error) {
	interactive, err := newInteractive(c)
	if err != nil {
		return nil, err
	}
	tickets, err := newTickets(c, st)
	if err != nil {
		return nil, err
	}
	qr := ""
	if c.SignIn.EmbedQR {
		qr = c.DingTalk.LoginURL
	}
	flow := &login.Flow{
		Interactive: interactive,
		Hint:        loginHint(c),
		Provider:    people.Provider,
		AttemptIn:   people.attemptIn,
		Sessions:    sessions,
		Keyring:     c.keyring,
		Used:        st.Stores.Used,
		Pages:       c.pages,
		Origins:     c.origins,
		Prefix:      c.Prefix,
		ClientID:    c.ProviderClientID(),
		Tickets:     tickets,
		Silent:      people.silent,
		QRLogin:     qr,
		Accounts:    accounts.File,
		People:      accounts.policy,
		StrictAPI:   c.LoginAPIStatus == config.LoginAPIStrict,
		PageFirst:   c.SignIn.First() || accounts.File != nil,
		MaxWait:     pageMaxWait,
		Audit:       st.audit,
		Queue:       people.queue,
		Limits: login.Limits{
			Starts:    c.Limits.Starts,
			Exchanges: c.Limits.Exchanges,
			Limited:   st.limited.refused,
			Counts:    &st.signIns,
		},
	}
	return flow, flow.Check()
}

// loginHint returns login.Flow.Hint: an application's authorization request names a user.
func loginHint(c settings) func(target string) string {
	return func(target string) string {
		path, query, _ := strings.Cut(target, "?")
		if path != oidc.PathAuthorize || !c.OIDC.On() {
			return ""
		}
		return oidc.LoginHint(query)
	}
}

// newInteractive returns login.Flow.Interactive: it finds the route of a page like an
// authorization subrequest for it. Silent sign-in is off for a page that cannot be read.
func newInteractive(c settings) (func(target string) bool, error) {
	policy, err := c.Policy()
	return func(target string) bool {
		t := access.Target{Method: http.MethodGet, Host: c.origins.PublicHost()}
		if _, rest, absolute := strings.Cut(target, "://"); absolute && target[0] != '/' {
			end := strings.IndexAny(rest+"/", "/?#")
			t.Host, target = rest[:end], rest[end:]
		}
		raw, query, _ := strings.Cut(target, "?")
		if (raw == oidc.PathAuthorize || raw == oidc.PathDevice) && c.OIDC.On() && c.origins.OnPublic(t.Host) {
			return oidc.WantsClick(query)
		}
		if raw == "" {
			raw = "/"
		}
		path, err := web.CleanPath(raw)
		if err != nil {
			return true
		}
		t.Path, t.Readings, t.Variants = path.Plain, path.Readings, path.Variants
		if rule := c.Console.Access; c.Console.On() && web.UnderFold(path.Plain, c.Prefix+consolePath) {
			return rule.Fresh > 0 && !rule.FreshSilent
		}
		fresh, silent := policy.Freshness(t)
		return fresh > 0 && !silent
	}, err
}

// newHandler returns the reverse proxy with its routes. Without routes, gateways may
// allow every member.
func newHandler(c settings, st *State, sessions *session.Manager, flow *login.Flow,
	authenticate credentialFunc) (*proxy.Handler, []*proxy.Upstream, error) {
	var list []proxy.Route
	var upstreams []*proxy.Upstream
	protected := web.NewProtected(c.Headers.Names()...)
	requestable := requestableRoutes(c.Config)
	for i, r := range c.AllRoutes() {
		route := proxy.Route{
			Granted:    grantOf(st.book, requestable[i]),
			Route:      r.Route(),
			WebSocket:  r.WebSocket,
			OnResponse: st.Metrics.UpstreamTime(r.Path),
			Assert:     asserted(c.assertions, r, c.origins),
		}
		route.Name = r.Path // the label in logs and metrics
		if r.Upstream != "" {
			up, err := proxy.NewUpstream(r.UpstreamConfig, protected)
			if err != nil {
				return nil, nil, err
			}
			route.Upstream = up
			upstreams = append(upstreams, up)
		}
		list = append(list, route)
	}
	routes, err := proxy.NewRoutes(list, c.PathCase == config.PathCaseSensitive)
	if err != nil {
		return nil, nil, err
	}
	return &proxy.Handler{
		Routes:        routes,
		Sessions:      sessions,
		RequireSignIn: flow.RequireSignIn, Reauthenticate: flow.Reauthenticate,
		Credentials: authenticate,
		Origins:     c.origins,
		MaxWait:     pageMaxWait,
		Failed:      st.Metrics.UpstreamError,
		Streams:     &st.Conns,
		HSTS:        hstsValue(c.TLS),
		AskURL:      askURL(c),
	}, upstreams, nil
}

// newChain returns the middleware of every request; web.Chain describes the order.
func newChain(c settings, st *State, handler *proxy.Handler, flow *login.Flow, own *endpoints) *web.Chain {
	subrequests := &forwardauth.Handler{
		Prefix:    c.Prefix,
		Origins:   c.origins,
		LoginURL:  flow.LoginURL,
		ReauthURL: flow.ReauthURL,
		Authorize: handler.Authorize,
		MaxWait:   gatewayMaxWait,
		Hosts:     c.hosts,
		Proofs:    c.Headers.Response.Proofs(),
		AtRoot:    !slices.ContainsFunc(c.AllRoutes(), func(r config.Route) bool { return r.Upstream != "" }),
	}
	requests := &recorder{st.Observability, ruleTexts(c.Config)}
	return &web.Chain{
		Peers:      c.peers,
		Scheme:     c.origins.Scheme(),
		Subrequest: subrequests.Handlers(),
		Known:      c.origins.HasHost,
		Hosts:      c.hosts,
		Answer:     c.pages.Answer,
		Record:     requests.record,
		Next: func(w http.ResponseWriter, r *http.Request) error {
			x := web.From(w)
			ours, err := own.match(x.Path, x.Host)
			switch {
			case err != nil:
				return err
			case ours:
				r.Host = x.Host // canonical; the browser's if a trusted proxy changes it
				own.router.ServeHTTP(w, r)
				return nil
			}
			return handler.Serve(w, r)
		},
	}
}
