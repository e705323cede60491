// Package accessrequest lets people who were refused request access, and stores the resulting
// grants.
//
//	403 ─ Submit ─► waiting ─┬─ Answer yes ──► granted ──┬─ its time ─────► ended
//	                         ├─ Answer no ───► denied    ├─ End, a leaver,
//	                         └─ 24 h ────────► expired   └─ a changed rule ► ended
//
// All requests and grants of one person are one sealed record of the store, and every step is one
// Swap of it: the first answer decides, the limits apply to all replicas together, and a crash
// leaves the old record or the new one. A Book reads a person's record again when its copy is
// freshFor old; if the store does not answer, nothing is granted two seconds later.
//
// A grant ends by two clocks, whichever is first: that of the process, which never goes back, and
// that of the store, which deletes the grant's lease. The end therefore does not depend on a
// replica whose clock was set back.
//
// Package proxy/access decides which route a request is for, and which parts of its rule a grant
// replaces.
package accessrequest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"dinggate/internal/identity"
)

// Errors of a Book. Any other error means that the store is unavailable: the state is unknown, and
// nothing is granted.
var (
	ErrNone     = errors.New("accessrequest: no such request")
	ErrNotYours = errors.New("accessrequest: not an approver of this request")
	ErrAnswered = errors.New("accessrequest: answered or over already")
	ErrTooMany  = errors.New("accessrequest: too many requests of this person")
	ErrFull     = errors.New("accessrequest: too many requests of everybody")
)

// State is the state of a request. Its text is stored in records and used in metrics.
type State string

// The states of a request. Only Granted allows access.
const (
	Waiting State = "waiting"
	Granted State = "granted"
	Denied  State = "denied"
	Expired State = "expired" // no answer within Unanswered
	Ended   State = "ended"   // it was granted or waiting, and has ended: Request.End is the reason
)

// Reasons for which a request or grant has ended.
const (
	EndTime    = "time"          // its time is over
	EndTaken   = "taken_back"    // by an approver or an administrator
	EndLeft    = "left"          // the person is no longer a member
	EndChanged = "route_changed" // the route, its rule or its `request` has changed
	EndSilence = "unanswered"    // no answer within Unanswered
	EndVoid    = "void"          // only in the audit record: another answer, or an end, came before this one
)

const (
	Unanswered = 24 * time.Hour // how long a request waits for an answer
	shownFor   = 24 * time.Hour // how long a request is shown after its end
	PerDay     = 20             // requests of one person within 24 hours
	maxItems   = 40             // of one person
	maxRecord  = 56 << 10       // bytes of one person's record, sealed
)

// Lengths of typed texts, in characters.
const (
	MaxReason = 200
	MaxWord   = 200
)

// Person is a person in a request, with the names that the directory had at that time.
type Person struct {
	UserID   string `json:"i,omitempty"`
	UnionID  string `json:"u,omitempty"`
	Username string `json:"n,omitempty"`
	Name     string `json:"d,omitempty"`
	Local    bool   `json:"l,omitempty"`
}

// PersonOf returns a signed-in person.
func PersonOf(u *identity.User) Person {
	return Person{UserID: u.UserID, UnionID: u.UnionID, Username: u.Username, Name: u.Name, Local: u.Local}
}

// Full is the name with the username: 张三 (zhangsan).
func (p Person) Full() string {
	id := p.Username
	if id == "" {
		id = p.UserID
	}
	if p.Name == "" || p.Name == id {
		return id
	}
	return p.Name + " (" + id + ")"
}

// Is reports whether both are the same person: a userid may have been assigned to another person
// (threats K10), and a local account is no member of the organisation (threats T32). An approver
// who was found by the userid alone has no UnionID.
func (p Person) Is(o Person) bool {
	switch {
	case p.Local != o.Local:
		return false
	case p.Local:
		return p.Username != "" && p.Username == o.Username
	case p.UnionID != "" && o.UnionID != "" && p.UnionID != o.UnionID:
		return false
	case p.UserID != "" || o.UserID != "":
		return p.UserID == o.UserID
	case p.UnionID != "":
		return p.UnionID == o.UnionID
	}
	return p.Username != "" && p.Username == o.Username
}

