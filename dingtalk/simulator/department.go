package simulator

// visibleDepartment is the department dept_id inside the contact scope.
func visibleDepartment(p *Platform, c *call) (*Department, *apiError) {
	d, apiErr := namedDepartment(p, c)
	if apiErr == nil && !p.org.seesDepartment(c.app, d.ID) {
		return nil, apiErrorFor("50004")
	}
	return d, apiErr
}

// namedDepartment is visibleDepartment without the scope: listsubid and
// listparentby… are not restricted to it.
func namedDepartment(p *Platform, c *call) (*Department, *apiError) {
	if c.text("dept_id") == "" {
		return nil, apiErrorFor("400002")
	}
	id, ok := c.number("dept_id")
	if !ok || id == -7 { // -7 is the root of the parents' directory of schools
		return nil, apiErrorFor("40009")
	}
	d := p.org.department(id)
	if d == nil {
		return nil, apiErrorFor("60003")
	}
	return d, nil
}

func (d *Department) fields() map[string]any {
	m := map[string]any{"dept_id": d.ID, "name": d.Name, "create_dept_group": false, "auto_add_user": false}
	if d.ID != 1 {
		m["parent_id"] = d.parent()
	}
	return m
}

func departmentGet(p *Platform, c *call) (any, *apiError) {
	d, apiErr := visibleDepartment(p, c)
	if apiErr != nil {
		return nil, apiErr
	}
	m := d.fields()
	m["dept_manager_userid_list"] = append([]string{}, d.Managers...)
	m["hide_dept"], m["outer_dept"], m["member_count"] = d.Hidden, false, len(p.org.members(d.ID))
	return m, nil
}

func listSub(p *Platform, c *call) (any, *apiError) {
	if c.text("dept_id") == "" {
		c.args["dept_id"] = "1"
	}
	d, apiErr := visibleDepartment(p, c)
	if apiErr != nil {
		return nil, apiErr
	}
	list := []map[string]any{}
	for _, child := range p.org.children(d.ID) {
		list = append(list, child.fields())
	}
	return list, nil
}

func listSubID(p *Platform, c *call) (any, *apiError) {
	d, apiErr := namedDepartment(p, c)
	if apiErr != nil {
		return nil, apiErr
	}
	ids := []int64{}
	for _, child := range p.org.children(d.ID) {
		ids = append(ids, child.ID)
	}
	return map[string]any{"dept_id_list": ids}, nil
}

func listParentByDept(p *Platform, c *call) (any, *apiError) {
	d, apiErr := namedDepartment(p, c)
	if apiErr != nil {
		return nil, apiErr
	}
	return map[string]any{"parent_id_list": p.org.ancestors(d.ID)}, nil
}

func listParentByUser(p *Platform, c *call) (any, *apiError) {
	who, apiErr := memberByUserID(p, c, "33012")
	if apiErr != nil {
		return nil, apiErr
	}
	list := []map[string]any{}
	for _, id := range who.Departments {
		if line := p.org.ancestors(id); line != nil {
			list = append(list, map[string]any{"parent_dept_id_list": line})
		}
	}
	return map[string]any{"parent_list": list}, nil
}
