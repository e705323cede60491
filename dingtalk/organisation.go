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

// Calls that read the organisation as a whole. None of them counts against the
// monthly quota.
const (
	pathSubDepartments = "/topapi/v2/department/listsubid"
	pathUserList       = "/topapi/v2/user/list"
	pathRoles          = "/topapi/role/list"
	pathRoleMembers    = "/topapi/role/simplelist"
)

// Bounds of what is read; a larger organisation is an error.
const (
	maxMembers     = 100_000
	maxDepartments = 20_000
	maxRoles       = 4_000 // 20 pages of 200 groups at the most
	maxPages       = 1_000 // of one list

	readersPerAPI = 4 // calls of one kind at a time
	readTries     = 5 // of one call, with 2, 4, 8 … seconds between them
)

var errLargeOrganisation = errors.New("dingtalk: the organisation has more members, departments or roles than are read at once")

// Organisation reads everybody in the organisation:
//
//	listsubid ──► departments ──► user/list ──► members ─┐
//	   ▲  └─ each one's children                         ├─► each
//	role/list ──► roles ──► role/simplelist ─────────────┘
//
// Its calls have the last place in Client.Budget, and no more than half of the
// rate of each path. Safe for concurrent use.
type Organisation struct {
	Directory *Directory
}

// Read calls each for every member in good standing, as Directory.Person would
// give them, in any order. Everything that it says was asked for after the call
// of Read. Somebody who is not among them may be a member all the same: of a
// department that cannot be seen, or one that was moved meanwhile. With an error
// nothing was passed to each; it is an *identity.Failure, of code
// permission_missing where the app may not read the lists.
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

// reading is one Read.
type reading struct {
	directory *Directory
	pace      map[string]*rate.Limiter // by path
	parent    map[int64]int64          // of each department; written by departments alone
	roles     map[string][]role        // by userid; written by rolesOfMembers alone
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

// ask makes a call, again where the failure may pass.
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

// unseen reports that a department is outside the app's scope, or has been
// removed since it was listed: nobody is known to be in it.
func unseen(err error) bool {
	f, ok := errors.AsType[*identity.Failure](err)
	return ok && f.Code == "department_unknown"
}

// departments walks the tree from the root and passes on each department. The
// buffer of found holds maxDepartments.
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
					continue // moved while the tree was walked, or a circle
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

// members reads the people of one department into all, by userid. A second record
// that differs from the first takes the person away: one of the two is out of date.
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

// add puts a record beside the others; nil stays for a person whose records differ.
func add(all map[string]*userRecord, id string, one *userRecord) {
	known, there := all[id]
	if there && (known == nil || one == nil || !known.same(one)) {
		one = nil
	}
	all[id] = one
}

// same compares what list gives of a person in each of their departments.
func (a *userRecord) same(b *userRecord) bool {
	return a.UnionID == b.UnionID && a.Name == b.Name && a.JobNumber == b.JobNumber && a.OrgEmail == b.OrgEmail &&
		a.Email == b.Email && slices.Equal(a.Departments, b.Departments) &&
		string(a.DisableStatus) == string(b.DisableStatus) && a.Active != nil && b.Active != nil && *a.Active == *b.Active
}

// rolesOfMembers reads who has which role: the lists of members do not say it.
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

// roles lists the roles of all groups, 200 groups a page.
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
			break
		}
	}
	return all, nil
}

// report passes on the members whose records are complete and of one voice.
func (r *reading) report(parts []map[string]*userRecord, each func(identity.User)) {
	all := parts[0]
	for _, part := range parts[1:] {
		for id, one := range part {
			add(all, id, one)
		}
	}
	lines := map[int64][]int64{}
	for id, one := range all {
		if one == nil || !validID(id) || !validID(one.UnionID) || one.Active == nil {
			continue
		}
		one.Roles = r.roles[id]
		u, refused := r.directory.user(one)
		if refused != nil || r.directory.Ancestors && !r.ancestors(&u, lines) {
			continue // the lookup of this person says why
		}
		each(u)
	}
}

// ancestors adds the departments above a person's own; false when one of them was
// not seen.
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
