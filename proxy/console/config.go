package console

import (
	"strings"

	"dinggate/internal/conf"
	"dinggate/proxy/access"
)

// Config is the `console` part: who may open the console.
type Config struct {
	Access *access.RuleConfig `yaml:"access"` // as a route's, with lists; if empty, the console is disabled
}

// Defaults is the `console` part of an empty configuration file: an empty rule, so that the
// console is disabled.
func Defaults() Config { return Config{Access: &access.RuleConfig{}} }

// On reports whether the console is enabled: a rule without people disables it.
func (c Config) On() bool {
	r := c.Access
	if r == nil {
		return false
	}
	given := r.Named != "" || len(r.All) > 0 || r.Fresh != 0 || r.FreshSilent
	r.Each(func(_ string, l access.ListsConfig) {
		given = given || len(l.Departments)+len(l.Roles)+len(l.Users)+len(l.Emails)+len(l.Networks) > 0
	})
	return given
}

// Check reports the mistakes of the part.
func (c Config) Check(p *conf.Problems, key string) {
	if !c.On() {
		return
	}
	at := p.At("%s.access", key)
	if c.Access.Named != "" {
		at.If(true, "would let every member see and end everybody's sessions; write lists, such as {roles: [管理员]}")
		return
	}
	at.If(len(c.Access.Networks) > 0, "has networks; an address is no person: write them below all, beside the people")
	var found conf.Problems
	access.Config{{Path: "/", Access: c.Access}}.Check(&found, "x")
	for _, one := range found.All() {
		if _, part, ok := strings.Cut(one.Key, "].access"); ok {
			p.Add(conf.Problem{Key: at.Key() + part, Text: one.Text, Warning: one.Warning})
		}
	}
}
