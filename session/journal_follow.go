package session

import (
	"context"
	"sync"

	"dinggate/internal/keyring"
)

// followJournal follows the journal until ctx ends.
func (m *Manager) followJournal(ctx context.Context) {
	m.Journal.Follow(ctx, m.applyEvent, m.setLive)
	m.setLive(false)
}

// applyEvent draws the consequence of an entry, of this replica's own too: everything
// in it may be done twice. An entry that this release does not understand (a
// newer one's, or one sealed with a secret that is not here yet) may be an end:
// everybody's is asked for again.
func (m *Manager) applyEvent(entry []byte) {
	if !m.mine(entry) || !m.dedup.once(entry) {
		return
	}
	n, err := m.openNotice(entry)
	if err != nil {
		m.newEra()
		m.look()
		return
	}
	now := m.now()
	end := revocation{before: n.at, until: m.outlived(now), reason: n.reason}
	switch n.kind {
	case sessionEnded:
		end.reason, end.told = "signed_out", true // who did it wrote the audit line
		m.revoked.endSession(n.id, end, now)
		m.watches.end(func(s *Session) bool { return s.ID == n.id })
	case personEnded:
		end.spare = n.who.Spare
		m.endHere(n.who.names(), end, now)
	case everybodyEnded:
		m.endAllHere(end)
	case lookAgain:
		m.invalidate(m.is(n.who), n.at, now)
	case placesChanged:
		m.invalidate(n.places.concern, n.at, now)
	}
}

// heardEntries bounds what is remembered to know a repeated entry. Forgetting
// one costs a lookup, nothing more.
const heardEntries = 1024

// dedup remembers the last entries by their salt. The zero value is empty.
type dedup struct {
	mu   sync.Mutex
	all  map[[keyring.SaltLength]byte]bool
	ring [][keyring.SaltLength]byte
	next int
}

// once reports whether entry is new, and remembers it.
func (h *dedup) once(entry []byte) bool {
	var salt [keyring.SaltLength]byte
	copy(salt[:], entry[realmTag:])
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all[salt] {
		return false
	}
	if h.all == nil {
		h.all = map[[keyring.SaltLength]byte]bool{}
	}
	if len(h.ring) < heardEntries {
		h.ring = append(h.ring, salt)
	} else {
		delete(h.all, h.ring[h.next])
		h.ring[h.next] = salt
		h.next = (h.next + 1) % heardEntries
	}
	h.all[salt] = true
	return true
}
