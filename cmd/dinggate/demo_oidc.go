package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/buildinfo"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"
	"dinggate/oidc"
)

// runDemoOIDC serves on loopback an application that signs people in by OpenID
// Connect, as Grafana or GitLab do, and no proxy in front of it:
//
//	application ◄─ OpenID Connect ─► dinggate (oidc) ◄─ DingTalk
func runDemoOIDC(ctx context.Context, address string, out io.Writer) error {
	fmt.Fprintln(out,
		"dinggate demo 演示: starting a simulated DingTalk, an OpenID Connect provider and an application "+
			"正在启动钉钉模拟器、OpenID Connect 提供方和应用 …")
	records := telemetry.NewWriter(os.Stderr)
	defer records.Close()
	kit := server.Observability{
		Log:     telemetry.Logger(records, "console", config.LogLevels["warn"]),
		Access:  &telemetry.AccessLog{Out: records, Console: true},
		Metrics: telemetry.NewMetrics(buildinfo.Version(), buildinfo.Revision(), records.Dropped),
	}
	s := &server.Listeners{Log: kit.Log}
	dingtalk, err := s.OpenLoopback("127.0.0.1:0", simulator.Demo())
	if err != nil {
		return err
	}
	providerListener, err := demoListener(address, out)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	appListener, err := server.Loopback("127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.Close())
	}
	issuer := "http://" + strings.Replace(providerListener.Addr().String(), "localhost", "127.0.0.1", 1)
	app := &oidcApp{
		Issuer: issuer,
		// Cookies know no ports: the application needs a host name of its own.
		URL:    "http://" + strings.Replace(appListener.Addr().String(), "127.0.0.1", "localhost", 1),
		ID:     "demo-app",
		Secret: rand.Text(),
	}
	cfg := demoConfig(issuer, app.URL, dingtalk)
	cfg.Routes = nil
	cfg.OIDC.Clients = []oidc.ClientConfig{{
		ClientID:               app.ID,
		ClientSecret:           conf.NewSecret(app.Secret),
		RedirectURIs:           []string{app.URL + oidcCallback},
		PostLogoutRedirectURIs: []string{app.URL + "/"},
		BackchannelLogoutURI:   "http://" + appListener.Addr().String() + oidcBackchannel,
		Groups:                 []string{oidc.GroupRoles, oidc.GroupDepartments},
	}}
	state := server.NewState(server.MemoryStores(), kit)
	gateway, err := server.New(cfg, state)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	state.Serve(gateway)
	s.Add(providerListener, state)
	s.Add(appListener, app.handler())
	opened(out, app.URL)
	fmt.Fprintf(out, "  application 应用 %s <- OpenID Connect -> dinggate (oidc) %s <- DingTalk 钉钉模拟器 %s\n", app.URL, issuer,
		dingtalk)
	s.End = state.Conns.Shutdown
	return s.Serve(ctx, gateway.Run)
}
