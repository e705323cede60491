package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// RunSSO serves a whole chain on loopback: the application behind a dinggate
// that signs people in at an SSO service, which is another dinggate, which signs
// them in at the simulated DingTalk.
//
//	application ◄─ dinggate (sso) ◄─ dinggate (sso_server) ◄─ DingTalk
func RunSSO(ctx context.Context, address string, out io.Writer) error {
	say(out, i18n.Message{
		"dinggate demo: starting a simulated DingTalk, an SSO service, a sample application and dinggate …",
		"dinggate 演示：正在启动钉钉模拟器、SSO 服务、示例应用和 dinggate …"})
	return serve(ctx, address, out, func(p *process) error {
		app, err := p.OpenLoopback("127.0.0.1:0", sampleApp(false))
		if err != nil {
			return err
		}
		l, err := server.Loopback("127.0.0.1:0")
		if err != nil {
			return err
		}
		public := "http://" + strings.Replace(p.public.Addr().String(), "localhost", "127.0.0.1", 1)
		// Cookies do not depend on the port: the service needs a host name of its own.
		service := "http://" + strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1)
		front, back := chainConfigs(public, service, app, p.dingtalk)
		if err := errors.Join(p.gateway(front, p.public), p.gateway(back, l)); err != nil {
			return err
		}
		opened(out, public)
		say(out, i18n.Message{
			"  application <- dinggate (sso) %s <- SSO service (sso_server) %s <- simulated DingTalk %s",
			"  应用 <- dinggate（sso）%s <- SSO 服务（sso_server）%s <- 钉钉模拟器 %s"}, public, service, p.dingtalk)
		return nil
	})
}

// chainConfigs returns the configurations of two operators: front for the application,
// back for the SSO service.
func chainConfigs(public, service, app, dingtalk string) (front, back *config.Config) {
	const client = "demo-app"
	secret := conf.NewSecret(rand.Text())
	front = Config(public, app, dingtalk)
	front.DingTalk = config.Default().DingTalk
	front.SSO = sso.ClientConfig{URL: service, ClientID: client, ClientSecret: secret}
	front.APITokens = true
	// a service reports a person's own departments, not those above them
	front.Routes[1].Access.Departments = []string{"4201"}
	back = Config(service, app, dingtalk)
	back.Routes = nil
	back.SSOServer.Clients = []sso.App{{ClientID: client, ClientSecret: secret,
		RedirectURLs: []string{front.CallbackURL()}, AllowQuery: true}}
	return front, back
}
