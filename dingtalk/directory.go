package dingtalk

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/time/rate"

	"dinggate/internal/identity"
)

// Directory looks people up in the organisation's records.
// Safe for concurrent use.
type Directory struct {
	Client *Client

	// Username is the field that becomes User.Username, one of Usernames; "" means
	// userid. A person without a value is refused.
	Username string

	// Ancestors includes the departments above a person's own. It costs a call and
	// the permission 通讯录部门信息读权限, so it is set only if a rule names a
	// department.
	Ancestors bool

	// Pace delays lookups, each of which makes one call per path. If nil, lookups are
	// not delayed; Client.Budget then limits the calls. Sign-ins are never delayed.
	Pace *rate.Limiter
}

// Person looks up the member with this unionid: whether it is an employee in good
// standing, and the organisation's record. The calls use the app's own token; nothing that
// the person's browser sent takes part.
//
// Any error is an *identity.Failure, of class Refused only if DingTalk definitely refused;
// the user is complete or absent. All calls together take at most Client.Timeout. A
// recheck must also compare UserID with the known one.
func (d *Directory) Person(ctx context.Context, unionID string) (identity.User, error) {
	u, err := d.person(ctx, unionID)
	if err != nil {
		return identity.User{}, err
	}
	return u, nil
}

// Colleague is Person by a userid that an operator gives. A userid can be assigned
// to another person later, so do not use it as a persistent key.
func (d *Directory) Colleague(ctx context.Context, userID string) (identity.User, error) {
	var got struct {
		UnionID string `json:"unionid"`
	}
	if !validID(userID) {
		return identity.User{}, refuse("not_member", "no userid to ask for")
	}
	if err := d.Client.do(ctx,
		request{host: hostOld, path: pathUserGet, body: map[string]string{"userid": userID, "language": "zh_CN"}},
		&got); err != nil {
		return identity.User{}, err
	}
	u, err := d.Person(ctx, got.UnionID)
	if err == nil && u.UserID != userID {
		return identity.User{}, refuse("not_member", "the record is another person's")
	}
	return u, err
}

func (d *Directory) person(ctx context.Context, unionID string) (identity.User, error) {
	var none identity.User
	if !validID(unionID) {
		return none, badAnswer(pathGetByUnionID, formatError("no unionid to ask for")).failure()
	}
	if d.Pace != nil {
		if err := d.Pace.Wait(ctx); err != nil {
			return none, &identity.Failure{Class: identity.Later, Code: "throttled", Err: err}
		}
	}
	ctx, cancel := d.Client.deadline(ctx)
	defer cancel()
	userID, err := d.member(ctx, unionID)
	if err != nil {
		return none, identity.About(err, identity.Subject{UserID: userID, UnionID: unionID})
	}
	u, err := d.record(ctx, userID, unionID)
	if err != nil {
		return none, identity.About(err, identity.Subject{UserID: userID, UnionID: unionID})
	}
	if !d.Ancestors {
		return u, nil
	}
	u.Ancestors, err = d.ancestors(ctx, u)
	return u, identity.About(err, identity.Subject{UserID: userID, Name: u.Name, UnionID: unionID})
}

// member proves membership. With an error, userID is that of the person who is not
// a member, if known. The call succeeds for external contacts too: only an
// explicit contact_type 0 is an employee (threats K1, K2).
func (d *Directory) member(ctx context.Context, unionID string) (userID string, err error) {
	var got struct {
		ContactType *flexInt `json:"contact_type"`
		UserID      string   `json:"userid"`
	}
	if err := d.Client.do(ctx,
		request{host: hostOld, path: pathGetByUnionID, body: map[string]string{"unionid": unionID}}, &got); err != nil {
		return "", err
	}
	if got.ContactType != nil && *got.ContactType != 0 {
		if !validID(got.UserID) {
			got.UserID = ""
		}
		return got.UserID, refuse("external_contact", "an external contact, not an employee")
	}
	if got.ContactType == nil || !validID(got.UserID) {
		return "", badAnswer(pathGetByUnionID, formatError("no contact_type or no userid")).failure()
	}
	return got.UserID, nil
}

// userRecord is the part of user/get that is used. Mobile number, state code and
// avatar are omitted on purpose: what is not decoded is not stored (threats K16).
type userRecord struct {
	UserID        string            `json:"userid"`
	UnionID       string            `json:"unionid"`
	Name          string            `json:"name"`
	JobNumber     string            `json:"job_number"`
	OrgEmail      string            `json:"org_email"`
	Email         string            `json:"email"`
	Departments   flexList[flexInt] `json:"dept_id_list"`
	Roles         flexList[role]    `json:"role_list"`
	Active        *flexBool         `json:"active"`
	DisableStatus json.RawMessage   `json:"disable_status"`

	// Enterprise and EnterpriseType report an enterprise account (企业账号); user/list has
	// these fields, and not DisableStatus.
	Enterprise     *flexBool `json:"exclusive_account"`
	EnterpriseType string    `json:"exclusive_account_type"`
}

