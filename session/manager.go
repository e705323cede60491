package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"dinggate/internal/identity"
)

// Manager makes sessions and recognises them.
//
// Set the fields, then share the pointer; it is safe for concurrent use. Keyring,
// Config and Realm are needed: without them every session is refused. Run does
// the housekeeping and owns the lookups in the background.
type Manager struct {
	Keyring    *Keyring
	Config     Config
	Cookie     CookieConfig
	Realm      string           // corp_id or the SSO service's URL; a cookie of another realm is ErrForged (threats C9)
	CookieName string           // empty: CookieName(Secure, Cookie.Domain)
	Secure     bool             // public_url is https
	Headers    Headers          // rendered once per session and change
	Now        func() time.Time // nil: time.Now

	// Store is asked on every request with Config.Store redis. With cookie it is
	// a store of this process alone that outlives a restart; it is asked when a
	// cookie is first seen. Nil: sign-outs are in memory.
	Store Store

	// Recheck looks a person up again. A *identity.Failure of class Refused ends
	// every session of the person; any other error counts as silence, which
	// sessions outlive by Config.Grace. The context lives 10 s. Nil: membership
	// is never looked at again.
	Recheck func(ctx context.Context, s *Session) (identity.User, error)

	// Ended hears once of every session that ended by revocation, for the audit
	// log; reason is a word such as `not_member`. Not of one given to Revoke,
	// nor of one that simply grew old. Nil: nobody hears.
	Ended func(s *Session, reason string)

	// Bounds of what is in memory; 0 means the number beside it.
	MaxSessions int // 10,000 cookies known without opening them
	MaxPeople   int // 50,000
	MaxRevoked  int // 100,000; past it everybody signs in again
	MaxWatches  int // 50,000 open connections
	MaxRechecks int // 16 lookups at a time

	once    sync.Once
	cache   *cache
	people  *people
	revoked *revocations
	watches *watches
	slots   chan struct{}   // a place for each lookup that runs
	base    context.Context // ends with Run
	cancel  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	lookups sync.WaitGroup
}

// Headers says what a session's person looks like to others.
type Headers struct {
	Request  identity.HeaderRules // for upstreams
	Response identity.HeaderRules // for gateways
}

const (
	// skew is how far another replica's clock may be ahead (V18, C7).
	skew = time.Minute

	// maxTexts bounds the work for one request: more cookies of our name than
	// this are an attack (threats C3, C12).
	maxTexts = 8
)

func (m *Manager) ready() {
	m.once.Do(func() {
		or := func(n, usual int) int {
			if n > 0 {
				return n
			}
			return usual
		}
		m.cache = newCache(or(m.MaxSessions, 10_000))
		m.slots = make(chan struct{}, or(m.MaxRechecks, 16))
		m.base, m.cancel = context.WithCancel(context.Background())
		if m.revoked == nil {
			m.people = &people{max: or(m.MaxPeople, 50_000), all: map[name]*person{}}
			m.revoked = &revocations{max: or(m.MaxRevoked, 100_000), ids: map[string]mark{}, people: map[name]mark{}}
			m.watches = &watches{max: or(m.MaxWatches, 50_000), all: map[*watch]struct{}{}}
		}
	})
}

// Inherit takes over what old knows of sign-outs, people and open connections,
// so that a reload of the configuration brings no session back. Call it before
// any other method.
func (m *Manager) Inherit(old *Manager) {
	old.ready()
	m.people, m.revoked, m.watches = old.people, old.revoked, old.watches
}

