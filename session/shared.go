package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"

	"golang.org/x/sync/errgroup"
)

// Records in the Store. The last part of every key is a hash, so that a dump
// names nobody and no key holds a character that a store treats specially
// (threats C17):
//
//	session:<id>    store: redis. The session, in a box that only the ticket in the cookie opens;
//	                a sign-out takes it away. "1" when the cookie carries the session, as
//	                releases before 1.0 made them. A store that lost everything signs
//	                everybody out, nobody in.
//	revoked:<id>    store: cookie. The session was signed out.
//	end:<name>      sessions of this person end that were signed in until the moment it holds
//	end:<everybody> the same for all
//	facts:<person>  store: redis. What a recheck found, sealed by the keyring
//	lease:<person>  store: redis. A replica is asking DingTalk about this person
//	token:<id>      with Refresh. The newest token of a session, in a box (see openToken)
//	event:<id>      store: redis. This event of the organisation has been dealt with
const (
	storeTimeout = time.Second      // for what one request asks of the store
	factsTime    = 15 * time.Second // beyond what a session may live on them
)

// shared reports whether replicas share their sessions through the Store.
func (m *Manager) shared() bool { return m.Config.Store == StoreRedis }

// recordKey includes the realm: two organisations may share one Redis.
func (m *Manager) recordKey(kind string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append(parts, m.Realm), "\x00")))
	return kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (m *Manager) nameKey(kind string, n name) string {
	return m.recordKey(kind, string(n.kind), n.text)
}

func ill(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrStore, doing, err)
}

// askStore brings into memory what the Store knows about the end of s. All
// questions go out at once. The only error is ErrStore: no answer.
func (m *Manager) askStore(ctx context.Context, s *Session) error {
	if m.Store == nil {
		return ill("asking about a session", errors.New("there is none"))
	}
	now := m.now()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { _, err := m.askSession(ctx, s.ID, s, now); return err })
	g.Go(func() error { return m.askEnds(ctx, s, now) })
	return g.Wait()
}

// askEnds asks about everybody whose end would be the end of s.
func (m *Manager) askEnds(ctx context.Context, s *Session, now time.Time) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.askEnd(ctx, name{kind: everybody}, now) })
	for _, n := range m.names(s) {
		if n.text != "" {
			g.Go(func() error { return m.askEnd(ctx, n, now) })
		}
	}
	return g.Wait()
}

// askSession returns the record of a session that lives, nil of one that has
// ended; s is the session where it is known already.
func (m *Manager) askSession(ctx context.Context, id string, s *Session, now time.Time) (record []byte, err error) {
	if m.Store == nil {
		return nil, ill("asking about a session", errors.New("there is none"))
	}
	kind := "revoked"
	if m.shared() {
		kind = "session"
	}
	record, err = m.Store.Get(ctx, m.recordKey(kind, id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, ill("asking about a session", err)
	}
	if found := err == nil; found != m.shared() {
		end := revocation{until: m.outlived(now), reason: "signed_out", told: true} // who did it wrote the audit line
		if s != nil {
			end = m.of(s, end)
		}
		m.revoked.endSession(id, end, now)
		return nil, nil
	}
	return record, nil
}

// askEnd brings the end of a person's sessions into memory.
func (m *Manager) askEnd(ctx context.Context, n name, now time.Time) error {
	text, err := m.Store.Get(ctx, m.nameKey("end", n))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return ill("asking about a person", err)
	}
	end, ok := readEnd(string(text))
	if !ok {
		return ill("asking about a person", errors.New("the record does not read"))
	}
	end.until = m.outlived(now)
	if n.kind == everybody {
		m.revoked.endAll(end)
	} else {
		m.revoked.endPerson(n, end, now)
	}
	return nil
}

// readEnd reads what end:… holds: the moment in Unix milliseconds, of a local
// account with a slash and the fingerprint that goes on, a blank, the reason.
func readEnd(text string) (end revocation, ok bool) {
	moment, reason, ok := strings.Cut(text, " ")
	ms, spare, _ := strings.Cut(moment, "/")
	before, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok {
		return revocation{}, false
	}
	end = revocation{before: time.UnixMilli(before), reason: reason}
	end.spare, _ = strconv.ParseUint(spare, 16, 64) // one that does not read spares nobody
	return end, true
}

