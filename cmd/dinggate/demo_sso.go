package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/dingtalk/sso"
	"dinggate/internal/buildinfo"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"
)

// runDemoSSO serves a whole chain on loopback: the application behind a dinggate
// that signs people in at an SSO service, which is another dinggate, which signs
// them in at the simulated DingTalk.
//
//	application ◄─ dinggate (sso) ◄─ dinggate (sso_server) ◄─ DingTalk
func runDemoSSO(ctx context.Context, address string, out io.Writer) error {
	fmt.Fprintln(out,
		"dinggate demo 演示: starting a simulated DingTalk, an SSO service, a sample application and dinggate "+
			"正在启动钉钉模拟器、SSO 服务、示例应用和网关 …")
	records := telemetry.NewWriter(os.Stderr)
	defer records.Close()
	kit := func() server.Observability {
		return server.Observability{
			Log:     telemetry.Logger(records, "console", config.LogLevels["warn"]),
			Access:  &telemetry.AccessLog{Out: records, Console: true},
			Metrics: telemetry.NewMetrics(buildinfo.Version(), buildinfo.Revision(), records.Dropped),
		}
	}
	s := &server.Listeners{Log: kit().Log}
	app, err := s.OpenLoopback("127.0.0.1:0", sampleApp())
	if err != nil {
		return err
	}
	dingtalk, err := s.OpenLoopback("127.0.0.1:0", simulator.Demo())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	gateListener, err := demoListener(address, out)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	serviceListener, err := server.Loopback("127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.Close())
	}
	public := "http://" + strings.Replace(gateListener.Addr().String(), "localhost", "127.0.0.1", 1)
	// Cookies know no ports: the service needs a host name of its own.
	service := "http://" + strings.Replace(serviceListener.Addr().String(), "127.0.0.1", "localhost", 1)
	front, back := demoChain(public, service, app, dingtalk)
	var background sync.WaitGroup
	var run []func(context.Context)
	for _, one := range []struct {
		cfg      *config.Config
		listener net.Listener
	}{{front, gateListener}, {back, serviceListener}} {
		state := server.NewState(server.MemoryStores(), kit())
		gateway, err := server.New(one.cfg, state)
		if err != nil {
			return errors.Join(err, s.Close())
		}
		state.Serve(gateway)
		s.Add(one.listener, state)
		run = append(run, gateway.Run)
	}
	opened(out, public)
	fmt.Fprintf(out,
		"  application 应用 <- dinggate 网关 (sso) %s <- SSO service 单点登录服务 (sso_server) %s <- DingTalk 钉钉模拟器 %s\n", public,
		service, dingtalk)
	return s.Serve(ctx, func(ctx context.Context) {
		for _, run := range run {
			background.Go(func() { run(ctx) })
		}
		background.Wait()
	})
}

// demoChain is what two operators would have written: front for the
// application, back for the SSO service.
func demoChain(public, service, app, dingtalk string) (front, back *config.Config) {
	const client = "demo-app"
	secret := conf.NewSecret(rand.Text())
	front = demoConfig(public, app, dingtalk)
	front.DingTalk = config.Default().DingTalk
	front.SSO = sso.ClientConfig{URL: service, ClientID: client, ClientSecret: secret}
	front.APITokens = true
	// a service names a person's own departments, not those above them
	front.Routes[1].Access.Departments = []string{"4201"}
	back = demoConfig(service, app, dingtalk)
	back.Routes = nil
	back.SSOServer.Clients = []sso.App{{ClientID: client, ClientSecret: secret,
		RedirectURLs: []string{front.CallbackURL()}, AllowQuery: true}}
	return front, back
}
