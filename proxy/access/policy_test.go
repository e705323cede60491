package access

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/identity"
)

func policy(t testing.TB, routes ...Route) *Policy {
	t.Helper()
	p, err := New(routes)
	if err != nil {
		t.Fatalf("New(%+v) = %v, want no error", routes, err)
	}
	return p
}

var (
	member = &identity.User{UnionID: "u1", UserID: "0042", Username: "zhangsan", Email: "zhang@example.com",
		Departments: []int64{42}, Ancestors: []int64{42, 7, 1}, Roles: []identity.Role{{ID: 100, Name: "主管"}}}
	colleague = &identity.User{UnionID: "u2", UserID: "0099", Username: "lisi"}

	public   = Rule{Public: true}
	signedIn = Rule{SignedIn: true}
	lead     = Rule{Roles: []string{"主管"}}
)

// routes is the list of the tables: a public page, a protected tree, a host of its own, a page
// with methods, the rest for members.
var routes = []Route{
	{Path: "/healthz", Rule: public},
	{Path: "/admin/", Rule: lead},
	{Path: "/", Host: "wiki.test", Rule: lead},
	{Path: "/", Host: "dev.test:8443", Rule: lead},
	{Path: "/api/", Methods: []string{"GET"}, Rule: public},
	{Path: "/api/", Methods: []string{"POST", "PATCH"}, Rule: lead},
	{Path: "/assets/", Rule: public},
	{Path: "/", Rule: signedIn},
}

