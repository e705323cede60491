package config

import (
	"io/fs"

	"dinggate/account"
	"dinggate/dingtalk"
	"dinggate/internal/conf"
	"dinggate/session"
)

// Values of login_api_status.
const (
	loginAPIReal   = "real"   // 200 for everything that a person can be refused for, as clients of the document expect
	LoginAPIStrict = "strict" // 500, as in earlier releases
)

// LoginAPIPaths are the paths of the login callback. sso_server alone does not register
// the second one: an application may have a path like it.
func (c *Config) LoginAPIPaths() (paths []string) {
	if c.LoginAPI || c.SSOServer.On() {
		paths = append(paths, loginAPIPath)
	}
	if c.LoginAPI && c.LoginAPIBase != "" {
		paths = append(paths, c.LoginAPIBase+loginAPIPath)
	}
	return paths
}

// checkAccounts reports mistakes between local accounts and other parts.
func (c *Config) checkAccounts(p *conf.Problems) {
	c.Accounts.Check(p, "accounts")
	c.checkAPITokens(p)
	p.At("login_api").Warn(c.LoginAPI && c.SSO.On(),
		"is true together with sso: the page must pass \"attempt\" too, with the code and the state that it "+
			"received")
	p.At("login_api_base").If(c.LoginAPIBase != "" && !isPlainPath(c.LoginAPIBase),
		"is not a path such as /api/v1, which has no final slash")
	p.At("login_api_status").If(c.LoginAPIStatus != loginAPIReal && c.LoginAPIStatus != LoginAPIStrict,
		"is not real or strict")
	p.At("dingtalk.directory").Warn(c.Accounts.Binds() && c.DingTalk.Directory == dingtalk.DirectoryMirror,
		"has no effect with accounts.binding: members are looked up individually")
	p.At("accounts.binding").Warn(c.Accounts.Binds() && c.StateDir == "" && c.Session.Store != session.StoreRedis,
		"stores bindings in memory: they are lost in a restart; set state_dir, or session.store: redis")
}

// checkHtpasswd reads the accounts, so that `check` reports every bad line.
func (c *Config) checkHtpasswd(p *conf.Problems, read func(string) ([]byte, fs.FileMode, error)) {
	name := c.Accounts.HtpasswdFile
	if name == "" {
		return
	}
	text, mode, err := read(name)
	at := p.At("accounts.htpasswd_file")
	at.If(err != nil, "cannot be read: %s", cause(err))
	if err != nil {
		return
	}
	at.Warn(mode&0o004 != 0, "refers to a file that every user of this machine can read (mode %04o); chmod 600", mode.Perm())
	for _, problem := range account.CheckHtpasswd(text) {
		problem.File = name
		p.Add(problem)
	}
}
