package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/i18n"
)

// simulateAddress is the address of the simulator unless --listen gives one.
const simulateAddress = "127.0.0.1:4190"

var simulateFlags = []cli.Flag{
	{Name: "listen", Value: "ADDRESS", Help: i18n.Message{
		"where the simulator listens; " + simulateAddress + " where it is not given",
		"模拟器的监听地址；默认为 " + simulateAddress,
	}},
	{Name: "callback", Value: "HOST,…", Help: i18n.Message{
		"hosts that people may be sent back to, besides this machine; any: every host",
		"除本机外，允许跳回的主机；any 表示任意主机",
	}},
	{Name: "people", Value: "N", Help: i18n.Message{
		"so many more people in 500 departments, and at most 20 calls a second per API, as DingTalk has it",
		"另加 N 名员工，分布在 500 个部门；每个接口每秒最多 20 次调用，与钉钉一致",
	}},
}

var simulateCommand = cli.Command{
	Name:  "simulate",
	Brief: i18n.Message{"run only the simulated DingTalk, for tests", "单独运行钉钉模拟器，供测试使用"},
	Flags: simulateFlags,
	Run: func(c cli.Invocation) int {
		if !c.ListenFlag(simulateAddress) {
			return 2
		}
		address := cmp.Or(c.Given["listen"], simulateAddress)
		return c.Until(func(ctx context.Context) error {
			people, err := simulatedPeople(c.Given["people"])
			if err != nil {
				return err
			}
			return runSimulate(ctx, address, c.List("callback"), people, c.Stdout)
		})
	},
}

// runSimulate serves only the simulated DingTalk of the demo, all three of its hosts on
// one address, and prints a configuration for it. People are sent back to this machine and
// to the hosts in --callback. Requests to /_simulator/ change people, faults and the clock
// (documented in package simulator).
func runSimulate(ctx context.Context, address string, callbacks []string, people int, out io.Writer) error {
	var hosts []string
	for _, callback := range callbacks {
		host, err := callbackHost(callback)
		if err != nil {
			return err
		}
		hosts = append(hosts, host)
	}
	platform := simulator.Demo()
	if people > 0 {
		platform = simulator.Large(people, largeDepartments)
	}
	if err := platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.RedirectHosts = hosts
	}); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return server.ListenError("", address, err)
	}
	s := &server.Listeners{Log: slog.New(slog.DiscardHandler)}
	s.Add(l, platform)
	fmt.Fprintf(out, "simulator listening on http://%s\n", l.Addr())
	warnOfNetwork(out, l.Addr())
	simulatorKeys(out, l.Addr(), hosts)
	return s.Serve(ctx, func(context.Context) {})
}

const (
	mostPeople       = 50_000
	largeDepartments = 500
)

// simulatedPeople parses --people.
func simulatedPeople(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostPeople {
		return 0, fmt.Errorf("--people %q is no number from 1 to %d", text, mostPeople)
	}
	return n, nil
}

// warnOfNetwork warns that other machines can reach the simulator.
func warnOfNetwork(out io.Writer, at net.Addr) {
	if tcp, ok := at.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		fmt.Fprintln(out,
			"WARNING: everybody on the network who reaches this address can sign in as anybody, without a password "+
				"警告：网络上能访问此地址的任何人都可以冒充任何人登录，无需密码")
	}
}

// callbackHost returns the host of an entry of --callback: a host, a host with a port, or
// a URL.
func callbackHost(text string) (string, error) {
	if text == "any" || text == "*" {
		return "*", nil
	}
	address := text
	if !strings.Contains(address, "://") {
		address = "http://" + address + "/"
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" ||
		strings.Contains(u.Host, "*") {
		return "", fmt.Errorf("--callback %q is no host such as app.example.com, nor the word any", text)
	}
	return u.Host, nil
}

// simulatorKeys prints the configuration for signing in at a simulator.
func simulatorKeys(out io.Writer, at net.Addr, hosts []string) {
	host, port, err := net.SplitHostPort(at.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // or the name that browsers and dinggate use for this machine
	}
	base := "http://" + net.JoinHostPort(host, port)
	fmt.Fprintf(out, `
# config.yaml 配置（测试用，切勿用于生产 for tests, never for production）
dingtalk:
  client_id: %s
  client_secret: %s
  corp_id: %s
  login_url: %s
  api_url: %s
  oapi_url: %s
# access_requests: {agent_id: %d}
`, simulator.DemoClientID, simulator.DemoClientSecret, simulator.DemoCorpID, base, base, base, simulator.DemoAgentID)
	switch {
	case len(hosts) == 0:
		fmt.Fprint(out,
			"# public_url: http://127.0.0.1:PORT or http://localhost:PORT; for another host: --callback HOST "+
				"其他主机请加 --callback\n")
	case len(hosts) == 1 && hosts[0] == "*":
		fmt.Fprint(out, "# public_url: any 任意地址\n")
	default:
		fmt.Fprintf(out, "# public_url: http(s)://%s\n", strings.Join(hosts, ", "))
	}
}
