package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
)

// Flags of the commands that list or end something in the process that serves.
var (
	listFlags = []cli.Flag{
		{Name: "user", Value: "USER", Help: i18n.Message{"only those of this username or userid", "只列出该用户名或 userid"}},
		{Name: "json", Value: "", Help: i18n.Message{"print JSON", "输出 JSON"}},
	}
	endFlags = []cli.Flag{{Name: "reason", Value: "TEXT", Help: i18n.Message{"for the audit record", "写入审计记录的原因"}}}
)

// withControl calls the process that serves through its control socket. If one answers,
// the configuration need not be valid: in an emergency an administrator signs a person out
// without correcting a file first.
func withControl(work func(cli.Invocation, context.Context, controlClient) error) func(cli.Invocation) int {
	return func(c cli.Invocation) int {
		cfg, problems := c.Load()
		socket := config.ControlSocket(cfg, c.Environ)
		code := config.ExitCode(problems)
		if code == 2 || code != 0 && !admin.Answers(socket) {
			config.PrintProblems(c.Stderr, c.Language, problems)
			return code
		}
		if code != 0 {
			fmt.Fprintf(c.Stderr, c.Say(i18n.Message{
				"dinggate: the configuration has mistakes (\"dinggate check\" lists them); asking the process at %s all the same\n",
				"dinggate：配置有误（dinggate check 会逐条列出）；仍向 %s 的进程查询\n"}), cli.Printable(socket))
		}
		return c.Until(func(ctx context.Context) error {
			if socket == "" {
				return cli.UserError{Message: i18n.Message{
					"there is no control socket: set admin.control, or state_dir, and restart dinggate",
					"没有控制套接字：请设置 admin.control 或 state_dir，并重启 dinggate"}}
			}
			return work(c, ctx, controlClient(socket))
		})
	}
}

// askList reads a list, limited to --user if that is given. With --json it also
// prints the response as it is, and printed is true.
func askList(c cli.Invocation, ctx context.Context, client controlClient, path string, list any) (printed bool, err error) {
	text, err := client.ask(ctx, http.MethodGet, path+"?user="+url.QueryEscape(c.Given["user"]), nil)
	if err != nil {
		return false, unreachable(client, err)
	}
	if printed = c.Has("json"); printed {
		if _, err := c.Stdout.Write(append(text, '\n')); err != nil {
			return true, err
		}
	}
	return printed, json.Unmarshal(text, list)
}

// askInto decodes the response to a request without a body.
func askInto(ctx context.Context, client controlClient, method, path string, answer any) error {
	text, err := client.ask(ctx, method, path, nil)
	if err != nil {
		return unreachable(client, err)
	}
	return json.Unmarshal(text, answer)
}

// unreachable reports that no process answers, and where it was expected.
func unreachable(client controlClient, err error) error {
	cause, refused := errors.AsType[syscall.Errno](err)
	if _, asked := errors.AsType[*url.Error](err); !asked || !refused || !strings.Contains(err.Error(), "connect") {
		return err
	}
	return cli.UserError{Message: i18n.Message{
		fmt.Sprintf("no process answers at %s (%v): dinggate is not running, runs as another user, or has another "+
			"admin.control", string(client), cause),
		fmt.Sprintf("%s 无应答（%v）：dinggate 没有运行，以其他用户运行，或 admin.control 不同", string(client), cause)}, Err: err}
}
