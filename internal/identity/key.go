package identity

// Key is one of the names that a person is known by in sessions, revocations and
// caches. Keys of different kinds are never equal.
type Key struct {
	Kind byte
	Text string
}

// Kinds of keys.
const (
	KeyUnionID  = 'u' // identifies one of DingTalk's people; never reassigned
	KeyUserID   = 'i' // what DingTalk's events name; may be given to another person, whose later sign-in lives
	KeyUsername = 'n' // identifies a person to whom an SSO service gives no unionId
	KeyBoth     = 'b' // identifies a person to whom an SSO service gives one: it may give one to several people (threats T36)
	KeyAccount  = 'l' // identifies a local account; no other person has this key, whatever they are called (threats T32)
)

// KeyOf identifies the person: all sessions with the same key share what is found
// out about the person, and end together. service says that an SSO service names
// the people.
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

// Keys lists all that a person can be named by, own first, which is KeyOf; the
// rest is zero.
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
