// Package server builds the product from a configuration and serves it.
//
//	NewState ─► State                       everything that lives as long as the process
//	              │
//	              ├─► New(cfg, State) ─► Gateway    everything that belongs to one configuration
//	              │       ▲                 │
//	              │       │ SIGHUP, a changed file (reloader)
//	              ▼       └─────────────────┤
//	           State.ServeHTTP ◄─ State.Serve
//	              │
//	              └─► web.Chain ─┬─► endpoints: sign-in, SSO service, keys, …
//	                             └─► proxy.Handler
//
// New builds in one direction: each part is complete before the next one is made
// of it. A new family of endpoints is a function that returns a family and one
// more line in newOwnEndpoints; what it keeps beyond a reload is a field of State.
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
	// How long a request waits for a membership check that is overdue, for example
	// after a night: a page may, a gateway gives its subrequest about a second.
	pageMaxWait    = 5 * time.Second
	gatewayMaxWait = 800 * time.Millisecond
)

// Gateway is the product for one configuration.
type Gateway struct {
	http.Handler
	Sessions *session.Manager
	Provider provider
	Client   *dingtalk.Client // without calls of its own behind an SSO service
	Events   *dingtalk.Stream // nil: the organisation's events are not followed
	SSO      *sso.Server      // nil: this is no SSO service
	OIDC     *oidc.Provider   // nil: no application signs in here by OpenID Connect
	Accounts Accounts

	requests  *accessrequest.Handler // nil: nobody can ask for access
	handler   *proxy.Handler
	own       *endpoints
	upstreams []*proxy.Upstream
	tokens    *apiauth.ServiceState
	keyring   *keyring.Keyring
	log       Observability
}

// New builds the gateway of cfg, which has been checked. It opens no network and
// changes nothing in st: the gateway that serves goes on until Serve replaces it.
// What st and that gateway know of sign-outs, of open connections, of limits that
// are used up and of answers of DingTalk the new one knows too.
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
	sessions, people := newSessions(c, st, client, accounts)
	flow, err := newFlow(c, st, people, sessions, client, accounts)
	if err != nil {
		return nil, err
	}
	service, err := newSSOServer(cfg, flow, sessions, st)
	if err != nil {
		return nil, err
	}
	authenticate := newAuthenticator(c, st, sessions, people, service, tokens, accounts)
	handler, upstreams, err := newHandler(c, st, sessions, flow, authenticate)
	if err != nil {
		return nil, err
	}
	provider, err := newOIDC(c, flow, sessions, client, accounts, st)
	if err != nil {
		return nil, err
	}
	requests := newAccessRequests(c, st, flow, handler, client)
	own := newOwnEndpoints(c, flow, service, provider, requests, handler.Authenticate)
	return &Gateway{
		Handler:   hsts(cfg.TLS, st.traced(newChain(c, st, handler, flow, own), c.peers)),
		Sessions:  sessions,
		Provider:  people,
		Client:    client,
		Events:    newEvents(cfg, client, sessions, st),
		SSO:       service,
		OIDC:      provider,
		Accounts:  accounts,
		requests:  requests,
		handler:   handler,
		own:       own,
		upstreams: upstreams,
		tokens:    tokens,
		keyring:   c.keyring,
		log:       st.Observability,
	}, nil
}

// Endpoints lists the paths of our own endpoints, without those for gateways.
func (g *Gateway) Endpoints() []string { return slices.Clone(g.own.paths) }

// Run does the background work until ctx ends.
func (g *Gateway) Run(ctx context.Context) { g.runWith(ctx, ctx) }

// runWith is Run with events followed only until the second context ends.
func (g *Gateway) runWith(ctx, events context.Context) {
	var all sync.WaitGroup
	all.Go(func() { g.Sessions.Run(ctx) })
	all.Go(func() { g.Accounts.run(ctx, g.Sessions, g.log) })
	if g.Events != nil {
		all.Go(func() { g.Events.Run(events) })
	}
	if g.requests != nil {
		all.Go(func() { g.requests.Run(ctx) })
	}
	if g.OIDC != nil {
		all.Go(func() { g.OIDC.Run(ctx) })
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

// settings is a configuration in the form that the parts of a Gateway are built
// from.
type settings struct {
	*config.Config
	peers      *web.Peers
	origins    *web.Origins
	hosts      *web.Hosts
	pages      *page.Pages
	keyring    *keyring.Keyring
	assertions *assertion.Signer // nil: nothing is signed
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

// newFlow is the sign-in.
func newFlow(c settings, st *State, people provider, sessions *session.Manager, client *dingtalk.Client,
	accounts Accounts) (*login.Flow, error) {
	interactive, err := newInteractive(c)
	if err != nil {
		return nil, err
	}
	flow := &login.Flow{
		Interactive: interactive,
		Provider:    people,
		AttemptIn:   people.attemptIn,
		Sessions:    sessions,
		Keyring:     c.keyring,
		Used:        st.Stores.Used,
		Pages:       c.pages,
		Origins:     c.origins,
		Prefix:      c.Prefix,
		ClientID:    c.ProviderClientID(),
		Silent:      newSilent(c.Config, client),
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
	if flow.Tickets, err = newTickets(c, st); err != nil {
		return nil, err
	}
	if c.SignIn.EmbedQR {
		flow.QRLogin = c.DingTalk.LoginURL
	}
	return flow, flow.Check()
}

// newInteractive is login.Flow.Interactive: it finds the route of a page as a gateway
// that asks about it would. A page that cannot be read is not worth a silent sign-in.
func newInteractive(c settings) (func(target string) bool, error) {
	policy, err := c.Policy()
	return func(target string) bool {
		t := access.Target{Method: http.MethodGet, Host: c.origins.PublicHost()}
		if _, rest, absolute := strings.Cut(target, "://"); absolute && target[0] != '/' {
			end := strings.IndexAny(rest+"/", "/?#")
			t.Host, target = rest[:end], rest[end:]
		}
		raw, _, _ := strings.Cut(target, "?")
		if raw == "" {
			raw = "/"
		}
		path, err := web.CleanPath(raw)
		if err != nil {
			return true
		}
		t.Path, t.Readings, t.Variants = path.Plain, path.Readings, path.Variants
		fresh, silent := policy.Freshness(t)
		return fresh > 0 && !silent
	}, err
}

// newHandler is the reverse proxy with its routes. Without any route, gateways may
// ask and every member passes.
func newHandler(c settings, st *State, sessions *session.Manager, flow *login.Flow,
	authenticate credentialFunc) (*proxy.Handler, []*proxy.Upstream, error) {
	var list []proxy.Route
	var upstreams []*proxy.Upstream
	protected := web.NewProtected(c.Headers.Names()...)
	asked := askedRoutes(c.Config)
	for i, r := range c.AllRoutes() {
		route := proxy.Route{
			Granted:    grantOf(st.book, asked[i]),
			Route:      r.Route(),
			WebSocket:  r.WebSocket,
			OnResponse: st.Metrics.UpstreamTime(r.Path),
			Assert:     asserted(c.assertions, r, c.origins),
		}
		route.Name = r.Path // the label of logs and metrics
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
	}, upstreams, nil
}

// newChain is the middleware in front of everything, drawn in web.Chain.
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
				r.Host = x.Host // canonical, and the browser's where a trusted proxy renames it
				own.router.ServeHTTP(w, r)
				return nil
			}
			return handler.Serve(w, r)
		},
	}
}
