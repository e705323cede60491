// Package accessrequest lets people who were refused ask for access, and keeps the
// grants that come of it.
//
//	403 ── Ask ──► waiting ──┬─ Answer yes ──► granted ──┬─ its time ─────► ended
//	                         ├─ Answer no ───► denied    ├─ End, a leaver,
//	                         └─ 24 h ────────► expired   └─ a changed rule ► ended
//
// All that one person asked for and was granted is one sealed record of the store,
// and every step is one Swap of it: the first answer counts, the limits hold on
// all replicas together, and a crash leaves the record as it was or as it is. A
// Book looks a person's record up again when what it knows is a second old; when
// the store does not answer, nothing is granted two seconds later.
//
// Which route decides, and what a grant replaces there, is proxy/access's.
package accessrequest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"dinggate/internal/identity"
)

// Answers of a Book. Any other error means that the store is unavailable: nothing
// is known, and nothing granted.
var (
	ErrNone     = errors.New("accessrequest: no such request")
	ErrNotYours = errors.New("accessrequest: not an approver of this request")
	ErrAnswered = errors.New("accessrequest: answered or over already")
	ErrTooMany  = errors.New("accessrequest: too many requests of this person")
	ErrFull     = errors.New("accessrequest: too many requests of everybody")
)

// State is where a request is. Its text is in records and metrics.
type State string

// The states of a request. Granted is the only one in which it lets in.
const (
	Waiting State = "waiting"
	Granted State = "granted"
	Denied  State = "denied"
	Expired State = "expired" // nobody answered within Unanswered
	Ended   State = "ended"   // it was granted, or waited, and is over: Request.End says why
)

// Why a request or grant has ended.
const (
	EndTime    = "time"          // its time was over
	EndTaken   = "taken_back"    // by an approver or an administrator
	EndLeft    = "left"          // the person is no member any more
	EndChanged = "route_changed" // the route, its rule or its `request` is another now
	EndSilence = "unanswered"    // nobody answered within Unanswered
)

const (
	Unanswered = 24 * time.Hour // how long a request waits for an answer
	kept       = 24 * time.Hour // how long a request is shown after it is over
	PerDay     = 20             // requests of one person within 24 hours
	maxItems   = 40             // of one person
	maxRecord  = 56 << 10       // bytes of one person's record, sealed
)

// Lengths of what people type, in characters.
const (
	MaxReason = 200
	MaxWord   = 200
)

// Person is somebody in a request, as the directory named them then.
type Person struct {
	UserID   string `json:"i,omitempty"`
	UnionID  string `json:"u,omitempty"`
	Username string `json:"n,omitempty"`
	Name     string `json:"d,omitempty"`
	Local    bool   `json:"l,omitempty"`
}

// PersonOf is a signed-in person.
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

// Is reports whether both are one person: a userid may be given to another one
// (threats K10), and a local account is no member of the organisation (threats T32).
// An approver who was found by the userid alone has no UnionID.
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

// locator is where a person's record is: equal for everything that one userid asked.
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

// locator names a person's record, and begins the id of each request in it.
type locator string

const (
	locatorSize   = 12
	locatorLength = 16 // in base64
	idSize        = 18
	idLength      = locatorLength + 24
)

func (l locator) key() string { return "access:person:" + string(l) }

// newID is a request's id: nobody guesses it (threats G6).
func newID(l locator) string {
	var b [idSize]byte
	rand.Read(b[:])
	return string(l) + base64.RawURLEncoding.EncodeToString(b[:])
}

// locate finds the record that an id belongs to, if it can be one.
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

// Request is one request and, once it was granted, the grant. Its ID is that of both.
type Request struct {
	ID          string        `json:"id"`
	Person      Person        `json:"p"`
	Departments string        `json:"dp,omitempty"` // the path of the person's departments, for the approver
	Route       Route         `json:"r"`
	Target      string        `json:"t"` // the page asked for first: a path, or one of our URLs
	Why         string        `json:"w,omitempty"`
	For         time.Duration `json:"f"`
	Approvers   []Person      `json:"a"`
	Asked       time.Time     `json:"at"`
	Untold      bool          `json:"un,omitempty"` // an approver may not have been notified

	State    State     `json:"s"`
	Answered time.Time `json:"an,omitzero"`
	By       Person    `json:"by,omitzero"`
	Word     string    `json:"wd,omitempty"` // of who answered, to the requester
	Until    time.Time `json:"u,omitzero"`   // of a grant

	Over    time.Time `json:"o,omitzero"`  // when it was denied, expired or ended
	End     string    `json:"e,omitempty"` // why it ended
	EndedBy string    `json:"eb,omitempty"`
}

// Route names a route, and the rule that it had.
type Route struct {
	Name        string `json:"n"` // its path
	Host        string `json:"h,omitempty"`
	Fingerprint string `json:"f"` // of all that decides: another one is another route
}

// Approver reports whether p may answer: one of the approvers, and never the requester
// (threats G1).
func (r *Request) Approver(p Person) bool {
	if r.Person.Is(p) || r.Person.UnionID != "" && r.Person.UnionID == p.UnionID {
		return false
	}
	for _, a := range r.Approvers {
		if !a.Local && a.Is(p) {
			return true
		}
	}
	return false
}

// at is the request as it is now: its time may be over before anybody wrote that down.
func (r Request) at(now time.Time) Request {
	switch {
	case r.State == Waiting && !now.Before(r.Asked.Add(Unanswered)):
		r.State, r.End, r.Over = Expired, EndSilence, r.Asked.Add(Unanswered)
	case r.State == Granted && !now.Before(r.Until):
		r.State, r.End, r.Over = Ended, EndTime, r.Until
	}
	return r
}

// forget is when a request need not be shown any more.
func (r *Request) forget() time.Time {
	switch {
	case !r.Over.IsZero():
		return r.Over.Add(kept)
	case r.State == Granted:
		return r.Until.Add(kept)
	}
	return r.Asked.Add(Unanswered + kept)
}

// live reports whether the request waits or lets in.
func (r *Request) live() bool { return r.State == Waiting || r.State == Granted }
