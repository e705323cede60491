package server

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync/atomic"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/i18n"
	"dinggate/internal/ratelimit"
	"dinggate/oidc"
	"dinggate/proxy"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/apiauth"
	"dinggate/proxy/login"
	"dinggate/session"
)

// State is everything with the lifetime of the process. NewState creates it once; a reload
// builds the next Gateway with the same State. Limits are part of it: otherwise a client
// that waits for reloads would have no limit (threats D6, V27).
//
// It serves requests with the current Gateway. It is safe for concurrent use.
type State struct {
	Observability
	Stores *Stores
	Conns  proxy.ConnTracker // open WebSockets and event streams

	InFlight atomic.Int64            // number of requests in progress
	draining atomic.Bool             // each connection closes after its response
	serving  atomic.Pointer[Gateway] // the current gateway; nil before the first Serve

	// Limits, and counts since the start.
	signIns    login.Counts
	ssoCounts  sso.Counts
	oidcCounts oidc.Counts
	limited    limitCounts
	voidIDs    voidIDs
	calls      ratelimit.Allowance // the limit on calls to DingTalk without Redis: DingTalk counts per app, across reloads

	book       *accessrequest.Book // requests for access and grants
	endNotices endNotices
	replicas   *replicas

	transport http.RoundTripper                                // to DingTalk; nil: the client's default
	report    atomic.Pointer[func(i18n.Language) []admin.Fact] // the state of the process, for the console; nil: unknown
}

// NewState returns the state of a process with these stores. Serve sets its first
// gateway.
func NewState(stores *Stores, t Observability) *State {
	t.refusals = newRefusals(stores.Index)
	s := &State{
		Observability: t,
		Stores:        stores,
		calls:         new(ratelimit.Local),
		endNotices:    make(endNotices, endNoticesMax),
		replicas:      newReplicas(stores.Index),
	}
	s.book = &accessrequest.Book{Store: stores.Access, Audit: s.auditAccess}
	return s
}

// Serving returns the current gateway; nil before the first Serve.
func (s *State) Serving() *Gateway { return s.serving.Load() }

// signedIn returns the number of people with sessions; 0 before the first Serve.
func (s *State) signedIn() int {
	if g := s.Serving(); g != nil {
		return g.Sessions.Stats().People
	}
	return 0
}

var errNotServing = errors.New("server: no gateway serves yet")

// revokeUser is session.Manager.RevokeUser of the current gateway, which shares its
// revocations with the previous and the next one.
func (s *State) revokeUser(ctx context.Context, who session.Person, reason string) error {
	if g := s.Serving(); g != nil {
		return g.Sessions.RevokeUser(ctx, who, reason)
	}
	return errNotServing
}

// Serve makes g, which New built with this State, serve all further requests and apply its
// rules to the open connections. Requests in progress finish in the gateway that they
// started in. It is not safe for concurrent use.
func (s *State) Serve(g *Gateway) {
	before := s.Serving()
	s.Conns.SetPolicy(g.handler) // first: the previous rules must not apply to a request of g
	s.Stores.keys.use(g.keyring)
	g.Accounts.serve()
	s.book.Seal(g.keyring)
	s.book.Serve(g.requests.Fingerprints())
	s.measure(g, before)
	s.serving.Store(g)
}

func (s *State) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		w.Header()["Connection"] = []string{"close"}
	}
	s.InFlight.Add(1)
	defer s.InFlight.Add(-1)
	s.serving.Load().Handler.ServeHTTP(w, r)
}

// Status returns the state of the current gateway for the status page.
func (s *State) Status() admin.GatewayState {
	g := s.Serving()
	status := admin.GatewayState{
		Sessions:       g.Sessions.Stats(),
		Replicated:     g.Sessions.Journal != nil,
		InFlight:       int(s.InFlight.Load()),
		SharedUnionIDs: s.voidIDs.len(),
	}
	if g.Events != nil {
		events := g.Events.State()
		status.Events = &events
		if s.missed != nil {
			status.Missed = int(s.missed.n.Load())
		}
		status.AppChange, status.AppChanged = s.changed.latest()
	}
	return status
}

// client returns the DingTalk client of the current gateway if it has the same app: it
// holds the app's token and the state of its circuit breaker.
func (s *State) client(cfg *config.Config) *dingtalk.Client {
	if g := s.Serving(); g != nil && reflect.DeepEqual(g.Client.Config, cfg.DingTalk) {
		return g.Client
	}
	return &dingtalk.Client{Config: cfg.DingTalk, Transport: s.transport, Observe: s.call, Budget: s.budget(cfg)}
}

// tokens returns the cached tokens of the current gateway if it has the same SSO service.
func (s *State) tokens(cfg *config.Config) *apiauth.ServiceState {
	if g := s.Serving(); g != nil && reflect.DeepEqual(g.tokens.Service, cfg.SSO) {
		return g.tokens
	}
	return apiauth.NewServiceState(cfg.SSO)
}
