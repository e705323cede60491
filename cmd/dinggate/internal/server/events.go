package server

import (
	"context"
	"errors"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/session"

	"golang.org/x/sync/errgroup"
)

// newEvents follows the organisation's events; nil when they are off.
func newEvents(cfg *config.Config, client *dingtalk.Client, sessions *session.Manager,
	st *State) *dingtalk.Stream {
	if !cfg.DingTalk.Events || cfg.SSO.On() {
		return nil
	}
	gone := &leavers{
		directory: &dingtalk.Directory{Client: client, Username: cfg.DingTalk.Username},
		sessions:  sessions,
		grants:    st.leaversGrants,
	}
	return &dingtalk.Stream{
		Client:  client,
		OnError: func(err error) { st.Log.Warn("event stream", "err", err.Error()) },
		CatchUp: gone.signOut,
		Since:   time.Now().Add(-cfg.Session.Recheck),
		Handle: func(ctx context.Context, e dingtalk.Event) error {
			return sessions.Once(ctx, e.ID, func() error { return applyEvent(ctx, sessions, st, e) })
		},
	}
}

// applyEvent applies an event of the organisation: the sessions of a leaver end at
// once, everybody else it names is looked up again, on every replica, although
// each event reaches one. An event may be lost, late or doubled; the
// periodic recheck does not rely on it.
func applyEvent(ctx context.Context, sessions *session.Manager, st *State, e dingtalk.Event) error {
	switch e.Effect {
	case dingtalk.OrganisationGone:
		return sessions.RevokeAll(ctx, "organisation_gone")
	case dingtalk.Left:
		all := errgroup.Group{} // a store that fails is waited for once, not once for each
		all.SetLimit(64)
		for _, id := range e.UserIDs {
			all.Go(func() error {
				return errors.Join(sessions.RevokeUser(ctx, session.Person{UserID: id}, "left"), st.leaversGrants(ctx, id))
			})
		}
		return all.Wait()
	case dingtalk.Recheck:
		for _, id := range e.UserIDs {
			sessions.RecheckUser(session.Person{UserID: id})
		}
		sessions.RecheckPlaces(session.Places{Departments: e.Departments, Roles: e.Roles})
	}
	return nil
}
