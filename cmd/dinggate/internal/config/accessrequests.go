package config

import (
	"dinggate/internal/conf"
	"dinggate/session"
)

// checkAccessRequests: work notifications need DingTalk, and requests make sense only
// for a rule that can refuse.
func (c *Config) checkAccessRequests(p *conf.Problems) {
	on := c.AccessRequests.On()
	c.AccessRequests.Check(p, "access_requests")
	p.At("access_requests").If(on && c.SSO.On(), "needs dingtalk: with an SSO service no approver can be notified")
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
			"belongs to a rule that refuses no member; write lists, such as access: {departments: [42]}")
	}
	p.At("access_requests").Warn(on && !asked, "is set, but no route has a request: access cannot be requested")
	p.At("access_requests").Warn(on && asked && c.StateDir == "" && c.Session.Store != session.StoreRedis,
		"is used without state_dir and session.store redis: requests and grants are lost in a restart")
}
