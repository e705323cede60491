// Package session manages the sessions of signed-in people.
//
//	sign-in ──► Manager.Begin ──► sealed cookie ──► browser
//	                                                   │
//	request ◄── *Session ◄── Manager.Load ◄────────────┘
//	                            │
//	   verified-session cache ──┤ otherwise Keyring.Open ── payload, or ticket ── Store
//	   lifetime, idle ──────────┤ ErrExpired
//	   revocation, Store ───────┤ ErrRevoked, ErrStore
//	   token (Refresh) ─────────┤ of an SSO service
//	   membership (Recheck) ────┘ in the background, with grace; if overdue, Load waits: ErrUnconfirmed
//
//	sign-out, leaver ──► Manager.Revoke… ──► here, Store, Journal ──► other replicas, open connections (watch)
//
// Files: manager, create and open make and load sessions; cache holds verified cookies; records,
// ticket and payload define and seal the contents of cookies and Store; place has the cookies of one
// session on hosts of several domains; freshness decides when the Store is read again; tokens
// refreshes tokens; revoke ends sessions; watch closes open connections; parts connects the packages
// below: membership (people looked up again), mirror (the same in bulk), revocation (ended sessions),
// index (the list of sessions).
//
// With `store: cookie` the cookie carries the whole session, and a local Store, if there is one,
// stores the sign-outs that must outlive a restart; replicas share nothing. With `store: redis`
// the cookie is a ticket to a record in a Store that all replicas share, and a Journal sends them
// revocations, so that a request of a known session does not read the Store.
//
// Other packages parse the Cookie header, authorize requests, and call DingTalk.
package session

import (
	"errors"
	"log/slog"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
)

// Reasons for which there is no session. The first four mean "sign in". The last two are failures:
// answer 503 and keep the cookie; the session may be valid.
var (
	ErrNone        = errors.New("session: none")                           // no cookie
	ErrExpired     = errors.New("session: expired")                        // past its lifetime or idle limit
	ErrRevoked     = errors.New("session: revoked")                        // signed out, or no longer a member
	ErrForged      = errors.New("session: does not verify")                // forged, or of another realm or format
	ErrStore       = errors.New("session: the store is unavailable")       // the state of this session is unknown now
	ErrUnconfirmed = errors.New("session: membership cannot be confirmed") // rechecks have failed for longer than Config.Grace
)

// Session is one sign-in of one person.
//
// What Load and Begin return is shared between requests: read it, never write
// to it. Its text in fmt and slog names the person and nothing secret.
type Session struct {
	ID       string         // random, one per sign-in; no credential
	Realm    string         // the organisation of the session: corp_id, or the URL of the SSO service
	User     identity.User  // newest facts known to this process
	Token    identity.Token // of the sign-in; Refresh, or Access too, is empty if it did not fit into the cookie
	SignedIn time.Time      // never changes
	Silent   bool           // signed in inside the DingTalk client, without a click
	Checked  time.Time      // when User was last confirmed
	Headers  identity.HeaderSet

	// Fingerprint is that of the password with which a local account's session began (see
	// Accounts). 0 is unknown, for a session that an older release made.
	Fingerprint uint64

	entry *entry // its cache entry; nil unless Load or Create made the session
}

// key identifies the person of a session.
func (s *Session) key(service bool) identity.Key {
	if s.entry != nil && s == s.entry.origin {
		return s.entry.key
	}
	return identity.KeyOf(&s.User, service)
}

// keys lists the keys that s can be revoked by, the person's first; unused ones are
// zero.
func (s *Session) keys(service bool) [3]identity.Key { return identity.Keys(&s.User, s.key(service)) }

// Person and Places select whose sessions end, or who is looked up again.
type (
	Person = revocation.Person
	Places = revocation.Places
)

// String names the person; Token never appears in a log line.
func (s *Session) String() string       { return "session of " + s.User.Username }
func (s *Session) GoString() string     { return s.String() }
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.String()) }
