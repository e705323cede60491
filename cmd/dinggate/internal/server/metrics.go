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
	"dinggate/session/membership"
)

// measure registers metrics that are computed at each scrape: the state of the sessions,
// of the app token and of the event stream. before is the gateway that g replaces, or nil.
func (s *State) measure(g, before *Gateway) {
	m, held := s.Metrics, g.held()
	of := func(read func(session.Stats) int) func() float64 {
		return func() float64 { return float64(read(held())) }
	}
	m.Gauge("http_requests_in_flight", "Requests in progress, including open WebSockets and streams.",
		func() float64 { return float64(s.InFlight.Load()) })
	m.Gauge("sockets_open", "Open WebSockets and event streams.",
		of(func(s session.Stats) int { return s.Watched }))
	entries := "Entries in memory: verified sessions, people, sign-outs and other revocations."
	m.GaugeOf("cache_entries", entries, "cache", "sessions", of(func(s session.Stats) int { return s.Cached }))
	m.GaugeOf("cache_entries", entries, "cache", "people", of(func(s session.Stats) int { return s.People }))
	m.GaugeOf("cache_entries", entries, "cache", "revocations", of(func(s session.Stats) int { return s.Revoked }))
	requests := "Cookie lookups in the cache of verified sessions; a miss costs a decryption."
	m.Count("cache_requests_total", requests, "cache,result", "sessions,hit",
		func() float64 { return float64(held().Hits) })
	m.Count("cache_requests_total", requests, "cache,result", "sessions,miss",
		func() float64 { return float64(held().Misses) })
	m.Gauge("rechecks_running", "Rechecks in progress.", of(func(s session.Stats) int { return s.Lookups }))
	m.Gauge("people_on_grace", "People whose rechecks fail: they are refused after session.grace.",
		of(func(s session.Stats) int { return s.Failing }))
	m.Gauge("people_overdue", "Recently active people whose confirmation is older than session.recheck: DingTalk's limit "+
		"is too low for individual lookups.", of(func(s session.Stats) int { return s.Overdue }))
	m.Gauge("oldest_confirmation_seconds", "The age of the oldest confirmation of a recently active person; "+
		"above session.recheck and session.grace together a request waits.",
		func() float64 { return held().Oldest.Seconds() })
	m.Gauge("sso_shared_unionids",
		"Unionids that the SSO service returned for several people since the start: they identify no one.",
		func() float64 { return float64(s.voidIDs.len()) })
	if g.Sessions.Journal != nil {
		m.Gauge("journal_live", "1 while revocations of other replicas arrive within moments.",
			func() float64 { return number(held().Live) })
		m.Gauge("journal_unsent", "Revocations not yet sent to other replicas.",
			of(func(s session.Stats) int { return s.Unsent }))
	}
	if g.Client.Budget != nil {
		s.measureBudget(g.Client.Budget)
	}
	if g.Sessions.Mirror != nil || before != nil && before.Sessions.Mirror != nil {
		s.measureMirror(g.Sessions.Mirror)
	}
	m.Moment("dingtalk_app_token_expiry_timestamp_seconds",
		"When the app token expires, Unix time; 0 if there is none. It is renewed ten minutes before.",
		g.Client.TokenExpires)
	if g.Events == nil && before != nil && before.Events != nil { // turned off, not disconnected
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
		if s.changed != nil {
			s.changed.measure(m)
		}
		m.Moment("events_connected_since_seconds", "When the event stream was connected, Unix time; 0 while it is not.",
			func() time.Time { return g.Events.State().Connected })
		m.Moment("events_last_seconds", "When the last event came, Unix time; 0 before the first.",
			func() time.Time { return g.Events.State().LastEvent })
	}
}

// held counts the sessions once for all the metrics of a scrape, because it iterates
// over all known people.
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

// traced makes a span of each request; without tracing it returns next. Trace headers of
// untrusted peers determine neither the trace nor the sampling.
func (t Observability) traced(next http.Handler, peers *web.Peers) http.Handler {
	return t.Tracing.Handler(next, func(r *http.Request) bool {
		_, trusted, _ := peers.Resolve(r)
		return trusted
	})
}

// counted counts the results of rechecks.
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
		case errors.Is(err, membership.ErrPostponed):
			t.Metrics.Recheck("postponed")
		case failed && f.Class == identity.Refused:
			t.Metrics.Recheck("refused")
		default:
			t.Metrics.Recheck("trouble")
		}
		return u, err
	}
}
