// Package demo is the command demo: the whole product with a simulated DingTalk and a
// sample application in one process, on loopback.
//
//	application ◄─ dinggate ◄─ simulated DingTalk
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/proxy/access"
	"dinggate/proxy/accessrequest"
)

var Command = cli.Command{
	Name: "demo", Run: run,
	Brief: i18n.Message{
		"try everything on this machine: no account, no network, no file",
		"在本机体验全部功能：无需账号、网络和文件"},
	Flags: []cli.Flag{
		{Name: "listen", Value: "ADDRESS", Help: i18n.Message{
			"loopback address of the demo; default " + Address,
			"演示的监听地址，仅限本机；默认为 " + Address}},
		{Name: "sso", Help: i18n.Message{
			"sign in through an SSO service, which is another dinggate",
			"经由 SSO 服务（另一个 dinggate）登录"}},
		{Name: "oidc", Help: i18n.Message{
			"an application that signs people in by OpenID Connect, without a proxy in front of it",
			"一个通过 OpenID Connect 登录的应用，前面没有代理"}},
	},
}

func run(c cli.Invocation) int {
	if !c.ListenFlag(Address) {
		return 2
	}
	start := Run
	switch {
	case c.Has("sso") && c.Has("oidc"):
		return c.Misused(conf.Problem{Key: "--oidc", Text: conf.Textf("cannot be combined with --sso")})
	case c.Has("sso"):
		start = RunSSO
	case c.Has("oidc"):
		start = RunOIDC
	}
	return c.Until(func(ctx context.Context) error { return start(ctx, c.Given["listen"], Output{c.Stdout, c.Language}) })
}

// Output is a writer with the language for the demo's messages; they are in English for
// any other writer.
type Output struct {
	io.Writer
	i18n.Language
}

// say prints a message in the language of out.
func say(out io.Writer, message i18n.Message, args ...any) {
	in := i18n.English
	if o, ok := out.(Output); ok {
		in = o.Language
	}
	fmt.Fprintf(out, in.Say(message)+"\n", args...)
}

// Run serves everything in one process on loopback: a simulated DingTalk, a
// sample application, and dinggate between them. It generates secrets, writes no
// file and needs no network; it cannot be used in production.
func Run(ctx context.Context, address string, out io.Writer) error {
	say(out, i18n.Message{"dinggate demo: starting a simulated DingTalk, a sample application and dinggate …",
		"dinggate 演示：正在启动钉钉模拟器、示例应用和 dinggate …"})
	return serve(ctx, address, out, func(p *process) error {
		app, err := p.OpenLoopback("127.0.0.1:0", sampleApp(true))
		if err != nil {
			return err
		}
		public := "http://" + p.public.Addr().String()
		cfg := Config(public, app, p.dingtalk)
		cfg.LoginAPI = true // for the sample application's own login page
		addRequests(cfg, app)
		cfg.SignIn.Page = true // the first page people see, with the company's name
		if err := p.gateway(cfg, p.public); err != nil {
			return err
		}
		opened(out, public)
		say(out, i18n.Message{`  张三 (Zhang San)  may open everything except "Sales only", and can request access to it
  李四 (Li Si)      approves the request: sign in as him in a private window
  赵六 (Zhao Liu)   can sign in, but not open "R&D only", because he is in HR
  work notifications: %s/_simulator/inbox
  孙七 (Sun Qi)     belongs to another organisation and is refused`,
			`  张三  可以打开除“仅市场部”外的所有页面，并可申请访问该页面
  李四  审批该申请：请在无痕窗口中以他的身份登录
  赵六  可以登录，但打不开“仅研发部”，因为他在人力资源部
  工作通知：%s/_simulator/inbox
  孙七  属于其他企业，无法登录`}, p.dingtalk)
		return nil
	})
}

// Config is a configuration as an operator would write it.
func Config(public, app, dingtalk string) *config.Config {
	c := config.Default()
	c.PublicURL = public
	c.DingTalk.ClientID, c.DingTalk.ClientSecret, c.DingTalk.CorpID = simulator.DemoClientID,
		conf.NewSecret(simulator.DemoClientSecret), simulator.DemoCorpID
	c.DingTalk.LoginURL, c.DingTalk.APIURL, c.DingTalk.OAPIURL = dingtalk, dingtalk, dingtalk
	c.Cookie.Secrets = []conf.Secret{conf.NewSecret(config.NewSecret())}
	c.SignIn.Title, c.SignIn.Contact = config.Text{Zh: "示例公司", En: "Example Ltd."},
		config.BothLanguages("it@example.com")
	for _, r := range []access.RouteConfig{
		{Path: "/public/", Access: &access.RuleConfig{Named: "public"}},
		{Path: "/admin/", Access: &access.RuleConfig{Departments: []string{"42"}}},
		{Path: "/"},
	} {
		route := config.DefaultRoute()
		route.RouteConfig, route.Upstream = r, app
		c.Routes = append(c.Routes, route)
	}
	return c
}

// addRequests adds a page to which 张三 has to request access from 李四.
func addRequests(c *config.Config, app string) {
	c.AccessRequests.AgentID = simulator.DemoAgentID
	sales := config.DefaultRoute()
	sales.RouteConfig = access.RouteConfig{Path: "/sales/", Access: &access.RuleConfig{Departments: []string{"43"}}}
	sales.Upstream = app
	sales.Request = &accessrequest.RouteConfig{Approvers: accessrequest.ApproversConfig{Users: []string{"lisi"}}}
	c.Routes = slices.Insert(c.Routes, len(c.Routes)-1, sales)
}

// opened prints the address of the demo.
func opened(out io.Writer, public string) {
	say(out, i18n.Message{"dinggate demo: open %s  (Ctrl-C stops it)", "dinggate 演示：请打开 %s （按 Ctrl-C 结束）"}, public)
}

// Address is the address of the demo unless --listen gives one.
const Address = "127.0.0.1:4180"

// Listen listens on address, "" for the default one. If the default one is in use, Listen
// takes a free port and prints a message; a port given by --listen is required.
func Listen(address string, out io.Writer) (net.Listener, error) {
	given := address != ""
	if !given {
		address = Address
	}
	l, err := server.Loopback(address)
	if _, isOp := errors.AsType[*net.OpError](err); !isOp {
		return l, err
	}
	if given {
		return nil, server.ListenError("", address, err)
	}
	say(out, i18n.Message{
		"dinggate demo: PORT 4180 IS IN USE, another one is used (%v)\n" +
			"  Is another demo running? --listen 127.0.0.1:PORT selects a port.",
		"dinggate 演示：端口 4180 已被占用，改用其他端口（%v）\n" +
			"  是否已有演示在运行？可用 --listen 127.0.0.1:端口 指定端口。"}, err)
	return server.Loopback("127.0.0.1:0")
}
