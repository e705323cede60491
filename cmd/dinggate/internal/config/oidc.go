package config

import (
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/oidc"
	"dinggate/session"
)

// checkOIDC: keys and grants must survive a restart, and no other endpoint can be below
// /oidc.
func (c *Config) checkOIDC(p *conf.Problems) {
	c.OIDC.Check(p, "oidc")
	if !c.OIDC.On() {
		return
	}
	kept := c.StateDir != "" || c.Session.Store == session.StoreRedis
	p.At("oidc.key_files").If(!kept && len(c.OIDC.KeyFiles) == 0,
		"is empty, and without state_dir or session.store redis dinggate cannot store generated keys; "+
			"set state_dir")
	p.At("oidc").Warn(!kept && len(c.OIDC.KeyFiles) > 0,
		"is used without state_dir and session.store redis: a restart invalidates every refresh token")
	for i, name := range c.OIDC.KeyFiles {
		p.At("oidc.key_files[%d]", i).If(name == "", "is empty; name a file")
	}
	p.At("prefix").If(strings.HasPrefix(c.Prefix+"/", oidc.Root+"/"), "is below /oidc, which is reserved for the endpoints of oidc")
	for i, r := range c.Routes {
		ours := strings.HasPrefix(strings.TrimSuffix(r.Path, "/")+"/", oidc.Root+"/")
		p.At("routes[%d].path", i).Warn(ours,
			"is below /oidc, where on the host of public_url only the endpoints of oidc are")
	}
	for i, client := range c.OIDC.Clients {
		p.At("oidc.clients[%d].groups", i).If(c.SSO.On() && slices.Contains(client.Groups, oidc.GroupDepartmentPaths),
			"has department_paths, and an SSO service gives no names of departments; write departments, which are ids")
	}
}
