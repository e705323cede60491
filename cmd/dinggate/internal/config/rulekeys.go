package config

import (
	"maps"
	"strings"

	"dinggate/internal/i18n"
)

// ruleKeys are the keys whose value is a rule.
var ruleKeys = []string{"routes[].access.", "oidc.clients[].access.", consoleRule + "."}

// consoleRule is the only rule outside a list.
const consoleRule = "console.access"

// withRules adds the rows of the keys inside rules to a table; the lists of all[] and
// deny have the same rows.
func withRules[V any](table, conditions map[string]V) map[string]V {
	for key, row := range maps.Clone(table) {
		if name, ok := strings.CutPrefix(key, "routes[].access."); ok {
			for _, rule := range ruleKeys {
				for _, part := range [...]string{"", "all[].", "deny."} {
					if _, given := table[rule+part+name]; !given {
						table[rule+part+name] = row
					}
				}
			}
		}
	}
	for name, row := range conditions {
		for _, rule := range ruleKeys {
			table[rule+name] = row
		}
	}
	return table
}

// conditionMeanings are rows of Meanings for every rule.
var conditionMeanings = map[string]i18n.Message{
	"all": {"further lists: of each entry one thing must be true, too", "附加条件：每一项都须满足（项内满足任意一条即可）"},
	"all[].networks": {"networks of clients, which have to sign in all the same unless the rule asks for networks alone",
		"客户端网段；除非整条规则只有网段，否则仍需登录"},
	"deny.networks": {"networks of clients that nothing lets in", "一律拒绝的客户端网段"},
	"fresh": {"how recent the sign-in must be (15m); otherwise the person signs in again; 0s: at any time",
		"登录须在多久之内（如 15m），否则要求重新登录；0s 表示不限"},
	"fresh_silent": {"a sign-in without a click inside DingTalk counts for fresh", "钉钉内免登也算 fresh 所要求的登录"},
}
