package access

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"dinggate/internal/conf"
)

func findings(c Config) []string {
	var p conf.Problems
	c.Check(&p, "routes")
	var texts []string
	for _, problem := range p.All() {
		texts = append(texts, problem.String())
	}
	return texts
}

// TestCheckMistakes: every mistake by itself, with its exact message.
func TestCheckMistakes(t *testing.T) {
	const (
		path     = "routes[0].path "
		host     = "routes[0].host "
		methods  = "routes[0].methods "
		patterns = `; patterns are not supported, "/admin/" matches every path below /admin`
		oneHost  = "; it must be one host name in ASCII, or *. and a host name, not a URL (中文.cn is xn--fiq228c.cn)"
		oneStar  = "; a star may only be the whole first label, as in *.apps.example.com, followed by at least two labels"
		forms    = "; write public, signed_in, or lists such as {departments: [42]}"
	)
	rule := func(c RuleConfig) RouteConfig { return RouteConfig{Path: "/", Access: &c} }
	at := func(host string) RouteConfig { return RouteConfig{Path: "/", Host: host} }
	list := func(s ...string) []string { return s }
	for _, c := range []struct {
		route RouteConfig
		want  string
	}{
		{RouteConfig{}, path + `is missing; "/" matches every path`},
		{RouteConfig{Path: "admin/"}, path + `is "admin/"; it must begin with "/"`},
		{RouteConfig{Path: "/a/{id}"}, path + `is "/a/{id}"` + patterns},
		{RouteConfig{Path: "/a/*"}, path + `is "/a/*"` + patterns},
		{RouteConfig{Path: "/a%20b"}, path + `is "/a%20b"; write it in decoded form`},
		{RouteConfig{Path: "/a;b"}, path + `is "/a;b"; it must not contain ';'`},
		{RouteConfig{Path: `/a\b`}, path + `is "/a\\b"; it must not contain '\\'`},
		{RouteConfig{Path: "/a?b"}, path + `is "/a?b"; it must not contain '?'`},
		{RouteConfig{Path: "/a#b"}, path + `is "/a#b"; it must not contain '#'`},
		{RouteConfig{Path: "/a\n"}, path + `is "/a\n"; it must not contain '\n'`},
		{RouteConfig{Path: "/a\xff"}, path + `is "/a\xff", which is not UTF-8`},
		{RouteConfig{Path: "//a"}, path + `is "//a"; write one slash for two`},
		{RouteConfig{Path: "/a/../b"}, path + `is "/a/../b"; write it without ".."`},
		{RouteConfig{Path: "/a/."}, path + `is "/a/."; write it without "."`},

		{at("https://a.test"), host + `is "https://a.test"` + oneHost},
		{at("*a.test"), host + `is "*a.test"` + oneHost},
		{at("a.*.test"), host + `is "a.*.test"` + oneHost},
		{at("**.a.test"), host + `is "**.a.test"` + oneHost},
		{at("*.*.a.test"), host + `is "*.*.a.test"` + oneStar},
		{at("*.test"), host + `is "*.test"` + oneStar},
		{at("*..test"), host + `is "*..test"` + oneStar},
		{at("*."), host + `is "*."` + oneStar},
		{at("*.10.0.0.1"), host + `is "*.10.0.0.1"` + oneStar},
		{at("*.[::1]"), host + `is "*.[::1]"` + oneStar},
		{at("*.a..test"), host + `is "*.a..test", which is not a host name`},
		{at("*.a.test:443"), host + `is "*.a.test:443"; browsers omit this port, so write "*.a.test"`},
		{at("中文.cn"), host + `is "中文.cn"` + oneHost},
		{at("\u212a.test"), host + "is \"\u212a.test\"" + oneHost},
		{at("a.test/x"), host + `is "a.test/x"` + oneHost},
		{at("u@a.test"), host + `is "u@a.test"` + oneHost},
		{at("a.test."), host + `is "a.test."; write "a.test"`},
		{at("a.test:"), host + `is "a.test:"; write "a.test"`},
		{at("a.test:08443"), host + `is "a.test:08443"; write "a.test:8443"`},
		{at("a.test:443"), host + `is "a.test:443"; browsers omit this port, so write "a.test"`},
		{at("a.test:65536"), host + `is "a.test:65536", whose port is not 1 to 65535`},
		{at("a.test:http"), host + `is "a.test:http", whose port is not 1 to 65535`},
		{at("a..test"), host + `is "a..test", which is not a host name`},
		{at(":8443"), host + `is ":8443", which is not a host name`},
		{at("::1"), host + `is "::1", which is not a host name`},
		{at("[::0]"), host + `is "[::0]", which is not a plain IPv6 address in brackets`},
		{at("[10.0.0.1]"), host + `is "[10.0.0.1]", which is not a plain IPv6 address in brackets`},

		{RouteConfig{Path: "/", Methods: list("get")},
			methods + `has "get"; a method is written in capitals, as in GET`},
		{RouteConfig{Path: "/", Methods: list("")}, methods + `has ""; a method is written in capitals, as in GET`},
		{RouteConfig{Path: "/", Methods: list("GET,POST")},
			methods + `has "GET,POST"; a method is written in capitals, as in GET`},
		{RouteConfig{Path: "/", Methods: list("GET", "TRACE")}, methods + `has TRACE, which is never forwarded`},
		{RouteConfig{Path: "/", Methods: list("TRACK")}, methods + `has TRACK, which is never forwarded`},
		{RouteConfig{Path: "/", Methods: list("CONNECT")}, methods + `has CONNECT, which is never forwarded`},

		{rule(RuleConfig{}), "routes[0].access is empty" + forms},
		{rule(RuleConfig{Networks: list()}), "routes[0].access is empty" + forms},
		{rule(RuleConfig{Named: "Public"}), `routes[0].access is "Public"` + forms},
		{rule(RuleConfig{Departments: list("dev")}),
			`routes[0].access.departments has "dev"; write the department's id, a number (see dinggate departments)`},
		{rule(RuleConfig{Departments: list("042")}),
			`routes[0].access.departments has "042"; write the department's id, a number (see dinggate departments)`},
		{rule(RuleConfig{Departments: list("-1")}),
			`routes[0].access.departments has "-1"; write the department's id, a number (see dinggate departments)`},
		{rule(RuleConfig{Roles: list("007")}),
			`routes[0].access.roles has "007"; digits alone are a role id, which has no leading zeros`},
		{rule(RuleConfig{Roles: list("")}), `routes[0].access.roles has ""; write the name without spaces around it`},
		{rule(RuleConfig{Users: list(" a")}), `routes[0].access.users has " a"; write the name without spaces around it`},
		{rule(RuleConfig{Emails: list("a@b@c.test")}),
			`routes[0].access.emails has "a@b@c.test", with more than one @`},
		{rule(RuleConfig{Emails: list("*@b@c.test")}),
			`routes[0].access.emails has "*@b@c.test", with more than one @`},
		{rule(RuleConfig{Emails: list("@c.test")}),
			`routes[0].access.emails has "@c.test"; a whole domain is written *@example.com`},
		{rule(RuleConfig{Emails: list("a*@c.test")}),
			`routes[0].access.emails has "a*@c.test"; a whole domain is written *@example.com`},
		{rule(RuleConfig{Emails: list("*@*.c.test")}),
			`routes[0].access.emails has "*@*.c.test"; a whole domain is written *@example.com`},
		{rule(RuleConfig{Emails: list("*")}),
			`routes[0].access.emails has "*"; a whole domain is written *@example.com`},
		{rule(RuleConfig{Emails: list("*@")}), `routes[0].access.emails has "*@", which is not an e-mail address`},
		{rule(RuleConfig{Emails: list("c.test")}), `routes[0].access.emails has "c.test", which is not an e-mail address`},
		{rule(RuleConfig{Networks: list("10.0.0.1")}),
			`routes[0].access.networks has the address 10.0.0.1; write 10.0.0.1/32 for it alone`},
		{rule(RuleConfig{Networks: list("fd00::1")}),
			`routes[0].access.networks has the address fd00::1; write fd00::1/128 for it alone`},
		{rule(RuleConfig{Networks: list("10.0.0.1/8")}), `routes[0].access.networks has 10.0.0.1/8; write 10.0.0.0/8`},
		{rule(RuleConfig{Networks: list("office")}),
			`routes[0].access.networks has "office"; write a network such as 10.0.0.0/8`},
		{rule(RuleConfig{Networks: list("::ffff:10.0.0.0/104")}),
			`routes[0].access.networks has ::ffff:10.0.0.0/104; write the IPv4 network itself`},
	} {
		if got := findings(Config{c.route}); !slices.Equal(got, []string{c.want}) {
			t.Errorf("Check(%+v) = %q, want %q", c.route, got, c.want)
		}
	}
}

