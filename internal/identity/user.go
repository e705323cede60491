// Package identity says who a person is.
//
// It holds types alone, which every endpoint and every provider uses, and imports
// no other package of dinggate.
//
//	provider (dingtalk, sso) ── User, Token ──► session ── HeaderSet ──► upstream
//	         └────────────── *Failure ────────► login (which page), session (does it end)
package identity

import "time"

// User is a person as the organisation's own record describes them.
//
// The zero User is nobody. Values are immutable once they are in a session:
// copy before changing one.
type User struct {
	UnionID string // the key: the same in every app of one developer organisation, never reassigned
	// unique in the organisation; after a deletion it may belong to somebody new, so it is never a
	// key
	UserID string
	// what upstreams call the person; chosen by dingtalk.username, never empty for a signed-in
	// person
	Username    string
	Name        string  // display name kept by the organisation
	Email       string  // org_email, otherwise the directory's email; normalised by NormalizeEmail, "" when unknown
	OrgEmail    bool    // Email is the organisation's own mailbox, and nobody else's
	JobNumber   string  // 工号; free text, may repeat
	Departments []int64 // direct departments
	Ancestors   []int64 // direct departments and everything above them; empty when no rule names a department
	Roles       []Role

	// Cut means that Departments, Ancestors or Roles lost entries, since a session has
	// room for so many: an entry that is missing is not known to be absent.
	Cut bool

	// Local means that the person signed in with a local password: Username
	// names an account of this installation, and is nobody whom DingTalk or an SSO
	// service calls by the same name (threats T32).
	Local bool
}

// FullName is a person as they and their colleagues know them: 张三 (zhangsan).
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

// Token is what the sign-in itself yielded. It proves nothing about membership
// and reaches an upstream only where headers.request names access_token.
// The zero Token means that the provider gave none.
type Token struct {
	Access  string
	Refresh string
	Expires time.Time
}
