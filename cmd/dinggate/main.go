// Command dinggate puts DingTalk sign-in in front of web applications.
//
//	main ─► cli.Run: arguments ─► command ─► config.Load ─► Config, problems
//	                                 └─► server, demo, doctor, explain, gatewayconf, admin
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
	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/orgtree"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
)

func main() {
	cobra.EnableCommandSorting = false // serve and demo are used most
	cobra.MousetrapHelpText = ""       // on Windows: a start by double-click behaves like any other
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run runs one command and returns the exit code: 0 for success, 1 for failure, 2 for a
// wrong command line.
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
			Brief: i18n.Message{"run the service", "按配置提供服务"},
			Examples: []string{
				"serve --config /etc/dinggate/config.yaml",
				"serve --config config.yaml --listen :8080 --log.level debug",
			},
		},
		demo.Command, simulateCommand,
		checkCommand,
		schemaCommand, referenceCommand,
		doctor.Command,
		gatewayconf.Command,
		explain.Command(grantsOf),
		orgtree.Command,
		sessionsCommands, grantsCommands, bindingsCommands,
		backupCommand,
		{
			Name: "keygen", Run: runKeygen,
			Brief: i18n.Message{"generate a secret for cookie.secrets", "生成一个新的 cookie.secrets 密钥"},
		},
		{
			Name: "healthcheck", Config: true, Run: runHealthcheck,
			Brief: i18n.Message{
				"check that a running dinggate is alive; exit code 1 if not",
				"检查运行中的 dinggate 是否存活；否则退出码为 1"},
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
	fmt.Fprintln(c.Stdout, config.NewSecret())
	return 0
}