func writeEnd(end revocation) []byte {
	if end.spare != 0 {
		return fmt.Appendf(nil, "%d/%x %s", end.before.UnixMilli(), end.spare, end.reason)
	}
	return fmt.Appendf(nil, "%d %s", end.before.UnixMilli(), end.reason)
}

// storeSession puts a new session where every replica finds it, and returns the
// ticket to it. It may empty s.Token.
func (m *Manager) storeSession(ctx context.Context, s *Session) (*ticket, error) {
	if m.Store == nil {
		return nil, ill("keeping a session", errors.New("there is none"))
	}
	t, err := newTicket(s)
	if err != nil {
		return nil, fmt.Errorf("session: creating: %w", err)
	}
	box, err := m.sealSession(t, s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := m.Store.Put(ctx, m.recordKey("session", s.ID), box, m.Config.Lifetime+2*skew); err != nil {
		return nil, ill("keeping a session", err)
	}
	return t, nil
}

// writeRevocation is how a sign-out gets into the Store; nil without one.
func (m *Manager) writeRevocation(id string) func(context.Context) error {
	if m.Store == nil {
		return nil
	}
	return func(ctx context.Context) error {
		if !m.shared() {
			return m.Store.Put(ctx, m.recordKey("revoked", id), []byte("1"), m.Config.Lifetime+2*skew)
		}
		_, err := m.Store.Take(ctx, m.recordKey("session", id))
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		if m.Refresh != nil { // opens for nobody any more, but why keep it
			_, _ = m.Store.Take(ctx, m.recordKey("token", id))
		}
		return err
	}
}

// writeEnds is how the end of people gets into the Store; nil without one.
func (m *Manager) writeEnds(by []name, end revocation) func(context.Context) error {
	if m.Store == nil {
		return nil
	}
	text := writeEnd(end)
	return func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, n := range by {
			g.Go(func() error { return m.Store.Put(ctx, m.nameKey("end", n), text, m.Config.Lifetime+2*skew) })
		}
		return g.Wait()
	}
}

// readFacts is nil when there are none, or none that this release reads.
func (m *Manager) readFacts(ctx context.Context, person name) (*profile, error) {
	key := m.nameKey("facts", person)
	text, err := m.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, ill("reading facts", err)
	}
	plain, _, err := m.Keyring.OpenRecord(key, text)
	if err != nil {
		return nil, nil
	}
	s, _, err := decode(plain, maxRecord)
	if err != nil || m.personKey(&s.User) != person || s.Checked.Sub(m.now()) > skew {
		return nil, nil
	}
	return &profile{s.User, s.Checked}, nil
}

// shareFacts sends the other replicas what was found; when that fails they ask themselves.
func (m *Manager) shareFacts(ctx context.Context, p *member, u identity.User, checked time.Time) {
	if !m.shared() {
		return
	}
	id := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0}, idLength))
	plain, err := encode(&Session{ID: id, Realm: m.Realm, User: u, Checked: checked}, checked, maxRecord)
	if err != nil {
		return
	}
	key := m.nameKey("facts", p.key)
	if box, err := m.Keyring.SealRecord(key, plain); err == nil {
		_ = m.Store.Put(ctx, key, box, m.Config.Recheck+m.Config.Grace+factsTime)
	}
}

// eventTime is longer than an event is delivered again for.
const eventTime = 24 * time.Hour

// Once calls do for an event that no replica has dealt with; of one that was it
// returns nil. An event whose do failed was not dealt with. It is no lock: two
// replicas that get the event at once both call do, and so does one whose Store
// does not answer.
func (m *Manager) Once(ctx context.Context, event string, do func() error) error {
	if !m.shared() || m.Store == nil || event == "" {
		return do()
	}
	key := m.recordKey("event", event)
	asking, cancel := context.WithTimeout(ctx, storeTimeout/2)
	_, err := m.Store.Get(asking, key)
	cancel()
	if err == nil {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	noting, cancel := context.WithTimeout(ctx, storeTimeout/2)
	defer cancel()
	_ = m.Store.Put(noting, key, []byte("1"), eventTime)
	return nil
}
