package session

import (
	"context"
	"strings"
	"time"
)

// End is the end of one session, of a person's sessions, or of everybody's.
type End struct {
	Session string // one session's id
	Person  Person // whose sessions ended
	All     bool
}

// ObserveEnds has f called with every end that m, or a Manager that inherits from
// it, learns of: what ended here, what other replicas say ended, and what the Store
// says did. f gets an end at least once; it must not wait, nor call m. Call it before the first
// request; a later call replaces f.
func ObserveEnds(m *Manager, f func(End)) {
	m.init()
	m.revoked.mu.Lock()
	defer m.revoked.mu.Unlock()
	m.revoked.observe = f
}

// announce gives an end to who observes; the lock is held.
func (r *revocations) announce(e End) {
	if f := r.observe; f != nil {
		f(e)
	}
}

// endOfName is the end of the person that a name stands for.
func endOfName(n name) End {
	who := n.person()
	if n.kind == byBoth {
		who.UnionID, _, _ = strings.Cut(n.text, "\x00")
	}
	return End{Person: who}
}

// Confirm looks at somebody who signed in once and need not be here: s has the
// session's id, or none where only the person counts, who it was, when they signed
// in and when that was last confirmed. It returns s with the newest facts. A lookup
// at DingTalk that is due is started, and not waited for.
//
// ErrRevoked: the session or the person has ended. ErrUnconfirmed: too long ago was
// the membership confirmed. ErrStore: nothing is known now.
func Confirm(ctx context.Context, m *Manager, s *Session) (*Session, error) {
	m.init()
	now := m.now()
	if _, out := m.endOf(s); out {
		return nil, ErrRevoked
	}
	if m.Store != nil {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := m.askEnds(ctx, s, now); err != nil {
			return nil, err
		}
		if s.ID != "" && now.Before(s.SignedIn.Add(m.Config.Lifetime)) {
			if _, err := m.askSession(ctx, s.ID, s, now); err != nil {
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
	p := m.people.of(m.personKey(&s.User), now)
	p.used.Store(now.UnixMilli())
	m.learn(p, s.User, s.Checked)
	newest := *s
	if known := p.facts.Load(); known != nil && newer(known.checked, s.Checked, now) {
		newest.User, newest.Checked = known.user, known.checked
	}
	standing := m.standing(p, newest.Checked, m.Config.Recheck, now)
	if standing != fresh {
		m.lookUp(p, &newest, now)
	}
	if standing == overdue {
		return nil, ErrUnconfirmed
	}
	return &newest, nil
}

// Ends is when a session ends that was signed in at the given moment.
func Ends(m *Manager, signedIn time.Time) time.Time { return signedIn.Add(m.Config.Lifetime) }
