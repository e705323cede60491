package main

import (
	"context"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/telemetry"
	"dinggate/session"

	"golang.org/x/sync/errgroup"
)

// newEvents follows the organisation's events; nil when they are off.
func newEvents(cfg *Config, g *gate, client *dingtalk.Client, t telemetryKit) *dingtalk.Stream {
	if !cfg.DingTalk.Events || cfg.SSO.On() {
		return nil
	}
	return &dingtalk.Stream{Client: client, Trouble: func(err error) { t.log.Warn("event stream", "err", err.Error()) },
		Handle: func(ctx context.Context, e dingtalk.Event) error {
			return g.sessions.Once(ctx, e.ID, func() error { return g.happened(ctx, e) })
		}}
}

// happened draws the consequence of an event of the organisation: a leaver is
// out at once, everybody else it names is looked up again, on every replica,
// although each event reaches one. An event may be lost, late or doubled; the
// periodic recheck does not rely on it.
func (g *gate) happened(ctx context.Context, e dingtalk.Event) error {
	switch e.Effect {
	case dingtalk.OrganisationGone:
		return g.sessions.RevokeAll(ctx, "organisation_gone")
	case dingtalk.Left:
		all := errgroup.Group{} // an ill store is waited for once, not once for each
		all.SetLimit(64)
		for _, id := range e.UserIDs {
			all.Go(func() error { return g.sessions.RevokeUser(ctx, session.Person{UserID: id}, "left") })
		}
		return all.Wait()
	case dingtalk.Recheck:
		for _, id := range e.UserIDs {
			g.sessions.RecheckUser(session.Person{UserID: id})
		}
		g.sessions.RecheckPlaces(session.Places{Departments: e.Departments, Roles: e.Roles})
	}
	return nil
}

// measure offers what the sessions and the event stream know of themselves.
func (g *gate) measure(m *telemetry.Metrics) {
	number := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	seconds := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return float64(t.Unix())
	}
	m.Gauge("sockets_open", "WebSockets and long streams that are open.", func() float64 { return float64(g.sessions.Stats().Watched) })
	if g.sessions.Journal != nil {
		m.Gauge("journal_live", "1 while what ends on other replicas arrives within moments.", func() float64 { return number(g.sessions.Stats().Live) })
		m.Gauge("journal_unsent", "Ends that other replicas have not been told of yet.", func() float64 { return float64(g.sessions.Stats().Unsent) })
	}
	if g.events != nil {
		m.Gauge("events_connected_since_seconds", "When the event stream was connected, Unix time; 0 while it is not.", func() float64 { return seconds(g.events.State().Connected) })
		m.Gauge("events_last_seconds", "When the last event came, Unix time; 0 before the first.", func() float64 { return seconds(g.events.State().LastEvent) })
	}
}
