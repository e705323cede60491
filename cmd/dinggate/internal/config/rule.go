package config

import (
	"strings"

	"dinggate/proxy/access"
)

// RuleText puts a rule in the words of the configuration.
func RuleText(rule *access.RuleConfig) string {
	if rule == nil {
		return "signed_in"
	}
	if rule.Named != "" {
		return rule.Named
	}
	var parts []string
	for _, list := range []struct {
		name  string
		items []string
	}{{"departments", rule.Departments}, {"roles", rule.Roles}, {"users", rule.Users}, {"emails", rule.Emails},
		{"networks", rule.Networks}} {
		if len(list.items) > 0 {
			parts = append(parts, list.name+" "+strings.Join(list.items, ","))
		}
	}
	return strings.Join(parts, "; ")
}
