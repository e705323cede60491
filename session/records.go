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
	"dinggate/internal/keyring"
	"dinggate/internal/wire"
	"dinggate/session/membership"
	"dinggate/session/revocation"
	"dinggate/store"

	"golang.org/x/sync/errgroup"
)

// records are what a Manager keeps in its Store. The last part of every key is a
// hash, so that a dump names nobody and no key holds a character that a store
// treats specially (threats C17):
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
type records struct {
	store   store.Store
	keyring *keyring.Keyring
	realm   string
	service bool
	config  Config
	now     func() time.Time
}

const (
	storeTimeout = time.Second      // for what one request asks of the store
	factsTime    = 15 * time.Second // beyond what a session may live on them
	eventTime    = 24 * time.Hour   // longer than an event is delivered again for
)

// everybody is the key of the revocation of all sessions, in the Store alone.
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

// unavailable is ErrStore with its cause.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrStore, doing, err)
}

// session returns the record of a session that lives; nil: it has ended, or is
// in its cookie and has not ended. ended distinguishes these.
func (r *records) session(ctx context.Context, id string) (record []byte, ended bool, err error) {
	if r.store == nil {
		return nil, false, unavailable("asking about a session", errNoStore)
	}
	kind := "revoked"
	if r.config.shared() {
		kind = "session"
	}
	record, err = r.store.Get(ctx, r.key(kind, id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, false, unavailable("asking about a session", err)
	}
	if found := err == nil; found != r.config.shared() {
		return nil, true, nil
	}
	return record, false, nil
}

// end returns the end of a person's sessions.
func (r *records) end(ctx context.Context, key identity.Key) (end revocation.Revocation, found bool, err error) {
	text, err := r.store.Get(ctx, r.personKey("end", key))
	if errors.Is(err, store.ErrNotFound) {
		return end, false, nil
	}
	if err != nil {
		return end, false, unavailable("asking about a person", err)
	}
	if end, found = readEnd(string(text)); !found {
		return end, false, unavailable("asking about a person", errors.New("the record does not read"))
	}
	return end, true, nil
}

// readEnd reads what end:… holds: the moment in Unix milliseconds, of a local
// account with a slash and the fingerprint that goes on, a blank, the reason.
func readEnd(text string) (end revocation.Revocation, ok bool) {
	moment, reason, ok := strings.Cut(text, " ")
	ms, spare, _ := strings.Cut(moment, "/")
	before, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok {
		return revocation.Revocation{}, false
	}
	end = revocation.Revocation{Before: time.UnixMilli(before), Reason: reason}
	end.Spare, _ = strconv.ParseUint(spare, 16, 64) // one that does not read spares nobody
	return end, true
}

func writeEnd(end revocation.Revocation) []byte {
	if end.Spare != 0 {
		return fmt.Appendf(nil, "%d/%x %s", end.Before.UnixMilli(), end.Spare, end.Reason)
	}
	return fmt.Appendf(nil, "%d %s", end.Before.UnixMilli(), end.Reason)
}

// putSession puts a new session where every replica finds it, and returns the
// ticket to it. It may empty s.Token.
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

// openSession opens the record of a ticket. A record of a newer release, or one
// that an attacker put there, is ErrForged: sign in (threats V33).
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

// sealCookie makes the text of a cookie: of a ticket, or of a whole session, whose
// s.Token it may empty.
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

// writeRevocation is how a sign-out gets into the Store; nil without one.
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
		if tokens { // nobody can open it any more
			_, _ = r.store.Take(ctx, r.key("token", id))
		}
		return err
	}
}

// writeEnds is how the end of people gets into the Store; nil without one.
func (r *records) writeEnds(keys []identity.Key, end revocation.Revocation) func(context.Context) error {
	if r.store == nil {
		return nil
	}
	text := writeEnd(end)
	return func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, key := range keys {
			g.Go(func() error { return r.store.Put(ctx, r.personKey("end", key), text, r.config.Lifetime+2*skew) })
		}
		return g.Wait()
	}
}

var _ membership.Shared = (*records)(nil)

// Lease names the lease of the lookup of a person.
func (r *records) Lease(key identity.Key) (store.Store, string) {
	return r.store, r.personKey("lease", key)
}

// ReadProfile is nil when there is none, or none that this release reads.
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
	s, _, err := decode(plain, maxRecord)
	if err != nil || identity.KeyOf(&s.User, r.service) != person || s.Checked.Sub(r.now()) > skew {
		return nil, nil
	}
	return &membership.Profile{User: s.User, Checked: s.Checked}, nil
}

// WriteProfile shares what a lookup found; when that fails the other replicas
// look up for themselves.
func (r *records) WriteProfile(ctx context.Context, person identity.Key, p membership.Profile) {
	id := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0}, idLength))
	plain, err := encode(&Session{ID: id, Realm: r.realm, User: p.User, Checked: p.Checked}, p.Checked, maxRecord)
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

// openToken is nil for a record of a newer release, or one that does not open:
// then the session's own token is the newest we can read.
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

// writeToken tries for a while: the token it replaces is used up.
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
	asking, cancel := context.WithTimeout(ctx, storeTimeout/2)
	_, err := r.store.Get(asking, key)
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
