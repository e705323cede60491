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

// Manager makes sessions and recognises them.
//
// Set the fields, then share the pointer; it is safe for concurrent use. Keyring,
// Config and Realm are needed: without them every session is refused. Run does
// the housekeeping and owns the lookups in the background.
type Manager struct {
	Keyring *keyring.Keyring
	Config  Config
	Cookie  CookieConfig
	Realm   string           // corp_id or the SSO service's URL; a cookie of another realm is ErrForged (threats C9)
	Secure  bool             // public_url is https
	Headers Headers          // rendered once per session and change
	Now     func() time.Time // nil: time.Now

	// Store keeps the sessions with Config.Store redis; how often it is asked
	// depends on the Journal. With cookie it is a store of this process alone
	// that outlives a restart; it is asked when a cookie is first seen. Nil:
	// sign-outs are in memory.
	Store store.Store

	// Journal spreads what ends to the other replicas, so that requests need not
	// ask the Store (see freshness for the bounds); only with Config.Store redis,
	// and only while Run runs. Nil: every request asks.
	Journal store.Journal

	// Service says that an SSO service names the people: it may give several of
	// them one unionid (threats T36), so that no two are one person here unless
	// their usernames are the same too.
	Service bool

	// Accounts are the local accounts of now. A session that was begun with a
	// password ends with it, wherever and whenever that was (threats T34). Nil:
	// nobody is a local account.
	Accounts Accounts

	// Recheck looks a person up again. A *identity.Failure of class Refused ends
	// every session of the person; any other error counts as silence, which
	// sessions outlive by Config.Grace. The context lives 10 s. Without Refresh,
	// s may be without a token: an event asked, not a request. Nil: membership
	// is never looked at again.
	Recheck func(ctx context.Context, s *Session) (identity.User, error)

	// Mirror confirms people whom it knows as they are here, in place of a Recheck
	// of each. It never ends a session. Nil: each is looked up.
	Mirror *mirror.Mirror

	// Refresh exchanges a refresh token for new tokens, for sessions whose sign-in
	// yielded one and its expiry. Errors are as Recheck's, but a refusal ends
	// this session alone. Recheck is not called with a token that has expired.
	// Nil: tokens are left to expire.
	Refresh func(ctx context.Context, refresh string) (identity.Token, error)

	// OnRevoked is called once for every session that ended by revocation, for the audit
	// log; reason is a word such as `not_member`. Not of one given to Revoke,
	// nor for one that simply expired. Each replica reports those it has seen.
	// If nil, it is not called.
	OnRevoked func(s *Session, reason string)

	// OnEnd is called with every end that the Manager, or one that inherits from it,
	// learns of: at least once with each that came about here, on another replica or
	// in the Store. It must not wait, nor call the Manager. A Manager that inherits
	// goes on with that of the first. If nil, it is not called.
	OnEnd func(End)

	// OnTokenTruncated is called for a new session whose cookie has no room for its whole token:
	// see Session.Token. If nil, it is not called.
	OnTokenTruncated func(s *Session)

	// Limits bound what is in memory.
	Limits

	once      sync.Once
	inherited *Manager // whose state init takes over
	parts
}

// Limits bound what a Manager has in memory; 0 means the number beside it.
type Limits struct {
	MaxSessions int // 10,000 cookies known without opening them; as many tokens that are refreshed
	MaxPeople   int // 50,000
	MaxRevoked  int // 100,000; past it everybody signs in again
	MaxWatches  int // 50,000 open connections
	MaxRechecks int // 16 lookups at a time, and 16 refreshes
	MaxAsks     int // 32 questions to the Store at a time that nobody waits for
}

// Headers says what a session's person looks like to others.
type Headers struct {
	Request  identity.HeaderRules // for upstreams
	Response identity.HeaderRules // for gateways
}

// Accounts knows the passwords of local accounts by fingerprints: numbers that
// differ between any two passwords, and between equal ones that were set anew.
type Accounts interface {
	// Version changes whenever Holds may answer otherwise. It is asked on every
	// request of a local account.
	Version() uint64

	// Holds reports whether a session of the account with this fingerprint is
	// still good; 0 is that of a session which an older release made.
	Holds(name string, fingerprint uint64) bool
}

const (
	// skew is how far another replica's clock may be ahead (V18, C7).
	skew = time.Minute

	// maxTexts bounds the work for one request: more cookies of our name than
	// this are an attack (threats C3, C12).
	maxTexts = 8
)

// Time is what the manager's clock says.
func (m *Manager) Time() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Load recognises a session. texts are all the values that one request carried
// under our cookie name; exactly one of them must be a session, since of two
// it cannot be known which one was planted (threats C3). Those that have expired or
// were revoked do not count.
//
// A membership that was last confirmed too long ago makes Load wait for a
// lookup, at most patience. Otherwise it never waits for DingTalk, and for a
// Store only as Manager.Store says.
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
	if m.ended(e) { // before the network
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
			return nil, ErrRevoked // the refresh was refused
		}
	}
	s, err := m.confirm(ctx, e, now, patience)
	if err != nil {
		return nil, err
	}
	e.touch(now)
	return s, nil
}

// identify finds the session that the cookies stand for.
func (m *Manager) identify(ctx context.Context, texts []string, now time.Time) (*entry, error) {
	if len(texts) == 1 { // nearly always, and known
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

// ended looks at the revocations, and at a local account's password, if
// anything has changed since the last look.
func (m *Manager) ended(e *entry) bool {
	generation := m.revoked.Generation()
	if generation == e.generation.Load() &&
		(!e.origin.User.Local || m.Accounts != nil && m.Accounts.Version()+1 == e.accounts.Load()) {
		return false
	}
	version := uint64(0)
	if m.Accounts != nil {
		version = m.Accounts.Version() + 1 // before the look: a change meanwhile has it made again
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

// endOf reports whether s has been revoked, or was begun with a password that is
// not its account's any more, and why.
func (m *Manager) endOf(s *Session) (reason string, out bool) {
	if s.User.Local && (m.Accounts == nil || !m.Accounts.Holds(s.User.Username, s.Fingerprint)) {
		return "account_changed", true
	}
	one := revocation.Session{ID: s.ID, SignedIn: s.SignedIn, Fingerprint: s.Fingerprint}
	return m.revoked.Find(one, s.keys(m.Service))
}

// remember puts e into the cache; its sealed profile counts if it is the newest
// that this process knows. With an idle limit the cache also knows when the last
// request came, wherever a gateway keeps renewed cookies to itself.
func (m *Manager) remember(e *entry, now time.Time) *entry {
	p := m.members.Of(e.key, now)
	m.checker.Learn(p, membership.Profile{User: e.origin.User, Checked: e.origin.Checked})
	e.member.Store(p)
	m.tokens.add(e, now)
	ttl := e.expires.Sub(now)
	if m.Config.Idle == 0 {
		ttl = min(ttl, time.Hour)
	}
	return m.cache.put(e, ttl, now)
}

// confirm lets a session pass, starts a lookup for it, or waits for one.
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

func (h Headers) render(u *identity.User, t identity.Token) identity.HeaderSet {
	return identity.HeaderSet{Request: h.Request.Render(u, t), Response: h.Response.Render(u, t)}
}

// view is the session with the newest profile, and the person behind it.
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
