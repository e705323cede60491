package simulator

import (
	"slices"
	"strings"
)

// authScopes is GET /auth/scopes: the people and fields that the app may read.
func authScopes(p *Platform, c *call) (any, *apiError) {
	departments, users := c.app.Scope, c.app.ScopeUsers
	if departments == nil && users == nil {
		departments = []int64{1}
	}
	return flat{
		"condition_field": []string{},
		"auth_user_field": []string{"name", "userid", "department", "position", "jobnumber", "avatar", "isAdmin"},
		"auth_org_scopes": map[string]any{"authed_user": append([]string{}, users...),
			"authed_dept": append([]int64{}, departments...)},
	}, nil
}

// getByUnionID finds external contacts as well: only contact_type differs.
func getByUnionID(p *Platform, c *call) (any, *apiError) {
	if c.text("unionid") == "" {
		return nil, apiErrorFor("400002")
	}
	who := p.org.personByUnionID(c.text("unionid"))
	switch {
	case who == nil || who.UserID == "":
		return nil, apiErrorFor("60121")
	case who.Blocked:
		return nil, apiErrorFor("60120")
	case who.External:
		return map[string]any{"contact_type": 1, "userid": who.UserID}, nil
	}
	return map[string]any{"contact_type": 0, "userid": who.UserID}, nil
}

// memberByUserID returns the member with the argument userid.
func memberByUserID(p *Platform, c *call, notFound string) (*Person, *apiError) {
	if c.text("userid") == "" {
		return nil, apiErrorFor("400002")
	}
	who := p.org.personByUserID(c.text("userid"))
	switch {
	case who == nil || !who.member():
		return nil, apiErrorFor(notFound)
	case who.Blocked:
		return nil, apiErrorFor("60120")
	}
	return who, nil
}

func userGet(p *Platform, c *call) (any, *apiError) {
	who, apiErr := memberByUserID(p, c, "60121")
	switch {
	case apiErr != nil:
		return nil, apiErr
	case !p.org.sees(c.app, who):
		return nil, apiErrorFor("50002")
	}
	return userRecord(p, c.app, who), nil
}

// userRecord is the answer of user/get. Fields without a value or without
// permission are absent.
func userRecord(p *Platform, a *App, who *Person) map[string]any {
	m := map[string]any{
		"userid": who.UserID, "unionid": who.UnionID, "name": who.Name,
		"dept_id_list": append([]int64{}, who.Departments...),
		"active":       !who.Inactive, "admin": who.Admin, "boss": who.Boss, "senior": who.Senior, "real_authed": true,
		"hide_mobile":       false,
		"exclusive_account": who.Enterprise || who.Disabled,
	}
	for name, value := range map[string]string{"job_number": who.JobNumber, "title": who.Title,
		"telephone": who.Telephone,
		"org_email": who.OrgEmail, "avatar": who.Avatar, "manager_userid": who.Manager} {
		optional(m, name, value)
	}
	if who.OrgEmail != "" {
		m["org_email_type"] = "base"
	}
	if a.hasPermission("fieldEmail") {
		for name, value := range map[string]string{"email": who.Email, "work_place": who.WorkPlace,
			"remark": who.Remark, "extension": who.Extension} {
			optional(m, name, value)
		}
	}
	if a.hasPermission("fieldMobile") && who.Mobile != "" {
		m["mobile"], m["state_code"] = who.Mobile, "86"
	}
	if !who.Hired.IsZero() {
		m["hired_date"] = who.Hired.UnixMilli()
	}
	if who.Enterprise || who.Disabled {
		m["exclusive_account_type"], m["login_id"] = "dingtalk", who.UserID
		m["exclusive_account_corp_id"], m["exclusive_account_corp_name"] = p.org.corpID, p.org.department(1).Name
	}
	if who.Disabled {
		m["disable_status"] = true
	}
	var orders, leads, roles []map[string]any
	for i, id := range who.Departments {
		orders = append(orders, map[string]any{"dept_id": id, "order": i + 1})
		leads = append(leads, map[string]any{"dept_id": id, "leader": slices.Contains(who.Leads, id)})
	}
	for _, id := range who.Roles {
		if r := p.org.role(id); r != nil {
			roles = append(roles, map[string]any{"id": r.ID, "name": r.Name, "group_name": r.Group})
		}
	}
	if orders != nil {
		m["dept_order_list"], m["leader_in_dept"] = orders, leads
	}
	if roles != nil {
		m["role_list"] = roles
	}
	return m
}

