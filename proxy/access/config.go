package access

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dinggate/internal/conf"
)

// RouteConfig is the part of a route's configuration that says for which requests a rule applies;
// the proxy's own part is inlined beside it.
type RouteConfig struct {
	// /healthz: exactly this path; /admin/: /admin, /admin/ and all paths below; decoded
	Path    string      `yaml:"path"`
	Host    string      `yaml:"host"`    // empty: any; the port is compared only if given; *.apps.example.com: one label
	Methods []string    `yaml:"methods"` // empty: any; GET includes HEAD
	Access  *RuleConfig `yaml:"access"`  // nil: signed_in

	// File and Line are the position of the route, if several files configure routes; otherwise
	// empty.
	File string `yaml:"-" json:"-"`
	Line int    `yaml:"-" json:"-"`
}

// RuleConfig is one word, `public` or `signed_in`, or lists of which any one entry allows access,
// with conditions beside them; conditions alone apply to every member. A rule with none of these
// names no person, which is a mistake.
type RuleConfig struct {
	Named       string   `yaml:"-"`           // the word; the lists are then ignored
	Departments []string `yaml:"departments"` // ids, as number or text; a department includes all below it
	Roles       []string `yaml:"roles"`       // names, or ids; digits only are an id
	Users       []string `yaml:"users"`       // usernames as upstreams receive them, or DingTalk userids
	Emails      []string `yaml:"emails"`      // zhangsan@example.com or *@example.com
	Networks    []string `yaml:"networks"`    // CIDRs of the real client; see Rule.Networks

	All         []ListsConfig `yaml:"all"`          // one item of each entry must be true too
	Deny        ListsConfig   `yaml:"deny"`         // people and clients that are refused in any case
	Fresh       time.Duration `yaml:"fresh"`        // maximum age of the sign-in; 0 is any age
	FreshSilent bool          `yaml:"fresh_silent"` // a sign-in without a click inside DingTalk satisfies fresh
}

// ListsConfig is one entry of RuleConfig.All, or RuleConfig.Deny.
type ListsConfig struct {
	Departments []string `yaml:"departments"`
	Roles       []string `yaml:"roles"`
	Users       []string `yaml:"users"`
	Emails      []string `yaml:"emails"`
	Networks    []string `yaml:"networks"`
}

func (c *RuleConfig) lists() ListsConfig {
	return ListsConfig{c.Departments, c.Roles, c.Users, c.Emails, c.Networks}
}

func (c *ListsConfig) given() bool {
	return len(c.Departments)+len(c.Roles)+len(c.Users)+len(c.Emails)+len(c.Networks) > 0
}

// Each calls f with every set of lists of a rule, and its name: "" for the rule's own, all[0],
// deny. A nil rule and a rule of one word have none.
func (c *RuleConfig) Each(f func(name string, lists ListsConfig)) {
	if c == nil || c.Named != "" {
		return
	}
	f("", c.lists())
	for i, entry := range c.All {
		f(fmt.Sprintf("all[%d]", i), entry)
	}
	if c.Deny.given() {
		f("deny", c.Deny)
	}
}

// NamesDepartments reports whether the rule depends on a department.
func (c *RuleConfig) NamesDepartments() (found bool) {
	c.Each(func(_ string, lists ListsConfig) { found = found || len(lists.Departments) > 0 })
	return found
}

// UnmarshalText accepts any word: Check refuses a wrong one, together with all other mistakes.
func (c *RuleConfig) UnmarshalText(text []byte) error {
	*c = RuleConfig{Named: string(text)}
	return nil
}

// Config is the list of routes, in the order in which they are tried.
type Config []RouteConfig

// Routes returns the argument of New. A part that Check calls a mistake is left out of its rule,
// so that the rule names fewer people, never more.
func (c Config) Routes() []Route {
	routes := make([]Route, len(c))
	for i := range c {
		routes[i] = c[i].Route()
	}
	return routes
}

