package session

import (
	"cmp"
	"slices"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
)

// Seen is a session that lives, and that this process has seen.
type Seen struct {
	ID       string
	User     identity.User
	SignedIn time.Time
	LastSeen time.Time // by this process
	Ends     time.Time
	Silent   bool

	key identity.Key
}

// Person is whose session it is, for RevokeUser.
func (s *Seen) Person() Person { return revocation.PersonOf(s.key) }

// List lists the sessions that this process has seen since Since, the last seen
// first. It is no more: a session whose cookie came to other replicas alone is not
// here, nor is one that a full cache did not take.
func List(m *Manager) []Seen { return list(m, func(*entry) bool { return true }) }

// ListOwn is List of the sessions of one person: those that end together with s.
func ListOwn(m *Manager, s *Session) []Seen {
	own := s.key(m.Service)
	return list(m, func(e *entry) bool { return e.key == own })
}

// Since is the moment from which on List knows what was seen: the start of the
// process, or the last change of its configuration.
func Since(m *Manager) time.Time {
	m.init()
	return m.cache.since
}

// PersonOf is whose session s is, for RevokeUser.
func PersonOf(m *Manager, s *Session) Person { return revocation.PersonOf(s.key(m.Service)) }

func list(m *Manager, wanted func(*entry) bool) []Seen {
	m.init()
	now := m.Time()
	byID := map[string]Seen{} // one session may have several cookies: each is renewed
	for _, item := range m.cache.items.Items() {
		e := item.Object.(*entry)
		if !wanted(e) || e.over(m.Config.Idle, now) || m.ended(e) {
			continue
		}
		s := e.view.Load()
		one := Seen{
			ID: s.ID, User: s.User, SignedIn: s.SignedIn, LastSeen: time.UnixMilli(e.seen.Load()).UTC(),
			Ends: e.expires, Silent: s.Silent, key: e.key,
		}
		if known, ok := byID[s.ID]; !ok || known.LastSeen.Before(one.LastSeen) {
			byID[s.ID] = one
		}
	}
	list := make([]Seen, 0, len(byID))
	for _, one := range byID {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Seen) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.ID, b.ID))
	})
	return list
}
