package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/orgtree"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/session"
)

var checkCommand = cli.Command{
	Name: "check", Config: true, Run: runCheck,
	Brief: i18n.Message{
		"report all mistakes in the configuration; exit code 1 if there are any",
		"一次列出配置中的全部错误；有错误时退出码为 1"},
	Flags: []cli.Flag{
		{Name: "json", Help: i18n.Message{
			"print JSON: problems with file, line, key and message",
			"输出 JSON：每个问题的文件、行号、配置项和说明"}},
		{Name: "effective", Help: i18n.Message{
			"print the effective value of every key and its source; secrets are hidden",
			"打印每个配置项的实际取值及其来源；密钥不显示"}},
		{Name: "departments", Value: "FILE", Path: true, Help: i18n.Message{
			"output of dinggate departments --json: warn of departments and roles in rules that it lacks",
			"dinggate departments --json 的输出：规则中不存在的部门或角色会给出警告"}},
	},
	Examples: []string{
		"check --config /etc/dinggate/config.yaml",
		"check --departments departments.json --config config.yaml",
		"check --effective --config config.yaml --log.level debug",
		"check --json --effective --config config.yaml",
	},
}

// report is the result of check as JSON.
type report struct {
	Mistakes  int              `json:"mistakes"`
	Warnings  int              `json:"warnings"`
	Problems  []reported       `json:"problems"`
	Effective []config.Setting `json:"effective,omitempty"`
}

// reported is one problem. Place is a file, a variable or a flag.
type reported struct {
	Severity string            `json:"severity"` // mistake or warning
	Place    string            `json:"place,omitempty"`
	Line     int               `json:"line,omitempty"`
	Key      string            `json:"key,omitempty"`
	Message  string            `json:"message"`  // in the language of the call
	Messages map[string]string `json:"messages"` // in both languages: zh, en
}

// writeReport prints the problems as JSON, also if there are none.
func writeReport(c cli.Invocation, problems []conf.Problem, settings []config.Setting) int {
	r := report{Mistakes: config.Mistakes(problems), Problems: []reported{}, Effective: settings}
	r.Warnings = len(problems) - r.Mistakes
	for _, p := range problems {
		severity := "mistake"
		if p.Warning {
			severity = "warning"
		}
		r.Problems = append(r.Problems, reported{severity, p.File, p.Line, p.Key, c.Text(p.Text),
			map[string]string{"zh": i18n.Chinese.Text(p.Text), "en": i18n.English.Text(p.Text)}})
	}
	encoder := json.NewEncoder(c.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		fmt.Fprintf(c.Stderr, "dinggate: %v\n", err)
		return 1
	}
	return config.ExitCode(problems)
}

// writeSettings prints the effective configuration, one key per line. The value is last:
// a long one must not push the sources of all keys off the screen.
func writeSettings(c cli.Invocation, settings []config.Setting) {
	var table i18n.Table
	for _, s := range settings {
		value, err := json.Marshal(s.Value)
		if err != nil { // values are strings, numbers and lists of them
			value = []byte("?")
		}
		from := s.From()
		if from == "" {
			from = c.Say(i18n.Message{"default", "默认"})
		}
		table = append(table, []string{s.Key, from, cli.Printable(string(value))})
	}
	table.Write(c.Stdout, "")
}

// runCheck reports every problem that load found and, without a mistake, a summary of
// what will be served. It makes no network connection and shows no secret. The exit
// code is 1 for a mistake, 2 for one on the command line, otherwise 0.
func runCheck(c cli.Invocation) int {
	cfg, problems, settings := config.LoadSettings(c.Flags, c.Environ)
	if name, ok := c.Given["departments"]; ok {
		problems = append(problems, orgtree.Check(name, cfg, settings)...)
	}
	if !c.Has("effective") {
		settings = nil
	}
	if c.Has("json") {
		return writeReport(c, problems, settings)
	}
	config.PrintProblems(c.Stdout, c.Language, problems)
	if code := config.ExitCode(problems); code != 0 {
		return code
	}
	if settings != nil {
		writeSettings(c, settings)
		return 0
	}
	if len(problems) == 0 {
		fmt.Fprintln(c.Stdout, c.Say(i18n.Message{"The configuration has no mistakes.", "配置没有错误。"}))
	}
	fmt.Fprintln(c.Stdout)
	summary(c, cfg)
	return 0
}