func TestCheckReportsAllAtOnce(t *testing.T) {
	got := findings(Config{
		{Path: "a", Host: "b/", Methods: []string{"get"},
			Access: &RuleConfig{Departments: []string{"x"}, Networks: []string{"y"}, Users: []string{""}}},
		{Path: "/"},
		{Path: "b", Access: &RuleConfig{}},
	})
	if len(got) != 8 {
		t.Errorf("Check() = %q, want 8 findings", got)
	}
}

func TestCheckWarns(t *testing.T) {
	open := &RuleConfig{Named: "public"}
	never := func(i, j, path string) string {
		return "warning: routes[" + i + "] is never reached: routes[" + j + "] (" + path +
			") covers all of it; the first match decides, so put it above"
	}
	get, post := []string{"GET"}, []string{"POST"}
	for _, c := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"nothing odd",
			Config{{Path: "/a/", Access: open}, {Path: "/", Host: "a.test:8443"}, {Path: "/", Host: "[::1]"},
				{Path: "/文档/", Methods: get}, {Path: "/"}}, nil},
		{"below", Config{{Path: "/"}, {Path: "/a/"}}, []string{never("1", "0", "/")}},
		{"the bare path", Config{{Path: "/a/"}, {Path: "/a"}, {Path: "/"}}, []string{never("1", "0", "/a/")}},
		{"twice", Config{{Path: "/a"}, {Path: "/a"}}, []string{never("1", "0", "/a")}},
		{"exact above tree", Config{{Path: "/a"}, {Path: "/a/"}}, nil},
		{"one of many", Config{{Path: "/"}, {Path: "/a/"}, {Path: "/a/b"}},
			[]string{never("1", "0", "/"), never("2", "0", "/")}},
		{"any host", Config{{Path: "/"}, {Path: "/", Host: "a.test"}}, []string{never("1", "0", "/")}},
		{"another host", Config{{Path: "/", Host: "a.test"}, {Path: "/", Host: "b.test"}}, nil},
		{"a wildcard above one of its hosts", Config{{Path: "/", Host: "*.a.test"}, {Path: "/", Host: "x.a.test"}},
			[]string{never("1", "0", "/")}},
		{"a wildcard above others", Config{{Path: "/", Host: "*.a.test"}, {Path: "/", Host: "x.y.a.test"},
			{Path: "/", Host: "a.test"}, {Path: "/", Host: "*.x.a.test"}}, nil},
		{"a wildcard below", Config{{Path: "/", Host: "x.a.test"}, {Path: "/", Host: "*.a.test"}}, nil},
		{"a wildcard twice", Config{{Path: "/", Host: "*.a.test"}, {Path: "/", Host: "*.A.test"}},
			[]string{never("1", "0", "/")}},
		{"host in other letters", Config{{Path: "/", Host: "a.test"}, {Path: "/", Host: "A.test"}},
			[]string{never("1", "0", "/")}},
		{"any port", Config{{Path: "/", Host: "a.test"}, {Path: "/", Host: "a.test:8443"}},
			[]string{never("1", "0", "/")}},
		{"one port", Config{{Path: "/", Host: "a.test:8443"}, {Path: "/", Host: "a.test"}}, nil},
		{"any method", Config{{Path: "/"}, {Path: "/", Methods: get}}, []string{never("1", "0", "/")}},
		{"HEAD is in GET", Config{{Path: "/", Methods: get}, {Path: "/", Methods: []string{"HEAD"}}},
			[]string{never("1", "0", "/")}},
		{"another method", Config{{Path: "/", Methods: get}, {Path: "/", Methods: post}}, nil},
		{"fewer methods", Config{{Path: "/", Methods: get}, {Path: "/"}}, nil},
		{"all public", Config{{Path: "/a/", Access: open}, {Path: "/", Access: open}},
			[]string{"warning: routes are all public: no request requires a sign-in"}},
		{"network of all addresses", Config{{Path: "/", Access: &RuleConfig{Networks: []string{"0.0.0.0/0"}}}},
			[]string{"warning: routes[0].access.networks has 0.0.0.0/0, which includes all addresses"}},
		{"beside a mistake", Config{{Path: "/", Access: &RuleConfig{Named: "x"}}, {Path: "/"}},
			[]string{`routes[0].access is "x"; write public, signed_in, or lists such as {departments: [42]}`}},
		{"no routes", nil, nil},
	} {
		if got := findings(c.config); !slices.Equal(got, c.want) {
			t.Errorf("%s: Check() = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRoutes(t *testing.T) {
	word := func(s string) *RuleConfig {
		var c RuleConfig
		if err := c.UnmarshalText([]byte(s)); err != nil {
			t.Fatalf("UnmarshalText(%q) = %v, want nil", s, err)
		}
		return &c
	}
	full := &RuleConfig{
		Departments: []string{"42", "x"},
		Roles:       []string{"主管"},
		Users:       []string{"u"},
		Emails:      []string{"*@a.test"},
		Networks:    []string{"10.0.0.0/8", "y"},
	}
	for _, c := range []struct {
		access *RuleConfig
		want   Rule
	}{
		{nil, Rule{SignedIn: true}},
		{word("signed_in"), Rule{SignedIn: true}},
		{word("public"), Rule{Public: true}},
		{word("true"), Rule{}}, // a mistake allows no one
		{word(""), Rule{}},
		{&RuleConfig{}, Rule{}},
		{full, Rule{
			Departments: []int64{42},
			Roles:       []string{"主管"},
			Users:       []string{"u"},
			Emails:      []string{"*@a.test"},
			Networks:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		}},
	} {
		got := Config{{Path: "/a", Host: "b.test", Methods: []string{"GET"}, Access: c.access}}.Routes()
		want := []Route{{Name: "GET b.test/a", Path: "/a", Host: "b.test", Methods: []string{"GET"}, Rule: c.want}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Routes(%+v) = %+v, want %+v", c.access, got, want)
		}
	}
}

func TestCaseRoutes(t *testing.T) {
	who := func(user string) *RuleConfig { return &RuleConfig{Users: []string{user}} }
	for _, c := range []struct {
		routes Config
		want   []CaseRoute
		warned []int // unreachable routes
	}{
		{Config{{Path: "/"}}, nil, nil},
		{Config{{Path: "/admin/", Access: who("a")}, {Path: "/"}}, []CaseRoute{{0, 1, "/admin/", "/ADMIN/"}}, nil},
		// one rule
		{Config{{Path: "/admin/"}, {Path: "/"}}, nil, nil},
		// no other route
		{Config{{Path: "/admin/", Access: who("a")}}, nil, nil},
		// no letters
		{Config{{Path: "/1/", Access: who("a")}, {Path: "/"}}, nil, nil},
		// no request in common
		{Config{{Path: "/admin/", Host: "a.test", Access: who("a")}, {Path: "/", Host: "b.test"}}, nil, nil},
		{Config{{Path: "/admin/", Methods: []string{"GET"}, Access: who("a")}, {Path: "/", Methods: []string{"PUT"}}},
			nil, nil},
		{Config{{Path: "/"}, {Path: "/admin/", Access: who("a")}}, nil, nil}, // unreachable in any case
		{Config{{Path: "/A/", Access: who("a")}, {Path: "/a/", Access: who("b")}},
			[]CaseRoute{{0, 1, "/A/", "/a/"}, {1, 1, "/a/", "/a/"}}, []int{1}},
		{Config{{Path: "/A/", Access: who("a")}, {Path: "/a/", Access: who("a")}}, nil, nil},
		{Config{{Path: "/A/", Host: "a.test", Access: who("a")}, {Path: "/a/x", Access: who("b")}},
			[]CaseRoute{{1, 1, "/a/x", "/a/x"}}, nil},
	} {
		if got := c.routes.CaseRoutes(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: CaseRoutes() = %+v, want %+v", c.routes, got, c.want)
		}
		var p conf.Problems
		c.routes.CheckCase(&p, "routes")
		var warned []int
		for _, problem := range p.All() {
			var i int
			fmt.Sscanf(problem.Key, "routes[%d]", &i)
			warned = append(warned, i)
		}
		if !slices.Equal(warned, c.warned) {
			t.Errorf("%+v: CheckCase() warns of %v, want %v", c.routes, warned, c.warned)
		}
	}
}
