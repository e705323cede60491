package main

import (
	"io/fs"

	"dinggate/account"
	"dinggate/internal/conf"
	"dinggate/session"
)

// checkAccounts reports the mistakes between local accounts and the rest.
func (c *Config) checkAccounts(p *conf.Problems) {
	c.Accounts.Check(p, "accounts")
	p.At("api_tokens").Warn(c.APITokens && c.Accounts.HtpasswdFile == "" && !c.SSO.On() && !c.SSOServer.On(),
		"is true, but nobody gives credentials: there is neither accounts.htpasswd_file nor sso_server nor sso")
	p.At("login_api").Warn(c.LoginAPI && c.SSO.On(), "is true beside sso: a page has to hand over \"attempt\" too, with the code and the state that it came back with")
	p.At("accounts.binding").Warn(c.Accounts.Binds() && c.StateDir == "" && c.Session.Store != session.StoreRedis,
		"keeps bindings in memory: all are gone after a restart; set state_dir, or session.store: redis")
}

// checkHtpasswd reads the accounts, so that `check` tells of every bad line.
func (c *Config) checkHtpasswd(p *conf.Problems, read func(string) ([]byte, fs.FileMode, error)) {
	name := c.Accounts.HtpasswdFile
	if name == "" {
		return
	}
	text, mode, err := read(name)
	at := p.At("accounts.htpasswd_file")
	at.If(err != nil, "cannot be read: %s", why(err))
	if err != nil {
		return
	}
	at.Warn(mode&0o004 != 0, "names a file that everybody on this machine can read (mode %04o); chmod 600", mode.Perm())
	for _, problem := range account.CheckHtpasswd(text) {
		problem.File = name
		p.Add(problem)
	}
}
