package session

import (
	"context"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/session/membership"
	"dinggate/session/mirror"
	"dinggate/session/revocation"
	"dinggate/store"
)

// Manager creates sessions and loads them from cookies.
//
// Set the fields, then share the pointer; it is safe for concurrent use. Keyring,
// Config and Realm are required: without them every session is refused. Run does the
// background work and owns the background lookups.
type Manager struct {
	Keyring *keyring.Keyring
	Config  Config
	Cookie  CookieConfig
	Realm   string           // corp_id or the SSO service's URL; a cookie of another realm is ErrForged (threats C9)
	Secure  bool             // public_url is https
	Headers Headers          // the headers that are rendered once per session and change
	Now     func() time.Time // nil is time.Now

	// Store holds the sessions with Config.Store redis; the Journal determines how often it is
	// read. With cookie it is a store of this process that survives a restart; it is read when a
	// cookie is first seen. If nil, sign-outs are in memory only.
	Store store.Store

	// Journal sends revocations to the other replicas, so that requests need not read the Store
	// (see freshness for the bounds); only with Config.Store redis, and only while Run runs. If
	// nil, every request reads the Store.
	Journal store.Journal

	// Index stores the list of sessions for List; it is written in the background. If nil, List
	// returns the sessions that this process has seen.
	Index store.Swapper

	// Service means that an SSO service identifies the people. It may give several of
	// them one unionid (threats T36), so two are the same person only if their
	// usernames are equal too.
	Service bool

	// Accounts are the current local accounts. A session that was begun with a password is revoked
	// when that password changes, on every replica and across restarts (threats T34). If nil,
	// there are no local accounts.
	Accounts Accounts

	// Recheck looks a person up again. A *identity.Failure of class Refused ends every session of
	// the person; any other error is no answer, which sessions outlive by Config.Grace. The
	// context has a deadline of 10 s. Without Refresh, s may have no token, if an event and not a
	// request caused the lookup. If nil, membership is never checked again.
	Recheck func(ctx context.Context, s *Session) (identity.User, error)

	// Mirror confirms people whose record in the directory equals the known profile, in place of a
	// Recheck of each. It never ends a session. If nil, each person is looked up.
	Mirror *mirror.Mirror

	// Refresh exchanges a refresh token for new tokens, for sessions whose sign-in returned one
	// and its expiry. Errors are as Recheck's, but a refusal ends this session only. Recheck is
	// not called with an expired token. If nil, tokens are not refreshed.
	Refresh func(ctx context.Context, refresh string) (identity.Token, error)

	// OnRevoked is called once for every session that ended by revocation, for the
	// audit log; reason is a word such as `not_member`. It is not called for a session
	// given to Revoke, nor for one that expired. Each replica reports those it has
	// seen. If nil, it is not called.
	OnRevoked func(s *Session, reason string)

	// OnEnd is called at least once with every revocation that the Manager, or one
	// that inherits from it, learns of: made here, received from another replica, or
	// read from the Store. It must not block, nor call the Manager. A Manager that
	// inherits uses the OnEnd of the first. If nil, it is not called.
	OnEnd func(End)

	// OnTokenTruncated is called for a new session whose cookie has no space for its whole token:
	// see Session.Token. If nil, it is not called.
	OnTokenTruncated func(s *Session)

	// Limits bound what is in memory.
	Limits

	once      sync.Once
	inherited *Manager // whose state init takes over
	parts
}

// Limits bound what a Manager has in memory, and does at once; 0 means the number beside it.
type Limits struct {
	MaxSessions int // 10,000 cached cookies; the same number of tokens that are refreshed
	MaxPeople   int // 50,000
	MaxRevoked  int // 100,000; if exceeded, all people have to sign in again
	MaxWatches  int // 50,000 open connections
	MaxRechecks int // 16 concurrent lookups, and 16 refreshes
	MaxAsks     int // 32 concurrent background reads of the Store
	MaxSingly   int // 144 people whom RecheckEverybody looks up one by one; of more it reads the directory
}

