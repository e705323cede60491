package oidc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Department is a department of the organisation, as DingTalk returns it. The parent's id is 0 or
// less if there is none.
type Department struct {
	Name   string
	Parent int64
}

// ErrNoDepartment means that a department does not exist, or that the app may not read it.
var ErrNoDepartment = errors.New("oidc: no such department, or none that the app may see")

const (
	organisationRoot = 1 // the department that is the organisation itself

	namesFresh   = time.Hour           // how long a name is valid before it is looked up again
	namesLife    = 30 * 24 * time.Hour // of the record
	namesNear    = time.Minute         // how long this process uses its copy of the record
	namesBound   = 20_000
	deepestPath  = 20
	pathsAtOnce  = 50 // departments of one person
	slashInNames = "／"
)

// departmentRecord is the record of a department that replicas share.
type departmentRecord struct {
	Department
	Absent bool      `json:",omitempty"`
	Looked time.Time `json:"Asked"`
}

// names caches records briefly, and drops all of them if there are too many.
type names struct {
	mu   sync.Mutex
	near map[int64]nearRecord
}

type nearRecord struct {
	departmentRecord
	until time.Time
}

func (n *names) get(id int64, now time.Time) (departmentRecord, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.near[id]
	return r.departmentRecord, ok && now.Before(r.until)
}

func (n *names) put(id int64, r departmentRecord, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.near == nil || len(n.near) >= namesBound {
		n.near = map[int64]nearRecord{}
	}
	n.near[id] = nearRecord{r, now.Add(namesNear)}
}

// namesPaths reports whether a client receives paths of departments.
func (c *client) namesPaths() bool {
	for _, kind := range c.groups() {
		if kind == GroupDepartmentPaths {
			return true
		}
	}
	return false
}

// learnPaths looks up at DingTalk the names of a person's departments and of their ancestors that
// are unknown or an hour old. A token call does not: it uses the stored names.
func (p disclosure) learnPaths(ctx context.Context, departments []int64) error {
	_, err := p.paths(ctx, departments, true)
	return err
}

// paths returns departments by their path below the organisation: 研发部/平台组. A
// department with an unknown name in its path is omitted: 平台组 alone could be another one.
func (p disclosure) paths(ctx context.Context, departments []int64, ask bool) ([]string, error) {
	list := make([]string, 0, len(departments))
	for _, id := range departments[:min(len(departments), pathsAtOnce)] {
		path, err := p.path(ctx, id, ask)
		if err != nil {
			return nil, err
		}
		if path != "" {
			list = append(list, path)
		}
	}
	return list, nil
}

func (p disclosure) path(ctx context.Context, id int64, ask bool) (path string, err error) {
	for depth := 0; id > organisationRoot; depth++ {
		r, err := p.department(ctx, id, ask)
		if err != nil {
			return "", err
		}
		if r.Absent || r.Name == "" || depth == deepestPath {
			return "", nil
		}
		name := strings.ReplaceAll(r.Name, "/", slashInNames)
		if path != "" {
			name += "/" + path
		}
		path, id = name, r.Parent
	}
	return path, nil
}

// department finds a record; it is absent if nothing is known and ask is false.
func (p disclosure) department(ctx context.Context, id int64, ask bool) (departmentRecord, error) {
	now := p.now()
	fresh := func(r departmentRecord) bool { return !r.Looked.IsZero() && (!ask || now.Sub(r.Looked) < namesFresh) }
	if r, ok := p.names.get(id, now); ok && fresh(r) {
		return r, nil
	}
	key := recordKey("department", p.Realm, fmt.Sprint(id))
	var r departmentRecord
	_, found, err := p.records().read(ctx, key, &r)
	switch {
	case err != nil:
		return r, err
	case !found:
		r = departmentRecord{Absent: true}
	}
	if !fresh(r) && ask && p.People.Department != nil {
		if r, err = p.askDepartment(ctx, key, id, r); err != nil {
			return r, err
		}
	}
	if !r.Looked.IsZero() {
		p.names.put(id, r, now)
	}
	return r, nil
}

// askDepartment looks a department up at DingTalk. If that fails, the old name stays valid.
func (p disclosure) askDepartment(
	ctx context.Context, key string, id int64, old departmentRecord,
) (departmentRecord, error) {
	got, err := p.People.Department(ctx, id)
	r := departmentRecord{Department: got, Looked: p.now()}
	switch {
	case errors.Is(err, ErrNoDepartment):
		r = departmentRecord{Absent: true, Looked: r.Looked}
	case err != nil && !old.Looked.IsZero():
		p.report(err)
		return old, nil
	case err != nil:
		return old, err
	}
	return r, update(ctx, p.records(), key, namesLife, func(to *departmentRecord, _ bool) (bool, error) {
		*to = r
		return true, nil
	})
}
