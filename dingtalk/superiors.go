package dingtalk

import (
	"context"
	"errors"
	"slices"
	"strings"

	"dinggate/internal/identity"
)

// Superiors says who is asked for on somebody's behalf.
type Superiors struct {
	Users              []string // userids
	Manager            bool     // the person's own
	DepartmentManagers bool     // of the person's departments
}

// Bounds of one look: each step is a call.
const (
	maxSuperiors    = 20
	ownDepartments  = 5 // of the person
	departmentCalls = 16
)

// Superiors finds the people whom s means for a member, without the member, and the
// path of the member's departments, such as 研发部/平台组. What the app may not see, or
// is no member any more, is left out; the path is "" where departments cannot be read.
// Any error is an *identity.Failure: of the list nothing is known then.
func (d *Directory) Superiors(ctx context.Context, userID string, s Superiors) (list []identity.User, path string, err error) {
	ctx, cancel := d.Client.deadline(ctx)
	defer cancel()
	ids := slices.Clone(s.Users)
	var got struct {
		Manager     string            `json:"manager_userid"`
		Departments flexList[flexInt] `json:"dept_id_list"`
	}
	if userID != "" {
		if err := d.userGet(ctx, userID, &got); err != nil {
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
		var u struct {
			UnionID string `json:"unionid"`
			Name    string `json:"name"`
		}
		switch err := d.userGet(ctx, id, &u); {
		case err == nil:
			list = append(list, identity.User{UserID: id, UnionID: u.UnionID, Name: strings.TrimSpace(u.Name)})
		case temporary(err):
			return nil, "", err
		}
	}
	return list, strings.Join(paths, "; "), nil
}

func (d *Directory) userGet(ctx context.Context, userID string, out any) error {
	return d.Client.do(ctx,
		request{host: hostOld, path: pathUserGet, body: map[string]string{"userid": userID, "language": "zh_CN"}}, out)
}

// temporary reports a failure that says nothing about the person asked for.
func temporary(err error) bool {
	f, ok := errors.AsType[*identity.Failure](err)
	return !ok || f.Class != identity.Refused
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

// walk gives the names from below the root down to a department, and its own managers.
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
