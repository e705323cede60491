package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/wire"
	"dinggate/session/membership"
	"dinggate/store"
)

// records are the records of a Manager in its Store. The last part of every key is a
// hash, so that a dump contains no names and no key holds a character that is special
// to a store (threats C17):
//
//	session:<id>    store: redis. The session, in a box that only the ticket in the cookie opens;
//	                a sign-out deletes it. "1" if the cookie carries the session, as in releases
//	                before 1.0. A store that lost its data signs everyone out, and no one in.
//	revoked:<id>    store: cookie. The session was signed out.
//	end:<name>      sessions of this person that were signed in until the time in it are revoked
//	end:<everybody> the same for all
//	facts:<person>  store: redis. What a recheck found, sealed by the keyring: a payload, whose time
//	                of the seal is Profile.Answers
//	lease:<person>  store: redis. A replica is looking this person up at DingTalk
//	token:<id>      with Refresh. The newest token of a session, in a box (see openToken)
//	event:<id>      store: redis. This event of the organisation has been handled
type records struct {
	store   store.Store
	keyring *keyring.Keyring
	realm   string
	service bool
	config  Config
	now     func() time.Time
}

const (
	storeTimeout = time.Second      // the deadline of a request's calls to the store
	factsTime    = 15 * time.Second // longer than a session may continue on them
	eventTime    = 24 * time.Hour   // longer than an event may be redelivered
)

// everybody is the key of the revocation of all sessions, used in the Store only.
var everybody = identity.Key{Kind: '*'}

var errNoStore = errors.New("there is none")

// key includes the realm: two organisations may share one Redis.
func (r *records) key(kind string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append(parts, r.realm), "\x00")))
	return kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (r *records) personKey(kind string, key identity.Key) string {
	return r.key(kind, string(key.Kind), key.Text)
}

// unavailable wraps the cause in ErrStore.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrStore, doing, err)
}

// session returns the record of a session that has not ended; nil if it has ended, or
// if the cookie carries the session. ended distinguishes these.
func (r *records) session(ctx context.Context, id string) (record []byte, ended bool, err error) {
	if r.store == nil {
		return nil, false, unavailable("looking up a session", errNoStore)
	}
	kind := "revoked"
	if r.config.shared() {
		kind = "session"
	}
	record, err = r.store.Get(ctx, r.key(kind, id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, false, unavailable("looking up a session", err)
	}
	if found := err == nil; found != r.config.shared() {
		return nil, true, nil
	}
	return record, false, nil
}

// putSession stores a new session for all replicas, and returns its ticket. It may
// empty s.Token.
func (r *records) putSession(ctx context.Context, s *Session) (*ticket, error) {
	if r.store == nil {
		return nil, unavailable("storing a session", errNoStore)
	}
	t, err := newTicket(s)
	if err != nil {
		return nil, fmt.Errorf("session: creating: %w", err)
	}
	plain, err := encode(s, s.SignedIn, maxRecord)
	if err != nil {
		return nil, fmt.Errorf("session: sealing: the session %w", err)
	}
	key := r.key("session", s.ID)
	box, err := keyring.SealBox(t.key, key, plain)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := r.store.Put(ctx, key, box, r.config.Lifetime+2*skew); err != nil {
		return nil, unavailable("storing a session", err)
	}
	return t, nil
}

// openSession opens the record of a ticket. A record of a newer release, or one that
// an attacker wrote, is ErrForged: sign in (threats V33).
func (r *records) openSession(t *ticket, box []byte) (*Session, error) {
	plain, err := keyring.OpenBox(t.key, r.key("session", t.id), box)
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

// sealCookie makes the text of a cookie: of a ticket, or of a whole session, in which
// case it may empty s.Token.
func (r *records) sealCookie(name string, s *Session, t *ticket, now time.Time) (string, error) {
	var plain []byte
	var err error
	if t != nil {
		plain, err = t.encode(now)
	} else {
		plain, err = encode(s, now, maxPlain)
	}
	if err != nil {
		return "", fmt.Errorf("session: sealing: the session %w", err)
	}
	return r.keyring.Seal(purpose, name, plain)
}

// writeRevocation returns a func that writes a sign-out to the Store; nil without a
// Store.
func (r *records) writeRevocation(id string, tokens bool) func(context.Context) error {
	if r.store == nil {
		return nil
	}
	return func(ctx context.Context) error {
		if !r.config.shared() {
			return r.store.Put(ctx, r.key("revoked", id), []byte("1"), r.config.Lifetime+2*skew)
		}
		_, err := r.store.Take(ctx, r.key("session", id))
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		if tokens { // its key is gone
			_, _ = r.store.Take(ctx, r.key("token", id))
		}
		return err
	}
}

var _ membership.Shared = (*records)(nil)

// Lease names the lease of the lookup of a person.
func (r *records) Lease(key identity.Key, named bool) (store.Store, string) {
	if named {
		return r.store, r.personKey("lease-event", key)
	}
	return r.store, r.personKey("lease", key)
}

// ReadProfile returns nil if there is none, or none that this release can read.
func (r *records) ReadProfile(ctx context.Context, person identity.Key) (*membership.Profile, error) {
	if r.store == nil {
		return nil, unavailable("reading a profile", errNoStore)
	}
	key := r.personKey("facts", person)
	text, err := r.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("reading a profile", err)
	}
	plain, _, err := r.keyring.OpenRecord(key, text)
	if err != nil {
		return nil, nil
	}
	s, answers, err := decode(plain, maxRecord)
	if err != nil || identity.KeyOf(&s.User, r.service) != person || s.Checked.Sub(r.now()) > skew {
		return nil, nil
	}
	return &membership.Profile{User: s.User, Checked: s.Checked, Answers: answers}, nil
}

// WriteProfile shares the result of a lookup; if it fails, the other replicas make
// their own.
func (r *records) WriteProfile(ctx context.Context, person identity.Key, p membership.Profile) {
	id := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0}, idLength))
	plain, err := encode(&Session{ID: id, Realm: r.realm, User: p.User, Checked: p.Checked}, p.Answers, maxRecord)
	if err != nil {
		return
	}
	key := r.personKey("facts", person)
	if box, err := r.keyring.SealRecord(key, plain); err == nil {
		_ = r.store.Put(ctx, key, box, r.config.Recheck+r.config.Grace+factsTime)
	}
}

