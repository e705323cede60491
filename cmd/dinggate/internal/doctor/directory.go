package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/describe"
	"dinggate/cmd/dinggate/internal/orgtree"
	"dinggate/dingtalk"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

func (d *Doctor) scope(ctx context.Context) Result {
	whole, err := d.probe.Scope(ctx)
	if err != nil {
		return failed(err)
	}
	if whole {
		return good(i18n.Message{"the whole organisation", "全部员工"})
	}
	return Result{
		Severity: Warning,
		Text:     i18n.Message{"not the whole organisation: people outside the scope cannot sign in", "授权范围不是全部员工，范围外的人无法登录"},
		Hint: i18n.Message{
			"开发者后台 > 权限管理 > 通讯录权限 > 授权范围 > 全部员工 (Developer console > Permission management > contact scope)",
			"开发者后台 > 权限管理 > 通讯录权限 > 授权范围 > 全部员工",
		},
	}
}

// record looks a colleague up as a sign-in would.
func (d *Doctor) record(ctx context.Context) Result {
	directory := &dingtalk.Directory{
		Client:    d.probe.Client,
		Username:  d.cfg.DingTalk.Username,
		Ancestors: d.cfg.NamesDepartments(),
	}
	u, err := directory.Colleague(ctx, d.User)
	if err != nil {
		return failed(err)
	}
	text := describe.Person(&u)
	f := good(i18n.Message{text.Text(i18n.English), text.Text(i18n.Chinese)})
	if u.Email != "" {
		return f
	}
	f.Severity = Note
	if needsEmail(d.cfg) {
		f.Severity = Wrong
	}
	f.Text[i18n.English] += "; without an e-mail address"
	f.Text[i18n.Chinese] += "；没有邮箱"
	f.Hint = i18n.Message{"if the directory has one: 开发者后台 > 权限管理 > " + dingtalk.PermissionName("fieldEmail") +
		" is not granted", "若通讯录中有邮箱：未开通 " + dingtalk.PermissionName("fieldEmail") + "（开发者后台 > 权限管理）"}
	return f
}

// needsEmail reports whether people without an e-mail address are refused somewhere.
func needsEmail(c *config.Config) bool {
	return strings.HasPrefix(c.DingTalk.Username, "email") ||
		len(config.NamedIn(c, "emails")) > 0
}

// ruleChecks compare departments and roles in the rules with the directory.
func (d *Doctor) ruleChecks() (all []check) {
	for _, text := range config.NamedIn(d.cfg, "departments") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			continue // check reports it
		}
		all = append(all, check{
			Name:  "department." + text,
			title: i18n.Message{"department " + text, "部门 " + text},
			host:  "oapi",
			run: func(ctx context.Context) Result {
				name, err := d.probe.Department(ctx, id)
				f := result(err, i18n.Message{cli.Printable(name), cli.Printable(name)})
				if fail, ok := errors.AsType[*identity.Failure](err); ok && fail.Code == "department_unknown" {
					f.Text, f.cause = i18n.Message{
						"does not exist, or is outside the contact scope: it matches no one in the rule",
						"不存在或不在授权范围内：规则中的这一项不会放行任何人",
					}, ""
					d.nearest(&f, func(t *orgtree.Tree) string { return t.NearestDepartment(text) })
				}
				return f
			},
		})
	}
	if roles := config.NamedIn(d.cfg, "roles"); len(roles) > 0 {
		all = append(all, check{
			Name:  "roles",
			title: i18n.Message{"roles in rules", "规则中的角色"},
			host:  "oapi",
			run:   func(ctx context.Context) Result { return d.roles(ctx, roles) },
		})
	}
	return all
}

