package config

import (
	"slices"
	"strings"

	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
)

// SSORoot is the path above the endpoints of the SSO service, which the contract
// fixes.
const SSORoot = "/dingtalk"

// checkProvider requires exactly one identity provider.
func (c *Config) checkProvider(p *conf.Problems) {
	if !c.SSO.On() {
		c.DingTalk.Check(p, "dingtalk")
		return
	}
	d := c.DingTalk
	p.At("sso").If(d.ClientID != "" || !d.ClientSecret.IsZero() || d.CorpID != "",
		"is set together with dingtalk; remove the one that is not used for sign-in")
	c.SSO.Check(p, "sso")
}

// checkSSOServer: no other endpoint can be below /dingtalk.
func (c *Config) checkSSOServer(p *conf.Problems) {
	c.SSOServer.Check(p, "sso_server")
	if !c.SSOServer.On() {
		return
	}
	p.At("prefix").If(strings.HasPrefix(c.Prefix+"/", SSORoot+"/"),
		"is below /dingtalk, which is reserved for the endpoints of sso_server")
	for i, r := range c.Routes {
		p.At("routes[%d].path", i).Warn(strings.HasPrefix(strings.TrimSuffix(r.Path, "/")+"/", SSORoot+"/"),
			"is below /dingtalk, where only the endpoints of sso_server are")
	}
}

// checkAPITokens requires the clients whose tokens open routes, unless they are our own.
func (c *Config) checkAPITokens(p *conf.Problems) {
	at, service, passwords := p.At("api_tokens"), c.SSOServer.On(), c.Accounts.HtpasswdFile != ""
	at.Warn(c.APITokens && !passwords && !c.SSO.On() && !service,
		"is true, but there is no source of credentials: none of accounts.htpasswd_file, sso_server and sso is set")
	at.Warn(c.APITokens && c.SSO.On() && !service,
		"takes every access token of the SSO service for a person where its userinfo has no \"aud\": any "+
			"application that people sign in to there could be them here")
	clients := p.At("api_token_clients")
	clients.Warn(c.APITokens && service && !passwords && len(c.APITokenClients) == 0,
		"is empty, so no access token is accepted; list the clients of sso_server whose tokens are accepted")
	clients.Warn(!c.APITokens && len(c.APITokenClients) > 0, "has no effect without api_tokens: true")
	for i, id := range c.APITokenClients {
		at := p.At("api_token_clients[%d]", i)
		at.If(id == "", "is empty; write a client id")
		at.If(id != "" && service &&
			!slices.ContainsFunc(c.SSOServer.Clients, func(app sso.App) bool { return app.ClientID == id }),
			"is not a client_id of sso_server.clients")
	}
}

// CallbackURLs are all URLs that DingTalk sends people back to.
func (c *Config) CallbackURLs() []string {
	urls := []string{c.CallbackURL()}
	if c.SSOServer.On() {
		urls = append(urls, c.PublicURL+SSORoot+"/callback")
	}
	return urls
}

// Realm identifies the organisation of sessions: a cookie sealed for another one does
// not open here, even with the same secret.
func (c *Config) Realm() string {
	if c.SSO.On() {
		return strings.TrimSuffix(c.SSO.URL, "/")
	}
	return c.DingTalk.CorpID
}

// ProviderClientID is our client id at the identity provider.
func (c *Config) ProviderClientID() string {
	if c.SSO.On() {
		return c.SSO.ClientID
	}
	return c.DingTalk.ClientID
}

// TokenClients are the clients whose access tokens open routes (threats T30). A token
// proves that a person signed in to some application; that does not allow the
// application to act as the person everywhere.
func (c *Config) TokenClients() []string {
	if len(c.APITokenClients) == 0 && c.SSO.On() && !c.SSOServer.On() {
		return []string{c.SSO.ClientID}
	}
	return c.APITokenClients
}
