// Package session remembers a signed-in person between requests.
//
//	sign-in ──► Manager.Create ──► sealed cookie ──► browser
//	                                                   │
//	request ◄── *Session ◄── Manager.Load ◄────────────┘
//	                            │
//	   verified-session cache ──┤ else Keyring.Open ── payload, or ticket ── Store
//	   lifetime, idle ──────────┤
//	   revocation, Store ───────┤ ErrRevoked, ErrStore
//	   membership (Recheck) ────┘ in the background, with grace
//
//	place ── cookies of one session on hosts of several domains
//	manager, create, open ── cookies and sessions       cache ── known cookies
//	records, ticket, payload ── what cookies and Store hold, and how it is sealed
//	freshness ── when the Store is asked again          tokens ── refresh tokens
//	membership ── people looked up again                revocation ── what has ended
//
// With `store: cookie` the cookie carries the whole session, and a Store, if the
// command gives it a local one, keeps the sign-outs that must outlive a restart;
// replicas share nothing. With `store: redis` the cookie is a ticket to a record
// in a Store that all replicas share, and a Journal informs them of what ends, so
// that a session that is known costs no question.
//
// Reading the Cookie header, deciding who may enter, and talking to DingTalk
// live elsewhere.
package session

import (
	"errors"
	"log/slog"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
)

// Why there is no session. The first four mean "sign in"; the last two are
// a failing service of ours: 503, the cookie is kept, nobody is signed out.
var (
	ErrNone        = errors.New("session: none")                           // no cookie
	ErrExpired     = errors.New("session: expired")                        // past its lifetime or idle limit
	ErrRevoked     = errors.New("session: revoked")                        // signed out, or the person is no member any more
	ErrForged      = errors.New("session: does not verify")                // not ours, of another organisation, or of a newer format
	ErrStore       = errors.New("session: the store is unavailable")       // nothing is known about this session now
	ErrUnconfirmed = errors.New("session: membership cannot be confirmed") // DingTalk has been silent for longer than the grace
)

// Session is one sign-in of one person.
//
// What Load and Create return is shared between requests: read it, never write
// to it. Its text in fmt and slog names the person and nothing secret.
type Session struct {
	ID       string         // random, one per sign-in; it opens nothing by itself
	Realm    string         // the organisation this is a member of: corp_id, or the URL of the SSO service
	User     identity.User  // newest facts known to this process
	Token    identity.Token // what the sign-in yielded; without Refresh, or Access too, when that did not fit into the cookie
	SignedIn time.Time      // never changes
	Silent   bool           // signed in inside the DingTalk client, without a click
	Checked  time.Time      // when User was last confirmed
	Headers  identity.HeaderSet

	// Fingerprint is that of the password which began a local account's session
	// (see Accounts). 0: unknown, of a session that an older release made.
	Fingerprint uint64

	entry *entry // where it came from; nil for one that Load or Create did not make
}

// key identifies the person behind a session.
func (s *Session) key(service bool) identity.Key {
	if s.entry != nil && s == s.entry.origin {
		return s.entry.key
	}
	return identity.KeyOf(&s.User, service)
}

// keys lists what s can be revoked by, the person's key first; the rest is zero.
func (s *Session) keys(service bool) [3]identity.Key { return identity.Keys(&s.User, s.key(service)) }

// Person and Places say whose sessions end, or who is looked up again.
type (
	Person = revocation.Person
	Places = revocation.Places
)

// String names the person; Token stays out of every log line.
func (s *Session) String() string       { return "session of " + s.User.Username }
func (s *Session) GoString() string     { return s.String() }
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.String()) }
