package demo

import (
	"context"
	"crypto/rand"
	"io"
	"strings"

	"dinggate/cmd/dinggate/internal/server"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/oidc"
)

// RunOIDC serves on loopback an application that signs people in by OpenID
// Connect, as Grafana or GitLab do, without a proxy in front of it:
//
//	application ◄─ OpenID Connect ─► dinggate (oidc) ◄─ DingTalk
func RunOIDC(ctx context.Context, address string, out io.Writer) error {
	say(out, i18n.Message{
		"dinggate demo: starting a simulated DingTalk, an OpenID Connect provider and an application …",
		"dinggate 演示：正在启动钉钉模拟器、OpenID Connect 提供方和应用 …"})
	return serve(ctx, address, out, func(p *process) error {
		l, err := server.Loopback("127.0.0.1:0")
		if err != nil {
			return err
		}
		issuer := "http://" + strings.Replace(p.public.Addr().String(), "localhost", "127.0.0.1", 1)
		app := &oidcApp{
			Issuer: issuer,
			// Cookies do not depend on the port: the application needs a host name of its own.
			URL:    "http://" + strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1),
			ID:     "demo-app",
			Secret: rand.Text(),
		}
		p.Add(l, app.handler())
		cfg := Config(issuer, app.URL, p.dingtalk)
		cfg.Routes = nil
		cfg.OIDC.Clients = []oidc.ClientConfig{{
			ClientID:               app.ID,
			ClientSecret:           conf.NewSecret(app.Secret),
			RedirectURIs:           []string{app.URL + oidcCallback},
			PostLogoutRedirectURIs: []string{app.URL + "/"},
			BackchannelLogoutURI:   "http://" + l.Addr().String() + oidcBackchannel,
			Groups:                 []string{oidc.GroupRoles, oidc.GroupDepartments},
		}}
		if err := p.gateway(cfg, p.public); err != nil {
			return err
		}
		opened(out, app.URL)
		say(out, i18n.Message{
			"  application %s <- OpenID Connect -> dinggate (oidc) %s <- simulated DingTalk %s",
			"  应用 %s <- OpenID Connect -> dinggate（oidc）%s <- 钉钉模拟器 %s"}, app.URL, issuer, p.dingtalk)
		return nil
	})
}
