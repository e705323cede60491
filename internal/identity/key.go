package identity

// Key identifies a person in sessions, revocations and caches. Keys of different kinds are never
// equal.
type Key struct {
	Kind byte
	Text string
}

// Kinds of keys.
const (
	KeyUnionID  = 'u' // identifies a DingTalk person; never reassigned
	KeyUserID   = 'i' // used by DingTalk's events; may be reassigned to another person, whose later sign-in stays valid
	KeyUsername = 'n' // identifies a person to whom an SSO service assigns no unionId
	KeyBoth     = 'b' // identifies a person to whom an SSO service assigns one, perhaps not only to them (threats T36)
	KeyAccount  = 'l' // identifies a local account; no other person has this key, whatever their username is (threats T32)
)

// KeyOf identifies the person: all sessions with the same key share the facts about the person,
// and end together. service means that an SSO service identifies the people.
func KeyOf(u *User, service bool) Key {
	switch {
	case u.Local:
		return Key{KeyAccount, u.Username}
	case u.UnionID == "":
		return Key{KeyUsername, u.Username}
	case service:
		return Key{KeyBoth, u.UnionID + "\x00" + u.Username}
	}
	return Key{KeyUnionID, u.UnionID}
}

// Keys lists all keys of a person, first own, which is KeyOf; the rest is zero.
func Keys(u *User, own Key) (list [3]Key) {
	list[0] = own
	if u.Local {
		return list
	}
	if own.Kind == KeyBoth {
		list[1] = Key{KeyUnionID, u.UnionID}
	}
	if u.UserID != "" {
		list[2] = Key{KeyUserID, u.UserID}
	}
	return list
}
