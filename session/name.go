package session

import (
	"slices"

	"dinggate/internal/identity"
)

// name is one of the names that a person can be revoked by.
type name struct {
	kind byte
	text string
}

const (
	byUnion    = 'u' // of DingTalk's people the key; never reassigned
	byUser     = 'i' // what DingTalk's events name; may be given to somebody new, whose later sign-in lives
	byUsername = 'n' // the key of a person whom an SSO service gives no unionId
	byBoth     = 'b' // the key of a person whom an SSO service gives one: a service may give one to several people (threats T36)
	byAccount  = 'l' // the key of a local account: nobody else has it, whatever they are called (T32)
	everybody  = '*' // in the Store alone, without a text
)

// personKey names the person behind a session: all sessions with the same key
// share what is found out about the person, and end together.
func (m *Manager) personKey(u *identity.User) name {
	switch {
	case u.Local:
		return name{byAccount, u.Username}
	case u.UnionID == "":
		return name{byUsername, u.Username}
	case m.Service:
		return name{byBoth, u.UnionID + "\x00" + u.Username}
	}
	return name{byUnion, u.UnionID}
}

// names lists what s can be revoked by, its person's key first; the rest is zero.
func (m *Manager) names(s *Session) (list [3]name) {
	u := &s.User
	if s.entry != nil && s == s.entry.origin {
		list[0] = s.entry.key
	} else {
		list[0] = m.personKey(u)
	}
	if u.Local {
		return list
	}
	if list[0].kind == byBoth {
		list[1] = name{byUnion, u.UnionID}
	}
	if u.UserID != "" {
		list[2] = name{byUser, u.UserID}
	}
	return list
}

// Person says whose sessions end; every name that is not empty counts, and one
// that matches is enough.
type Person struct {
	UnionID  string
	UserID   string
	Username string // of a person without a unionId
	Account  string // of a local account

	// Spare is the Fingerprint of Account's sessions that go on: those that were
	// begun with the password of now. 0: none does.
	Spare uint64

	key name // of an SSO service's person, where no other name is theirs alone
}

// person is the one with this key.
func (n name) person() Person {
	switch n.kind {
	case byUnion:
		return Person{UnionID: n.text}
	case byUser:
		return Person{UserID: n.text}
	case byAccount:
		return Person{Account: n.text}
	case byBoth:
		return Person{key: n}
	}
	return Person{Username: n.text}
}

// names lists the names that are not empty.
func (who Person) names() (by []name) {
	for _, n := range []name{{byUnion, who.UnionID}, {byUser, who.UserID}, {byUsername, who.Username}, {byAccount, who.Account}, who.key} {
		if n.text != "" {
			by = append(by, n)
		}
	}
	return by
}

// is reports whether a person has one of the names.
func (m *Manager) is(who Person) func(u identity.User) bool {
	by := who.names()
	return func(u identity.User) bool {
		has := m.names(&Session{User: u})
		return slices.ContainsFunc(by, func(n name) bool { return slices.Contains(has[:], n) })
	}
}
