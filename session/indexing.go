package session

import (
	"context"
	"sync/atomic"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/index"
	"dinggate/session/revocation"
)

// indexFlush bounds how long the end of the process waits for the index.
const indexFlush = 2 * time.Second

// indexer enters the sessions of a Manager into the index, and lists them.
type indexer struct {
	*index.Index
	manager *Manager
	noted   atomic.Int64 // when noteSeen last ran, Unix milliseconds
}

// newIndexer makes the list of sessions; old is that of the previous configuration.
func newIndexer(m *Manager, old *indexer) *indexer {
	var before *index.Index
	if old != nil {
		before = old.Index
	}
	x := index.New(before, m.Time())
	x.Store, x.Keyring, x.Realm, x.Service = m.Index, m.Keyring, m.Realm, m.Service
	x.Lifetime, x.Now = m.Config.Lifetime, m.Time
	x.Start, x.Context = m.tasks.start, func() context.Context { return m.tasks.context }
	x.Over = func(e *index.Entry, now time.Time) bool {
		if idle := m.Config.Idle; idle > 0 && now.Sub(e.Seen) > idle+2*index.Coarse {
			return true
		}
		_, out := m.endOf(&Session{ID: e.ID, User: e.User, SignedIn: e.SignedIn, Fingerprint: e.Fingerprint})
		return out
	}
	return &indexer{Index: x, manager: m}
}

// enlist adds a new session to the index.
func (x *indexer) enlist(s *Session, in *SignIn, now time.Time) {
	if x.Store == nil {
		return
	}
	x.Add(index.Entry{ID: s.ID, User: s.User, SignedIn: s.SignedIn, Seen: now, Silent: s.Silent,
		Fingerprint: s.Fingerprint, Device: in.Device, Client: in.Client})
}

// noteSeen updates in the index the sessions that were seen since the last call; with
// all set, every cached session. It walks the cache, so that requests have no cost.
func (x *indexer) noteSeen(all bool) {
	if x.Store == nil {
		return
	}
	now := x.manager.Time()
	since := time.UnixMilli(x.noted.Swap(now.UnixMilli()))
	var list []index.Entry
	for _, one := range x.cached(func(*entry) bool { return true }) {
		if all || one.LastSeen.After(since) {
			list = append(list, index.Entry{ID: one.ID, User: one.User, SignedIn: one.SignedIn, Seen: one.LastSeen,
				Silent: one.Silent, Fingerprint: one.fingerprint, Last: one.Last})
		}
	}
	x.Touch(list)
}

// delist removes an ended session from the index; who is its owner, if known.
func (x *indexer) delist(id string, who identity.Key) {
	x.Drop(who, func(e *index.Entry) bool { return e.ID == id })
}

// delistEnded removes the sessions that a revocation of people, or of everybody, has ended.
func (x *indexer) delistEnded(keys []identity.Key, end revocation.Revocation) {
	for _, key := range keys {
		where := key
		if !x.Places(key) {
			where = identity.Key{}
		}
		x.Drop(where, func(e *index.Entry) bool {
			if e.SignedIn.After(end.Before) || end.Spare != 0 && e.Fingerprint == end.Spare {
				return false
			}
			if key == everybody {
				return true
			}
			for _, own := range identity.Keys(&e.User, identity.KeyOf(&e.User, x.Service)) {
				if own == key {
					return true
				}
			}
			return false
		})
	}
}

// flush writes the pending changes at the end of Run.
func (x *indexer) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), indexFlush)
	defer cancel()
	_ = x.Flush(ctx) // the next process, or another replica, adds the sessions again
}
