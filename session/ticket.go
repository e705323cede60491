package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"dinggate/internal/keyring"
	"dinggate/internal/wire"
	"dinggate/session/membership"

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
	b = wire.AppendText(b, t.realm)
	return wire.AppendTime(wire.AppendTime(b, t.signedIn), sealed), nil
}

func decodeTicket(b []byte) (*ticket, error) {
	const fixed = 1 + idLength + keyring.KeyLength
	if len(b) < fixed || b[0] != ticketVersion {
		return nil, fmt.Errorf("%w: ticket of another version", ErrForged)
	}
	t := &ticket{id: base64.RawURLEncoding.EncodeToString(b[1 : 1+idLength]), key: bytes.Clone(b[1+idLength : fixed])}
	r := wire.Reader{Rest: b[fixed:]}
	t.realm = r.Text()
	t.signedIn, t.sealed = r.Time(), r.Time()
	if r.Bad || len(r.Rest) > 0 || len(t.realm) > maxRealm {
		return nil, fmt.Errorf("%w: ticket does not read", ErrForged)
	}
	return t, nil
}

// String keeps the key out of fmt.
func (t *ticket) String() string   { return "session.ticket" }
func (t *ticket) GoString() string { return t.String() }

// load returns the entry of a candidate. The session of a ticket is brought into
// memory once for all requests that bring it now: a page whose parts all arrive at
// a replica that does not know the session asks the Store once. It goes on when
// the client has gone: others may wait for it.
func (c candidate) load(ctx context.Context, m *Manager, now time.Time) (*entry, error) {
	if c.entry != nil {
		return c.entry, nil
	}
	loading := m.freshness.loads.DoChan(c.text, func() (any, error) { return m.fetch(context.WithoutCancel(ctx), c, now) })
	select {
	case loaded := <-loading:
		e, _ := loaded.Val.(*entry)
		return e, loaded.Err
	case <-ctx.Done():
		return nil, unavailable("asking about a session", ctx.Err())
	}
}

// fetch asks the Store for the session of a ticket and all that it knows of it.
// One question first, of one well-formed key; the others only for a session
// that exists.
func (m *Manager) fetch(ctx context.Context, c candidate, now time.Time) (*entry, error) {
	t := c.ticket
	if m.revoked.Ended(t.id) {
		return nil, ErrRevoked // before the network
	}
	epoch, _ := m.freshness.epoch()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	box, err := m.freshness.askSession(ctx, t.id, nil, now)
	if err != nil {
		return nil, err
	}
	if box == nil {
		return nil, ErrRevoked
	}
	s, err := m.records.openSession(t, box)
	if err != nil {
		return nil, err
	}
	e := m.enter(c.text, s, t, t.sealed, c.old)
	var found *membership.Profile
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.freshness.askEnds(ctx, s, now) })
	if m.Recheck != nil && now.Sub(s.Checked) >= e.recheck {
		g.Go(func() (err error) { found, err = m.records.ReadProfile(ctx, e.key); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	e.answered(now, epoch)
	e = m.remember(e, now)
	if found != nil {
		m.checker.Learn(e.member.Load(), *found)
	}
	return e, nil
}
