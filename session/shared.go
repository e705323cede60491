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

	"golang.org/x/sync/errgroup"
)

// Records in the Store. The last part of every key is a hash, so that a dump
// names nobody and no key holds a character that a store treats specially
// (threats C17):
//
//	session:<id>    store: redis. "1" while the session lives; a sign-out takes it away.
//	                A store that lost everything signs everybody out, nobody in.
//	revoked:<id>    store: cookie. The session was signed out.
//	end:<name>      sessions of this person end that were signed in until the moment it holds
//	facts:<person>  store: redis. What a recheck found, sealed by the keyring
//	lease:<person>  store: redis. A replica is asking DingTalk about this person
const (
	factsPurpose = "facts"
	storeTimeout = time.Second // for what one request asks of the store
	leaseTime    = lookupTimeout + 5*time.Second
	leasePoll    = 250 * time.Millisecond
)

// shared tells that replicas share their sessions through the Store.
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
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now := m.now()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.askSession(ctx, s, now) })
	for _, n := range names(&s.User) {
		if n.text != "" {
			g.Go(func() error { return m.askEnd(ctx, n, now) })
		}
	}
	return g.Wait()
}

func (m *Manager) askSession(ctx context.Context, s *Session, now time.Time) error {
	kind := "revoked"
	if m.shared() {
		kind = "session"
	}
	_, err := m.Store.Get(ctx, m.recordKey(kind, s.ID))
	if err != nil && !errors.Is(err, ErrNone) {
		return ill("asking about a session", err)
	}
	if found := err == nil; found == (kind == "session") {
		return nil
	}
	m.revoked.endSession(s.ID, mark{until: m.outlived(now), reason: "signed_out", told: true}, now) // who did it wrote the audit line
	return nil
}

// askEnd brings the end of a person's sessions into memory.
func (m *Manager) askEnd(ctx context.Context, n name, now time.Time) error {
	text, err := m.Store.Get(ctx, m.nameKey("end", n))
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return ill("asking about a person", err)
	}
	ms, reason, ok := strings.Cut(string(text), " ")
	before, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok {
		return ill("asking about a person", errors.New("the record does not read"))
	}
	end := mark{before: time.UnixMilli(before), until: m.outlived(now), reason: reason}
	m.revoked.endPerson(n, end, now)
	return nil
}

// storeSession makes a new session known to every replica.
func (m *Manager) storeSession(ctx context.Context, s *Session) error {
	if !m.shared() {
		return nil
	}
	if m.Store == nil {
		return ill("keeping a session", errors.New("there is none"))
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := m.Store.Put(ctx, m.recordKey("session", s.ID), []byte("1"), m.Config.Lifetime+2*skew); err != nil {
		return ill("keeping a session", err)
	}
	return nil
}

func (m *Manager) storeRevocation(ctx context.Context, id string) error {
	if m.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	var err error
	if m.shared() {
		_, err = m.Store.Take(ctx, m.recordKey("session", id))
	} else {
		err = m.Store.Put(ctx, m.recordKey("revoked", id), []byte("1"), m.Config.Lifetime+2*skew)
	}
	if err != nil && !errors.Is(err, ErrNone) {
		return ill("revoking a session", err)
	}
	return nil
}

func (m *Manager) storeEnd(ctx context.Context, by []name, end mark) error {
	if m.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	text := fmt.Appendf(nil, "%d %s", end.before.UnixMilli(), end.reason)
	var all []error
	for _, n := range by {
		if err := m.Store.Put(ctx, m.nameKey("end", n), text, m.Config.Lifetime+2*skew); err != nil {
			all = append(all, ill("revoking a person", err))
		}
	}
	return errors.Join(all...)
}

// awaitLease lets one replica at a time ask about a person (V11). It returns
// facts confirmed after the given moment if another replica has found them;
// nil means that this one has the lease and must ask. The lease is never given
// back: after a failure it is the pause that all replicas keep.
func (m *Manager) awaitLease(ctx context.Context, p *person, after time.Time) (*facts, error) {
	if m.Store == nil {
		return nil, ill("taking a lease", errors.New("there is none"))
	}
	again := time.NewTicker(leasePoll)
	defer again.Stop()
	for {
		known, err := m.readFacts(ctx, p)
		if err != nil {
			return nil, err
		}
		if known != nil && known.checked.After(after) {
			return known, nil
		}
		err = m.Store.Add(ctx, m.nameKey("lease", p.key), []byte("1"), leaseTime)
		if err == nil {
			return nil, nil
		}
		if !errors.Is(err, ErrExists) {
			return nil, ill("taking a lease", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("session: waiting for another replica: %w", ctx.Err())
		case <-again.C:
		}
	}
}

// readFacts is nil when there are none, or none that this release reads.
func (m *Manager) readFacts(ctx context.Context, p *person) (*facts, error) {
	key := m.nameKey("facts", p.key)
	text, err := m.Store.Get(ctx, key)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, ill("reading facts", err)
	}
	plain, _, err := m.Keyring.Open(factsPurpose, key, string(text))
	if err != nil {
		return nil, nil
	}
	s, _, err := decode(plain)
	if err != nil || personKey(&s.User) != p.key || s.Checked.Sub(m.now()) > skew {
		return nil, nil
	}
	return &facts{s.User, s.Checked}, nil
}

// shareFacts tells the other replicas; when that fails they ask themselves.
func (m *Manager) shareFacts(ctx context.Context, p *person, u identity.User, checked time.Time) {
	if !m.shared() {
		return
	}
	id := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0}, idLength))
	plain, err := encode(&Session{ID: id, Realm: m.Realm, User: u, Checked: checked}, checked)
	if err != nil {
		return
	}
	key := m.nameKey("facts", p.key)
	if text, err := m.Keyring.Seal(factsPurpose, key, plain); err == nil {
		_ = m.Store.Put(ctx, key, []byte(text), m.Config.Recheck+leaseTime)
	}
}