// locator is the key of a person's record: equal for all requests of one userid.
func (p Person) locator() locator {
	kind, text := "userid", p.UserID
	switch {
	case p.Local:
		kind, text = "account", p.Username
	case text == "" && p.UnionID != "":
		kind, text = "unionid", p.UnionID
	case text == "":
		kind, text = "username", p.Username
	}
	sum := sha256.Sum256([]byte("dinggate access request\x00" + kind + "\x00" + text))
	return locator(base64.RawURLEncoding.EncodeToString(sum[:locatorSize]))
}

// locator identifies a person's record, and is the beginning of the id of each request in it.
type locator string

const (
	locatorSize   = 12
	locatorLength = 16 // in base64
	idSize        = 18
	idLength      = locatorLength + 24
)

func (l locator) key() string { return "access:person:" + string(l) }

// newID returns an id for a request that cannot be guessed (threats G6).
func newID(l locator) string {
	var b [idSize]byte
	rand.Read(b[:])
	return string(l) + base64.RawURLEncoding.EncodeToString(b[:])
}

// locate returns the locator of a request's id; ok is false if the id is malformed.
func locate(id string) (locator, bool) {
	if len(id) != idLength {
		return "", false
	}
	for _, c := range []byte(id) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return "", false
		}
	}
	return locator(id[:locatorLength]), true
}

// Request is one request and, once it was granted, the grant. Both have the same ID.
type Request struct {
	ID          string        `json:"id"`
	Person      Person        `json:"p"`
	Departments string        `json:"dp,omitempty"` // the path of the person's departments, for the approver
	Route       Route         `json:"r"`
	Target      string        `json:"t"` // the page first requested: a path, or one of our URLs
	Why         string        `json:"w,omitempty"`
	For         time.Duration `json:"f"`
	Approvers   []Person      `json:"a"`
	Requested   time.Time     `json:"at"`
	Unnotified  bool          `json:"un,omitempty"` // an approver may not have been notified

	State    State     `json:"s"`
	Answered time.Time `json:"an,omitzero"`
	By       Person    `json:"by,omitzero"`
	Word     string    `json:"wd,omitempty"` // the comment of the approver, for the requester
	Until    time.Time `json:"u,omitzero"`   // of a grant
	Live     string    `json:"lv,omitempty"` // the key of the grant's lease: see Book.lease
	lapsed   bool      // the lease has expired

	Over    time.Time `json:"o,omitzero"`  // when it was denied, expired or ended
	End     string    `json:"e,omitempty"` // why it ended
	EndedBy string    `json:"eb,omitempty"`
}

// Route identifies a route, and the rule that it had.
type Route struct {
	Name        string `json:"n"` // its path
	Host        string `json:"h,omitempty"`
	Fingerprint string `json:"f"` // of all that decides: with another fingerprint it is another route
}

// Approver reports whether p may answer: one of the approvers, and never the requester (threats
// G1), who may have another unionId since a migration.
func (r *Request) Approver(p Person) bool {
	if r.isRequester(p) {
		return false
	}
	for _, a := range r.Approvers {
		if !a.Local && a.Is(p) {
			return true
		}
	}
	return false
}

// isRequester reports whether p is the requester, or has one of the requester's ids.
func (r *Request) isRequester(p Person) bool {
	return r.Person.Is(p) || r.Person.UnionID != "" && r.Person.UnionID == p.UnionID ||
		r.Person.UserID != "" && r.Person.UserID == p.UserID
}

// at is the request at a time: it may have expired before that was written.
func (r Request) at(now time.Time) Request {
	switch {
	case r.State == Waiting && !now.Before(r.Requested.Add(Unanswered)):
		r.State, r.End, r.Over = Expired, EndSilence, r.Requested.Add(Unanswered)
	case r.State == Granted && r.lapsed && now.Before(r.Until):
		r.State, r.End, r.Over = Ended, EndTime, now.UTC().Truncate(time.Millisecond)
	case r.State == Granted && !now.Before(r.Until):
		r.State, r.End, r.Over = Ended, EndTime, r.Until
	}
	return r
}

// forget is when a request need not be shown any longer.
func (r *Request) forget() time.Time {
	switch {
	case !r.Over.IsZero():
		return r.Over.Add(shownFor)
	case r.State == Granted:
		return r.Until.Add(shownFor)
	}
	return r.Requested.Add(Unanswered + shownFor)
}

// live reports whether the request waits or grants access.
func (r *Request) live() bool { return r.State == Waiting || r.State == Granted }
