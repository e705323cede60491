package config

import (
	"fmt"
	"slices"
	"strings"

	"dinggate/proxy/access"
)

// RuleText formats a rule in the syntax of the configuration.
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

// NamedIn returns the entries of the rules' lists with a name, such as departments, each
// once and in their order.
func NamedIn(c *Config, list string) (all []string) {
	for _, one := range NamedBy(c, list) {
		if !slices.Contains(all, one.Text) {
			all = append(all, one.Text)
		}
	}
	return all
}

// Named is an entry of a list of a rule.
type Named struct {
	Key  string // of the list: routes[0].access.departments
	Text string
}

// NamedBy is NamedIn with the key of each list that has the entry.
func NamedBy(c *Config, list string) (all []Named) {
	add := func(key string, rule *access.RuleConfig) {
		rule.Each(func(name string, lists access.ListsConfig) {
			at := key + ".access."
			if name != "" {
				at += name + "."
			}
			items := map[string][]string{
				"departments": lists.Departments, "roles": lists.Roles, "emails": lists.Emails,
			}[list]
			for _, item := range items {
				all = append(all, Named{at + list, item})
			}
		})
	}
	for i, r := range c.Routes {
		add(fmt.Sprintf("routes[%d]", i), r.Access)
	}
	for i, client := range c.OIDC.Clients {
		add(fmt.Sprintf("oidc.clients[%d]", i), client.Access)
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
