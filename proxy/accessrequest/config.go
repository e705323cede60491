package accessrequest

import (
	"strings"
	"time"

	"dinggate/internal/conf"
)

// Config is the `access_requests` part. Start from Defaults.
type Config struct {
	AgentID int `yaml:"agent_id"` // of the app that sends the work notifications; 0 disables requests
	Open    int `yaml:"open"`     // requests of one person that may wait at a time
}

// MaxAgentID bounds the values of AgentID.
const MaxAgentID = 1e12

// Defaults is the `access_requests` part of an empty configuration file.
func Defaults() Config { return Config{Open: 5} }

// On reports whether access can be requested.
func (c Config) On() bool { return c.AgentID != 0 }

// Check reports the mistakes of the part.
func (c Config) Check(p *conf.Problems, key string) {
	p.At("%s.agent_id", key).If(c.AgentID < 0 || c.AgentID > MaxAgentID, "is not the AgentId that 应用详情 shows, a number")
	p.At("%s.open", key).If(c.Open < 1 || c.Open > PerDay, "is not a number from 1 to %d", PerDay)
}

// RouteConfig is a route's `request` part: who decides, and for how long.
type RouteConfig struct {
	Approvers ApproversConfig `yaml:"approvers"`
	Longest   time.Duration   `yaml:"longest"` // 0 is 8h
	Reason    string          `yaml:"reason"`  // required | optional; empty is required
}

// ApproversConfig names the people who may answer; at least one field is required.
type ApproversConfig struct {
	Users              []string `yaml:"users"`               // userids
	Manager            bool     `yaml:"manager"`             // the person's manager, according to the directory
	DepartmentManagers bool     `yaml:"department_managers"` // the managers of the person's departments
}

// Values of routes[].request.reason.
const (
	ReasonRequired = "required"
	ReasonOptional = "optional"
)

const (
	usualLongest = 8 * time.Hour
	maxApprovers = 20
)

// Limit is the longest duration of a grant.
func (c *RouteConfig) Limit() time.Duration {
	if c.Longest == 0 {
		return usualLongest
	}
	return c.Longest
}

// NeedsReason reports whether a request without a reason is refused.
func (c *RouteConfig) NeedsReason() bool { return c.Reason != ReasonOptional }

// Choices are the durations that the form offers, the shortest first.
func (c *RouteConfig) Choices() []time.Duration {
	var list []time.Duration
	for _, d := range []time.Duration{time.Hour, 4 * time.Hour} {
		if d < c.Limit() {
			list = append(list, d)
		}
	}
	return append(list, c.Limit())
}

// Check reports the mistakes of a route's part.
func (c *RouteConfig) Check(p *conf.Problems, key string) {
	a := c.Approvers
	p.At("%s.approvers", key).If(len(a.Users) == 0 && !a.Manager && !a.DepartmentManagers,
		"has no approver; write users, manager: true or department_managers: true")
	p.At("%s.approvers.users", key).If(len(a.Users) > maxApprovers, "has more than %d", maxApprovers)
	for i, id := range a.Users {
		p.At("%s.approvers.users[%d]", key, i).If(id == "" || strings.ContainsAny(id, ", \t\n") || len(id) > 64,
			"is not a DingTalk userid")
	}
	p.At("%s.longest", key).If(c.Longest != 0 && (c.Longest < time.Minute || c.Longest > MaxLongest),
		"is not between 1m and %v", MaxLongest)
	p.At("%s.reason", key).If(c.Reason != "" && c.Reason != ReasonRequired && c.Reason != ReasonOptional,
		"is not required or optional")
}