// getUserInfo exchanges a silent code, and no other.
func getUserInfo(p *Platform, c *call) (any, *apiError) {
	if c.app.Unpublished {
		return nil, apiErrorFor("40079")
	}
	got, ok := p.credentials.redeemCode(p.now(), c.text("code"), c.app, Silent)
	if !ok {
		return nil, apiErrorFor("40078")
	}
	who := p.org.person(got.person)
	if who == nil || who.UserID == "" || !p.org.uses(c.app, who) {
		return nil, apiErrorFor("40079")
	}
	level := 0
	switch {
	case who.Admin:
		level = 1
	case who.Boss:
		level = 100
	}
	return map[string]any{"userid": who.UserID, "unionid": who.UnionID, "name": who.Name,
		"device_id": digest("device", who.ID),
		"sys":       who.Admin, "sys_level": level, "associated_unionid": digest("associated", who.UnionID)}, nil
}

// members returns the direct members of a department, in the order they joined.
func (o *organisation) members(department int64) []*Person {
	var list []*Person
	for _, who := range o.people {
		if who.member() && slices.Contains(who.Departments, department) {
			list = append(list, who)
		}
	}
	return list
}

// listRecord is the record of a member in user/list: user/get's record without roles and
// without the state of an enterprise account, with the fields of this department only.
func listRecord(p *Platform, a *App, who *Person, department int64) map[string]any {
	m := userRecord(p, a, who)
	for _, name := range []string{"role_list", "leader_in_dept", "dept_order_list", "manager_userid", "senior",
		"real_authed", "disable_status"} {
		delete(m, name)
	}
	m["leader"], m["dept_order"] = slices.Contains(who.Leads, department), slices.Index(who.Departments, department)+1
	return m
}

func userList(p *Platform, c *call) (any, *apiError) {
	d, apiErr := visibleDepartment(p, c)
	if apiErr != nil {
		return nil, apiErr
	}
	cursor, okCursor := c.number("cursor")
	size, okSize := c.number("size")
	if !okCursor || !okSize || cursor < 0 || size < 1 || size > 100 {
		return nil, apiErrorFor("400002")
	}
	all := p.org.members(d.ID)
	page, more := paginate(all, cursor, size)
	list := []map[string]any{}
	for _, who := range page {
		list = append(list, listRecord(p, c.app, who, d.ID))
	}
	result := map[string]any{"list": list, "has_more": more}
	if more {
		result["next_cursor"] = cursor + size
	}
	return result, nil
}

// paginate returns one page of a list, and whether more follows.
func paginate[T any](all []T, from, size int64) ([]T, bool) {
	n := int64(len(all))
	from = min(from, n)
	to := min(from+size, n)
	return all[from:to], to < n
}

func userListID(p *Platform, c *call) (any, *apiError) {
	d, apiErr := visibleDepartment(p, c)
	if apiErr != nil {
		return nil, apiErr
	}
	ids := []string{}
	for _, who := range p.org.members(d.ID) {
		ids = append(ids, who.UserID)
	}
	return map[string]any{"userid_list": ids}, nil
}

func getByMobile(p *Platform, c *call) (any, *apiError) {
	mobile := strings.TrimPrefix(c.text("mobile"), "+86")
	if mobile == "" {
		return nil, apiErrorFor("400002")
	}
	for _, who := range p.org.people {
		if who.member() && who.Mobile == mobile {
			return map[string]any{"userid": who.UserID}, nil
		}
	}
	return nil, apiErrorFor("60121")
}

func listAdmin(p *Platform, _ *call) (any, *apiError) {
	list := []map[string]any{}
	for _, who := range p.org.people {
		if who.member() && who.Admin {
			list = append(list, map[string]any{"userid": who.UserID, "sys_level": 1})
		}
	}
	return list, nil
}
