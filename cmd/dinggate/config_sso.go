package main

import (
	"strings"

	"dinggate/internal/conf"
)

// ssoRoot is what the endpoints of the SSO service are below; the contract
// fixes it.
const ssoRoot = "/dingtalk"

// checkProvider wants exactly one place where people prove who they are.
func (c *Config) checkProvider(p *conf.Problems) {
	if !c.SSO.On() {
		c.DingTalk.Check(p, "dingtalk")
		return
	}
	d := c.DingTalk
	p.At("sso").If(d.ClientID != "" || !d.ClientSecret.IsZero() || d.CorpID != "", "is given beside dingtalk; keep the one that people sign in at")
	c.SSO.Check(p, "sso")
}

// checkSSOServer: below /dingtalk nothing else can be.
func (c *Config) checkSSOServer(p *conf.Problems) {
	c.SSOServer.Check(p, "sso_server")
	if !c.SSOServer.On() {
		return
	}
	p.At("prefix").If(strings.HasPrefix(c.Prefix+"/", ssoRoot+"/"), "is below /dingtalk, where the endpoints of sso_server are")
	for i, r := range c.Routes {
		p.At("routes[%d].path", i).Warn(strings.HasPrefix(strings.TrimSuffix(r.Path, "/")+"/", ssoRoot+"/"), "is below /dingtalk, where only the endpoints of sso_server are")
	}
}

// callbackURLs are all that DingTalk sends people back to.
func (c *Config) callbackURLs() []string {
	urls := []string{c.CallbackURL()}
	if c.SSOServer.On() {
		urls = append(urls, c.PublicURL+ssoRoot+"/callback")
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
