// Package identity describes a person.
//
// It contains the types that every endpoint and every provider uses, with the comparison of people
// and the rendering of their headers, and imports no other package of dinggate.
//
//	provider (dingtalk, sso) ── User, Token ──► session ── HeaderSet ──► upstream
//	         └────────────── *Failure ────────► login (which page), session (does it end)
package identity

import "time"

// User is a person as the organisation's own record describes them.
//
// The zero User means that there is no person. Values are immutable once they are in a session:
// copy before changing one.
type User struct {
	UnionID string // the key: the same in every app of one developer organisation, never reassigned
	// unique in the organisation; after a deletion it may be reassigned to another person, so it
	// is never a key
	UserID string
	// the name for upstreams, selected by dingtalk.username; never empty for a signed-in person
	Username    string
	Name        string  // display name in the organisation
	Email       string  // org_email, otherwise the directory's email; normalised by NormalizeEmail, "" if unknown
	OrgEmail    bool    // Email is the organisation's own mailbox of this person
	JobNumber   string  // 工号; free text, may repeat
	Departments []int64 // direct departments
	Ancestors   []int64 // direct departments and all above them; empty if no rule names a department
	Roles       []Role

	// Cut means that Departments, Ancestors or Roles were truncated, since a session has limited
	// space: a missing entry is unknown, not absent.
	Cut bool

	// Local means that the person signed in with a local password: Username is an account of this
	// installation, and not a person of DingTalk or an SSO service with the same name (threats
	// T32).
	Local bool
}

// FullName is the name and the username of a person: 张三 (zhangsan).
func (u *User) FullName() string {
	if u.Name == "" || u.Name == u.Username {
		return u.Username
	}
	return u.Name + " (" + u.Username + ")"
}

// Role is a role (角色) of the organisation. Names repeat across role groups, ids do not.
type Role struct {
	ID   int64
	Name string
}

// Token are the tokens that the sign-in returned. They prove nothing about membership and reach an
// upstream only if headers.request names access_token. The zero Token means that the provider
// returned none.
type Token struct {
	Access  string
	Refresh string
	Expires time.Time
}
