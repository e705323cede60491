package dingtalk

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

// Calls that read the whole organisation. None of them counts against the
// monthly quota.
const (
	pathSubDepartments = "/topapi/v2/department/listsubid"
	pathUserList       = "/topapi/v2/user/list"
	pathRoles          = "/topapi/role/list"
	pathRoleMembers    = "/topapi/role/simplelist"
)

// Bounds of a reading; a larger organisation is an error.
const (
	maxMembers     = 100_000
	maxDepartments = 20_000
	maxRoles       = 4_000 // at most 20 pages of 200 groups
	maxPages       = 1_000 // of one list

	readersPerAPI = 4 // concurrent calls per API
	readTries     = 5 // of one call, with 2, 4, 8 … seconds between them
)

var errLargeOrganisation = errors.New("dingtalk: the organisation has more members, departments or roles than are read at once")

// Organisation reads all members of the organisation:
//
//	listsubid ──► departments ──► user/list ──► members ─┐
//	   ▲  └─ each one's children                         ├─► each
//	role/list ──► roles ──► role/simplelist ─────────────┘
//
// Its calls have the lowest priority in Client.Budget and use at most half of the
// rate of each path. It is safe for concurrent use.
type Organisation struct {
	Directory *Directory
}

// Read calls each for every member in good standing, as Directory.Person would
// return them, in any order. All data was requested after the call of Read. A
// person who is missing may be a member all the same: one with an enterprise account,
// since the lists do not contain whether it is disabled, or one of a department that is
// out of scope or was moved during the reading. On error, each was not
// called; the error is an *identity.Failure, of code permission_missing if the app
// may not read the lists.
func (o *Organisation) Read(ctx context.Context, each func(identity.User)) error {
	r := newReading(o.Directory)
	g, ctx := errgroup.WithContext(ctx)
	found := make(chan int64, maxDepartments)
	g.Go(func() error {
		defer close(found)
		return r.departments(ctx, found)
	})
	members := make([]map[string]*userRecord, readersPerAPI)
	for i := range members {
		members[i] = map[string]*userRecord{}
		g.Go(func() error {
			for id := range found {
				if err := r.members(ctx, id, members[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error { return r.rolesOfMembers(ctx) })
	if err := g.Wait(); err != nil {
		if _, ok := errors.AsType[*identity.Failure](err); ok {
			return err
		}
		return badAnswer(pathUserList, err).failure()
	}
	r.report(members, each)
	return nil
}

// reading is one call of Read.
type reading struct {
	directory *Directory
	pace      map[string]*rate.Limiter // by path
	parent    map[int64]int64          // of each department; written by departments only
	roles     map[string][]role        // by userid; written by rolesOfMembers only
}

func newReading(d *Directory) *reading {
	r := &reading{
		directory: d,
		pace:      map[string]*rate.Limiter{},
		parent:    map[int64]int64{1: 0},
		roles:     map[string][]role{},
	}
	every := rate.Inf
	if b := d.Client.Budget; b != nil && b.Rate > 0 {
		every = rate.Limit(float64(b.Rate) / 2)
	}
	for _, path := range []string{pathSubDepartments, pathUserList, pathRoles, pathRoleMembers} {
		r.pace[path] = rate.NewLimiter(every, 1)
	}
	return r
}

// ask makes a call and retries it after temporary failures.
func ask[T any](ctx context.Context, r *reading, path string, body any) (got T, err error) {
	ctx = WithClass(ctx, ratelimit.Due)
	for try := 0; ; try++ {
		if err := r.pace[path].Wait(ctx); err != nil {
			return got, err
		}
		var answer T
		err := r.directory.Client.do(ctx, request{host: hostOld, path: path, body: body}, &answer)
		if err == nil {
			return answer, nil
		}
		f, ok := errors.AsType[*identity.Failure](err)
		if !ok || f.Class != identity.Later || try+1 >= readTries {
			return got, err
		}
		timer := time.NewTimer(2*time.Second<<try + jitter(time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return got, err
		}
	}
}

// unseen reports that a department is outside the app's scope, or was removed
// since it was listed: it has no known members.
func unseen(err error) bool {
	f, ok := errors.AsType[*identity.Failure](err)
	return ok && f.Code == "department_unknown"
}

// departments traverses the tree from the root and sends each department to found,
// whose buffer holds maxDepartments.
func (r *reading) departments(ctx context.Context, found chan<- int64) error {
	for level := []int64{1}; len(level) > 0; {
		for _, id := range level {
			found <- id
		}
		below := make([][]int64, len(level))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(readersPerAPI)
		for i, id := range level {
			g.Go(func() error {
				got, err := ask[struct {
					IDs flexList[flexInt] `json:"dept_id_list"`
				}](ctx, r, pathSubDepartments, map[string]int64{"dept_id": id})
				if unseen(err) {
					return nil
				}
				below[i] = ids(got.IDs)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		var next []int64
		for i, children := range below {
			for _, id := range children {
				if _, known := r.parent[id]; known {
					continue // moved during the traversal, or a cycle
				}
				if r.parent[id] = level[i]; len(r.parent) > maxDepartments {
					return errLargeOrganisation
				}
				next = append(next, id)
			}
		}
		level = next
	}
	return nil
}

// members reads the members of one department into all, by userid. Two records of
// one person that differ remove the person: one of them is out of date.
func (r *reading) members(ctx context.Context, department int64, all map[string]*userRecord) error {
	cursor := int64(0)
	for range maxPages {
		got, err := ask[struct {
			List flexList[userRecord] `json:"list"`
			More flexBool             `json:"has_more"`
			Next flexInt              `json:"next_cursor"`
		}](ctx, r, pathUserList, map[string]any{"dept_id": department, "cursor": cursor, "size": 100, "language": "zh_CN"})
		if unseen(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range got.List {
			add(all, got.List[i].UserID, &got.List[i])
		}
		if len(all) > maxMembers {
			return errLargeOrganisation
		}
		if !bool(got.More) {
			return nil
		}
		if int64(got.Next) <= cursor {
			return badAnswer(pathUserList, formatError("a list without end")).failure()
		}
		cursor = int64(got.Next)
	}
	return errLargeOrganisation
}

// add merges a record; nil remains for a person whose records differ.
func add(all map[string]*userRecord, id string, one *userRecord) {
	known, there := all[id]
	if there && (known == nil || one == nil || !known.same(one)) {
		one = nil
	}
	all[id] = one
}

// same compares the records of a person in two departments.
func (a *userRecord) same(b *userRecord) bool {
	return a.UnionID == b.UnionID && a.Name == b.Name && a.JobNumber == b.JobNumber && a.OrgEmail == b.OrgEmail &&
		a.Email == b.Email && slices.Equal(a.Departments, b.Departments) &&
		string(a.DisableStatus) == string(b.DisableStatus) && a.Active != nil && b.Active != nil && *a.Active == *b.Active
}

// rolesOfMembers reads the members of each role: the member lists omit roles.
func (r *reading) rolesOfMembers(ctx context.Context) error {
	all, err := roles(func(body, out any) (err error) {
		page := out.(*rolePage)
		*page, err = ask[rolePage](ctx, r, pathRoles, body)
		return err
	})
	if err != nil {
		return err
	}
	having := make([][]string, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readersPerAPI)
	for i, one := range all {
		g.Go(func() (err error) {
			having[i], err = r.membersOfRole(ctx, one.ID)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, one := range all {
		for _, id := range having[i] {
			if r.roles[id] = append(r.roles[id], role{flexInt(one.ID), one.Name}); len(r.roles) > maxMembers {
				return errLargeOrganisation
			}
		}
	}
	return nil
}

func (r *reading) membersOfRole(ctx context.Context, id int64) (all []string, err error) {
	for page := range maxPages {
		got, err := ask[struct {
			More flexBool `json:"hasMore"`
			List flexList[struct {
				UserID string `json:"userid"`
			}] `json:"list"`
		}](ctx, r, pathRoleMembers, map[string]int64{"role_id": id, "size": 100, "offset": int64(100 * page)})
		if err != nil {
			return nil, err
		}
		for _, one := range got.List {
			all = append(all, one.UserID)
		}
		if !bool(got.More) {
			return all, nil
		}
	}
	return nil, errLargeOrganisation
}

type rolePage struct {
	More flexBool `json:"hasMore"`
	List flexList[struct {
		Roles flexList[role] `json:"roles"`
	}] `json:"list"`
}

// roles lists the roles of all groups, 200 groups per page.
func roles(page func(body, out any) error) ([]identity.Role, error) {
	var all []identity.Role
	for n := range maxRoles / 200 {
		var got rolePage
		if err := page(map[string]int{"size": 200, "offset": 200 * n}, &got); err != nil {
			return nil, err
		}
		for _, group := range got.List {
			for _, r := range group.Roles {
				all = append(all, identity.Role{ID: int64(r.ID), Name: r.Name})
			}
		}
		if len(all) > maxRoles {
			return nil, errLargeOrganisation
		}
		if !bool(got.More) {
			return all, nil
		}
	}
	return nil, errLargeOrganisation
}

// report passes on the members whose records are complete and agree.
func (r *reading) report(parts []map[string]*userRecord, each func(identity.User)) {
	all := parts[0]
	for _, part := range parts[1:] {
		for id, one := range part {
			add(all, id, one)
		}
	}
	lines := map[int64][]int64{}
	for id, one := range all {
		if one == nil || !validID(id) || !validID(one.UnionID) || one.Active == nil || one.standingUnread() {
			continue
		}
		one.Roles = r.roles[id]
		u, refused := r.directory.user(one)
		if refused != nil || r.directory.Ancestors && !r.ancestors(&u, lines) {
			continue // an individual lookup reports the reason
		}
		each(u)
	}
}

// ancestors adds the departments above a person's own; it returns false if one of
// them was not seen.
func (r *reading) ancestors(u *identity.User, lines map[int64][]int64) bool {
	for _, id := range u.Departments {
		line, known := lines[id]
		if !known {
			for at := id; at != 0; at = r.parent[at] {
				if _, there := r.parent[at]; !there {
					return false
				}
				line = append(line, at)
			}
			lines[id] = line
		}
		u.Ancestors = append(u.Ancestors, line...)
	}
	slices.Sort(u.Ancestors)
	u.Ancestors = slices.Compact(u.Ancestors)
	return true
}
