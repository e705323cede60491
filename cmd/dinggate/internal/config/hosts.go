package config

import (
	"dinggate/internal/conf"
	"dinggate/internal/web"
)

// The words of `hosts`.
const (
	hostsKnown = "known" // other names are 421, and 403 in a gateway's question
	hostsAny   = "any"   // every name is served
)

// KnownHosts are the names that requests may be for; nil with `hosts: any`. It fails
// only where Check has found a mistake.
func (c *Config) KnownHosts() (*web.Hosts, error) {
	if c.Hosts == hostsAny {
		return nil, nil
	}
	return web.NewHosts(c.PublicURL, c.RouteHosts(), c.Cookie.Domain)
}

func (c *Config) checkHosts(at conf.Place) {
	at.If(c.Hosts != hostsKnown && c.Hosts != hostsAny, "is not known or any")
}