func (m *Manager) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Load recognises a session. texts are all the values that one request carried
// under our cookie name; exactly one of them must verify, since of two nobody
// can tell which one was planted (threats C3).
//
// A membership that was last confirmed too long ago makes Load wait for a
// lookup, at most patience. Otherwise it never waits for DingTalk, and for a
// Store only as Manager.Store says.
//
// Errors are ErrNone, ErrExpired, ErrRevoked, ErrForged (no session: sign in),
// ErrStore and ErrUnconfirmed (503, keep the cookie), possibly wrapped.
func (m *Manager) Load(ctx context.Context, texts []string, patience time.Duration) (*Session, error) {
	m.ready()
	now := m.now()
	e, err := m.find(texts, now)
	if err != nil {
		return nil, err
	}
	if m.shared() || m.Store != nil && !e.asked.Load() {
		if err := m.askStore(ctx, e.origin); err != nil {
			return nil, err
		}
		e.asked.Store(true)
	}
	if gen := m.revoked.gen.Load(); gen != e.unmoved.Load() {
		if reason, out := m.revoked.find(e.origin); out {
			m.cache.forget(e.text)
			m.tell(e.origin, reason)
			return nil, ErrRevoked
		}
		e.unmoved.Store(gen)
	}
	s, err := m.confirm(ctx, e, now, patience)
	if err != nil {
		return nil, err
	}
	e.touch(now)
	return s, nil
}

// find opens the cookies and returns the only one that verifies.
func (m *Manager) find(texts []string, now time.Time) (*entry, error) {
	if len(texts) == 0 {
		return nil, ErrNone
	}
	if len(texts) > maxTexts {
		return nil, fmt.Errorf("%w: %d cookies of our name", ErrForged, len(texts))
	}
	var found *entry
	worst := ErrForged
	for _, text := range texts {
		e, err := m.open(text, now)
		switch {
		case err == nil && found != nil:
			return nil, fmt.Errorf("%w: several cookies of our name verify", ErrForged)
		case err == nil:
			found = e
		case errors.Is(err, ErrExpired):
			worst = ErrExpired
		}
	}
	if found == nil {
		return nil, worst
	}
	return found, nil
}

// open finds what a cookie text stands for, from memory or from the text.
func (m *Manager) open(text string, now time.Time) (*entry, error) {
	if e := m.cache.get(text); e != nil {
		if e.over(m.Config.Idle, now) {
			return nil, ErrExpired
		}
		return e, nil
	}
	plain, old, err := m.Keyring.Open(purpose, m.name(), text)
	if err != nil {
		return nil, err
	}
	s, sealed, err := decode(plain)
	if err != nil {
		return nil, err
	}
	for _, t := range [...]time.Time{s.SignedIn, s.Checked, sealed} {
		if t.Sub(now) > skew {
			return nil, fmt.Errorf("%w: its time has not come", ErrForged)
		}
	}
	if m.Realm == "" || s.Realm != m.Realm || s.User.Username == "" {
		return nil, fmt.Errorf("%w: of another realm, or of nobody", ErrForged)
	}
	e := m.enter(text, s, sealed, old, now)
	if e.over(m.Config.Idle, now) {
		return nil, ErrExpired
	}
	return m.remember(e, now), nil
}

// enter makes the entry of a session that verified.
func (m *Manager) enter(text string, s *Session, sealed time.Time, old bool, now time.Time) *entry {
	e := &entry{text: text, origin: s, key: personKey(&s.User), old: old, sealed: sealed, expires: s.SignedIn.Add(m.Config.Lifetime)}
	// Up to a fifth sooner, the same for every request of a session: sessions
	// that began together do not come due together (V10), and none later than
	// the configuration promises (C8).
	e.recheck = m.Config.Recheck - m.Config.Recheck/5*jitter(s.ID)/256
	e.seen.Store(sealed.UnixMilli())
	s.Headers = m.render(&s.User, s.Token)
	s.entry = e
	e.view.Store(s)
	return e
}

// jitter is a number below 256, random for each session and the same in every replica.
func jitter(id string) time.Duration {
	raw, err := base64.RawURLEncoding.DecodeString(id[:4])
	if err != nil {
		return 0
	}
	return time.Duration(raw[0])
}

// remember puts e into the cache; its sealed facts count if they are the newest
// this process knows. With an idle limit the cache also knows when the last
// request came, wherever a gateway keeps renewed cookies to itself.
func (m *Manager) remember(e *entry, now time.Time) *entry {
	p := m.people.of(e.key, now)
	m.learn(p, e.origin.User, e.origin.Checked)
	e.person.Store(p)
	ttl := e.expires.Sub(now)
	if m.Config.Idle == 0 {
		ttl = min(ttl, time.Hour)
	}
	return m.cache.put(e, ttl, now)
}