// standingUnread reports that whether the account is disabled is known from a lookup only.
func (a *userRecord) standingUnread() bool {
	enterprise := a.EnterpriseType != "" || a.Enterprise != nil && bool(*a.Enterprise)
	return enterprise && (len(a.DisableStatus) == 0 || string(a.DisableStatus) == "null")
}

type role struct {
	ID   flexInt `json:"id"`
	Name string  `json:"name"`
}

// record reads the organisation's record of a member and compares it with the
// request: after a deletion, a userid may belong to another person (threats K10).
func (d *Directory) record(ctx context.Context, userID, unionID string) (identity.User, error) {
	var none identity.User
	var got userRecord
	if err := d.Client.do(ctx,
		request{host: hostOld, path: pathUserGet, body: map[string]string{"userid": userID, "language": "zh_CN"}},
		&got); err != nil {
		return none, err
	}
	if got.UserID == "" || got.UnionID == "" || got.Active == nil {
		return none, badAnswer(pathUserGet, formatError("no userid, unionid or active")).failure()
	}
	if got.UserID != userID || got.UnionID != unionID {
		return none, refuse("not_member", "the record is another person's")
	}
	u, refused := d.user(&got)
	if refused != nil {
		return none, identity.About(refused, identity.Subject{Name: strings.TrimSpace(got.Name)})
	}
	return u, nil
}

// user converts a complete record; the failure is of class Refused.
func (d *Directory) user(got *userRecord) (identity.User, *identity.Failure) {
	switch {
	case !bool(*got.Active):
		return identity.User{}, refuse("inactive", "the account is not activated")
	case disabled(got.DisableStatus):
		return identity.User{}, refuse("disabled", "the enterprise account is disabled")
	}
	u := identity.User{
		UnionID:   got.UnionID,
		UserID:    got.UserID,
		Name:      strings.TrimSpace(got.Name),
		JobNumber: strings.TrimSpace(got.JobNumber),
	}
	if u.Email = identity.NormalizeEmail(got.OrgEmail); u.Email == "" {
		u.Email = identity.NormalizeEmail(got.Email)
	} else {
		u.OrgEmail = true
	}
	for _, id := range got.Departments {
		u.Departments = append(u.Departments, int64(id))
	}
	for _, r := range got.Roles {
		u.Roles = append(u.Roles, identity.Role{ID: int64(r.ID), Name: r.Name})
	}
	if u.Username = d.username(u); u.Username == "" {
		return identity.User{}, refuse("no_username", "the record has no "+d.Username)
	}
	return u, nil
}

func (d *Directory) username(u identity.User) string {
	switch d.Username {
	case "", "userid":
		return u.UserID
	case "job_number":
		return u.JobNumber
	case "email":
		return u.Email
	case "email_localpart":
		local, _, _ := strings.Cut(u.Email, "@")
		return local
	case "name":
		return u.Name
	case "unionid":
		return u.UnionID
	}
	return ""
}

// disabled checks the state of an enterprise account (企业账号). Its values are
// undocumented, so every value that does not clearly mean "not disabled" counts as
// disabled. Other accounts do not have the field.
func disabled(status json.RawMessage) bool {
	switch strings.ToLower(strings.Trim(string(status), `"`)) {
	case "", "null", "0", "false", "enable", "enabled", "normal":
		return false
	}
	return true
}

// ancestors returns a person's departments and all departments above them. If the
// permission is missing or the department is out of scope, the person matches no
// department rule. Any other error fails the whole lookup: a session must not lose
// its departments because DingTalk was busy.
func (d *Directory) ancestors(ctx context.Context, u identity.User) ([]int64, error) {
	var got struct {
		Parents flexList[struct {
			IDs flexList[flexInt] `json:"parent_dept_id_list"`
		}] `json:"parent_list"`
	}
	err := d.Client.do(ctx, request{host: hostOld, path: pathParents, body: map[string]string{"userid": u.UserID}},
		&got)
	if f, ok := errors.AsType[*identity.Failure](err); ok &&
		(f.Code == "permission_missing" || f.Code == "department_unknown") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := slices.Clone(u.Departments)
	for _, parent := range got.Parents {
		for _, id := range parent.IDs {
			all = append(all, int64(id))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// validID reports whether s can be an id: not empty, of plausible length, without
// control or replacement characters.
func validID(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == unicode.ReplacementChar
	})
}
