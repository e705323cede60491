package session

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"
)

// A notice is what an entry of the Journal says:
//
//	realm tag  8 bytes of a hash: of another organisation's entries we read no more
//	box        sealed by the keyring, so that a list in Redis does not show who left
//	  version  1 byte: 1, or 2 of people whom 1 has no name for
//	  kind     1 byte
//	  at       as the payload's times
//	  reason   text
//	  id       text: of a session
//	  who      unionid, userid, username: text each
//	  places   departments, roles: ids each
//	  key      version 2: the kind of a name, 1 byte, and its text
//	  spare    version 2: unsigned varint, see Person
//
// What a kind has no use for is empty. An entry of a newer version, of an
// unknown kind or under a secret that is not here is an error, on which
// everything is asked about again (see applyEvent).
type event struct {
	kind   byte
	at     time.Time
	reason string
	id     string
	who    Person
	places Places
}

const (
	noticeVersion = 1
	noticeKeyed   = 2

	sessionEnded   = 's'
	personEnded    = 'p' // sessions signed in until at
	everybodyEnded = 'a' // sessions signed in until at
	lookAgain      = 'l' // facts confirmed before at are in doubt
	placesChanged  = 'c' // the same, for everybody in one of these places

	realmTag   = 8
	maxReason  = 64
	maxPlaces  = 100 // ids in one notice
	noticeName = "journal"
)

var errNotice = errors.New("session: a journal entry does not read")

func (n event) encode() []byte {
	b := append(make([]byte, 0, 128), noticeVersion, n.kind)
	b = appendTime(b, n.at)
	for _, text := range [...]string{n.reason, n.id, n.who.UnionID, n.who.UserID, n.who.Username} {
		b = appendText(b, text)
	}
	b = appendIDs(appendIDs(b, n.places.Departments), n.places.Roles)
	key := n.who.key
	if n.who.Account != "" {
		key = name{byAccount, n.who.Account}
	}
	if key.text == "" {
		return b
	}
	b[0] = noticeKeyed
	return binary.AppendUvarint(appendText(append(b, key.kind), key.text), n.who.Spare)
}

func decodeNotice(b []byte) (n event, err error) {
	if len(b) < 2 || len(b) > store.MaxEntry || b[0] != noticeVersion && b[0] != noticeKeyed {
		return event{}, errNotice
	}
	n.kind = b[1]
	r := reader{rest: b[2:]}
	n.at = r.time()
	for _, to := range [...]*string{&n.reason, &n.id, &n.who.UnionID, &n.who.UserID, &n.who.Username} {
		*to = r.text()
	}
	n.places = Places{Departments: r.ids(), Roles: r.ids()}
	if b[0] == noticeKeyed {
		switch key := (name{r.byte(), r.text()}); {
		case key.text == "":
			return event{}, errNotice
		case key.kind == byAccount:
			n.who.Account = key.text
		case key.kind == byBoth:
			n.who.key = key
		default:
			return event{}, errNotice
		}
		n.who.Spare = r.uvarint()
	}
	if r.bad || len(r.rest) > 0 || n.at.IsZero() || len(n.reason) > maxReason {
		return event{}, errNotice
	}
	switch n.kind {
	case sessionEnded:
		if n.id == "" {
			return event{}, errNotice
		}
	case personEnded, lookAgain:
		if len(n.who.names()) == 0 {
			return event{}, errNotice
		}
	case everybodyEnded, placesChanged:
	default:
		return event{}, errNotice
	}
	return n, nil
}

// tag is the clear beginning of our organisation's entries.
func (m *Manager) tag() []byte {
	sum := sha256.Sum256([]byte("journal\x00" + m.Realm))
	return sum[:realmTag]
}

// mine reports whether an entry is about our organisation.
func (m *Manager) mine(entry []byte) bool {
	return len(entry) >= realmTag+keyring.SaltLength && slices.Equal(entry[:realmTag], m.tag())
}

// entry makes the journal entry of a notice; nil without a Journal. It is noted
// as heard: who speaks has acted.
func (m *Manager) entry(n event) []byte {
	if m.Journal == nil {
		return nil
	}
	n.at = time.UnixMilli(n.at.UnixMilli())
	n.reason = n.reason[:min(len(n.reason), maxReason)]
	box, err := m.Keyring.SealRecord(noticeName+" "+m.Realm, n.encode())
	if err != nil || realmTag+len(box) > store.MaxEntry {
		return nil
	}
	entry := append(m.tag(), box...)
	m.dedup.once(entry)
	return entry
}

func (m *Manager) openNotice(entry []byte) (event, error) {
	plain, _, err := m.Keyring.OpenRecord(noticeName+" "+m.Realm, entry[realmTag:])
	if err != nil {
		return event{}, err
	}
	return decodeNotice(plain)
}

// Places are departments and roles of the organisation.
type Places struct {
	Departments []int64
	Roles       []int64
}

// concern reports whether a person is in one of them, in a department also by
// being below it.
func (p Places) concern(u identity.User) bool {
	for _, id := range p.Departments {
		if slices.Contains(u.Departments, id) || slices.Contains(u.Ancestors, id) {
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
