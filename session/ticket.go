package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"dinggate/internal/keyring"

	"golang.org/x/sync/errgroup"
)

// A ticket is all that the cookie carries when the Store keeps the session
// (store: redis): which record, and the key that opens it. The key is in no
// other place, so that the Store's content is useless to its readers and a
// cookie is useless without the Store (threats C17).
//
//	version   1 byte, 2
//	id        16 bytes
//	key       32 bytes
//	realm     text
//	times     signed in, sealed
//
// The record under the ticket's id is a box (see keyring.SealBox) around a session as
// the payload writes it. It never changes: what a recheck finds is in facts:…,
// a refreshed token in token:…, and a sign-out takes the record away, so that
// nothing can bring a session back that has ended.
type ticket struct {
	id       string
	key      []byte
	realm    string
	signedIn time.Time
	sealed   time.Time
}

const (
	ticketVersion = 2
	maxRecord     = 64 << 10
	maxSharedUser = 24 << 10 // of a person, where the Store keeps it: hundreds of departments
)

func newTicket(s *Session) (*ticket, error) {
	t := &ticket{id: s.ID, key: make([]byte, keyring.KeyLength), realm: s.Realm, signedIn: s.SignedIn, sealed: s.SignedIn}
	_, err := rand.Read(t.key)
	return t, err
}

func (t *ticket) encode(sealed time.Time) ([]byte, error) {
	id, err := rawID(t.id)
	if err != nil || len(t.realm) > maxRealm {
		return nil, errIDOrRealm
	}
	b := append(make([]byte, 0, 128), ticketVersion)
	b = append(b, id...)
	b = append(b, t.key...)
	b = appendText(b, t.realm)
	return appendTime(appendTime(b, t.signedIn), sealed), nil
}

func decodeTicket(b []byte) (*ticket, error) {
	const fixed = 1 + idLength + keyring.KeyLength
	if len(b) < fixed || b[0] != ticketVersion {
		return nil, fmt.Errorf("%w: ticket of another version", ErrForged)
	}
	t := &ticket{id: base64.RawURLEncoding.EncodeToString(b[1 : 1+idLength]), key: bytes.Clone(b[1+idLength : fixed])}
	r := reader{rest: b[fixed:]}
	t.realm = r.text()
	t.signedIn, t.sealed = r.time(), r.time()
	if r.bad || len(r.rest) > 0 || len(t.realm) > maxRealm {
		return nil, fmt.Errorf("%w: ticket does not read", ErrForged)
	}
	return t, nil
}

// String keeps the key out of fmt.
func (t *ticket) String() string   { return "session.ticket" }
func (t *ticket) GoString() string { return t.String() }

// redemptions are the tickets being redeemed: a page whose parts all arrive at a
// replica that does not know the session asks the Store once.
type redemptions struct {
	mu  sync.Mutex
	all map[string]*redemption // as many as requests wait
}

type redemption struct {
	done chan struct{}
	e    *entry // both written before done is closed
	err  error
}

// redeem brings the session of a ticket into memory, once for all requests that
// bring it now. It goes on when the client has gone: others may wait for it.
func (m *Manager) redeem(ctx context.Context, c candidate, now time.Time) (*entry, error) {
	rs := &m.redeeming
	rs.mu.Lock()
	r, running := rs.all[c.text]
	if !running {
		r = &redemption{done: make(chan struct{})}
		if rs.all == nil {
			rs.all = map[string]*redemption{}
		}
		rs.all[c.text] = r
	}
	rs.mu.Unlock()
	if running {
		select {
		case <-r.done:
			return r.e, r.err
		case <-ctx.Done():
			return nil, ill("asking about a session", ctx.Err())
		}
	}
	r.err = ill("asking about a session", errors.New("the question was not finished")) // a panic answers nobody "signed in"
	defer func() {
		rs.mu.Lock()
		delete(rs.all, c.text)
		rs.mu.Unlock()
		close(r.done)
	}()
	r.e, r.err = m.fetch(context.WithoutCancel(ctx), c, now)
	return r.e, r.err
}

// fetch asks the Store for the session of a ticket and all that it knows of it.
// One question first, of one well-formed key; the others only for a session
// that exists.
func (m *Manager) fetch(ctx context.Context, c candidate, now time.Time) (*entry, error) {
	t := c.ticket
	if m.revoked.ended(t.id) {
		return nil, ErrRevoked // before the network
	}
	era, _ := m.hearing()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	box, err := m.askSession(ctx, t.id, nil, now)
	if err != nil {
		return nil, err
	}
	if box == nil {
		return nil, ErrRevoked
	}
	s, err := m.openSession(t, box)
	if err != nil {
		return nil, err
	}
	e := m.enter(c.text, s, t, t.sealed, c.old)
	var found *profile
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.askEnds(ctx, s, now) })
	if m.Recheck != nil && now.Sub(s.Checked) >= e.recheck {
		g.Go(func() (err error) { found, err = m.readFacts(ctx, e.key); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	e.answered(now, era)
	e = m.remember(e, now)
	if found != nil {
		m.learn(e.person.Load(), found.user, found.checked)
	}
	return e, nil
}

// openSession opens the record of a ticket. A record of a newer release, or one
// that somebody put there, is ErrForged: sign in (threats V33).
func (m *Manager) openSession(t *ticket, box []byte) (*Session, error) {
	plain, err := keyring.OpenBox(t.key, m.recordKey("session", t.id), box)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	s, _, err := decode(plain, maxRecord)
	if err != nil {
		return nil, err
	}
	if s.ID != t.id || s.Realm != t.realm || !s.SignedIn.Equal(t.signedIn) || s.User.Username == "" {
		return nil, fmt.Errorf("%w: the record is another session's", ErrForged)
	}
	return s, nil
}

// sealSession makes the record of a new session.
func (m *Manager) sealSession(t *ticket, s *Session) ([]byte, error) {
	plain, err := encode(s, s.SignedIn, maxRecord)
	if err != nil {
		return nil, fmt.Errorf("session: sealing: the session %w", err)
	}
	return keyring.SealBox(t.key, m.recordKey("session", t.id), plain)
}
