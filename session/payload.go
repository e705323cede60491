package session

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"
	"unicode/utf8"

	"dinggate/internal/identity"
	"dinggate/internal/wire"
)

// The payload is the content of a sealed cookie, or of a sealed record in the Store:
//
//	version        1 byte: 1, or 3 if version 1 would not identify the person
//	id             16 bytes
//	realm          text
//	times          signed in, checked, sealed: unsigned varint, Unix milliseconds, 0 = none
//	user           unionid, userid, username, name, email, job number: text each;
//	               departments, ancestors: count, then signed varints; roles: count, then id and text
//	token          access, refresh: text; expires: as the times
//	kind           version 3: 1 byte, `l` of a local account, `p` of a person without a unionid
//	fingerprint    version 3, of a local account: unsigned varint, 0 = unknown
//	marks          version 4, behind the kind of version 3, which may be `m` of anybody else:
//	               1 byte, not 0: 1 = the sign-in was silent, 2 = lists of the person were cut
//
// Version 1 has no kind: without a unionid and a token it is a local account's, since an SSO
// service returns a token for every person. If that would be wrong (a local account, which needs
// its fingerprint; a profile found by a lookup of a person without a unionid), version 3 is
// written, and version 4 if there is a mark. Otherwise version 1 is written, which older releases
// read too.
//
// A text is an unsigned varint length and its bytes. Varints are minimal and nothing follows the
// end, so that a session has one encoding. A new field requires a new version: old versions are
// still read, a newer one is ErrForged, so that of two releases side by side the older one
// requires a sign-in instead of answering 500 (threats V33). Version 2 is the ticket.
const (
	version      = 1
	versionKinds = 3
	versionMarks = 4

	kindLocal  = 'l'
	kindPerson = 'p'
	kindMember = 'm'

	markSilent = 1
	markCut    = 2
)

// Sizes that keep the Set-Cookie line below 3,500 bytes (threats C16, D8).
const (
	idLength = 16
	maxRealm = 255
	maxUser  = 900  // limit of fitUser in a cookie, so that every replica has the same data about a person
	maxPlain = 1679 // 3,072 bytes in base64 twice with IV, MAC and time; name and attributes need up to 400
)

var errTooLarge = errors.New("does not fit into a cookie")

var errIDOrRealm = errors.New("its id or realm is of the wrong length")

// rawID is the bytes of a session's id.
func rawID(text string) ([]byte, error) {
	id, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil && len(id) != idLength {
		err = errIDOrRealm
	}
	return id, err
}

// fitUser truncates a person's data to max bytes: a name after 128 bytes; a job number
// longer than 64 bytes is dropped, since half of one may be another person's; then
// lists are cut at the end, ancestors first, then departments, roles last. Rules allow
// only by what is present, so that truncation never grants access. Identifying fields
// (unionid, userid, username, e-mail) are never cut: if they do not fit, it is an
// error.
func fitUser(u identity.User, max int) (identity.User, error) {
	for len(u.Name) > 128 {
		_, n := utf8.DecodeLastRuneInString(u.Name)
		u.Name = u.Name[:len(u.Name)-n]
	}
	if len(u.JobNumber) > 64 {
		u.JobNumber = ""
	}
	fits := func(u identity.User) bool { return len(appendUser(nil, &u)) <= max }
	if fits(u) {
		return u, nil
	}
	full := u
	u.Cut = true
	u.Ancestors = full.Ancestors[:longest(len(full.Ancestors), func(n int) bool { u.Ancestors = full.Ancestors[:n]; return fits(u) })]
	u.Departments = full.Departments[:longest(len(full.Departments), func(n int) bool { u.Departments = full.Departments[:n]; return fits(u) })]
	u.Roles = full.Roles[:longest(len(full.Roles), func(n int) bool { u.Roles = full.Roles[:n]; return fits(u) })]
	if !fits(u) {
		return identity.User{}, errTooLarge
	}
	return u, nil
}

// longest is the greatest n up to max that fits; 0 when none does.
func longest(max int, fits func(n int) bool) int {
	return sort.Search(max, func(n int) bool { return !fits(n + 1) })
}