// Headers are the rules for the headers that describe a session's user.
type Headers struct {
	Request  identity.HeaderRules // for upstreams
	Response identity.HeaderRules // for gateways
}

// Accounts compares the passwords of local accounts by fingerprints: numbers that
// differ between any two passwords, and between equal passwords that were set at
// different times.
type Accounts interface {
	// Version changes whenever the result of Holds may change. It is called on every
	// request of a local account.
	Version() uint64

	// Holds reports whether a session of the account with this fingerprint is still
	// valid; 0 is the fingerprint of a session that an older release made.
	Holds(name string, fingerprint uint64) bool
}

const (
	// skew is how far another replica's clock may be ahead (V18, C7).
	skew = time.Minute

	// apart is how much the clocks of two replicas may differ: one ahead, the other behind.
	apart = 2 * skew

	// maxTexts bounds the work for one request: more cookies of our name than
	// this are an attack (threats C3, C12).
	maxTexts = 8
)

// Time is the current time by the manager's clock.
func (m *Manager) Time() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Load returns the session of a request. texts are all the values of our cookie name in one
// request; exactly one of them must be a valid session, since of two it cannot be determined which
// one was planted (threats C3). Expired and revoked ones are ignored.
//
// If the membership was last confirmed too long ago, Load waits for a lookup, at most
// patience. Otherwise it never waits for DingTalk, and for a Store only as
// Manager.Store says.
//
// Errors are ErrNone, ErrExpired, ErrRevoked, ErrForged (no session: sign in),
// ErrStore and ErrUnconfirmed (503, keep the cookie), possibly wrapped.
func (m *Manager) Load(ctx context.Context, texts []string, patience time.Duration) (*Session, error) {
	m.init()
	now := m.Time()
	e, err := m.identify(ctx, texts, now)
	if err != nil {
		return nil, err
	}
	if m.ended(e) { // before any network call
		return nil, ErrRevoked
	}
	if err := m.freshness.settleOrOutlive(ctx, e, now); err != nil {
		return nil, err
	}
	if m.ended(e) {
		return nil, ErrRevoked
	}
	if e.token != nil {
		if patience, err = m.tokens.keepFresh(ctx, e, now, patience); err != nil {
			return nil, err
		}
		now = m.Time()
		if m.ended(e) {
			return nil, ErrRevoked // the refresh token was refused
		}
	}
	s, err := m.confirm(ctx, e, now, patience)
	if err != nil {
		return nil, err
	}
	e.touch(now)
	return s, nil
}

// identify returns the entry of the one valid session among the cookies.
func (m *Manager) identify(ctx context.Context, texts []string, now time.Time) (*entry, error) {
	if len(texts) == 1 { // the usual case, and a cache hit
		if e := m.cache.get(texts[0]); e != nil && !e.over(m.Config.Idle, now) {
			m.cache.hits.Add(1)
			return e, nil
		}
	}
	found, more, err := m.find(texts, now)
	if err != nil {
		return nil, err
	}
	if len(more) > 0 {
		return append(more, found).only(ctx, m, now)
	}
	return found.load(ctx, m, now)
}

// ended checks the revocations, and a local account's password, if either has changed
// since the last check.
func (m *Manager) ended(e *entry) bool {
	generation := m.revoked.Generation()
	if generation == e.generation.Load() &&
		(!e.origin.User.Local || m.Accounts != nil && m.Accounts.Version()+1 == e.accounts.Load()) {
		return false
	}
	version := uint64(0)
	if m.Accounts != nil {
		version = m.Accounts.Version() + 1 // before the check: a concurrent change causes another check
	}
	if reason, out := m.endOf(e.origin); out {
		m.cache.forget(e.text)
		m.audit(e.origin, reason)
		return true
	}
	e.generation.Store(generation)
	e.accounts.Store(version)
	return false
}

