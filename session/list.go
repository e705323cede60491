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

// List lists the sessions that this process has seen since it started, the last seen
// first. It is no more: a session whose cookie came to other replicas alone is not
// here, nor is one that a full cache had no room for.
func List(m *Manager) []Seen {
	m.init()
	now := m.Time()
	byID := map[string]Seen{} // one session may have several cookies: each is renewed
	for _, item := range m.cache.items.Items() {
		e := item.Object.(*entry)
		if e.over(m.Config.Idle, now) || m.ended(e) {
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
