package dingtalk

import (
	"context"
	"errors"
	"slices"
	"strings"

	"dinggate/internal/identity"
)

// Superiors selects the approvers of a person.
type Superiors struct {
	Users              []string // userids
	Manager            bool     // the person's manager
	DepartmentManagers bool     // managers of the person's departments
}

// Bounds of one lookup: each step is a call.
const (
	maxSuperiors    = 20
	ownDepartments  = 5 // of the person
	departmentCalls = 16
)

// Superiors returns the people that s selects for a member, without the member, and the
// path of the member's department, such as 研发部/平台组. People outside the app's scope
// or no longer members are left out; the path is "" if departments cannot be read. Any
// error is an *identity.Failure; the list is then unknown.
func (d *Directory) Superiors(ctx context.Context, userID string, s Superiors) (list []identity.User, path string, err error) {
	ctx, cancel := d.Client.deadline(ctx)
	defer cancel()
	ids := slices.Clone(s.Users)
	var got colleague
	if userID != "" {
		if got, err = d.colleague(ctx, userID); err != nil {
			return nil, "", err
		}
	}
	if s.Manager && got.Manager != "" {
		ids = append(ids, got.Manager)
	}
	tree := departmentTree{client: d.Client, left: departmentCalls}
	var paths []string
	for _, id := range got.Departments[:min(len(got.Departments), ownDepartments)] {
		names, managers, err := tree.walk(ctx, int64(id))
		if err != nil && s.DepartmentManagers && temporary(err) {
			return nil, "", err
		}
		if len(names) > 0 {
			paths = append(paths, strings.Join(names, "/"))
		}
		if s.DepartmentManagers {
			ids = append(ids, managers...)
		}
	}
	var seen []string
	for _, id := range ids {
		if id == userID || !validID(id) || slices.Contains(seen, id) || len(seen) >= maxSuperiors {
			continue
		}
		seen = append(seen, id)
		switch u, err := d.colleague(ctx, id); {
		case err == nil:
			list = append(list, identity.User{UserID: id, UnionID: u.UnionID, Name: strings.TrimSpace(u.Name)})
		case temporary(err):
			return nil, "", err
		}
	}
	return list, strings.Join(paths, "; "), nil
}

// colleague is the part of a member's record that proves nothing about their standing.
type colleague struct {
	UserID      string            `json:"userid"`
	UnionID     string            `json:"unionid"`
	Name        string            `json:"name"`
	Manager     string            `json:"manager_userid"`
	Departments flexList[flexInt] `json:"dept_id_list"`
}

// colleague reads the record of the member who has a userid at present. A record of
// another userid, or without a unionid, is unreadable.
func (d *Directory) colleague(ctx context.Context, userID string) (got colleague, err error) {
	err = d.Client.do(ctx,
		request{host: hostOld, path: pathUserGet, body: map[string]string{"userid": userID, "language": "zh_CN"}}, &got)
	if err == nil && (got.UserID != userID || !validID(got.UnionID)) {
		err = badAnswer(pathUserGet, formatError("no userid or unionid, or another's")).failure()
	}
	return got, err
}

// temporary reports a failure that is no evidence about the person looked up.
func temporary(err error) bool {
	f, ok := errors.AsType[*identity.Failure](err)
	return !ok || f.Class != identity.Refused
}

// Department returns the name of a department and the id of its parent. If the
// department does not exist or is out of scope, the error is an *identity.Failure of
// code department_unknown.
func (c *Client) Department(ctx context.Context, id int64) (name string, parent int64, err error) {
	var one department
	err = c.do(ctx, request{host: hostOld, path: pathDepartment, body: map[string]any{"dept_id": id, "language": "zh_CN"}}, &one)
	return one.Name, int64(one.Parent), err
}

// departmentTree reads departments upwards, each once.
type departmentTree struct {
	client *Client
	left   int // calls
	known  map[int64]department
}

type department struct {
	Name     string           `json:"name"`
	Parent   flexInt          `json:"parent_id"`
	Managers flexList[string] `json:"dept_manager_userid_list"`
}

// walk returns the names from below the root down to a department, and its managers.
func (t *departmentTree) walk(ctx context.Context, id int64) (names, managers []string, err error) {
	for depth := 0; id > 1 && depth < 8; depth++ {
		one, known := t.known[id]
		if !known {
			if t.left--; t.left < 0 {
				break
			}
			if err = t.client.do(ctx, request{host: hostOld, path: pathDepartment,
				body: map[string]any{"dept_id": id, "language": "zh_CN"}}, &one); err != nil {
				return names, managers, err
			}
			if t.known == nil {
				t.known = map[int64]department{}
			}
			t.known[id] = one
		}
		if depth == 0 {
			managers = one.Managers
		}
		names = slices.Insert(names, 0, one.Name)
		id = int64(one.Parent)
	}
	return names, managers, nil
}
