package revocation

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/wire"
	"dinggate/store"
)

// Person identifies whose sessions end, by any of the names that are not empty.
type Person struct {
	UnionID  string
	UserID   string
	Username string // of a person without a unionId
	Account  string // of a local account

	// Spare is the Fingerprint of the sessions of Account that continue: those begun with the
	// current password. If 0, none continues.
	Spare uint64

	key identity.Key // of an SSO service's person, if no other name is unique to them
}

// PersonOf is the person with this key.
func PersonOf(key identity.Key) Person {
	switch key.Kind {
	case identity.KeyUnionID:
		return Person{UnionID: key.Text}
	case identity.KeyUserID:
		return Person{UserID: key.Text}
	case identity.KeyAccount:
		return Person{Account: key.Text}
	case identity.KeyBoth:
		return Person{key: key}
	}
	return Person{Username: key.Text}
}

// endOf is the end of the person with this key.
func endOf(key identity.Key) End {
	who := PersonOf(key)
	if key.Kind == identity.KeyBoth {
		who.UnionID, _, _ = strings.Cut(key.Text, "\x00")
	}
	return End{Person: who}
}

// Keys lists the names that are not empty.
func (who Person) Keys() (keys []identity.Key) {
	for _, key := range []identity.Key{
		{Kind: identity.KeyUnionID, Text: who.UnionID},
		{Kind: identity.KeyUserID, Text: who.UserID},
		{Kind: identity.KeyUsername, Text: who.Username},
		{Kind: identity.KeyAccount, Text: who.Account},
		who.key,
	} {
		if key.Text != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// Matches returns a func that reports whether a person has one of the names; service
// means that an SSO service identifies the people.
func (who Person) Matches(service bool) func(u identity.User) bool {
	keys := who.Keys()
	return func(u identity.User) bool {
		has := identity.Keys(&u, identity.KeyOf(&u, service))
		return slices.ContainsFunc(keys, func(key identity.Key) bool { return slices.Contains(has[:], key) })
	}
}

// Places are departments and roles of the organisation.
type Places struct {
	Departments []int64
	Roles       []int64
}

// Root is the department at the top, which includes everybody.
const Root = 1

// Contain reports whether a person is in one of the departments, or below it, or
// has one of the roles.
func (p Places) Contain(u identity.User) bool {
	for _, id := range p.Departments {
		if id == Root || slices.Contains(u.Departments, id) || slices.Contains(u.Ancestors, id) {
			return true
		}
	}
	for _, id := range p.Roles {
		if slices.ContainsFunc(u.Roles, func(r identity.Role) bool { return r.ID == id }) {
			return true
		}
	}
	return false
}

// Event is the content of a Journal entry:
//
//	realm tag  8 bytes of a hash: entries of another organisation are not read further
//	box        sealed by the keyring, so that a list in Redis does not reveal who left
//
//	  version  1 byte: 1, or 2 of people whom version 1 cannot identify
//	  kind     1 byte
//	  at       time
//	  reason   text
//	  id       text: of a session
//	  who      unionid, userid, username: text each
//	  places   departments, roles: ids each
//	  key      version 2: the kind of a name, 1 byte, and its text
//	  spare    version 2: unsigned varint, see Person
//
// Fields that a kind does not use are empty. An entry of a newer version, of an
// unknown kind or sealed under an unknown secret is an error, after which every
// session is looked up in the Store again (see Replicator.Unreadable).
type Event struct {
	Kind   byte
	At     time.Time
	Reason string
	ID     string
	Who    Person
	Places Places
}

// Kinds of events.
const (
	SessionEnded   = 's'
	PersonEnded    = 'p' // sessions signed in until At
	EverybodyEnded = 'a' // sessions signed in until At
	PersonChanged  = 'l' // facts confirmed before At are invalid
	PlacesChanged  = 'c' // the same, for all people in one of these places
)

// MaxPlaces bounds the departments, and the roles, of an event.
const MaxPlaces = 100

const (
	eventVersion      = 1
	eventVersionKeyed = 2

	realmTag  = 8
	maxReason = 64
	boxName   = "journal"
)

var errEvent = errors.New("revocation: a journal entry does not read")

func (e Event) encode() []byte {
	b := append(make([]byte, 0, 128), eventVersion, e.Kind)
	b = wire.AppendTime(b, e.At)
	for _, text := range [...]string{e.Reason, e.ID, e.Who.UnionID, e.Who.UserID, e.Who.Username} {
		b = wire.AppendText(b, text)
	}
	b = wire.AppendIDs(wire.AppendIDs(b, e.Places.Departments), e.Places.Roles)
	key := e.Who.key
	if e.Who.Account != "" {
		key = identity.Key{Kind: identity.KeyAccount, Text: e.Who.Account}
	}
	if key.Text == "" {
		return b
	}
	b[0] = eventVersionKeyed
	return binary.AppendUvarint(wire.AppendText(append(b, key.Kind), key.Text), e.Who.Spare)
}

func decodeEvent(b []byte) (e Event, err error) {
	if len(b) < 2 || len(b) > store.MaxEntry || b[0] != eventVersion && b[0] != eventVersionKeyed {
		return Event{}, errEvent
	}
	e.Kind = b[1]
	r := wire.Reader{Rest: b[2:]}
	e.At = r.Time()
	for _, to := range [...]*string{&e.Reason, &e.ID, &e.Who.UnionID, &e.Who.UserID, &e.Who.Username} {
		*to = r.Text()
	}
	e.Places = Places{Departments: r.IDs(), Roles: r.IDs()}
	if b[0] == eventVersionKeyed {
		switch key := (identity.Key{Kind: r.Byte(), Text: r.Text()}); {
		case key.Text == "":
			return Event{}, errEvent
		case key.Kind == identity.KeyAccount:
			e.Who.Account = key.Text
		case key.Kind == identity.KeyBoth:
			e.Who.key = key
		default:
			return Event{}, errEvent
		}
		e.Who.Spare = r.Uvarint()
	}
	if r.Bad || len(r.Rest) > 0 || e.At.IsZero() || len(e.Reason) > maxReason {
		return Event{}, errEvent
	}
	switch e.Kind {
	case SessionEnded:
		if e.ID == "" {
			return Event{}, errEvent
		}
	case PersonEnded, PersonChanged:
		if len(e.Who.Keys()) == 0 {
			return Event{}, errEvent
		}
	case EverybodyEnded, PlacesChanged:
	default:
		return Event{}, errEvent
	}
	return e, nil
}

// isOurs reports whether an entry is about our organisation.
func (r *Replicator) isOurs(entry []byte) bool {
	return len(entry) >= realmTag+keyring.SaltLength && slices.Equal(entry[:realmTag], r.tag())
}

// Entry makes the journal entry of an event; nil without a Journal. The entry counts
// as applied: the caller has acted on it.
func (r *Replicator) Entry(e Event) []byte {
	if r.Journal == nil {
		return nil
	}
	e.At = time.UnixMilli(e.At.UnixMilli())
	e.Reason = e.Reason[:min(len(e.Reason), maxReason)]
	box, err := r.Keyring.SealRecord(boxName+" "+r.Realm, e.encode())
	if err != nil || realmTag+len(box) > store.MaxEntry {
		return nil
	}
	entry := append(r.tag(), box...)
	r.dedup.first(entry)
	return entry
}

func (r *Replicator) open(entry []byte) (Event, error) {
	plain, _, err := r.Keyring.OpenRecord(boxName+" "+r.Realm, entry[realmTag:])
	if err != nil {
		return Event{}, err
	}
	return decodeEvent(plain)
}
