package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
)

var sessionsCommands = cli.Command{
	Name:  "sessions",
	Brief: i18n.Message{"list who is signed in, or sign somebody out", "列出已登录的人，或让某人退出登录"},
	Commands: []cli.Command{
		{
			Name: "list", Config: true, Run: withControl(listSessions),
			Brief: i18n.Message{"list the sessions that the process that serves has seen", "列出服务进程见过的会话"},
			Flags: []cli.Flag{
				{Name: "user", Value: "USER", Help: i18n.Message{"of this username or userid alone", "只列出该用户名或 userid"}},
				{Name: "json", Value: "", Help: i18n.Message{"print JSON", "输出 JSON"}},
			},
			Examples: []string{"sessions list --user zhangsan --config /etc/dinggate/config.yaml"},
		},
		{
			Name: "end", Config: true, Run: withControl(endSessions),
			Operands: []cli.Operand{{Name: "USER"}},
			Brief: i18n.Message{"end all sessions of a person, or one by its id, on every replica",
				"结束某人的全部会话，或按 ID 结束一个会话，对所有副本生效"},
			Flags: []cli.Flag{{Name: "reason", Value: "TEXT", Help: i18n.Message{"for the audit record", "写入审计记录的原因"}}},
			Examples: []string{
				`sessions end zhangsan --reason "lost phone" --config /etc/dinggate/config.yaml`,
			},
		},
	},
}

// withControl asks the process that serves, through its control socket.
func withControl(work func(cli.Invocation, context.Context, controlDesk) error) func(cli.Invocation) int {
	return func(c cli.Invocation) int {
		cfg, problems := c.Load()
		if code := config.ExitCode(problems); code != 0 {
			config.PrintProblems(c.Stderr, c.Language, problems)
			return code
		}
		return c.Until(func(ctx context.Context) error {
			socket := config.ControlSocket(cfg, c.Environ)
			if socket == "" {
				return cli.SaidError{Message: i18n.Message{
					"there is no control socket: set admin.control, or state_dir, and restart the process that serves",
					"没有控制套接字：请设置 admin.control 或 state_dir，并重启服务进程"}}
			}
			return work(c, ctx, controlDesk(socket))
		})
	}
}

func listSessions(c cli.Invocation, ctx context.Context, desk controlDesk) error {
	text, err := desk.ask(ctx, http.MethodGet, "/sessions?user="+url.QueryEscape(c.Given["user"]), nil)
	if err != nil {
		return unreachable(desk, err)
	}
	if c.Has("json") {
		_, err := c.Stdout.Write(append(text, '\n'))
		return err
	}
	var list admin.SessionList
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	table := i18n.Table{{c.Say(i18n.Message{"USER", "用户"}), c.Say(i18n.Message{"NAME", "姓名"}), "ID",
		c.Say(i18n.Message{"SIGNED IN", "登录时间"}), c.Say(i18n.Message{"LAST SEEN", "最近访问"}),
		c.Say(i18n.Message{"ENDS", "到期"})}}
	for _, s := range list.Sessions {
		table = append(table, []string{cli.Printable(s.User), cli.Printable(s.Name), s.ID, moment(s.SignedIn),
			moment(s.LastSeen), moment(s.Ends)})
	}
	table.Write(c.Stdout, "")
	fmt.Fprintf(c.Stdout, c.Say(i18n.Message{
		"%d sessions, seen by this process since %s. Others, whose cookies it has not seen, may exist; \"sessions end\" " +
			"with a userid ends those too.\n",
		"共 %d 个会话，为本进程自 %s 以来见过的。可能还有未见过的会话；用 userid 执行 sessions end 会一并结束。\n"}),
		len(list.Sessions), moment(list.Since))
	return nil
}

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func endSessions(c cli.Invocation, ctx context.Context, desk controlDesk) error {
	who := c.Args[0]
	query := url.Values{"who": {who}, "reason": {c.Given["reason"]}}
	text, err := desk.ask(ctx, http.MethodDelete, "/sessions?"+query.Encode(), nil)
	if err != nil {
		return unreachable(desk, err)
	}
	var answer admin.SessionsEnded
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	who = cli.Printable(who)
	switch {
	case !answer.Person:
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"The session %s has ended.\n", "会话 %s 已结束。\n"}), who)
	case answer.Sessions == 0:
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{
			"This process has seen no session of %s. Any that exist under this userid have ended.\n",
			"本进程没有见过 %s 的会话；该 userid 名下的会话均已结束。\n"}), who)
	default:
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"All sessions of %s have ended; %d of them were seen here.\n",
			"%s 的全部会话已结束，其中本进程见过 %d 个。\n"}), who, answer.Sessions)
	}
	return nil
}

// unreachable says where a process was looked for that does not answer.
func unreachable(desk controlDesk, err error) error {
	if _, refused := errors.AsType[*url.Error](err); refused && strings.Contains(err.Error(), "connect") {
		return fmt.Errorf("no process answers at %s: dinggate does not serve, runs as another user, or has another "+
			"admin.control: %w", string(desk), err)
	}
	return err
}
