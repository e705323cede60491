// Command dinggate puts DingTalk sign-in in front of web applications.
//
//	main ─► run ─► load: file, environment, flags ─► Config, problems
//	                 │                                  │
//	                 │              check ◄─ tell ──────┤
//	                 └─► serve: listeners ─► gate ◄─────┘
//
// Only this package knows YAML, flags and the environment, and only it knows
// every other package: it wires them. demo and simulate need no configuration.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	_ "time/tzdata" // TZ works in an image without zoneinfo

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// command is one row of the table.
type command struct {
	name   string
	brief  i18n.Message
	listen string // default of --listen, the only flag; "": no such flag
	config bool   // takes the configuration's flags
	run    func(cli.Invocation) int
}

// operands are what a command wants besides flags: as the help shows it, and as
// an example that works.
func (cmd command) operands() (shape, example string) {
	switch cmd.name {
	case "bindings":
		return " list|import FILE|remove NAME", " list"
	case "explain":
		return "", " --url https://app.example.com/reports"
	case "gen":
		return " GATEWAY", " nginx"
	}
	return "", ""
}

func commands() []command {
	return []command{
		{"serve", i18n.Message{"serve, as configured", "按配置提供服务"}, "", true, func(c cli.Invocation) int {
			first := server.LoadAll(c.Args, c.Environ)
			config.PrintProblems(c.Stderr, c.Language, first.Problems)
			if code := config.ExitCode(first.Problems); code != 0 {
				return code
			}
			again := first.Again(func() server.Loaded { return server.LoadAll(c.Args, c.Environ) })
			return c.Until(func(ctx context.Context) error { return server.Run(ctx, first, again, c.Stdout) })
		}},
		{"demo", i18n.Message{"try everything on this machine: no account, no network, no file", "在本机体验全部功能：无需账号、网络和文件"}, demoAddress, false, func(c cli.Invocation) int {
			if c.SSO {
				return c.Until(func(ctx context.Context) error { return runDemoSSO(ctx, c.Given["listen"], c.Stdout) })
			}
			return c.Until(func(ctx context.Context) error { return runDemo(ctx, c.Given["listen"], c.Stdout) })
		}},
		{"simulate", i18n.Message{"serve the simulated DingTalk alone, for tests", "单独运行钉钉模拟器，供测试使用"}, "127.0.0.1:4190", false, func(c cli.Invocation) int {
			return c.Until(func(ctx context.Context) error {
				people, err := simulatedPeople(c.Given["people"])
				if err != nil {
					return err
				}
				return runSimulate(ctx, c.Args[0], c.List("callback"), people, c.Stdout)
			})
		}},
		{"check", i18n.Message{"tell all mistakes of the configuration at once; exit code 1 if there are any", "一次列出配置中的全部错误；有错误时退出码为 1"}, "", true, runCheck},
		{"doctor", i18n.Message{"check everything live that a sign-in needs, each with its cure; exit code 1 if something is wrong", "在线检查登录所需的一切，并给出解决办法；有错误时退出码为 1"}, "", true, doctor.Run},
		{"gen", i18n.Message{"print the configuration of a gateway in front of us: dinggate gen nginx --config FILE", "打印前置网关的配置：dinggate gen nginx --config FILE"}, "", true, gatewayconf.Run},
		{"explain", i18n.Message{"tell which route and which rule decide about a request, and why", "说明某个请求由哪条路由、哪条规则决定，以及原因"}, "", true, explain.Run},
		{"bindings", i18n.Message{"list, import or remove account bindings: dinggate bindings list|import FILE|remove NAME", "管理账号绑定：dinggate bindings list|import 文件|remove 名称"}, "", true, runBindings},
		{"keygen", i18n.Message{"print a fresh secret for cookie.secrets", "生成一个新的 cookie.secrets 密钥"}, "", false, func(c cli.Invocation) int {
			fmt.Fprintln(c.Stdout, newSecret())
			return 0
		}},
		{"healthcheck", i18n.Message{"ask a running dinggate whether it is alive; exit code 1 if not", "询问运行中的 dinggate 是否存活；否则退出码为 1"}, "", true, func(c cli.Invocation) int {
			cfg, problems := config.Load(c.Args, c.Environ)
			wrong := config.Refusing(problems)
			if slices.ContainsFunc(wrong, func(p conf.Problem) bool { return p.File == "" }) {
				wrong = nil // nothing is configured: then the default is what to ask
			}
			config.PrintProblems(c.Stderr, c.Language, wrong)
			if config.ExitCode(wrong) == 2 { // another mistake, made since the start, does not make the running one ill
				return 2
			}
			guessed := len(wrong) > 0 && cfg.Admin.Listen == config.Default().Admin.Listen
			if guessed && config.FileMissing(wrong) { // whoever answers there may be any other dinggate
				return config.ExitCode(wrong)
			}
			return c.Until(func(ctx context.Context) error { return runHealthcheck(ctx, cfg.Admin.Listen, guessed) })
		}},
		{"version", i18n.Message{"print version, revision and Go's version", "显示版本、修订号和 Go 版本"}, "", false, func(c cli.Invocation) int {
			runVersion(c.Stdout)
			return 0
		}},
	}
}

