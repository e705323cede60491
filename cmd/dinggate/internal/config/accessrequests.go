package config

import (
	"dinggate/internal/conf"
	"dinggate/session"
)

// checkAccessRequests: work notifications are DingTalk's, and a request is worth
// something only where the rule can refuse.
func (c *Config) checkAccessRequests(p *conf.Problems) {
	on := c.AccessRequests.On()
	c.AccessRequests.Check(p, "access_requests")
	p.At("access_requests").If(on && c.SSO.On(), "needs dingtalk: behind an SSO service nobody can be notified")
	asked := false
	for i, r := range c.Routes {
		if r.Request == nil {
			continue
		}
		asked = true
		at := p.At("routes[%d].request", i)
		r.Request.Check(p, at.Key())
		at.If(!on, "needs access_requests.agent_id, by which approvers are notified")
		at.If(r.Access == nil || r.Access.Named != "",
			"stands beside a rule that refuses no member; write lists, such as access: {departments: [42]}")
	}
	p.At("access_requests").Warn(on && !asked, "is on, and no route has a request: nobody can ask for anything")
	p.At("access_requests").Warn(on && asked && c.StateDir == "" && c.Session.Store != session.StoreRedis,
		"has neither state_dir nor session.store redis: a restart forgets requests and grants")
}
