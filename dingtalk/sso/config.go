package sso

import (
	"net/netip"
	"net/url"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/web"
)

// ClientConfig is the `sso` part of the configuration: an in-house SSO service
// where people sign in, instead of `dingtalk`. The zero value means none.
type ClientConfig struct {
	URL          string      `yaml:"url"`           // of the service; the four endpoints are below it
	ClientID     string      `yaml:"client_id"`     // our client id at the service
	ClientSecret conf.Secret `yaml:"client_secret"` // sent in the token call
}

// On reports whether the part is configured.
func (c ClientConfig) On() bool { return c.URL != "" || c.ClientID != "" || !c.ClientSecret.IsZero() }

// Check reports the mistakes below key (`sso`). It opens and changes nothing.
func (c ClientConfig) Check(p *conf.Problems, key string) {
	at := p.At("%s.url", key)
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		at.If(true, "is missing; it is the address of the SSO service, such as https://sso.example.com")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" ||
		u.ForceQuery || u.Fragment != "" || !readableHost(u):
		at.If(true, "is not the address of a service such as https://sso.example.com, without user, query and fragment")
	default:
		at.If(len(c.URL) > 200, "is longer than 200 bytes")
		at.Warn(u.Scheme == "http" && !loopback(u.Hostname()),
			"is http: the client secret and the users' tokens are sent unencrypted")
	}
	p.At("%s.client_id", key).If(c.ClientID == "", "is missing; it is assigned by the SSO service")
	p.At("%s.client_id", key).If(!plainName(c.ClientID),
		"is longer than 128 bytes or contains a colon, a space or an unprintable character")
	p.At("%s.client_secret", key).If(c.ClientSecret.IsZero(), "is missing; write it here, or set client_secret_file")
	p.At("%s.client_secret", key).If(len(c.ClientSecret.Reveal()) > maxSecret, "is longer than %d bytes", maxSecret)
}

// ServerConfig is the `sso_server` part of the configuration: the applications whose
// users sign in here. Without clients, this process is not an SSO service.
type ServerConfig struct {
	Clients []App `yaml:"clients"`

	// PlainCallback omits forward_url from the callback URL that DingTalk receives, for
	// DingTalk apps whose registered URL must match exactly.
	PlainCallback bool `yaml:"plain_callback"`
}

// On reports whether the part is configured.
func (c ServerConfig) On() bool { return len(c.Clients) > 0 }

// Check reports the mistakes below key (`sso_server`). It opens and changes
// nothing.
func (c ServerConfig) Check(p *conf.Problems, key string) {
	p.At("%s.clients", key).If(c.PlainCallback && !c.On(),
		"is empty; list the applications that may use this service for sign-in")
	seen := map[string]bool{}
	for i, app := range c.Clients {
		at := func(name string) conf.Place { return p.At("%s.clients[%d].%s", key, i, name) }
		at("client_id").If(app.ClientID == "", "is missing; the application sends it")
		at("client_id").If(!plainName(app.ClientID),
			"is longer than 128 bytes or contains a colon, a space or an unprintable character")
		at("client_id").If(app.ClientID != "" && seen[app.ClientID], "is repeated")
		seen[app.ClientID] = true
		secret := app.ClientSecret.Reveal()
		at("client_secret").If(secret == "", "is missing; write it here, or set client_secret_file")
		at("client_secret").If(len(secret) > maxSecret || strings.ContainsFunc(secret, control),
			"is longer than %d bytes or contains a line break", maxSecret)
		at("client_secret").Warn(secret != "" && len(secret) < 16,
			"is short and could be guessed; generate one with \"dinggate keygen\"")
		at("redirect_urls").If(len(app.RedirectURLs) == 0,
			"is empty; list all allowed redirect addresses")
		for j, raw := range app.RedirectURLs {
			app.checkRedirect(p.At("%s.clients[%d].redirect_urls[%d]", key, i, j), raw)
		}
	}
}

func (a *App) checkRedirect(at conf.Place, raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || !plainURL(raw) || !readableHost(u) {
		at.If(
			true, "is not an address such as https://other.example.com/callback, in ASCII and without user "+
				"and fragment",
		)
		return
	}
	at.Warn(u.Scheme == "http" && !loopback(u.Hostname()), "is http: an eavesdropper can read the code")
}

func plainName(s string) bool {
	return len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

func readableHost(u *url.URL) bool {
	_, err := web.CleanHost(u.Host, u.Scheme)
	return err == nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.Unmap().IsLoopback()
}