// The record token:<id> is a box under the ticket's key, or under the keyring
// where the cookie carries the session:
//
//	version  1 byte, now 1
//	token    as the payload writes it
const tokenVersion = 1

func (r *records) sealToken(k *tokenState, t identity.Token) ([]byte, error) {
	plain, name := appendToken([]byte{tokenVersion}, t), r.key("token", k.id)
	if k.ticket != nil {
		return keyring.SealBox(k.ticket.key, name, plain)
	}
	return r.keyring.SealRecord(name, plain)
}

// openToken returns nil for a record of a newer release, or one that cannot be opened: the
// session's own token is then the newest.
func (r *records) openToken(k *tokenState, box []byte) *identity.Token {
	name := r.key("token", k.id)
	var plain []byte
	var err error
	if k.ticket != nil {
		plain, err = keyring.OpenBox(k.ticket.key, name, box)
	} else {
		plain, _, err = r.keyring.OpenRecord(name, box)
	}
	if err != nil || len(plain) == 0 || len(plain) > maxRecord || plain[0] != tokenVersion {
		return nil
	}
	rd := wire.Reader{Rest: plain[1:]}
	t := &identity.Token{Access: rd.Text(), Refresh: rd.Text(), Expires: rd.Time()}
	if rd.Bad || len(rd.Rest) > 0 || t.Access == "" {
		return nil
	}
	return t
}

func (r *records) readToken(ctx context.Context, k *tokenState) (*identity.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	box, err := r.store.Get(ctx, r.key("token", k.id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("reading a token", err)
	}
	return r.openToken(k, box), nil
}

// writeToken retries for a while: the token that this one replaces can no longer be
// used.
func (r *records) writeToken(ctx context.Context, k *tokenState, t identity.Token) error {
	if r.store == nil {
		return nil
	}
	box, err := r.sealToken(k, t)
	if err != nil {
		return err
	}
	life := k.expires.Sub(r.now()) + 2*skew
	if life <= 0 {
		return nil
	}
	pause := time.NewTicker(storeTimeout / 4)
	defer pause.Stop()
	for range 4 {
		once, cancel := context.WithTimeout(ctx, storeTimeout)
		err = r.store.Put(once, r.key("token", k.id), box, life)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return unavailable("storing a token", err)
		case <-pause.C:
		}
	}
	return unavailable("storing a token", err)
}

// once is Manager.Once.
func (r *records) once(ctx context.Context, event string, do func() error) error {
	if !r.config.shared() || r.store == nil || event == "" {
		return do()
	}
	key := r.key("event", event)
	reading, cancel := context.WithTimeout(ctx, storeTimeout/2)
	_, err := r.store.Get(reading, key)
	cancel()
	if err == nil {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	noting, cancel := context.WithTimeout(ctx, storeTimeout/2)
	defer cancel()
	_ = r.store.Put(noting, key, []byte("1"), eventTime)
	return nil
}
