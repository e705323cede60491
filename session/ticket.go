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

// A ticket is the content of the cookie if the Store holds the session (store: redis): the id of
// the record, and the key that opens it. The key is stored nowhere else, so that the Store's
// content is useless to its readers and a cookie is useless without the Store (threats C17).
//
//	version   1 byte, 2
//	id        16 bytes
//	key       32 bytes
//	realm     text
//	times     signed in, sealed
//
// The record of the ticket's id is a box (see keyring.SealBox) with a payload. It never changes:
// the result of a recheck is in facts:…, a refreshed token in token:…, and a sign-out deletes
// the record, so that nothing can revive a session that has ended.
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
	maxSharedUser = 24 << 10 // of a person's data in the Store: hundreds of departments
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

// String hides the key from fmt.
func (t *ticket) String() string   { return "session.ticket" }
func (t *ticket) GoString() string { return t.String() }

// load returns the entry of a candidate. Concurrent requests share one load of a
// ticket's session: a page whose subresources all reach a replica that does not have
// the session cached causes one read of the Store. The load continues when the client
// has disconnected: other requests may wait for it.
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
		return nil, unavailable("looking up a session", ctx.Err())
	}
}

// fetch reads the session of a ticket and its related records from the Store. The
// first read is of the session alone; the others follow only if it exists.
func (m *Manager) fetch(ctx context.Context, c candidate, now time.Time) (*entry, error) {
	t := c.ticket
	if m.revoked.Ended(t.id) {
		return nil, ErrRevoked // before any network call
	}
	epoch, _ := m.freshness.epoch()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	box, err := m.freshness.lookUpSession(ctx, t.id, nil, now)
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
	g.Go(func() error { return m.freshness.lookUpEnds(ctx, s, now) })
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
