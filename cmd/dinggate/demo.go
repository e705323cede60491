package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/buildinfo"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/internal/telemetry"
	"dinggate/proxy/access"
)

var demoCommand = cli.Command{
	Name: "demo", Run: runDemos,
	Brief: i18n.Message{
		"try everything on this machine: no account, no network, no file",
		"在本机体验全部功能：无需账号、网络和文件"},
	Flags: []cli.Flag{
		{Name: "listen", Value: "ADDRESS", Help: i18n.Message{
			"where the demo is, on this machine alone; " + demoAddress + " where it is not given",
			"演示的监听地址，仅限本机；默认为 " + demoAddress}},
		{Name: "sso", Help: i18n.Message{
			"sign in by way of an SSO service, which is another dinggate",
			"经由 SSO 服务（另一个 dinggate）登录"}},
		{Name: "oidc", Help: i18n.Message{
			"an application that signs people in by OpenID Connect, without a proxy in front of it",
			"一个通过 OpenID Connect 登录的应用，前面没有代理"}},
	},
}

func runDemos(c cli.Invocation) int {
	if !listenFlag(c, demoAddress) {
		return 2
	}
	serve := runDemo
	switch {
	case c.Has("sso") && c.Has("oidc"):
		return c.Misused(conf.Problem{Key: "--oidc", Text: conf.Textf("is another demo than --sso")})
	case c.Has("sso"):
		serve = runDemoSSO
	case c.Has("oidc"):
		serve = runDemoOIDC
	}
	return c.Until(func(ctx context.Context) error { return serve(ctx, c.Given["listen"], c.Stdout) })
}

// listenFlag looks at --listen of a command without a configuration.
func listenFlag(c cli.Invocation, standard string) bool {
	if c.Has("listen") && !config.IsHostPort(c.Given["listen"]) {
		c.Misused(conf.Problem{Key: "--listen", Text: conf.Textf("is not host:port such as %s", standard)})
		return false
	}
	return true
}

// runDemo serves everything in one process on loopback: a simulated DingTalk,
// a sample application and dinggate between them. Fresh secrets each time, no
// file, no network; it cannot be taken for production.
func runDemo(ctx context.Context, address string, out io.Writer) error {
	fmt.Fprintln(out, "dinggate demo 演示: starting a simulated DingTalk, a sample application and dinggate "+
		"正在启动钉钉模拟器、示例应用和网关 …")
	records := telemetry.NewWriter(os.Stderr)
	defer records.Close()
	kit := server.Observability{
		Log:     telemetry.Logger(records, "console", config.LogLevels["warn"]),
		Access:  &telemetry.AccessLog{Out: records, Console: true},
		Metrics: telemetry.NewMetrics(buildinfo.Version(), buildinfo.Revision(), records.Dropped),
	}
	s := &server.Listeners{Log: kit.Log}
	app, err := s.OpenLoopback("127.0.0.1:0", sampleApp())
	if err != nil {
		return err
	}
	gateListener, err := demoListener(address, out)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	public := "http://" + gateListener.Addr().String()
	dingtalk, err := s.OpenLoopback("127.0.0.1:0", simulator.Demo())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	cfg := demoConfig(public, app, dingtalk)
	cfg.LoginAPI = true    // for the sample application's own login page
	cfg.SignIn.Page = true // what people see first, with the company's name on it
	state := server.NewState(server.MemoryStores(), kit)
	gateway, err := server.New(cfg, state)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	state.Serve(gateway)
	s.Add(gateListener, state)
	opened(out, public)
	fmt.Fprint(out, `  张三 Zhang San   may open everything 可以打开所有页面
  赵六 Zhao Liu    gets in, but not to "R&D only": he is in HR 可以登录，但打不开“仅研发部”：他在人力资源部
  孙七 Sun Qi      is of another organisation, and is refused 属于其他企业，无法登录
`)
	s.End = state.Conns.Shutdown
	return s.Serve(ctx, gateway.Run)
}

// demoConfig is what an operator would have written.
func demoConfig(public, app, dingtalk string) *config.Config {
	var raw [32]byte
	rand.Read(raw[:])
	c := config.Default()
	c.PublicURL = public
	c.DingTalk.ClientID, c.DingTalk.ClientSecret, c.DingTalk.CorpID = simulator.DemoClientID,
		conf.NewSecret(simulator.DemoClientSecret), simulator.DemoCorpID
	c.DingTalk.LoginURL, c.DingTalk.APIURL, c.DingTalk.OAPIURL = dingtalk, dingtalk, dingtalk
	c.Cookie.Secrets = []conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString(raw[:]))}
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

// opened says where the demo is.
func opened(out io.Writer, public string) {
	fmt.Fprintf(out, "dinggate demo 演示: open 请打开 %s  (Ctrl-C ends it 结束)\n", public)
}

// demoAddress is where the demo is unless --listen names an address.
const demoAddress = "127.0.0.1:4180"

// demoListener listens on address, "" for the usual one. Where that is taken, the demo
// moves to a free port, and says so; a port that somebody named is the one or none.
func demoListener(address string, out io.Writer) (net.Listener, error) {
	given := address != ""
	if !given {
		address = demoAddress
	}
	l, err := server.Loopback(address)
	if _, isOp := errors.AsType[*net.OpError](err); !isOp {
		return l, err
	}
	if given {
		return nil, server.ListenError("", address, err)
	}
	fmt.Fprintf(out, "dinggate demo 演示: PORT 4180 IS TAKEN, another one is used 端口 4180 已被占用，改用其他端口 (%v)\n", err)
	fmt.Fprintln(out, "  is another demo running? 是否已有演示在运行？  --listen 127.0.0.1:PORT chooses a port 可指定端口")
	return server.Loopback("127.0.0.1:0")
}
