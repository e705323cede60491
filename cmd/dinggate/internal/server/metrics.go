package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/store"
)

// measure registers what is read at each scrape: the state of the sessions, of the
// app token and of the event stream. before is the gateway that g replaces, or nil.
func (s *State) measure(g, before *Gateway) {
	m, held := s.Metrics, g.held()
	of := func(read func(session.Stats) int) func() float64 {
		return func() float64 { return float64(read(held())) }
	}
	m.Gauge("http_requests_in_flight", "Requests that are being answered, open WebSockets and streams among them.",
		func() float64 { return float64(s.InFlight.Load()) })
	m.Gauge("sockets_open", "WebSockets and long streams that are open.",
		of(func(s session.Stats) int { return s.Watched }))
	entries := "What is held in memory: verified sessions, people, sign-outs and other ends."
	m.GaugeOf("cache_entries", entries, "cache", "sessions", of(func(s session.Stats) int { return s.Cached }))
	m.GaugeOf("cache_entries", entries, "cache", "people", of(func(s session.Stats) int { return s.People }))
	m.GaugeOf("cache_entries", entries, "cache", "revocations", of(func(s session.Stats) int { return s.Revoked }))
	requests := "Cookies looked for among the verified sessions; a miss costs a decryption."
	m.Count("cache_requests_total", requests, "cache,result", "sessions,hit",
		func() float64 { return float64(held().Hits) })
	m.Count("cache_requests_total", requests, "cache,result", "sessions,miss",
		func() float64 { return float64(held().Misses) })
	m.Gauge("rechecks_running", "Lookups of people that run now.", of(func(s session.Stats) int { return s.Lookups }))
	m.Gauge("people_on_grace", "People whose lookups fail: their sessions end when session.grace is over.",
		of(func(s session.Stats) int { return s.Failing }))
	m.Gauge("sso_shared_unionids",
		"Unionids that the SSO service gave to several people since the start: they identify nobody.",
		func() float64 { return float64(g.Provider.Ids.Voids()) })
	if g.Sessions.Journal != nil {
		m.Gauge("journal_live", "1 while what ends on other replicas arrives within moments.",
			func() float64 { return number(held().Live) })
		m.Gauge("journal_unsent", "Ends of sessions that other replicas have not been sent yet.",
			of(func(s session.Stats) int { return s.Unsent }))
	}
	if g.Client.Budget != nil {
		s.measureBudget(g.Client.Budget)
	}
	if g.Sessions.Mirror != nil || before != nil && before.Sessions.Mirror != nil {
		s.measureMirror(g.Sessions.Mirror)
	}
	m.Moment("dingtalk_app_token_expiry_timestamp_seconds",
		"When the app's token ends, Unix time; 0 while there is none. It is renewed ten minutes before.",
		g.Client.TokenExpires)
	if g.Events == nil && before != nil && before.Events != nil { // turned off: not a stream that is down
		none := math.NaN
		m.Gauge("events_connected_since_seconds", "", none)
		m.Gauge("events_last_seconds", "", none)
	}
	if s.missed != nil {
		s.missed.stream.Store(g.Events)
	}
	if g.Events != nil {
		if s.missed != nil {
			s.missed.measure(m)
		}
		m.Moment("events_connected_since_seconds", "When the event stream was connected, Unix time; 0 while it is not.",
			func() time.Time { return g.Events.State().Connected })
		m.Moment("events_last_seconds", "When the last event came, Unix time; 0 before the first.",
			func() time.Time { return g.Events.State().LastEvent })
	}
}

// held is what the sessions hold, counted once for all the metrics of a scrape:
// it walks through everybody who is known.
func (g *Gateway) held() func() session.Stats {
	var mu sync.Mutex
	var known session.Stats
	var at time.Time
	return func() session.Stats {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(at) > 100*time.Millisecond {
			known, at = g.Sessions.Stats(), now
		}
		return known
	}
}

func number(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// traced makes a span of each request; without tracing it is next itself. A
// stranger does not say what a request is part of, nor whether it is traced.
func (t Observability) traced(next http.Handler, peers *web.Peers) http.Handler {
	return t.Tracing.Handler(next, func(r *http.Request) bool {
		_, trusted, _ := peers.Resolve(r)
		return trusted
	})
}

// counted counts what lookups of signed-in people find.
func (t Observability) counted(recheck recheckFunc) recheckFunc {
	if recheck == nil {
		return nil
	}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := recheck(ctx, s)
		t.missed.found(s, err, time.Now())
		f, failed := errors.AsType[*identity.Failure](err)
		switch {
		case err == nil:
			t.Metrics.Recheck("ok")
		case errors.Is(err, store.ErrLimited):
			t.Metrics.Recheck("postponed")
		case failed && f.Class == identity.Refused:
			t.Metrics.Recheck("refused")
		default:
			t.Metrics.Recheck("trouble")
		}
		return u, err
	}
}
