package config

import (
	"slices"
	"strings"

	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
)

// SSORoot is what the endpoints of the SSO service are below; the contract
// fixes it.
const SSORoot = "/dingtalk"

// checkProvider wants exactly one place where people prove who they are.
func (c *Config) checkProvider(p *conf.Problems) {
	if !c.SSO.On() {
		c.DingTalk.Check(p, "dingtalk")
		return
	}
	d := c.DingTalk
	p.At("sso").If(d.ClientID != "" || !d.ClientSecret.IsZero() || d.CorpID != "",
		"is given beside dingtalk; keep the one that people sign in at")
	c.SSO.Check(p, "sso")
}

// checkSSOServer: below /dingtalk nothing else can be.
func (c *Config) checkSSOServer(p *conf.Problems) {
	c.SSOServer.Check(p, "sso_server")
	if !c.SSOServer.On() {
		return
	}
	p.At("prefix").If(strings.HasPrefix(c.Prefix+"/", SSORoot+"/"),
		"is below /dingtalk, where the endpoints of sso_server are")
	for i, r := range c.Routes {
		p.At("routes[%d].path", i).Warn(strings.HasPrefix(strings.TrimSuffix(r.Path, "/")+"/", SSORoot+"/"),
			"is below /dingtalk, where only the endpoints of sso_server are")
	}
}

// checkAPITokens: whose tokens open routes is said, unless they are our own.
func (c *Config) checkAPITokens(p *conf.Problems) {
	at, service, passwords := p.At("api_tokens"), c.SSOServer.On(), c.Accounts.HtpasswdFile != ""
	at.Warn(c.APITokens && !passwords && !c.SSO.On() && !service,
		"is true, but nobody gives credentials: there is neither accounts.htpasswd_file nor sso_server nor sso")
	at.Warn(c.APITokens && c.SSO.On() && !service,
		"takes every access token of the SSO service for a person where its userinfo has no \"aud\": any "+
			"application that people sign in to there could be them here")
	clients := p.At("api_token_clients")
	clients.Warn(c.APITokens && service && !passwords && len(c.APITokenClients) == 0,
		"is empty, so that no access token opens a route; name the clients of sso_server whose tokens do")
	clients.Warn(!c.APITokens && len(c.APITokenClients) > 0, "does nothing without api_tokens: true")
	for i, id := range c.APITokenClients {
		at := p.At("api_token_clients[%d]", i)
		at.If(id == "", "is empty; write a client id")
		at.If(id != "" && service &&
			!slices.ContainsFunc(c.SSOServer.Clients, func(app sso.App) bool { return app.ClientID == id }),
			"is no client_id of sso_server.clients")
	}
}

// CallbackURLs are all that DingTalk sends people back to.
func (c *Config) CallbackURLs() []string {
	urls := []string{c.CallbackURL()}
	if c.SSOServer.On() {
		urls = append(urls, c.PublicURL+SSORoot+"/callback")
	}
	return urls
}

// Realm is the organisation that sessions are of: what another one sealed
// opens nothing here, even under the same secret.
func (c *Config) Realm() string {
	if c.SSO.On() {
		return strings.TrimSuffix(c.SSO.URL, "/")
	}
	return c.DingTalk.CorpID
}

// ProviderClientID is who we are where people sign in.
func (c *Config) ProviderClientID() string {
	if c.SSO.On() {
		return c.SSO.ClientID
	}
	return c.DingTalk.ClientID
}

// TokenClients are the clients whose access tokens open routes (threats T30): a
// token proves that a person let some application know who they are, which is no
// reason for that application to be that person everywhere.
func (c *Config) TokenClients() []string {
	if len(c.APITokenClients) == 0 && c.SSO.On() && !c.SSOServer.On() {
		return []string{c.SSO.ClientID}
	}
	return c.APITokenClients
}
