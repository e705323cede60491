package config

import (
	"slices"
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
	rule.Each(func(name string, lists access.ListsConfig) {
		text := listsText(lists)
		switch {
		case name == "" && text == "":
			text = "signed_in"
		case name != "":
			text = name + " (" + text + ")"
		}
		parts = append(parts, text)
	})
	if rule.Fresh > 0 {
		parts = append(parts, "fresh "+Short(rule.Fresh))
	}
	if rule.FreshSilent {
		parts = append(parts, "fresh_silent")
	}
	return strings.Join(parts, "; ")
}

// NamedIn lists what the routes' rules have in their lists of a name, such as
// departments, each once and in their order.
func NamedIn(c *Config, list string) (all []string) {
	for _, r := range c.Routes {
		r.Access.Each(func(_ string, lists access.ListsConfig) {
			items := map[string][]string{
				"departments": lists.Departments, "roles": lists.Roles, "emails": lists.Emails,
			}[list]
			for _, item := range items {
				if !slices.Contains(all, item) {
					all = append(all, item)
				}
			}
		})
	}
	return all
}

func listsText(lists access.ListsConfig) string {
	var parts []string
	for _, list := range []struct {
		name  string
		items []string
	}{{"departments", lists.Departments}, {"roles", lists.Roles}, {"users", lists.Users}, {"emails", lists.Emails},
		{"networks", lists.Networks}} {
		if len(list.items) > 0 {
			parts = append(parts, list.name+" "+strings.Join(list.items, ","))
		}
	}
	return strings.Join(parts, "; ")
}