func (m *Manager) render(u *identity.User, t identity.Token) identity.HeaderSet {
	return identity.HeaderSet{Request: m.Headers.Request.Render(u, t), Response: m.Headers.Response.Render(u, t)}
}

// view is the session with the newest facts, and the person behind it.
func (m *Manager) view(e *entry, now time.Time) (*Session, *person) {
	p := e.person.Load()
	if p.evicted.Load() {
		p = m.people.of(e.key, now)
		e.person.Store(p)
	}
	if ms := now.UnixMilli(); ms-p.used.Load() > time.Minute.Milliseconds() {
		p.used.Store(ms)
	}
	s, f := e.view.Load(), p.facts.Load()
	if f == nil || !f.checked.After(s.Checked) {
		return s, p
	}
	newer := *s
	newer.User, newer.Checked = f.user, f.checked
	newer.Headers = m.render(&newer.User, newer.Token)
	e.view.Store(&newer)
	return &newer, p
}

// Create begins a session under a new random id, so that a cookie planted
// before the sign-in gains nothing (threats C1). user was confirmed just now;
// its facts count in all its sessions at once. What does not fit into a cookie
// is cut (see fitUser). ErrStore: nobody is signed in.
func (m *Manager) Create(ctx context.Context, user identity.User, token identity.Token) (*Session, *http.Cookie, error) {
	m.ready()
	now := m.now()
	user, err := fitUser(user)
	if err != nil {
		return nil, nil, fmt.Errorf("session: creating: the person %w", err)
	}
	if user.Username == "" || m.Realm == "" {
		return nil, nil, errors.New("session: creating: no username or no realm")
	}
	var id [idLength]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, nil, fmt.Errorf("session: creating: %w", err)
	}
	moment := time.UnixMilli(now.UnixMilli()).UTC() // as the cookie tells it
	token.Expires = token.Expires.UTC().Truncate(time.Millisecond)
	s := &Session{ID: base64.RawURLEncoding.EncodeToString(id[:]), Realm: m.Realm, User: user, Token: token, SignedIn: moment, Checked: moment}
	text, err := m.seal(s, moment)
	if err != nil {
		return nil, nil, err
	}
	if err := m.storeSession(ctx, s); err != nil {
		return nil, nil, err
	}
	m.remember(m.enter(text, s, moment, false, now), now)
	return s, m.cookie(text, s.SignedIn), nil
}

// seal may empty s.Token.
func (m *Manager) seal(s *Session, now time.Time) (string, error) {
	plain, err := encode(s, now)
	if err != nil {
		return "", fmt.Errorf("session: sealing: the session %w", err)
	}
	return m.Keyring.Seal(purpose, m.name(), plain)
}

// Renew returns the cookie that should replace the one s came with: the first
// secret did not seal it, what it says of the person is not the newest, or a
// quarter of the idle limit has passed. Else nil, and cheap. Its lifetime ends
// when the old one's did, and the old cookie stays valid, so that requests
// under way lose nothing (threats C15).
//
// A cookie that did not arrive is offered again after a minute at the soonest.
func (m *Manager) Renew(s *Session) *http.Cookie {
	e := s.entry
	if e == nil {
		return nil
	}
	m.ready()
	now := m.now()
	pause := time.Minute
	worn := false
	if idle := m.Config.Idle; idle > 0 {
		pause = min(pause, idle/4)
		worn = now.Sub(e.sealed) > idle/4
	}
	if !worn && !e.old && !s.Checked.After(e.origin.Checked) {
		return nil
	}
	last := e.renewed.Load()
	if last != 0 && now.Sub(time.UnixMilli(last)) < pause || !e.renewed.CompareAndSwap(last, now.UnixMilli()) {
		return nil
	}
	again := *s
	text, err := m.seal(&again, now)
	if err != nil {
		return nil // the old cookie still serves
	}
	return m.cookie(text, s.SignedIn)
}
