// Package dingtalkapp derives the settings of the app at DingTalk from a configuration,
// and reads the actual ones with DingTalk's command-line tool.
//
//	config.Config ─► For ─► Settings ─┬─► dinggate gen dingtalk
//	                                  └─► dinggate doctor --dws ◄─ DWS ◄─ dws … --format json
package dingtalkapp

import (
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

// Permission is a permission point and the reason for it.
type Permission struct {
	Point string
	Why   i18n.Message
}

// Settings are the required settings of the app at DingTalk.
type Settings struct {
	Given    []Permission // granted to every app, unless an administrator removed them
	Required []Permission // without them sign-ins, rules or headers do not work
	Optional []Permission // each enables an additional function

	Redirects []string // all URLs that people are sent back to
	Homepage  string   // of the workbench entry
	Events    []string // event codes; empty if events are off
}

// For derives the settings from a configuration with DingTalk sign-in.
func For(c *config.Config) Settings {
	s := Settings{
		Given: []Permission{
			{"open_app_api_base", i18n.Message{"tokens", "获取凭证"}},
			{"qyapi_base", i18n.Message{"sign-in inside DingTalk, work notifications", "端内免登、工作通知"}},
		},
		Required: []Permission{
			{"Contact.User.Read", i18n.Message{"every sign-in", "每次登录"}},
			{"qyapi_get_member", i18n.Message{"membership, name, roles", "成员身份、姓名、角色"}},
		},
		Redirects: c.CallbackURLs(),
		Homepage:  strings.TrimSuffix(c.PublicURL, "/") + "/",
	}
	need := func(point string, why i18n.Message) { s.Required = append(s.Required, Permission{point, why}) }
	offer := func(point string, why i18n.Message) { s.Optional = append(s.Optional, Permission{point, why}) }
	if why := emailUse(c); why != (i18n.Message{}) {
		need("fieldEmail", why)
	}
	bulk := i18n.Message{"membership of many people is confirmed in bulk", "批量核对大量成员的身份"}
	lists := c.DingTalk.Directory == dingtalk.DirectoryMirror
	departments := departmentUse(c)
	switch {
	case departments != (i18n.Message{}):
		need("qyapi_get_department_list", departments)
	case lists:
		need("qyapi_get_department_list", bulk)
	default:
		offer("qyapi_get_department_list", i18n.Message{
			"dinggate departments, and, with qyapi_get_department_member, checks in bulk",
			"dinggate departments；与 qyapi_get_department_member 一起用于批量核对"})
	}
	switch {
	case lists:
		need("qyapi_get_department_member", bulk)
	case c.DingTalk.Directory != dingtalk.DirectoryLookup:
		offer("qyapi_get_department_member", bulk)
	}
	if c.DingTalk.Events {
		offer("Contact.Common.Read", i18n.Message{
			"people who left while the event stream was interrupted are signed out after it is back",
			"事件流中断期间离职的人，恢复后即退出登录"})
		s.Events = dingtalk.EventTypes()
	}
	if len(c.OIDC.Clients) > 0 || c.Accounts.Binds() || c.AccessRequests.On() {
		offer("Contact.OrgAccountMigration.Read", i18n.Message{
			"a person whose account is migrated to an enterprise account remains the same person (sub, binding, grants)",
			"普通账号迁移为企业账号后仍识别为同一人（sub、绑定、授权）"})
	}
	return s
}

// emailUse returns what needs e-mail addresses; zero if nothing does.
func emailUse(c *config.Config) i18n.Message {
	carries := slices.ContainsFunc(append(c.Headers.Request.Rules(), c.Headers.Response.Rules()...),
		func(h identity.HeaderRule) bool { return h.Field == "email" })
	switch {
	case strings.HasPrefix(c.DingTalk.Username, "email"):
		return i18n.Message{"dingtalk.username", "dingtalk.username"}
	case len(config.NamedIn(c, "emails")) > 0:
		return i18n.Message{"rules on emails", "按邮箱的规则"}
	case len(c.OIDC.Clients) > 0:
		return i18n.Message{"the claim email of OpenID clients", "OpenID 客户端的 email 声明"}
	case c.SSOServer.On():
		return i18n.Message{"userinfo of the SSO service", "SSO 服务的 userinfo"}
	case carries:
		return i18n.Message{"headers with the e-mail address", "携带邮箱的请求头"}
	}
	return i18n.Message{}
}

// departmentUse returns what needs the tree of departments; zero if nothing does.
func departmentUse(c *config.Config) i18n.Message {
	managers := slices.ContainsFunc(c.Routes, func(r config.Route) bool {
		return r.Request != nil && r.Request.Approvers.DepartmentManagers
	})
	switch {
	case c.NamesDepartments():
		return i18n.Message{"rules on departments", "按部门的规则"}
	case managers:
		return i18n.Message{"department_managers who decide on requests", "由部门主管审批的申请"}
	}
	return i18n.Message{}
}
