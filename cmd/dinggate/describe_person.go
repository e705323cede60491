package main

import (
	"dinggate/internal/identity"
	"slices"
	"strconv"
	"strings"
)

type explainedPerson struct {
	UserID      string   `json:"userid"`
	Username    string   `json:"username"`
	Name        string   `json:"name,omitempty"`
	Email       string   `json:"email,omitempty"`
	Departments []int64  `json:"departments,omitempty"`
	Roles       []string `json:"roles,omitempty"`
}

func describe(u *identity.User) *explainedPerson {
	if u == nil {
		return nil
	}
	p := &explainedPerson{UserID: u.UserID, Username: u.Username, Name: u.Name, Email: u.Email, Roles: u.RoleNames()}
	p.Departments = slices.Concat(u.Departments, u.Ancestors)
	slices.Sort(p.Departments)
	p.Departments = slices.Compact(p.Departments)
	return p
}

func (p *explainedPerson) text(in language) string {
	if p == nil {
		return in.say(message{"nobody is signed in", "未登录"})
	}
	parts := []string{p.Username}
	add := func(name message, value string) {
		if value != "" {
			parts = append(parts, in.say(name)+" "+value)
		}
	}
	if p.UserID != p.Username {
		add(message{"userid", "userid"}, p.UserID)
	}
	add(message{"name", "姓名"}, p.Name)
	add(message{"e-mail", "邮箱"}, p.Email)
	var ids []string
	for _, id := range p.Departments {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	add(message{"departments", "部门"}, strings.Join(ids, ","))
	add(message{"roles", "角色"}, strings.Join(p.Roles, ","))
	return printable(strings.Join(parts, "; "))
}