// encode writes s as sealed at the given time, in at most max bytes. If there is not
// enough room, s.Token loses the refresh token first, then the access token too. Its
// expiry stays and shows that there was one. s must not be shared yet.
func encode(s *Session, sealed time.Time, max int) ([]byte, error) {
	id, err := rawID(s.ID)
	if err != nil || len(s.Realm) > maxRealm {
		return nil, errIDOrRealm
	}
	kinds := s.User.Local || s.User.UnionID == "" && s.Token == (identity.Token{})
	marks := marksOf(s)
	b := append(make([]byte, 0, 512), version)
	switch {
	case marks != 0:
		b[0] = versionMarks
	case kinds:
		b[0] = versionKinds
	}
	b = append(b, id...)
	b = wire.AppendText(b, s.Realm)
	b = wire.AppendTime(b, s.SignedIn)
	b = wire.AppendTime(b, s.Checked)
	b = wire.AppendTime(b, sealed)
	b = appendUser(b, &s.User)
	cut := [...]identity.Token{s.Token, {Access: s.Token.Access}, {Expires: s.SignedIn}}
	for _, t := range cut {
		whole := appendToken(b, t)
		if kinds || marks != 0 {
			whole = appendKind(whole, s, kinds)
		}
		if marks != 0 {
			whole = append(whole, marks)
		}
		if len(whole) <= max {
			s.Token = t
			return whole, nil
		}
	}
	return nil, errTooLarge
}

func appendUser(b []byte, u *identity.User) []byte {
	for _, s := range [...]string{u.UnionID, u.UserID, u.Username, u.Name, u.Email, u.JobNumber} {
		b = wire.AppendText(b, s)
	}
	b = wire.AppendIDs(b, u.Departments)
	b = wire.AppendIDs(b, u.Ancestors)
	b = binary.AppendUvarint(b, uint64(len(u.Roles)))
	for _, role := range u.Roles {
		b = binary.AppendVarint(b, role.ID)
		b = wire.AppendText(b, role.Name)
	}
	return b
}

func appendToken(b []byte, t identity.Token) []byte {
	return wire.AppendTime(wire.AppendText(wire.AppendText(b, t.Access), t.Refresh), t.Expires)
}

func marksOf(s *Session) (marks byte) {
	if s.Silent {
		marks |= markSilent
	}
	if s.User.Cut {
		marks |= markCut
	}
	return marks
}

func appendKind(b []byte, s *Session, nameless bool) []byte {
	switch {
	case s.User.Local:
		return binary.AppendUvarint(append(b, kindLocal), s.Fingerprint)
	case nameless:
		return append(b, kindPerson)
	}
	return append(b, kindMember)
}

// decode is the inverse of encode with the same max, for this version and older ones. Any error is
// ErrForged.
func decode(b []byte, max int) (s *Session, sealed time.Time, err error) {
	if len(b) < 1+idLength || len(b) > max || b[0] != version && b[0] != versionKinds && b[0] != versionMarks {
		return nil, time.Time{}, fmt.Errorf("%w: payload of another version", ErrForged)
	}
	r := wire.Reader{Rest: b[1+idLength:]}
	s = &Session{ID: base64.RawURLEncoding.EncodeToString(b[1 : 1+idLength])}
	s.Realm = r.Text()
	s.SignedIn, s.Checked, sealed = r.Time(), r.Time(), r.Time()
	u := &s.User
	for _, to := range [...]*string{&u.UnionID, &u.UserID, &u.Username, &u.Name, &u.Email, &u.JobNumber} {
		*to = r.Text()
	}
	u.Departments, u.Ancestors = r.IDs(), r.IDs()
	if n := r.Count(); n > 0 {
		u.Roles = make([]identity.Role, n)
		for i := range u.Roles {
			u.Roles[i] = identity.Role{ID: r.Varint(), Name: r.Text()}
		}
	}
	s.Token = identity.Token{Access: r.Text(), Refresh: r.Text(), Expires: r.Time()}
	nameless := u.UnionID == "" && s.Token == (identity.Token{})
	if u.Local = nameless; b[0] != version {
		readKind(&r, s, nameless, b[0] == versionMarks)
	}
	if b[0] == versionMarks {
		marks := r.Byte()
		s.Silent, u.Cut = marks&markSilent != 0, marks&markCut != 0
		r.Bad = r.Bad || marks == 0 || marks > markSilent|markCut
	}
	if r.Bad || len(r.Rest) > 0 || len(s.Realm) > maxRealm {
		return nil, time.Time{}, fmt.Errorf("%w: payload does not read", ErrForged)
	}
	return s, sealed, nil
}

// readKind reads the fields of version 3, and refuses anything that appendKind does
// not write.
func readKind(r *wire.Reader, s *Session, nameless, member bool) {
	switch r.Byte() {
	case kindMember:
		s.User.Local = false
		r.Bad = r.Bad || !member || nameless
	case kindLocal:
		s.User.Local = true
		s.Fingerprint = r.Uvarint()
		r.Bad = r.Bad || s.User.UnionID != ""
	case kindPerson:
		s.User.Local = false
		r.Bad = r.Bad || !nameless
	default:
		r.Bad = true
	}
}
