package simulator

import "slices"

// page reads size and offset of a role call: both or neither are required.
func (c *call) page(limit int64) (offset, size int64, apiErr *apiError) {
	if c.text("size") == "" && c.text("offset") == "" {
		return 0, 20, nil
	}
	size, okSize := c.number("size")
	offset, okOffset := c.number("offset")
	switch {
	case !okSize || size < 1 || size > limit:
		return 0, 0, apiErrorFor("40069")
	case !okOffset || offset < 0:
		return 0, 0, apiErrorFor("40068")
	}
	return offset, size, nil
}

func roleList(p *Platform, c *call) (any, *apiError) {
	offset, size, apiErr := c.page(200)
	if apiErr != nil {
		return nil, apiErr
	}
	groups := []map[string]any{}
	for _, r := range p.org.roles {
		role := map[string]any{"id": r.ID, "name": r.Name}
		i := slices.IndexFunc(groups, func(g map[string]any) bool { return g["groupId"] == r.GroupID })
		if i < 0 {
			groups = append(groups,
				map[string]any{"groupId": r.GroupID, "name": r.Group, "roles": []map[string]any{role}})
			continue
		}
		groups[i]["roles"] = append(groups[i]["roles"].([]map[string]any), role)
	}
	list, more := paginate(groups, offset, size)
	return map[string]any{"hasMore": more, "list": list}, nil
}

func roleGroup(p *Platform, c *call) (any, *apiError) {
	id, _ := c.number("group_id")
	name, list := "", []map[string]any{}
	for _, r := range p.org.roles {
		if r.GroupID == id {
			name, list = r.Group, append(list, map[string]any{"role_id": r.ID, "role_name": r.Name})
		}
	}
	if len(list) == 0 {
		return nil, apiErrorFor("33011")
	}
	return flat{"role_group": map[string]any{"group_name": name, "roles": list}}, nil
}

func roleGet(p *Platform, c *call) (any, *apiError) {
	id, _ := c.number("roleId")
	r := p.org.role(id)
	if r == nil {
		return nil, apiErrorFor("33011")
	}
	return flat{"role": map[string]any{"name": r.Name, "groupId": r.GroupID}}, nil
}

func roleMembers(p *Platform, c *call) (any, *apiError) {
	offset, size, apiErr := c.page(100)
	if apiErr != nil {
		return nil, apiErr
	}
	id, _ := c.number("role_id")
	if p.org.role(id) == nil {
		return nil, apiErrorFor("33011")
	}
	list := []map[string]any{}
	for _, who := range p.org.people {
		if who.member() && slices.Contains(who.Roles, id) {
			list = append(list, map[string]any{"userid": who.UserID, "name": who.Name, "manageScopes": []any{}})
		}
	}
	list, more := paginate(list, offset, size)
	return map[string]any{"hasMore": more, "list": list}, nil
}
