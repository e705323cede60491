package session

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/index"
	"dinggate/session/revocation"
)

// Seen is a live session.
type Seen struct {
	ID       string
	User     identity.User // only the names if this process has not seen the session
	SignedIn time.Time
	LastSeen time.Time // for this process; for others up to index.Coarse late
	Ends     time.Time
	Silent   bool
	Device   string     // browser and system at the sign-in; "" if unknown
	Client   netip.Addr // client address of the sign-in; zero if unknown
	Last     netip.Addr // client address of the last request, as late as LastSeen; zero if unknown

	key         identity.Key
	fingerprint uint64
}

// Person is the owner of the session, for RevokeUser.
func (s *Seen) Person() Person { return revocation.PersonOf(s.key) }

// Same reports whether two sessions are of one person.
func (s *Seen) Same(other *Seen) bool { return s.key == other.key }

// Scope is the set of sessions that a Listing covers.
type Scope string

// Scopes of a Listing.
const (
	ScopeProcess Scope = "process" // of this process, since Listing.Since
	ScopeMachine Scope = "machine" // of this process and those before it with the same state_dir
	ScopeFleet   Scope = "fleet"   // of all replicas
)

// Listing is a list of live sessions, the last seen first.
type Listing struct {
	Sessions []Seen
	Scope    Scope
	Since    time.Time // of ScopeProcess: sessions last seen earlier are missing

	// Missing is the reason why sessions of the scope may be missing; nil if none is.
	Missing error
}

// List lists all live sessions. It waits for the Index, with a deadline; see Listing.Missing.
func List(ctx context.Context, m *Manager) Listing {
	m.init()
	return m.index.listing(m.index.All(ctx), func(*entry) bool { return true })
}

// ListOwn is List of the sessions of one person: those that end together with s.
func ListOwn(ctx context.Context, m *Manager, s *Session) Listing {
	m.init()
	own := s.key(m.Service)
	return m.index.listing(m.index.Of(ctx, own), func(e *entry) bool { return e.key == own })
}

// PersonOf is the owner of s, for RevokeUser.
func PersonOf(m *Manager, s *Session) Person { return revocation.PersonOf(s.key(m.Service)) }

// listing merges the entries of the index with the sessions that this process has
// seen.
func (x *indexer) listing(stored index.List, wanted func(*entry) bool) Listing {
	m := x.manager
	all := Listing{Scope: ScopeProcess, Missing: stored.Missing, Since: x.Since()}
	switch {
	case m.Index == nil:
		all.Since = m.cache.since
	case m.Config.shared():
		all.Scope = ScopeFleet
	case m.Store != nil:
		all.Scope = ScopeMachine
	}
	byID := x.cached(wanted)
	for i := range stored.Entries {
		e := &stored.Entries[i]
		known, ok := byID[e.ID]
		if !ok {
			known = Seen{ID: e.ID, User: e.User, SignedIn: e.SignedIn, LastSeen: e.Seen, Silent: e.Silent,
				Ends: Ends(m, e.SignedIn), key: identity.KeyOf(&e.User, m.Service)}
		}
		if e.Seen.After(known.LastSeen) {
			known.LastSeen = e.Seen
			if e.Last.IsValid() {
				known.Last = e.Last
			}
		}
		if !known.Last.IsValid() {
			known.Last = e.Last
		}
		known.Device, known.Client = e.Device, e.Client
		byID[e.ID] = known
	}
	all.Sessions = make([]Seen, 0, len(byID))
	for _, one := range byID {
		all.Sessions = append(all.Sessions, one)
	}
	slices.SortFunc(all.Sessions, func(a, b Seen) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// cached returns the sessions that this process has seen. One session may have several
// cookies, since cookies are renewed and each place has a cookie of its own.
func (x *indexer) cached(wanted func(*entry) bool) map[string]Seen {
	m := x.manager
	now := m.Time()
	byID := map[string]Seen{}
	for _, item := range m.cache.items.Items() {
		e := item.Object.(*entry)
		if !wanted(e) || e.over(m.Config.Idle, now) || m.ended(e) {
			continue
		}
		s := e.view.Load()
		one := Seen{
			ID: s.ID, User: s.User, SignedIn: s.SignedIn, LastSeen: time.UnixMilli(e.seen.Load()).UTC(),
			Ends: e.expires, Silent: s.Silent, Last: e.lastClient(), key: e.key, fingerprint: s.Fingerprint,
		}
		if known, ok := byID[s.ID]; !ok || known.LastSeen.Before(one.LastSeen) {
			byID[s.ID] = one
		}
	}
	return byID
}
