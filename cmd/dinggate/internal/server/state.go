package server

import (
	"net/http"
	"reflect"
	"sync/atomic"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/ratelimit"
	"dinggate/oidc"
	"dinggate/proxy"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/apiauth"
	"dinggate/proxy/login"
)

// State is everything that lives as long as the process. It is made once, by
// NewState; a reload builds the next Gateway from the same State. A limit that a
// client has used up is still used up then: otherwise a client that can wait for
// reloads would have no limit (threats D6, V27).
//
// It answers requests by the Gateway that serves; safe for concurrent use.
type State struct {
	Observability
	Stores *Stores
	Conns  proxy.ConnTracker // open WebSockets and event streams

	InFlight atomic.Int64 // requests that are being answered
	draining atomic.Bool  // each connection ends with its response
	serving  atomic.Pointer[Gateway]

	signIns   login.Counts
	ssoCounts sso.Counts

	oidcCounts oidc.Counts
	calls      ratelimit.Allowance // DingTalk's calls without Redis: it counts per app, however often that is configured
	transport  http.RoundTripper   // to DingTalk; nil: the client's own
	limited    limitCounts

	book *accessrequest.Book // requests for access and grants
}

// NewState is the state of a process that has these stores. Serve gives it its
// first gateway.
func NewState(stores *Stores, t Observability) *State {
	s := &State{Observability: t, Stores: stores, calls: new(ratelimit.Local)}
	s.book = &accessrequest.Book{Store: stores.Access, Audit: t.auditAccess}
	return s
}

// Serving is the gateway that serves; nil before the first Serve.
func (s *State) Serving() *Gateway { return s.serving.Load() }

// Serve has g, which New made of this State, answer the requests from now on, and
// judge the connections that are open by its rules. Requests that are under way
// end in the gateway that they came to. It is not safe for concurrent use.
func (s *State) Serve(g *Gateway) {
	before := s.Serving()
	s.Conns.SetPolicy(g.handler) // first: no request of g may be judged by the rules before
	s.Stores.keys.use(g.keyring)
	s.book.Seal(g.keyring)
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

// Status is what the status page shows of the gateway that serves.
func (s *State) Status() admin.GatewayState {
	g := s.Serving()
	status := admin.GatewayState{
		Sessions:       g.Sessions.Stats(),
		Replicated:     g.Sessions.Journal != nil,
		InFlight:       int(s.InFlight.Load()),
		SharedUnionIDs: g.Provider.Ids.Voids(),
	}
	if g.Events != nil {
		events := g.Events.State()
		status.Events = &events
		if s.missed != nil {
			status.Missed = int(s.missed.n.Load())
		}
	}
	return status
}

// client is that of the gateway that serves, if it is the same app: it holds the
// app's token, and how long DingTalk wants no calls.
func (s *State) client(cfg *config.Config) *dingtalk.Client {
	if g := s.Serving(); g != nil && reflect.DeepEqual(g.Client.Config, cfg.DingTalk) {
		return g.Client
	}
	return &dingtalk.Client{Config: cfg.DingTalk, Transport: s.transport, Observe: s.call, Budget: s.budget(cfg)}
}

// tokens are those of the gateway that serves, if it is the same SSO service.
func (s *State) tokens(cfg *config.Config) *apiauth.ServiceState {
	if g := s.Serving(); g != nil && reflect.DeepEqual(g.tokens.Service, cfg.SSO) {
		return g.tokens
	}
	return apiauth.NewServiceState(cfg.SSO)
}
