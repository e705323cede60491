package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
	"dinggate/session"
)

var sessionsCommands = cli.Command{
	Name:  "sessions",
	Brief: i18n.Message{"list sessions, or end those of a person", "列出会话，或结束某人的会话"},
	Commands: []cli.Command{
		{
			Name: "list", Config: true, Run: withControl(listSessions),
			Brief: i18n.Message{"list sessions: with Redis those of all replicas, otherwise those that the running process knows",
				"列出会话：使用 Redis 时为所有副本的，否则为运行中的进程已知的"},
			Flags:    listFlags,
			Examples: []string{"sessions list --user zhangsan --config /etc/dinggate/config.yaml"},
		},
		{
			Name: "end", Config: true, Run: withControl(endSessions),
			Operands: []cli.Operand{{Name: "USER"}},
			Brief: i18n.Message{"end all sessions of a person, or one by its id, on every replica",
				"结束某人的全部会话，或按 ID 结束一个会话，对所有副本生效"},
			Flags: append(endFlags[:1:1],
				cli.Flag{Name: "grants", Value: "", Help: i18n.Message{"also end the person's grants and requests", "同时结束此人的访问授权和申请"}}),
			Examples: []string{
				`sessions end zhangsan --reason "lost phone" --config /etc/dinggate/config.yaml`,
			},
		},
	},
}

// listSessions prints the list. An incomplete one is an error: a program that reads it
// would otherwise conclude that a signed-in person is signed out.
func listSessions(c cli.Invocation, ctx context.Context, client controlClient) error {
	var list admin.SessionList
	printed, err := askList(c, ctx, client, "/sessions", &list)
	if err != nil {
		return err
	}
	if !printed {
		printSessions(c, list)
	}
	if list.Missing == "" {
		return nil
	}
	const en, zh = "the list is INCOMPLETE: %s. \"sessions end\" with a userid ends sessions that are not listed, too.",
		"列表不完整：%s。用 userid 执行 sessions end 会一并结束未列出的会话。"
	why := cli.Printable(list.Missing)
	return cli.UserError{Message: i18n.Message{fmt.Sprintf(en, why), fmt.Sprintf(zh, why)}}
}

func printSessions(c cli.Invocation, list admin.SessionList) {
	table := i18n.Table{{c.Say(i18n.Message{"USER", "用户"}), c.Say(i18n.Message{"NAME", "姓名"}), "ID",
		c.Say(i18n.Message{"SIGNED IN", "登录时间"}), c.Say(i18n.Message{"LAST SEEN", "最近访问"}),
		c.Say(i18n.Message{"ENDS", "到期"}), c.Say(i18n.Message{"DEVICE", "设备"}), c.Say(i18n.Message{"ADDRESS", "地址"}),
		c.Say(i18n.Message{"LAST ADDRESS", "最近地址"})}}
	for _, s := range list.Sessions {
		table = append(table, []string{cli.Printable(s.User), cli.Printable(s.Name), s.ID, moment(s.SignedIn),
			moment(s.LastSeen), moment(s.Ends), cli.Printable(s.Device), cli.Printable(s.Address),
			cli.Printable(s.Last)})
	}
	table.Write(c.Stdout, "")
	fmt.Fprint(c.Stdout, listedSessions(c, list))
}

// listedSessions describes the range of the list.
func listedSessions(c cli.Invocation, list admin.SessionList) string {
	n := len(list.Sessions)
	if list.Missing != "" { // stdout alone must not read like the whole list
		return fmt.Sprintf(c.Say(i18n.Message{"Sessions known to this process: %d. The list is incomplete.\n",
			"本进程已知 %d 个会话，列表不完整。\n"}), n)
	}
	counted := cli.Count(n, "session")
	switch list.Scope {
	case string(session.ScopeFleet):
		return c.Say(i18n.Message{counted + " on all replicas.\n", fmt.Sprintf("所有副本共 %d 个会话。\n", n)})
	case string(session.ScopeMachine):
		return c.Say(i18n.Message{counted + " on this machine; cookies of other replicas are not known here.\n",
			fmt.Sprintf("本机共 %d 个会话；其他副本的会话不在其中。\n", n)})
	}
	return c.Say(i18n.Message{
		fmt.Sprintf("%s, seen by this process since %s. Others, whose cookies it has not seen, may exist; \"sessions end\" "+
			"with a userid ends those too.\n", counted, moment(list.Since)),
		fmt.Sprintf("共 %d 个会话，为本进程自 %s 以来见过的。可能还有未见过的会话；用 userid 执行 sessions end 会一并结束。\n",
			n, moment(list.Since)),
	})
}

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func endSessions(c cli.Invocation, ctx context.Context, client controlClient) error {
	who := c.Args[0]
	query := url.Values{"who": {who}, "reason": {c.Given["reason"]}}
	if c.Has("grants") {
		query.Set("grants", "yes")
	}
	var answer admin.SessionsEnded
	if err := askInto(ctx, client, http.MethodDelete, "/sessions?"+query.Encode(), &answer); err != nil {
		if errors.Is(err, errStoreAway) {
			return fmt.Errorf(c.Say(i18n.Message{
				"ended in this process only, since the store is unavailable; other replicas follow when it recovers, unless " +
					"this process stops before. Run the command again then: %w",
				"存储不可用，目前只在本进程中结束；存储恢复后会通知其他副本，除非本进程在此之前停止。届时请再执行一次：%w"}), err)
		}
		return err
	}
	who = cli.Printable(who)
	switch {
	case answer.Sessions == 0 && answer.Grants == 0:
		return cli.UserError{Message: i18n.Message{
			fmt.Sprintf("no session of %s was found; check the spelling. If it is a userid or a session's id, its unlisted "+
				"sessions have ended", who),
			fmt.Sprintf("没有找到 %s 的会话，请检查拼写。如果它是 userid 或会话 ID，其未列出的会话已经结束", who)}}
	case !answer.Person:
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"The session %s has ended.\n", "会话 %s 已结束。\n"}), who)
	case answer.Sessions == 0:
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{
			"No session of %s was found. Unlisted sessions of this userid have ended.\n",
			"没有找到 %s 的会话；该 userid 未列出的会话已经结束。\n"}), who)
	default:
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"All sessions of %s have ended; %d of them were listed.\n",
			"%s 的全部会话已结束，其中列表中有 %d 个。\n"}), who, answer.Sessions)
	}
	if c.Has("grants") {
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"Grants and requests that have ended: %d.\n", "共结束 %d 项授权和申请。\n"}), answer.Grants)
	}
	return nil
}