func TestMatch(t *testing.T) {
	p := policy(t, routes...)
	for _, c := range []struct {
		method, host, path string
		want               int
	}{
		{"GET", "app.test", "/healthz", 0},
		{"GET", "app.test", "/healthz/", 7},
		{"GET", "app.test", "/healthzz", 7},
		{"GET", "app.test", "/Healthz", -1}, // P8, P19
		{"GET", "app.test", "/admin", 1},    // P9
		{"GET", "app.test", "/admin/", 1},
		{"GET", "app.test", "/admin/x/y", 1},
		{"GET", "app.test", "/administrator", 7},
		{"GET", "app.test", "/", 7},
		{"GET", "app.test", "", -1},
		{"GET", "app.test", "admin/", -1},
		{"GET", "wiki.test", "/x", 2},
		{"GET", "WIKI.Test", "/x", 2}, // H13
		{"GET", "wiki.test.", "/x", 2},
		{"GET", "wiki.test:8080", "/x", 2},
		{"GET", "wiki.test.:443", "/x", 2},
		{"GET", "wiki.test:", "/x", 2},
		{"GET", "wi\u212ai.test", "/x", 7}, // a Kelvin sign is not k
		{"GET", "xwiki.test", "/x", 7},
		{"GET", "dev.test:8443", "/x", 3},
		{"GET", "dev.test:08443", "/x", 3},
		{"GET", "dev.test.:8443", "/x", 3},
		{"GET", "dev.test", "/x", 7},
		{"GET", "dev.test:443", "/x", 7},
		{"GET", "[::1]:8443", "/x", 7},
		{"GET", "app.test", "/api/x", 4},
		{"HEAD", "app.test", "/api/x", 4}, // P12
		{"POST", "app.test", "/api/x", 5},
		{"PATCH", "app.test", "/api/x", 5},
		{"OPTIONS", "app.test", "/api/x", 7},
		{"DELETE", "app.test", "/api/x", 7},
	} {
		got := p.Decide(Target{Method: c.method, Host: c.host, Path: c.path}, member).Route
		if got != c.want {
			t.Errorf("Decide(%s %q %q).Route = %d, want %d", c.method, c.host, c.path, got, c.want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	p := policy(t, routes...)
	for _, c := range []struct {
		name   string
		target Target
		user   *identity.User
		want   Decision
	}{
		{"public", Target{Host: "app.test", Path: "/assets/a.js"}, nil, Decision{Allow, 6, "public", ""}},
		{"public, signed in", Target{Host: "app.test", Path: "/assets/a.js"}, colleague,
			Decision{Allow, 6, "public", ""}},
		{"no session", Target{Method: "GET", Host: "app.test", Path: "/x"}, nil, Decision{SignIn, 7, "", NotSignedIn}},
		{"the zero user has no session", Target{Method: "GET", Host: "app.test", Path: "/x"}, &identity.User{},
			Decision{SignIn, 7, "", NotSignedIn}},
		{"a key without a name is no session", Target{Method: "GET", Host: "app.test", Path: "/x"},
			&identity.User{UnionID: "u"}, Decision{SignIn, 7, "", NotSignedIn}},
		{"member", Target{Method: "GET", Host: "app.test", Path: "/x"}, colleague, Decision{Allow, 7, "signed_in", ""}},
		{"not named", Target{Method: "GET", Host: "app.test", Path: "/admin/x"}, colleague,
			Decision{Deny, 1, "", NotAllowed}},
		{"named", Target{Method: "GET", Host: "app.test", Path: "/admin/x"}, member,
			Decision{Allow, 1, "roles 主管", ""}},
		{"zero target", Target{}, member, Decision{Deny, -1, "", NoRoute}},

		// P4
		{"odd is never public", Target{Host: "app.test", Path: "/assets/a;b", Odd: true}, nil,
			Decision{SignIn, 6, "", OddPath}},
		{"odd, signed in", Target{Host: "app.test", Path: "/assets/a;b", Odd: true}, colleague,
			Decision{Allow, 6, "public", ""}},

		{"readings of one route", Target{Host: "app.test", Path: "/assets//x", Readings: []string{"/assets/x"}}, nil,
			Decision{Allow, 6, "public", ""}},
		// P3
		{"readings of two", Target{Host: "app.test", Path: "/assets/..%2fadmin", Readings: []string{"/admin"}},
			member, Decision{Deny, -1, "", AmbiguousPath}},
		// P7
		{"slashes collapsed", Target{Host: "app.test", Path: "//admin", Readings: []string{"/admin"}}, member,
			Decision{Deny, -1, "", AmbiguousPath}},
		{"the last reading counts", Target{Host: "app.test", Path: "/x", Readings: []string{"/y", "/admin/"}}, member,
			Decision{Deny, -1, "", AmbiguousPath}},

		{"unknown method meets no route with methods", Target{Host: "app.test", Path: "/api/x"}, member,
			Decision{Allow, 7, "signed_in", ""}},
		// F6
		{"nor bypasses one", Target{Host: "app.test", Path: "/api/x"}, colleague, Decision{Deny, 5, "", NotAllowed}},
		// P11
		{"nor does a lower-case one", Target{Method: "post", Host: "app.test", Path: "/api/x"}, colleague,
			Decision{Deny, 5, "", NotAllowed}},
		{"nor one with a byte too many", Target{Method: "POST ", Host: "app.test", Path: "/api/x"}, colleague,
			Decision{Deny, 5, "", NotAllowed}},
		{"unknown method, no session", Target{Host: "app.test", Path: "/api/x"}, nil, Decision{SignIn, 7, "", NotSignedIn}},
		// F5
		{"an unknown host bypasses none", Target{Method: "GET", Path: "/x"}, colleague,
			Decision{Deny, 2, "", NotAllowed}},
		{"unknown host, named by all", Target{Method: "GET", Path: "/x"}, member, Decision{Allow, 7, "signed_in", ""}},

		{"unknown path, no session", Target{Unknown: true}, nil, Decision{SignIn, 1, "", NotSignedIn}}, // F5
		{"unknown path, not named by all", Target{Unknown: true}, colleague, Decision{Deny, 1, "", NotAllowed}},
		{"unknown path, named by all", Target{Unknown: true}, member, Decision{Allow, -1, "every route", ""}},
		{"unknown path counts, a path beside it does not",
			Target{Unknown: true, Path: "/healthz", Readings: []string{"/admin"}}, colleague,
			Decision{Deny, 1, "", NotAllowed}},
	} {
		if got := p.Decide(c.target, c.user); got != c.want {
			t.Errorf("%s: Decide(%+v) = %+v, want %+v", c.name, c.target, got, c.want)
		}
	}
}

// TestDecideCostsNothing: letter case costs no allocation.
func TestDecideCostsNothing(t *testing.T) {
	p := policy(t, routes...)
	target := Target{Method: "GET", Host: "app.test", Path: "/Reports/2026/Q1"}
	if n := testing.AllocsPerRun(100, func() { p.Decide(target, member) }); n != 0 {
		t.Errorf("Decide(%+v) allocates %v times, want 0", target, n)
	}
}

func TestFewRoutes(t *testing.T) {
	open := policy(t, Route{Path: "/a/", Rule: public}, Route{Path: "/b/", Rule: public})
	for _, c := range []struct {
		name   string
		policy *Policy
		target Target
		user   *identity.User
		want   Decision
	}{
		{"no routes", policy(t), Target{Path: "/"}, member, Decision{Deny, -1, "", NoRoute}},
		{"no routes, unknown path", policy(t), Target{Unknown: true}, member, Decision{Deny, -1, "", NoRoute}},
		{"zero policy", &Policy{}, Target{Unknown: true}, member, Decision{Deny, -1, "", NoRoute}},
		{"a rule that names no user", policy(t, Route{Path: "/"}), Target{Path: "/"}, member,
			Decision{Deny, 0, "", NotAllowed}},
		{"no catch-all", open, Target{Path: "/c"}, member, Decision{Deny, -1, "", NoRoute}},
		{"no route, and a reading of one", open, Target{Path: "//a/x", Readings: []string{"/a/x"}}, nil,
			Decision{Deny, -1, "", AmbiguousPath}},
		{"unknown path, all public", open, Target{Unknown: true}, nil, Decision{Allow, -1, "every route", ""}},
		{"unknown and odd", open, Target{Unknown: true, Odd: true}, nil, Decision{SignIn, 0, "", OddPath}},
	} {
		if got := c.policy.Decide(c.target, c.user); got != c.want {
			t.Errorf("%s: Decide(%+v) = %+v, want %+v", c.name, c.target, got, c.want)
		}
	}
}

func TestRules(t *testing.T) {
	prefixes := func(s ...string) (list []netip.Prefix) {
		for _, p := range s {
			list = append(list, netip.MustParsePrefix(p))
		}
		return list
	}
	email := func(s string) *identity.User { return &identity.User{Username: "x", Email: s} }
	domain := Rule{Emails: []string{"*@Example.com"}}
	for _, c := range []struct {
		name   string
		rule   Rule
		user   *identity.User
		client string
		want   string // Decision.Rule; "" if not allowed
	}{
		{"direct department", Rule{Departments: []int64{42}}, member, "", "departments 42"},
		{"department above", Rule{Departments: []int64{7}}, member, "", "departments 7"}, // K12
		{"direct without ancestors", Rule{Departments: []int64{5}},
			&identity.User{Username: "x", Departments: []int64{5}}, "", "departments 5"},
		{"department that is gone", Rule{Departments: []int64{4242}}, member, "", ""},
		{"department of another person", Rule{Departments: []int64{42}}, colleague, "", ""},
		{"role by name", lead, member, "", "roles 主管"},
		{"role by id", Rule{Roles: []string{"100"}}, member, "", "roles 100"},
		{"role named like an id", Rule{Roles: []string{"7"}},
			&identity.User{Username: "x", Roles: []identity.Role{{ID: 8, Name: "7"}}}, "", ""},
		{"part of a role's name", Rule{Roles: []string{"主"}}, member, "", ""},
		// H11
		{"a comma makes no second role", Rule{Roles: []string{"admin"}},
			&identity.User{Username: "x", Roles: []identity.Role{{ID: 8, Name: "a,admin"}}}, "", ""},
		{"username", Rule{Users: []string{"zhangsan"}}, member, "", "users zhangsan"},
		{"userid", Rule{Users: []string{"0042"}}, member, "", "users 0042"},
		{"letter case of a username", Rule{Users: []string{"Zhangsan"}}, member, "", ""},
		{"unionid is no username", Rule{Users: []string{"u1"}}, member, "", ""},
		// K9
		{"display name is no username", Rule{Users: []string{"boss"}}, &identity.User{Username: "x", Name: "boss"},
			"", ""},
		{"address", Rule{Emails: []string{"Zhang@example.com"}}, member, "", "emails Zhang@example.com"},
		{"domain", domain, member, "", "emails *@Example.com"},
		{"subdomain", domain, email("a@x.example.com"), "", ""},
		{"suffix", domain, email("a@evilexample.com"), "", ""},
		{"prefix", domain, email("a@example.com.evil.test"), "", ""},
		{"the first of two @", domain, email("a@example.com@evil.test"), "", ""}, // H10
		{"the last of two @", domain, email("a@evil.test@example.com"), "", "emails *@Example.com"},
		{"no address", domain, email(""), "", ""},
		{"no local part", domain, email("@example.com"), "", ""},
		{"a domain alone", domain, email("example.com"), "", ""},
		{"any one is enough",
			Rule{Departments: []int64{9}, Users: []string{"unknown"}, Emails: []string{"*@example.com"}}, member, "",
			"emails *@example.com"},
		{"network", Rule{Networks: prefixes("10.0.0.0/8")}, nil, "10.1.2.3", "networks 10.0.0.0/8"},
		{"network, mapped", Rule{Networks: prefixes("10.0.0.0/8")}, nil, "::ffff:10.1.2.3", "networks 10.0.0.0/8"},
		{"network of IPv6", Rule{Networks: prefixes("10.0.0.0/8", "fd00::/8")}, nil, "fd00::1", "networks fd00::/8"},
		{"another network", Rule{Networks: prefixes("10.0.0.0/8")}, nil, "11.0.0.1", ""},
		{"unknown client", Rule{Networks: prefixes("0.0.0.0/0", "::/0")}, nil, "", ""},
		{"zoned client", Rule{Networks: prefixes("::/0")}, nil, "fe80::1%eth0", ""},
		{"network beside a rule for others", Rule{Users: []string{"unknown"}, Networks: prefixes("10.0.0.0/8")},
			colleague, "10.1.2.3", "networks 10.0.0.0/8"},
	} {
		target := Target{Path: "/x"}
		if c.client != "" {
			target.Client = netip.MustParseAddr(c.client)
		}
		p := policy(t, Route{Path: "/", Rule: c.rule})
		if got := p.Decide(target, c.user); got.Rule != c.want || (got.Verdict == Allow) != (c.want != "") {
			t.Errorf("%s: Decide() = %+v, want rule %q", c.name, got, c.want)
		}
	}
}

// TestNetworksNeedAPlainPath: an address allows nothing if the path is odd or ambiguous.
func TestNetworksNeedAPlainPath(t *testing.T) {
	p := policy(t, Route{Path: "/", Rule: Rule{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	for _, c := range []struct {
		target Target
		user   *identity.User
		want   Verdict
	}{
		{Target{Path: "/"}, nil, Allow},
		{Target{Path: "/", Odd: true}, nil, SignIn},
		{Target{Path: "/", Odd: true}, member, Deny},
		{Target{Unknown: true}, nil, SignIn},
		{Target{Unknown: true}, member, Deny},
	} {
		c.target.Client = netip.MustParseAddr("10.1.2.3")
		if got := p.Decide(c.target, c.user).Verdict; got != c.want {
			t.Errorf("Decide(%+v) = %v, want %v", c.target, got, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		route Route
		want  string
	}{
		{Route{Path: "admin/"}, "access: compiling routes[1]: path"},
		{Route{Path: "/", Host: "*.test"}, "access: compiling routes[1]: host"},
		{Route{Path: "/", Methods: []string{"get"}}, "access: compiling routes[1]: methods"},
		{Route{Path: "/", Rule: Rule{Departments: []int64{0}}}, "access: compiling routes[1]: access.departments"},
		{Route{Path: "/", Rule: Rule{Networks: []netip.Prefix{{}}}}, "access: compiling routes[1]: access.networks"},
	} {
		p, err := New([]Route{{Path: "/", Rule: public}, c.route})
		if p != nil || err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("New(%+v) = %v, %v, want error %q", c.route, p, err, c.want)
		}
	}
}

// TestNewCopies: New retains nothing of its argument: a policy never changes.
func TestNewCopies(t *testing.T) {
	routes := []Route{{Path: "/", Methods: []string{"GET", "PUT"}[:1], Rule: Rule{Users: []string{"zhangsan"}}}}
	p := policy(t, routes...)
	routes[0].Path, routes[0].Methods[0], routes[0].Rule.Users[0] = "/x", "POST", "lisi"
	want := Decision{Allow, 0, "users zhangsan", ""}
	if got := p.Decide(Target{Method: "GET", Path: "/"}, member); got != want {
		t.Errorf("Decide() = %+v, want %+v", got, want)
	}
	if spare := routes[0].Methods[:2]; !slices.Equal(spare, []string{"POST", "PUT"}) {
		t.Errorf("methods behind New = %v, want them unwritten", spare)
	}
}

func TestVerdictString(t *testing.T) {
	for v, want := range map[Verdict]string{Deny: "deny", SignIn: "sign_in", Allow: "allow", 9: "deny"} {
		if got := v.String(); got != want {
			t.Errorf("Verdict(%d).String() = %q, want %q", int(v), got, want)
		}
	}
}