// run runs one command and gives the exit code: 0 done, 1 it went wrong, 2 it
// was not called right.
func run(args, environ []string, out, trouble io.Writer) int {
	c := cli.Invocation{Environ: environ, Stdout: out, Stderr: trouble, Language: i18n.FromEnviron(environ)}
	args, ok := takeLanguage(&c, args)
	if !ok {
		return 2
	}
	if len(args) == 0 {
		usage(c, trouble)
		return 2
	}
	name := args[0]
	c.Args = args[1:]
	if isHelp(name) || name == "help" && len(args) == 1 {
		usage(c, out)
		return 0
	}
	if name == "--version" {
		name = "version"
	}
	if name == "help" {
		name, c.Args = args[1], []string{"--help"}
	}
	all := commands()
	i := slices.IndexFunc(all, func(cmd command) bool { return cmd.name == name })
	if i < 0 {
		unknownCommand(c, name, all)
		return 2
	}
	if slices.ContainsFunc(c.Args, isHelp) {
		commandUsage(c, out, all[i])
		return 0
	}
	if !takeOwn(&c, all[i]) || !all[i].config && !takeListen(&c, all[i]) {
		return 2
	}
	return all[i].run(c)
}

func isHelp(arg string) bool { return arg == "--help" || arg == "-help" || arg == "-h" }

func unknownCommand(c cli.Invocation, name string, all []command) {
	var names []string
	for _, cmd := range all {
		names = append(names, cmd.name)
	}
	format := i18n.Message{"dinggate: this version has no command %q", "dinggate：此版本没有命令 %q"}
	fmt.Fprintf(c.Stderr, c.Say(format), config.Shown(name))
	if m := config.Closest(name, names); m != "" {
		fmt.Fprintf(c.Stderr, c.Say(i18n.Message{"; did you mean %q?", "；是否想输入 %q？"}), m)
	}
	fmt.Fprint(c.Stderr, "\n\n")
	usage(c, c.Stderr)
}

// takeListen leaves the address as the only argument of a command that
// listens, and none for the others. A command line it does not know is told.
func takeListen(c *cli.Invocation, cmd command) bool {
	address, rest := cmd.listen, slices.Clone(c.Args)
	if i := slices.Index(rest, "--sso"); i >= 0 && cmd.name == "demo" {
		c.SSO, rest = true, slices.Delete(rest, i, i+1)
	}
	if cmd.listen != "" && len(rest) > 0 {
		if value, ok := strings.CutPrefix(rest[0], "--listen="); ok {
			address, rest, c.Given["listen"] = value, rest[1:], value
		} else if rest[0] == "--listen" && len(rest) > 1 {
			address, rest, c.Given["listen"] = rest[1], rest[2:], rest[1]
		}
	}
	if len(rest) > 0 {
		fmt.Fprintf(c.Stderr, c.Say(i18n.Message{"dinggate %s: %s is not understood\n\n", "dinggate %s：无法识别 %s\n\n"}), cmd.name, config.Shown(rest[0]))
		commandUsage(*c, c.Stderr, cmd)
		return false
	}
	if cmd.listen != "" && !config.IsHostPort(address) {
		format := i18n.Message{"dinggate %s: --listen is not host:port such as %s\n", "dinggate %s：--listen 应为 主机:端口，例如 %s\n"}
		fmt.Fprintf(c.Stderr, c.Say(format), cmd.name, cmd.listen)
		return false
	}
	c.Args = []string{address}
	return true
}
