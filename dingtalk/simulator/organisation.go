package simulator

import (
	"fmt"
	"slices"
)

// Department is a node of the organisation's tree. Department 1 is the root.
type Department struct {
	ID       int64    `json:"id"`
	Parent   int64    `json:"parent"` // 0 = the root, 1
	Name     string   `json:"name"`
	Managers []string `json:"managers"` // userids
	Hidden   bool     `json:"hidden"`
}

// Role is a role (角色) in a group of roles. Names repeat across groups, ids do not.
type Role struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	GroupID int64  `json:"group_id"`
	Group   string `json:"group"`
}

// organisation holds the departments, roles and people. The platform's mu
// guards it.
type organisation struct {
	corpID      string
	departments []*Department
	roles       []*Role
	people      []*Person
	left        []leaver // in the order in which they left; the oldest ones are removed if there are too many

	withholds map[string]bool // Person.ID, of Withhold

	migrated map[string]string // unionid before → after an account's migration; as many as there are people at most
}

// AddDepartment adds a department and emits org_dept_create. The id must be new and the parent known.
func (p *Platform) AddDepartment(d Department) error {
	unlock := p.lock()
	if len(p.org.departments) >= peopleMax || d.ID <= 1 || p.org.department(d.ID) != nil ||
		p.org.department(max(d.Parent, 1)) == nil {
		unlock()
		return fmt.Errorf("simulator: adding department %d: its id is taken or its parent unknown", d.ID)
	}
	p.org.departments = append(p.org.departments, &d)
	unlock()
	p.Emit("org_dept_create", map[string]any{"deptId": []int64{d.ID}})
	return nil
}

// ChangeDepartment calls change to edit a department (its name, its parent) and emits org_dept_modify.
func (p *Platform) ChangeDepartment(id int64, change func(*Department)) error {
	unlock := p.lock()
	d := p.org.department(id)
	if d == nil {
		unlock()
		return fmt.Errorf("simulator: changing department %d: there is none", id)
	}
	change(d)
	d.ID = id
	unlock()
	p.Emit("org_dept_modify", map[string]any{"deptId": []int64{id}})
	return nil
}

// RemoveDepartment removes a department and emits org_dept_remove. Its people
// and the departments below move to its parent.
func (p *Platform) RemoveDepartment(id int64) error {
	unlock := p.lock()
	d := p.org.department(id)
	if d == nil || id == 1 {
		unlock()
		return fmt.Errorf("simulator: removing department %d: there is none, or it is the root", id)
	}
	for _, below := range p.org.departments {
		if below.Parent == id {
			below.Parent = d.Parent
		}
	}
	for _, who := range p.org.people {
		if i := slices.Index(who.Departments, id); i >= 0 {
			who.Departments[i] = max(d.Parent, 1)
		}
	}
	p.org.departments = slices.DeleteFunc(p.org.departments, func(x *Department) bool { return x.ID == id })
	unlock()
	p.Emit("org_dept_remove", map[string]any{"deptId": []int64{id}})
	return nil
}

func (o *organisation) department(id int64) *Department {
	for _, d := range o.departments {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// parent is 0 above the root.
func (d *Department) parent() int64 {
	if d.ID == 1 {
		return 0
	}
	return max(d.Parent, 1)
}

// ancestors is a department and everything above it, ending in 1; nil when there
// is no such department. A cycle of departments ends after one round.
func (o *organisation) ancestors(id int64) []int64 {
	var line []int64
	for d := o.department(id); d != nil && !slices.Contains(line, d.ID); d = o.department(d.parent()) {
		line = append(line, d.ID)
	}
	return line
}

// inSubtree reports whether a department is one of tops or below one.
func (o *organisation) inSubtree(id int64, tops []int64) bool {
	return slices.ContainsFunc(o.ancestors(id), func(up int64) bool { return slices.Contains(tops, up) })
}

func (o *organisation) children(id int64) []*Department {
	var list []*Department
	for _, d := range o.departments {
		if d.parent() == id {
			list = append(list, d)
		}
	}
	return list
}

func (o *organisation) role(id int64) *Role {
	for _, r := range o.roles {
		if r.ID == id {
			return r
		}
	}
	return nil
}
