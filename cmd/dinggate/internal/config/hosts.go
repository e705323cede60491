package config

import (
	"dinggate/internal/conf"
	"dinggate/internal/web"
)

// Values of `hosts`.
const (
	hostsKnown = "known" // other names get 421, or 403 in a gateway's authorization subrequest
	hostsAny   = "any"   // every name is served
)

// KnownHosts returns the host names that requests may use; nil with `hosts: any`. It
// fails only for a configuration with a mistake that Check reports.
func (c *Config) KnownHosts() (*web.Hosts, error) {
	if c.Hosts == hostsAny {
		return nil, nil
	}
	return web.NewHosts(c.PublicURL, c.RouteHosts(), c.Cookie.Domain)
}

func (c *Config) checkHosts(at conf.Place) {
	at.If(c.Hosts != hostsKnown && c.Hosts != hostsAny, "is not known or any")
}
