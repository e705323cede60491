package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/internal/i18n"
)

var grantsCommands = cli.Command{
	Name:  "grants",
	Brief: i18n.Message{"list access requests and grants, or end one", "列出访问申请和授权，或结束其中一项"},
	Commands: []cli.Command{
		{
			Name: "list", Config: true, Run: withControl(listGrants),
			Brief:    i18n.Message{"list the waiting requests and the grants of all replicas", "列出所有副本上待审批的申请和有效的授权"},
			Flags:    listFlags,
			Examples: []string{"grants list --user zhangsan --config /etc/dinggate/config.yaml"},
		},
		{
			Name: "end", Config: true, Run: withControl(endGrant),
			Operands: []cli.Operand{{Name: "ID"}},
			Brief:    i18n.Message{"end a grant or a request by its id, on every replica", "按 ID 结束一项授权或申请，对所有副本生效"},
			Flags:    endFlags,
			Examples: []string{
				`grants end ID --reason "left the project" --config /etc/dinggate/config.yaml`,
			},
		},
	},
}

func listGrants(c cli.Invocation, ctx context.Context, client controlClient) error {
	var list admin.GrantList
	if printed, err := askList(c, ctx, client, "/grants", &list); printed || err != nil {
		return err
	}
	table := i18n.Table{{c.Say(i18n.Message{"USER", "用户"}), c.Say(i18n.Message{"NAME", "姓名"}),
		c.Say(i18n.Message{"PAGE", "页面"}), c.Say(i18n.Message{"STATE", "状态"}), c.Say(i18n.Message{"ASKED", "申请时间"}),
		c.Say(i18n.Message{"UNTIL", "到期"}), c.Say(i18n.Message{"APPROVER", "审批人"}), "ID"}}
	waiting := 0
	for _, g := range list.Grants {
		state, until, approver := c.Say(i18n.Message{"granted", "已授权"}), "", g.By
		if g.Until.IsZero() {
			state, approver = c.Say(i18n.Message{"waiting", "待审批"}), strings.Join(g.Approvers, ", ")
			if g.Unnotified {
				state = c.Say(i18n.Message{"waiting, perhaps unnotified", "待审批，可能未通知到"})
			}
			waiting++
		} else {
			until = moment(g.Until)
		}
		table = append(table, []string{cli.Printable(g.User), cli.Printable(g.Name), cli.Printable(g.Route), state,
			moment(g.Asked), until, cli.Printable(approver), g.ID})
	}
	table.Write(c.Stdout, "")
	granted := len(list.Grants) - waiting
	fmt.Fprint(c.Stdout, c.Say(i18n.Message{cli.Count(granted, "grant") + ", " + cli.Count(waiting, "waiting request") + ".\n",
		fmt.Sprintf("共 %d 项授权，%d 个待审批的申请。\n", granted, waiting)}))
	return nil
}

var errNoControl = cli.UserError{Message: i18n.Message{
	"there is no control socket: set admin.control, or state_dir",
	"没有控制套接字：请设置 admin.control 或 state_dir"}}

// grantsOf reads a person's grants from the process that serves, for explain.
func grantsOf(ctx context.Context, cfg *config.Config, environ []string, userID string) ([]explain.Grant, error) {
	socket := config.ControlSocket(cfg, environ)
	if socket == "" {
		return nil, errNoControl
	}
	client := controlClient(socket)
	var list admin.GrantList
	if err := askInto(ctx, client, http.MethodGet, "/grants?user="+url.QueryEscape(userID), &list); err != nil {
		return nil, err
	}
	var grants []explain.Grant
	for _, g := range list.Grants {
		if !g.Until.IsZero() {
			grants = append(grants, explain.Grant{ID: g.ID, Route: g.Route, Until: g.Until})
		}
	}
	return grants, nil
}

func endGrant(c cli.Invocation, ctx context.Context, client controlClient) error {
	query := url.Values{"id": {c.Args[0]}, "reason": {c.Given["reason"]}}
	var answer admin.GrantEnded
	if err := askInto(ctx, client, http.MethodDelete, "/grants?"+query.Encode(), &answer); err != nil {
		return err
	}
	switch answer.Result {
	case admin.GrantHasEnded:
		g := answer.Grant
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{
			"The access of %s to %s has ended; other replicas follow within 2 seconds.\n",
			"%s 对 %s 的访问授权或申请已结束，其他副本在 2 秒内生效。\n"}),
			cli.Printable(g.User), cli.Printable(g.Route))
		return nil
	case admin.GrantWasOver:
		return cli.UserError{Message: i18n.Message{"it has ended already, or was denied",
			"该项已经结束或已被拒绝"}}
	}
	return cli.UserError{Message: i18n.Message{"there is no request or grant with this id; \"dinggate grants list\" has the ids",
		"没有此 ID 的申请或授权；ID 见 dinggate grants list"}}
}