// Check reports every mistake, at key[0].path and the like, and warns of unreachable routes and of
// a list that protects nothing.
func (c Config) Check(p *conf.Problems, key string) {
	earlier := make([]*route, len(c)) // nil for a route that cannot be compared
	public := 0
	for i := range c {
		r, faults := c[i].route()
		faults = append(r.faults(), faults...)
		mistake := false
		for _, f := range faults {
			mistake = mistake || !f.warning
			p.Add(conf.Problem{Key: fmt.Sprintf("%s[%d].%s", key, i, f.part), Text: f.text, Warning: f.warning})
		}
		if r.Rule.Public {
			public++
		}
		if mistake {
			continue
		}
		compiled := compile(r)
		earlier[i] = &compiled
		c.checkFiles(p.At("%s[%d]", key, i), key, i, earlier)
		for j, before := range earlier[:i] {
			if before != nil && c[j].File == c[i].File && before.shadows(&compiled) {
				p.At("%s[%d]", key, i).Warn(true,
					"is never reached: %s[%d] (%s) covers all of it; the first match decides, so put it above", key,
					j, c[j].Path)
				break
			}
		}
	}
	p.At(key).Warn(len(c) > 0 && public == len(c), "are all public: no request requires a sign-in")
}

// Route returns one of Routes.
func (c RouteConfig) Route() Route {
	r, faults := c.route()
	if slices.ContainsFunc(faults, func(f fault) bool { return strings.HasPrefix(f.part, partDeny) }) {
		r.Rule = Rule{} // without all of deny it would name more people, not fewer
	}
	return r
}

const partDeny = "access.deny"

func (c RouteConfig) route() (Route, []fault) {
	rule, faults := c.Access.rule()
	name := strings.TrimSpace(strings.Join(c.Methods, ",") + " " + c.Host + c.Path)
	return Route{Name: name, Host: c.Host, Path: c.Path, Methods: c.Methods, Rule: rule}, faults
}

// rule parses the texts, and leaves out those that cannot be parsed.
func (c *RuleConfig) rule() (Rule, []fault) {
	switch {
	case c == nil || c.Named == "signed_in":
		return Rule{SignedIn: true}, nil
	case c.Named == "public":
		return Rule{Public: true}, nil
	case c.Named != "":
		return Rule{},
			[]fault{{part: "access",
				text: conf.Textf("is %q; write public, signed_in, or lists such as {departments: [42]}", c.Named)}}
	}
	own := c.lists()
	if !own.given() && len(c.All) == 0 && !c.Deny.given() && c.Fresh == 0 {
		return Rule{},
			[]fault{{part: "access",
				text: conf.Textf("is empty; write public, signed_in, or lists such as {departments: [42]}")}}
	}
	lists, faults := own.read("access")
	rule := Rule{
		SignedIn: !own.given(), Departments: lists.Departments, Roles: lists.Roles, Users: lists.Users,
		Emails: lists.Emails, Networks: lists.Networks, Fresh: c.Fresh, FreshSilent: c.FreshSilent,
	}
	for i := range c.All {
		entry, more := c.All[i].read(fmt.Sprintf("access.all[%d]", i))
		rule.All, faults = append(rule.All, entry), append(faults, more...)
	}
	var more []fault
	rule.Deny, more = c.Deny.read(partDeny)
	return rule, append(faults, more...)
}

// read parses the texts, and leaves out those that cannot be parsed.
func (c *ListsConfig) read(part string) (Lists, []fault) {
	lists := Lists{Roles: c.Roles, Users: c.Users, Emails: c.Emails}
	var faults []fault
	for _, text := range c.Departments {
		id, ok := parseID(text)
		if !ok {
			faults = append(faults, fault{
				part: part + ".departments",
				text: conf.Textf("has %q; write the department's id, a number (see dinggate departments)", text),
			})
			continue
		}
		lists.Departments = append(lists.Departments, id)
	}
	for _, text := range c.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			faults = append(faults, fault{part: part + ".networks", text: unreadNetwork(text)})
			continue
		}
		lists.Networks = append(lists.Networks, network)
	}
	return lists, faults
}

func unreadNetwork(text string) conf.Text {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return conf.Textf("has the address %s; write %s/%d for it alone", text, text, addr.BitLen())
	}
	return conf.Textf("has %q; write a network such as 10.0.0.0/8", text)
}
