package server

import (
	"context"
	"errors"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/session"

	"golang.org/x/sync/errgroup"
)

// newEvents follows the organisation's events; nil if they are off.
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
	h := &eventHandler{sessions: sessions, st: st, probe: &dingtalk.Probe{Client: client}}
	return &dingtalk.Stream{
		Client:  client,
		Missed:  func(context.Context) { session.RecheckEverybody(sessions) },
		OnError: func(err error) { st.Log.Warn("event stream", "err", err.Error()) },
		CatchUp: gone.signOut,
		Since:   time.Now().Add(-cfg.Session.Recheck),
		Handle: func(ctx context.Context, e dingtalk.Event) error {
			return sessions.Once(ctx, e.ID, func() error { return h.apply(ctx, e) })
		},
	}
}

// eventHandler applies the organisation's events.
type eventHandler struct {
	sessions *session.Manager
	st       *State
	probe    *dingtalk.Probe
}

// apply applies an event of the organisation: a leaver's sessions end at once, and
// all other people it names are looked up again, on every replica, although each event
// reaches only one. Events may be lost, late or repeated; the periodic recheck does not
// depend on them.
func (h *eventHandler) apply(ctx context.Context, e dingtalk.Event) error {
	sessions, st := h.sessions, h.st
	switch e.Effect {
	case dingtalk.OrganisationGone:
		return sessions.RevokeAll(ctx, "organisation_gone")
	case dingtalk.Left:
		all := errgroup.Group{} // a failing store is waited for once, not once per person
		all.SetLimit(64)
		for _, id := range e.UserIDs {
			all.Go(func() error {
				return errors.Join(sessions.RevokeUser(ctx, session.Person{UserID: id}, "left"), st.leaversGrants(ctx, id))
			})
		}
		return all.Wait()
	case dingtalk.AppChanged:
		st.changed.note(e)
		return h.appChanged(ctx)
	case dingtalk.Recheck:
		for _, id := range e.UserIDs {
			sessions.RecheckUser(session.Person{UserID: id})
		}
		sessions.RecheckPlaces(session.Places{Departments: e.Departments, Roles: e.Roles})
	}
	return nil
}

// appState is the deadline for reading the app's own state, part of the time for one event.
const appState = 2 * time.Second

// appChanged reads the app's own state. If the app or the organisation is disabled, all
// sessions end at once: lookups of thousands of people would take minutes to find the
// same. Otherwise everyone is looked up again, since the event does not prove who may still
// use the app: as after an interruption of the stream, and as seldom.
func (h *eventHandler) appChanged(ctx context.Context) error {
	asking, cancel := context.WithTimeout(dingtalk.WithClass(ctx, ratelimit.Event), appState)
	_, err := h.probe.Scope(asking)
	cancel()
	f, ok := errors.AsType[*identity.Failure](err)
	if ok && f.Class == identity.Refused && (f.Code == "app_disabled" || f.Code == "organisation_disabled") {
		return h.sessions.RevokeAll(ctx, f.Code)
	}
	h.sessions.RecheckPlaces(session.Everybody())
	return nil
}