// endOf reports whether s has been revoked, or was begun with a password that the
// account no longer has, and the reason.
func (m *Manager) endOf(s *Session) (reason string, out bool) {
	if s.User.Local && (m.Accounts == nil || !m.Accounts.Holds(s.User.Username, s.Fingerprint)) {
		return "account_changed", true
	}
	one := revocation.Session{ID: s.ID, SignedIn: s.SignedIn, Fingerprint: s.Fingerprint}
	return m.revoked.Find(one, s.keys(m.Service))
}

// remember caches e; its sealed profile is used if it is the newest in this process.
// With an idle limit the cache also records the last request, since a gateway may not
// pass renewed cookies on to the browser.
func (m *Manager) remember(e *entry, now time.Time) *entry {
	p := m.members.Of(e.key, now)
	m.checker.Learn(p, membership.Profile{User: e.origin.User, Checked: e.origin.Checked})
	p.SignedIn(e.origin.SignedIn)
	e.member.Store(p)
	m.tokens.add(e, now)
	ttl := e.expires.Sub(now)
	if m.Config.Idle == 0 {
		ttl = min(ttl, time.Hour)
	}
	return m.cache.put(e, ttl, now)
}

// confirm accepts a session, starts a lookup for it, or waits for one.
func (m *Manager) confirm(ctx context.Context, e *entry, now time.Time, patience time.Duration) (*Session, error) {
	s, p := m.view(e, now)
	if m.Recheck == nil {
		return s, nil
	}
	standing := m.checker.Standing(p, s.Checked, e.recheck, now)
	if standing != membership.Fresh && m.Mirror != nil {
		soon := m.checker.Consult(p, now)
		s, p = m.view(e, now)
		if standing = m.checker.Standing(p, s.Checked, e.recheck, now); soon && standing == membership.Stale {
			return s, nil
		}
	}
	switch standing {
	case membership.Fresh:
		return s, nil
	case membership.Stale:
		m.checker.LookUp(p, s, s.Checked, now)
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m.checker.Await(ctx, p, s, s.Checked, now)
	now = m.Time()
	if reason, out := m.endOf(s); out {
		m.audit(s, reason)
		return nil, ErrRevoked
	}
	s, p = m.view(e, now)
	if m.checker.Standing(p, s.Checked, e.recheck, now) == membership.Overdue {
		return nil, ErrUnconfirmed
	}
	return s, nil
}

// catchUp uses another replica's confirmation of a person who is due here. Otherwise a replica
// that rarely gets a person's requests would let them pass on a confirmation that was replaced
// long ago.
func catchUp(ctx context.Context, m *Manager, e *entry) {
	if m.Recheck == nil || e.origin.User.Local {
		return
	}
	now := m.Time()
	s, p := m.view(e, now)
	if m.checker.Standing(p, s.Checked, e.recheck, now) != membership.Fresh && (m.Mirror == nil || !m.checker.Consult(p, now)) {
		m.checker.CatchUp(ctx, p)
	}
}

func (h Headers) render(u *identity.User, t identity.Token) identity.HeaderSet {
	return identity.HeaderSet{Request: h.Request.Render(u, t), Response: h.Response.Render(u, t)}
}

// view is the session with the newest profile, and its member.
func (m *Manager) view(e *entry, now time.Time) (*Session, *membership.Member) {
	p := e.member.Load()
	if p.Evicted() {
		p = m.members.Of(e.key, now)
		e.member.Store(p)
	}
	p.Touch(now)
	s, f := e.view.Load(), p.Profile()
	profile := f != nil && membership.Newer(f.Checked, s.Checked, now)
	token := e.token != nil && *e.token.token.Load() != s.Token
	if !profile && !token {
		return s, p
	}
	newer := *s
	if profile {
		newer.User, newer.Checked = f.User, f.Checked
	}
	if token {
		newer.Token = *e.token.token.Load()
	}
	newer.Headers = m.Headers.render(&newer.User, newer.Token)
	e.view.Store(&newer)
	return &newer, p
}
