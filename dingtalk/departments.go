package dingtalk

import (
	"context"
	"net/http"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

const pathDepartmentsBelow = "/topapi/v2/department/listsub"

// Department is a department of the organisation.
type Department struct {
	ID     int64
	Parent int64 // 0 for the root, and for a department whose parent is outside the app's scope
	Name   string
}

// departmentRecord is an entry of the department lists.
type departmentRecord struct {
	ID     flexInt `json:"dept_id"`
	Parent flexInt `json:"parent_id"`
	Name   string  `json:"name"`
}

// Departments lists the departments in the app's scope, each after its parent. It
// uses at most half of Config.Rate.
func (p *Probe) Departments(ctx context.Context) ([]Department, error) {
	roots, err := p.scopes(ctx)
	if err != nil {
		return nil, err
	}
	pace := rate.Inf
	if p.Client.Config.Rate > 0 {
		pace = rate.Limit(p.Client.Config.Rate) / 2
	}
	r := &reading{directory: &Directory{Client: p.Client}, pace: map[string]*rate.Limiter{}}
	for _, path := range []string{pathDepartment, pathDepartmentsBelow} {
		r.pace[path] = rate.NewLimiter(pace, 1)
	}
	var all []Department
	known := map[int64]bool{}
	var level []Department
	for _, id := range roots {
		got, err := ask[departmentRecord](ctx, r, pathDepartment, map[string]any{"dept_id": id, "language": "zh_CN"})
		if err != nil && !unseen(err) {
			return nil, err
		}
		if err == nil && !known[id] {
			known[id] = true
			level = append(level, Department{ID: id, Name: got.Name})
		}
	}
	for len(level) > 0 {
		all = append(all, level...)
		if len(all) > maxDepartments {
			return nil, badAnswer(pathDepartmentsBelow, errLargeOrganisation).failure()
		}
		if level, err = r.below(ctx, level, known); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// below reads the direct children of one level. A department that is known
// already was moved meanwhile or is part of a cycle.
func (r *reading) below(ctx context.Context, level []Department, known map[int64]bool) (next []Department, err error) {
	found := make([]flexList[departmentRecord], len(level))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readersPerAPI)
	for i, d := range level {
		g.Go(func() error {
			got, err := ask[flexList[departmentRecord]](ctx, r, pathDepartmentsBelow,
				map[string]any{"dept_id": d.ID, "language": "zh_CN"})
			if unseen(err) {
				return nil
			}
			found[i] = got
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, children := range found {
		for _, child := range children {
			if id := int64(child.ID); !known[id] {
				known[id] = true
				next = append(next, Department{ID: id, Parent: level[i].ID, Name: child.Name})
			}
		}
	}
	return next, nil
}

// scopes lists the departments of the app's contact scope; 1 is the root, which
// includes everyone.
func (p *Probe) scopes(ctx context.Context) ([]int64, error) {
	var got struct {
		Scopes struct {
			Departments flexList[flexInt] `json:"authed_dept"`
		} `json:"auth_org_scopes"`
	}
	err := p.Client.do(ctx, request{host: hostOld, path: pathScopes, method: http.MethodGet, flat: true}, &got)
	return ids(got.Scopes.Departments), err
}
