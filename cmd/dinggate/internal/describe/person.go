package describe

import (
	"slices"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

type PersonView struct {
	UserID      string   `json:"userid"`
	Username    string   `json:"username"`
	Name        string   `json:"name,omitempty"`
	Email       string   `json:"email,omitempty"`
	Departments []int64  `json:"departments,omitempty"`
	Roles       []string `json:"roles,omitempty"`
}

func Person(u *identity.User) *PersonView {
	if u == nil {
		return nil
	}
	p := &PersonView{UserID: u.UserID, Username: u.Username, Name: u.Name, Email: u.Email, Roles: u.RoleNames()}
	p.Departments = slices.Concat(u.Departments, u.Ancestors)
	slices.Sort(p.Departments)
	p.Departments = slices.Compact(p.Departments)
	return p
}

func (p *PersonView) Text(in i18n.Language) string {
	if p == nil {
		return in.Say(i18n.Message{"not signed in", "未登录"})
	}
	parts := []string{p.Username}
	add := func(name i18n.Message, value string) {
		if value != "" {
			parts = append(parts, in.Say(name)+" "+value)
		}
	}
	if p.UserID != p.Username {
		add(i18n.Message{"userid", "userid"}, p.UserID)
	}
	add(i18n.Message{"name", "姓名"}, p.Name)
	add(i18n.Message{"e-mail", "邮箱"}, p.Email)
	var ids []string
	for _, id := range p.Departments {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	add(i18n.Message{"departments", "部门"}, strings.Join(ids, ","))
	add(i18n.Message{"roles", "角色"}, strings.Join(p.Roles, ","))
	return cli.Printable(strings.Join(parts, "; "))
}
