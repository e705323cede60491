package session

import (
	"context"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/membership"
	"dinggate/session/revocation"
)

// End is the end of one session, of a person's sessions, or of everybody's.
type End = revocation.End

// Confirm checks the session of a person who signed in earlier and sends no request
// now: s has the session's id, or none if any session of the person will do, the user,
// when they signed in and when that was last confirmed. It returns s with the newest
// profile. If a lookup at DingTalk is due, it is started but not waited for.
//
// ErrRevoked: the session, or all sessions of the person, were revoked.
// ErrUnconfirmed: the membership was confirmed too long ago. ErrStore: the state is
// unknown.
func Confirm(ctx context.Context, m *Manager, s *Session) (*Session, error) {
	m.init()
	now := m.Time()
	if _, out := m.endOf(s); out {
		return nil, ErrRevoked
	}
	if m.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := m.freshness.lookUpEnds(ctx, s, now); err != nil {
			return nil, err
		}
		if s.ID != "" && now.Before(s.SignedIn.Add(m.Config.Lifetime)) {
			if _, err := m.freshness.lookUpSession(ctx, s.ID, s, now); err != nil {
				return nil, err
			}
		}
		if _, out := m.endOf(s); out {
			return nil, ErrRevoked
		}
	}
	if m.Recheck == nil {
		return s, nil
	}
	p := m.members.Of(identity.KeyOf(&s.User, m.Service), now)
	p.Touch(now)
	m.checker.Learn(p, membership.Profile{User: s.User, Checked: s.Checked})
	newest := *s
	if known := p.Profile(); known != nil && membership.Newer(known.Checked, s.Checked, now) {
		newest.User, newest.Checked = known.User, known.Checked
	}
	standing := m.checker.Standing(p, newest.Checked, m.Config.Recheck, now)
	if standing != membership.Fresh {
		m.checker.LookUp(p, &newest, newest.Checked, now)
	}
	if standing == membership.Overdue {
		return nil, ErrUnconfirmed
	}
	return &newest, nil
}

// Ends returns the end of the lifetime of a session that was signed in at the given moment.
func Ends(m *Manager, signedIn time.Time) time.Time { return signedIn.Add(m.Config.Lifetime) }