// summary lists the settings that an operator compares with the intended ones.
func summary(c cli.Invocation, cfg *config.Config) {
	row := func(name i18n.Message, format string, args ...any) {
		fmt.Fprintf(c.Stdout, "%s\n    %s\n", c.Say(name), fmt.Sprintf(format, args...))
	}
	speaks := "http"
	if cfg.TLS.On() {
		speaks = "https"
	}
	row(i18n.Message{"Address for browsers", "浏览器访问地址"}, "%s", cfg.PublicURL)
	row(i18n.Message{"Listeners", "监听地址"}, "listen        %s (%s)\n    admin.listen  %s (/livez /ready /metrics /status)",
		cfg.Listen, speaks, cfg.Admin.Listen)
	if cfg.SSO.On() {
		row(i18n.Message{"Register this callback URL at the SSO service; its query varies (allow_query)",
			"请在 SSO 服务登记回调地址，其查询参数会变化（allow_query）"}, "%s", cfg.CallbackURL())
	} else {
		row(i18n.Message{"Register this callback URL at DingTalk (开发配置 > 安全设置 > 重定向URL)",
			"请在钉钉开放平台登记回调地址（开发配置 > 安全设置 > 重定向URL）"}, "%s", strings.Join(cfg.CallbackURLs(), "\n    "))
	}
	row(i18n.Message{"Session cookie", "会话 Cookie"}, "%s", c.Say(i18n.Message{
		fmt.Sprintf("%s, lifetime %s, membership rechecked every %s", session.CookieName(cfg.Secure(), cfg.Cookie.Domain),
			config.Short(cfg.Session.Lifetime), config.Short(cfg.Session.Recheck)),
		fmt.Sprintf("%s，有效期 %s，每 %s 复查一次成员身份", session.CookieName(cfg.Secure(), cfg.Cookie.Domain),
			config.Short(cfg.Session.Lifetime), config.Short(cfg.Session.Recheck))}))
	fmt.Fprintln(c.Stdout,
		c.Say(i18n.Message{"Routes: the first match applies, no match is 404", "路由：按顺序匹配，首个命中者生效，均不命中为 404"}))
	routes(c, cfg)
	row(i18n.Message{"With nginx in front, increase its buffers for dinggate's headers", "前面有 nginx 时，请加大缓冲区以容纳我们的响应头"},
		"proxy_buffer_size 16k; proxy_buffers 4 16k; proxy_busy_buffers_size 32k;")
	if name := cfg.ServiceEnvironment(); name != "" {
		row(i18n.Message{"Variables of the service, also read", "已一并读取服务的环境变量"}, "%s", name)
	}
	if len(cfg.TrustedProxies) == 0 {
		row(i18n.Message{"Trusted proxies", "受信任的代理"}, "%s", c.Say(i18n.Message{
			"none: behind another proxy or gateway, set trusted_proxies",
			"无：前面有代理或网关时，请设置 trusted_proxies"}))
	} else {
		row(i18n.Message{"Trusted proxies", "受信任的代理"}, "%s", strings.Join(cfg.TrustedProxies, ", "))
	}
}

func routes(c cli.Invocation, cfg *config.Config) {
	table := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	for i, r := range cfg.AllRoutes() {
		host, methods, upstream := r.Host, strings.Join(r.Methods, ","), r.Upstream
		if host == "" {
			host = "*"
		}
		if methods == "" {
			methods = "*"
		}
		if upstream == "" {
			upstream = c.Say(i18n.Message{"(only answers gateways)", "（仅用于网关鉴权）"})
		}
		fmt.Fprintf(table, "    %d\t%s\t%s\t%s\t→ %s\t%s\n", i, methods, host, r.Path, upstream,
			config.RuleText(r.Access))
	}
	table.Flush()
	letterCase(c, cfg)
}

// letterCase names the routes to which letter case matters. It is not a warning: most
// configurations have such routes, and the default is safe.
func letterCase(c cli.Invocation, cfg *config.Config) {
	concerned := cfg.AccessRoutes().CaseRoutes()
	if len(concerned) == 0 {
		return
	}
	var names []string
	for _, r := range concerned {
		names = append(names, fmt.Sprintf("%d (%s)", r.Route, r.Path))
	}
	list, first := strings.Join(names, ", "), concerned[0]
	if cfg.PathCase == config.PathCaseSensitive {
		fmt.Fprintln(c.Stdout, c.Say(i18n.Message{
			fmt.Sprintf(
				"    path_case is sensitive: in other letter case, paths of routes %s belong to other routes; %s "+
					"belongs to route %d", list, first.Example, first.Other,
			),
			fmt.Sprintf("    path_case 为 sensitive：路由 %s 的路径换一种大小写即属于其他路由，例如 %s 属于路由 %d", list, first.Example,
				first.Other)}))
		return
	}
	fmt.Fprintln(c.Stdout, c.Say(i18n.Message{
		fmt.Sprintf(
			"    path_case is insensitive: in other letter case, paths of routes %s are 400 "+
				"(ambiguous_path), such as %s", list, first.Example,
		),
		fmt.Sprintf("    path_case 为 insensitive：路由 %s 的路径换一种大小写即返回 400（ambiguous_path），例如 %s", list, first.Example)}))
}
