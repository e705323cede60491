// Command dinggate puts DingTalk sign-in in front of web applications.
//
//	main ─► cli.Run: arguments ─► command ─► config.Load ─► Config, problems
//	                                 └─► server, doctor, explain, gatewayconf, admin
//
// One short file per command. demo and simulate need no configuration.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // TZ works in an image without zoneinfo

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
)

func main() {
	cobra.EnableCommandSorting = false // serve and demo are what most look for
	cobra.MousetrapHelpText = ""       // on Windows, started by a click, as anywhere else
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run runs one command and gives the exit code: 0 done, 1 it went wrong, 2 it
// was called wrongly.
func run(args, environ []string, out, errors io.Writer) int {
	about := i18n.Message{
		"dinggate puts DingTalk sign-in in front of any web application.",
		"dinggate 为任意 Web 应用加上钉钉登录。"}
	return cli.Run(about, commands(), cli.Invocation{Environ: environ, Stdout: out, Stderr: errors}, args)
}

func commands() []cli.Command {
	return []cli.Command{
		{
			Name: "serve", Config: true, Run: runServe,
			Brief: i18n.Message{"serve, as configured", "按配置提供服务"},
			Examples: []string{
				"serve --config /etc/dinggate/config.yaml",
				"serve --config config.yaml --listen :8080 --log.level debug",
			},
		},
		demoCommand, simulateCommand,
		checkCommand,
		schemaCommand, referenceCommand,
		{
			Name: "doctor", Config: true, Flags: doctor.Flags, Run: doctor.Run,
			Brief: i18n.Message{
				"check everything live that a sign-in needs, each with its cure; exit code 1 if something is wrong",
				"在线检查登录所需的一切，并给出解决办法；有错误时退出码为 1"},
			Examples: []string{"doctor --config /etc/dinggate/config.yaml --user zhangsan"},
		},
		{
			Name: "gen", Config: true, Flags: gatewayconf.Flags, Run: gatewayconf.Run,
			Operands: []cli.Operand{{Name: "GATEWAY", Values: gatewayconf.Names()}},
			Brief: i18n.Message{
				"print the configuration of a gateway in front of us: dinggate gen nginx --config FILE",
				"打印前置网关的配置：dinggate gen nginx --config FILE"},
			Examples: []string{
				"gen nginx --config /etc/dinggate/config.yaml",
				"gen k8s --config config.yaml --out deploy",
				"gen app grafana --config config.yaml --url https://grafana.example.com",
			},
			Commands: []cli.Command{{
				Name: "app", Config: true, Flags: gatewayconf.AppFlags, Run: gatewayconf.RunApp,
				Operands: []cli.Operand{{Name: "NAME", Values: gatewayconf.AppNames()}},
				Brief: i18n.Message{
					"print both sides of an application that signs people in here: its configuration, and its oidc.clients entry",
					"打印通过 dinggate 登录的应用两侧的配置：应用自己的配置，以及 oidc.clients 条目"},
				Examples: []string{"gen app grafana --config config.yaml --url https://grafana.example.com"},
			}},
		},
		{
			Name: "explain", Config: true, Flags: explain.Flags, Run: explain.Run,
			Brief: i18n.Message{
				"show which route and which rule decide about a request, and why",
				"说明某个请求由哪条路由、哪条规则决定，以及原因"},
			Examples: []string{
				"explain --url https://app.example.com/reports --config /etc/dinggate/config.yaml",
				"explain --url /admin/ --user zhangsan --lookup --config config.yaml",
			},
		},
		sessionsCommands, grantsCommands, bindingsCommands,
		backupCommand,
		{
			Name: "keygen", Run: runKeygen,
			Brief: i18n.Message{"print a fresh secret for cookie.secrets", "生成一个新的 cookie.secrets 密钥"},
		},
		{
			Name: "healthcheck", Config: true, Run: runHealthcheck,
			Brief: i18n.Message{
				"ask a running dinggate whether it is alive; exit code 1 if not",
				"询问运行中的 dinggate 是否存活；否则退出码为 1"},
		},
		{
			Name: "version", Run: runVersion,
			Brief: i18n.Message{"print version, revision and Go's version", "显示版本、修订号和 Go 版本"},
		},
	}
}

func runServe(c cli.Invocation) int {
	signal.Ignore(syscall.SIGPIPE) // a closed stderr or stdout must not end the process (threats V29)
	first := server.LoadAll(c.Flags, c.Environ)
	config.PrintProblems(c.Stderr, c.Language, first.Problems)
	if code := config.ExitCode(first.Problems); code != 0 {
		return code
	}
	again := first.Again(func() server.Loaded { return server.LoadAll(c.Flags, c.Environ) })
	return c.Until(func(ctx context.Context) error { return server.Run(ctx, first, again, c.Stdout) })
}

func runKeygen(c cli.Invocation) int {
	fmt.Fprintln(c.Stdout, newSecret())
	return 0
}
