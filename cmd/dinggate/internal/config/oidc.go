package config

import (
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/oidc"
	"dinggate/session"
)

// checkOIDC: keys and grants have to outlive a restart, and below /oidc nothing else
// can be.
func (c *Config) checkOIDC(p *conf.Problems) {
	c.OIDC.Check(p, "oidc")
	if !c.OIDC.On() {
		return
	}
	kept := c.StateDir != "" || c.Session.Store == session.StoreRedis
	p.At("oidc.key_files").If(!kept && len(c.OIDC.KeyFiles) == 0,
		"is empty, and there is neither state_dir nor session.store redis where dinggate could keep keys of its "+
			"own; set state_dir")
	p.At("oidc").Warn(!kept && len(c.OIDC.KeyFiles) > 0,
		"has neither state_dir nor session.store redis: a restart ends every refresh token")
	for i, name := range c.OIDC.KeyFiles {
		p.At("oidc.key_files[%d]", i).If(name == "", "is empty; name a file")
	}
	p.At("prefix").If(strings.HasPrefix(c.Prefix+"/", oidc.Root+"/"), "is below /oidc, where the endpoints of oidc are")
	for i, r := range c.Routes {
		ours := strings.HasPrefix(strings.TrimSuffix(r.Path, "/")+"/", oidc.Root+"/")
		p.At("routes[%d].path", i).Warn(ours,
			"is below /oidc, where on the host of public_url only the endpoints of oidc are")
	}
	for i, client := range c.OIDC.Clients {
		p.At("oidc.clients[%d].groups", i).If(slices.Contains(client.Groups, oidc.GroupDepartmentPaths),
			"has department_paths, and this release reads no names of departments; write departments, which are ids")
	}
}