func (d *Doctor) roles(ctx context.Context, named []string) Result {
	known, err := d.probe.Roles(ctx)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == "permission_missing" &&
		!d.cfg.NamesDepartments() {
		return Result{
			Severity: Note,
			Text: i18n.Message{"cannot be compared without " +
				dingtalk.PermissionName("qyapi_get_department_list") + "; a sign-in does not need it",
				"没有 " + dingtalk.PermissionName("qyapi_get_department_list") + " 无法核对；登录本身不需要它"},
		}
	}
	if err != nil {
		return failed(err)
	}
	f := good(i18n.Message{strings.Join(named, ", "), strings.Join(named, "、")})
	f.Text[i18n.English], f.Text[i18n.Chinese] = cli.Printable(f.Text[i18n.English]),
		cli.Printable(f.Text[i18n.Chinese])
	for _, name := range named {
		var ids []string
		for _, r := range known {
			if r.Name == name || strconv.FormatInt(r.ID, 10) == name {
				ids = append(ids, strconv.FormatInt(r.ID, 10))
			}
		}
		switch {
		case len(ids) == 0:
			wrong := Result{
				Severity: Wrong,
				Text: i18n.Message{"role " + cli.Printable(name) + " does not exist: it matches no one in the rule",
					"角色 " + cli.Printable(name) + " 不存在：规则中的这一项不会放行任何人"},
				Hint: i18n.Message{"compare the name with 管理后台 https://oa.dingtalk.com > 通讯录 > 角色管理",
					"请与 管理后台 https://oa.dingtalk.com > 通讯录 > 角色管理 中的名称核对"},
			}
			wrong.suggest(orgtree.Roles(known).NearestRole(name))
			return wrong
		case len(ids) > 1 && f.Severity == Fine:
			f = Result{
				Severity: Warning,
				Text: i18n.Message{fmt.Sprintf("%d roles are named %s; the rule allows all of them", len(ids),
					cli.Printable(name)), fmt.Sprintf("同名角色 %s 有 %d 个，都会被放行", cli.Printable(name), len(ids))},
				Hint: i18n.Message{"if one is meant, write its id: " + strings.Join(ids, ", "),
					"若只指其中一个，请改写为 id：" + strings.Join(ids, "、")},
			}
		}
	}
	return f
}

// nearest suggests the department or role that was probably meant, if the tree can be
// read in the remaining time.
func (d *Doctor) nearest(f *Result, of func(*orgtree.Tree) string) {
	if tree, err := d.tree(); err == nil {
		f.suggest(of(tree))
	}
}

// suggest appends the closest name to the text; "" appends nothing.
func (f *Result) suggest(nearest string) {
	if nearest = cli.Printable(nearest); nearest != "" {
		f.Text[i18n.English] += "; the closest match is " + nearest
		f.Text[i18n.Chinese] += "；最接近的是 " + nearest
	}
}

// lists checks whether the directory can be read as a whole, which few deployments need.
func lists(ctx context.Context, d *Doctor) Result {
	out := optional(d.probe.Lists(ctx), i18n.Message{"can be read", "可以读取"}, i18n.Message{
		fmt.Sprintf("cannot be read: members are looked up one by one, at most %d a second, so that above %d people "+
			"active rechecks are later than session.recheck", d.cfg.DingTalk.Rate, affordable(d.cfg)),
		fmt.Sprintf("无法读取：成员逐人查询，每秒最多 %d 人；同时在线超过 %d 人时，复查会晚于 session.recheck",
			d.cfg.DingTalk.Rate, affordable(d.cfg)),
	})
	if out.Severity == Note && out.cause == "" && d.cfg.DingTalk.Directory == dingtalk.DirectoryMirror {
		out.Severity = Warning // the configuration asks for it
	}
	return out
}

// affordable is how many people individual lookups can recheck in time.
func affordable(c *config.Config) int {
	return int(float64(c.DingTalk.Rate) * 0.8 * c.Session.Recheck.Seconds()) // up to a fifth sooner than due
}

// leavers checks whether people who left while the event stream was down can be found.
func leavers(ctx context.Context, p *dingtalk.Probe) Result {
	return optional(p.Leavers(ctx), i18n.Message{"can be read", "可以读取"}, i18n.Message{
		"cannot be read: people who leave while the event stream is down stay signed in until the next recheck",
		"无法读取：事件流中断期间离职的人，到下次复查时才会退出登录",
	})
}

// migrations checks whether people whose account was migrated can be found again.
func migrations(ctx context.Context, p *dingtalk.Probe) Result {
	return optional(p.Migrations(ctx), i18n.Message{"can be asked for", "可以查询"}, i18n.Message{
		"cannot be asked for: a person whose ordinary account becomes an enterprise account is somebody new, without their " +
			"binding, grants and OpenID subject",
		"无法查询：普通账号迁移为企业账号后被视为新用户，原有的绑定、授权和 OpenID sub 都不再对应",
	})
}

// optional turns a failure into a note: the permission is optional, and other failures
// are reported in other rows.
func optional(err error, yes, without i18n.Message) Result {
	if err == nil {
		return good(yes)
	}
	out := failed(err)
	out.Severity = Note
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == "permission_missing" {
		out.Text, out.cause = without, ""
	}
	return out
}
