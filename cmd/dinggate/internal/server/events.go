package server

import (
	"context"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/session"

	"golang.org/x/sync/errgroup"
)

// newEvents follows the organisation's events; nil when they are off.
func newEvents(cfg *config.Config, g *Gateway, client *dingtalk.Client, t Observability) *dingtalk.Stream {
	if !cfg.DingTalk.Events || cfg.SSO.On() {
		return nil
	}
	return &dingtalk.Stream{Client: client, OnError: func(err error) { t.Log.Warn("event stream", "err", err.Error()) },
		Handle: func(ctx context.Context, e dingtalk.Event) error {
			return g.Sessions.Once(ctx, e.ID, func() error { return g.happened(ctx, e) })
		}}
}

// happened draws the consequence of an event of the organisation: a leaver is
// out at once, everybody else it names is looked up again, on every replica,
// although each event reaches one. An event may be lost, late or doubled; the
// periodic recheck does not rely on it.
func (g *Gateway) happened(ctx context.Context, e dingtalk.Event) error {
	switch e.Effect {
	case dingtalk.OrganisationGone:
		return g.Sessions.RevokeAll(ctx, "organisation_gone")
	case dingtalk.Left:
		all := errgroup.Group{} // an ill store is waited for once, not once for each
		all.SetLimit(64)
		for _, id := range e.UserIDs {
			all.Go(func() error { return g.Sessions.RevokeUser(ctx, session.Person{UserID: id}, "left") })
		}
		return all.Wait()
	case dingtalk.Recheck:
		for _, id := range e.UserIDs {
			g.Sessions.RecheckUser(session.Person{UserID: id})
		}
		g.Sessions.RecheckPlaces(session.Places{Departments: e.Departments, Roles: e.Roles})
	}
	return nil
}
