package simulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Person is an account of DingTalk and, if UserID is set, the organisation's
// record of its owner. A person who leaves keeps the account.
type Person struct {
	// the simulator's name of the person, in its methods and on the sign-in page; "" = UserID;
	// letters, digits, . _ -
	ID      string `json:"id"`
	UnionID string `json:"union_id"` // "" = made from ID

	Account
	Record
}

// Account is what its owner sets and takes along from one organisation to the next.
type Account struct {
	Nick       string   `json:"nick"`
	Avatar     string   `json:"avatar"`
	Mobile     string   `json:"mobile"`
	OwnEmail   string   `json:"own_email"` // the mailbox of users/me, set by its owner
	LoginEmail string   `json:"login_email"`
	Visitor    bool     `json:"visitor"`
	Corps      []string `json:"corps"` // other organisations, besides ours
}

// Record is what the organisation's directory has about a person.
type Record struct {
	UserID      string    `json:"user_id"` // "" = not known to the organisation
	External    bool      `json:"external"`
	Inactive    bool      `json:"inactive"`   // has never activated the account
	Enterprise  bool      `json:"enterprise"` // an enterprise account (企业账号); so is every disabled one
	Disabled    bool      `json:"disabled"`   // user/get shows it, user/list does not
	Blocked     bool      `json:"blocked"`    // the directory answers 60120
	Name        string    `json:"name"`
	JobNumber   string    `json:"job_number"`
	Title       string    `json:"title"`
	WorkPlace   string    `json:"work_place"`
	Remark      string    `json:"remark"`
	Telephone   string    `json:"telephone"`
	OrgEmail    string    `json:"org_email"`
	Email       string    `json:"email"`
	Departments []int64   `json:"departments"`
	Leads       []int64   `json:"leads"`
	Roles       []int64   `json:"roles"`
	Manager     string    `json:"manager"`
	Extension   string    `json:"extension"` // a JSON object as text
	Hired       time.Time `json:"hired"`
	Admin       bool      `json:"admin"`
	Boss        bool      `json:"boss"`
	Senior      bool      `json:"senior"`
}

var personID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (who *Person) clone() *Person {
	c := *who
	c.Corps, c.Departments, c.Leads, c.Roles = slices.Clone(c.Corps), slices.Clone(c.Departments),
		slices.Clone(c.Leads), slices.Clone(c.Roles)
	return &c
}

func (who *Person) member() bool { return who.UserID != "" && !who.External }

// label is for the sign-in page.
func (who *Person) label() (zh, en string) {
	switch {
	case who.UserID == "":
		return "其他组织", "another organisation"
	case who.External:
		return "外部联系人", "external contact"
	case who.Inactive:
		return "未激活", "not activated"
	case who.Disabled, who.Blocked:
		return "已停用", "disabled"
	case len(who.Corps) > 0:
		return "多组织成员", "in two organisations"
	}
	return "成员", "member"
}

// digest makes stable ids in the format of DingTalk's.
func digest(parts ...string) string {
	sum := sha256.Sum256(fmt.Append(nil, parts))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// described is a copy with the ids that were left out.
func (who *Person) described() (*Person, error) {
	n := who.clone()
	n.ID = cmp.Or(n.ID, n.UserID)
	n.UnionID = cmp.Or(n.UnionID, "u"+digest("union", n.ID)+"iEiE")
	if !personID.MatchString(n.ID) {
		return nil, fmt.Errorf("simulator: adding %q: an ID is made of letters, digits, '.', '_' and '-'", n.ID)
	}
	return n, nil
}
