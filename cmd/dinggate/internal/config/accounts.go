package config

import (
	"io/fs"

	"dinggate/account"
	"dinggate/dingtalk"
	"dinggate/internal/conf"
	"dinggate/session"
)

// The words of login_api_status.
const (
	loginAPIReal   = "real"   // 200 for whatever a person can get refused, as clients of the document need it
	LoginAPIStrict = "strict" // 500, as it was at first
)

// LoginAPIPaths are where the login callback answers. An application may have a
// path like the second one itself: sso_server alone does not take it.
func (c *Config) LoginAPIPaths() (paths []string) {
	if c.LoginAPI || c.SSOServer.On() {
		paths = append(paths, loginAPIPath)
	}
	if c.LoginAPI && c.LoginAPIBase != "" {
		paths = append(paths, c.LoginAPIBase+loginAPIPath)
	}
	return paths
}

// checkAccounts reports the mistakes between local accounts and the rest.
func (c *Config) checkAccounts(p *conf.Problems) {
	c.Accounts.Check(p, "accounts")
	c.checkAPITokens(p)
	p.At("login_api").Warn(c.LoginAPI && c.SSO.On(),
		"is true beside sso: a page has to hand over \"attempt\" too, with the code and the state that it came "+
			"back with")
	p.At("login_api_base").If(c.LoginAPIBase != "" && !isPlainPath(c.LoginAPIBase),
		"is not a path such as /api/v1, which has no final slash")
	p.At("login_api_status").If(c.LoginAPIStatus != loginAPIReal && c.LoginAPIStatus != LoginAPIStrict,
		"is not real or strict")
	p.At("dingtalk.directory").Warn(c.Accounts.Binds() && c.DingTalk.Directory == dingtalk.DirectoryMirror,
		"has no effect beside accounts.binding: members are looked up one by one")
	p.At("accounts.binding").Warn(c.Accounts.Binds() && c.StateDir == "" && c.Session.Store != session.StoreRedis,
		"keeps bindings in memory: all are gone after a restart; set state_dir, or session.store: redis")
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
	at.Warn(mode&0o004 != 0, "names a file that everybody on this machine can read (mode %04o); chmod 600", mode.Perm())
	for _, problem := range account.CheckHtpasswd(text) {
		problem.File = name
		p.Add(problem)
	}
}
