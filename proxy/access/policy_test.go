package access

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/conf"
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
	stranger = &identity.User{UnionID: "u2", UserID: "0099", Username: "lisi"}

	public   = Rule{Public: true}
	signedIn = Rule{SignedIn: true}
	lead     = Rule{Roles: []string{"主管"}}
)

// site is the policy of the tables: a public page, a guarded tree, a host of its
// own, a page of methods, the rest for members.
var site = []Route{
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
	p := policy(t, site...)
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
		{"GET", "wi\u212ai.test", "/x", 7}, // a Kelvin sign is no k
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
	p := policy(t, site...)
	for _, c := range []struct {
		name   string
		target Target
		user   *identity.User
		want   Decision
	}{
		{"public", Target{Host: "app.test", Path: "/assets/a.js"}, nil, Decision{Allow, 6, "public", ""}},
		{"public, signed in", Target{Host: "app.test", Path: "/assets/a.js"}, stranger,
			Decision{Allow, 6, "public", ""}},
		{"nobody", Target{Method: "GET", Host: "app.test", Path: "/x"}, nil, Decision{SignIn, 7, "", NotSignedIn}},
		{"the zero user is nobody", Target{Method: "GET", Host: "app.test", Path: "/x"}, &identity.User{},
			Decision{SignIn, 7, "", NotSignedIn}},
		{"a key without a name is nobody", Target{Method: "GET", Host: "app.test", Path: "/x"},
			&identity.User{UnionID: "u"}, Decision{SignIn, 7, "", NotSignedIn}},
		{"member", Target{Method: "GET", Host: "app.test", Path: "/x"}, stranger, Decision{Allow, 7, "signed_in", ""}},
		{"not named", Target{Method: "GET", Host: "app.test", Path: "/admin/x"}, stranger,
			Decision{Deny, 1, "", NotAllowed}},
		{"named", Target{Method: "GET", Host: "app.test", Path: "/admin/x"}, member,
			Decision{Allow, 1, "roles 主管", ""}},
		{"zero target", Target{}, member, Decision{Deny, -1, "", NoRoute}},

		// P4
		{"odd is never public", Target{Host: "app.test", Path: "/assets/a;b", Odd: true}, nil,
			Decision{SignIn, 6, "", OddPath}},
		{"odd, signed in", Target{Host: "app.test", Path: "/assets/a;b", Odd: true}, stranger,
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
		{"nor leads around one", Target{Host: "app.test", Path: "/api/x"}, stranger, Decision{Deny, 5, "", NotAllowed}},
		// P11
		{"nor does a lower-case one", Target{Method: "post", Host: "app.test", Path: "/api/x"}, stranger,
			Decision{Deny, 5, "", NotAllowed}},
		{"nor one with a byte too many", Target{Method: "POST ", Host: "app.test", Path: "/api/x"}, stranger,
			Decision{Deny, 5, "", NotAllowed}},
		{"unknown method, nobody", Target{Host: "app.test", Path: "/api/x"}, nil, Decision{SignIn, 7, "", NotSignedIn}},
		// F5
		{"unknown host leads around none", Target{Method: "GET", Path: "/x"}, stranger,
			Decision{Deny, 2, "", NotAllowed}},
		{"unknown host, named by all", Target{Method: "GET", Path: "/x"}, member, Decision{Allow, 7, "signed_in", ""}},

		{"unknown path, nobody", Target{Unknown: true}, nil, Decision{SignIn, 1, "", NotSignedIn}}, // F5
		{"unknown path, not named by all", Target{Unknown: true}, stranger, Decision{Deny, 1, "", NotAllowed}},
		{"unknown path, named by all", Target{Unknown: true}, member, Decision{Allow, -1, "every route", ""}},
		{"unknown path counts, a path beside it does not",
			Target{Unknown: true, Path: "/healthz", Readings: []string{"/admin"}}, stranger,
			Decision{Deny, 1, "", NotAllowed}},
	} {
		if got := p.Decide(c.target, c.user); got != c.want {
			t.Errorf("%s: Decide(%+v) = %+v, want %+v", c.name, c.target, got, c.want)
		}
	}
}

// A letter's case leads to no other rule (threats P19), unless the applications count it.
func TestLetterCase(t *testing.T) {
	routes := []Route{
		{Path: "/healthz", Rule: public},
		{Path: "/admin/", Rule: lead},
		{Path: "/Wiki/", Rule: lead},
		{Path: "/boss", Host: "b.test", Methods: []string{"POST"}, Rule: lead},
		{Path: "/same/", Rule: signedIn},
		{Path: "/", Rule: signedIn},
	}
	ambiguous := Decision{Deny, -1, "", AmbiguousPath}
	both := policy(t, routes...)
	for _, c := range []struct {
		target    Target
		user      *identity.User
		want      Decision
		sensitive int // the route where case counts
	}{
		{Target{Path: "/admin/x"}, member, Decision{Allow, 1, "roles 主管", ""}, 1},
		{Target{Path: "/ADMIN/x"}, member, ambiguous, 5},
		{Target{Path: "/ADMIN/x"}, nil, ambiguous, 5},
		{Target{Path: "/aDmin"}, stranger, ambiguous, 5},
		{Target{Path: "/admin/X"}, member, Decision{Allow, 1, "roles 主管", ""}, 1},
		{Target{Path: "/HEALTHZ"}, nil, ambiguous, 5},
		{Target{Path: "/Wiki/x"}, member, Decision{Allow, 2, "roles 主管", ""}, 2},
		{Target{Path: "/wiki/x"}, member, ambiguous, 5}, // a route's own case leads around it no more
		{Target{Path: "/WIKI/x"}, stranger, ambiguous, 5},
		{Target{Path: "/SAME/x"}, stranger, Decision{Allow, 5, "signed_in", ""}, 5}, // the same rule on another route
		{Target{Path: "/Reports/x"}, stranger, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/BOSS", Method: "POST", Host: "b.test"}, member, ambiguous, 5},
		{Target{Path: "/BOSS", Method: "GET", Host: "b.test"}, member, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/BOSS", Method: "POST", Host: "a.test"}, member, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/BOSS", Host: "b.test"}, stranger, ambiguous, 5}, // an unknown method, which may be POST
		{Target{Path: "/x;y/ADMIN", Readings: []string{"/x/ADMIN"}}, stranger, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/;x/ADMIN", Readings: []string{"/ADMIN"}}, stranger, ambiguous, 5},
		{Target{Path: "/\u212aadmin", Readings: nil}, stranger, Decision{Allow, 5, "signed_in", ""}, 5}, // ASCII alone
		{Target{Unknown: true, Path: "/ADMIN"}, member, Decision{Allow, -1, "every route", ""}, -1},
	} {
		if got := both.Decide(c.target, c.user); got != c.want {
			t.Errorf("Decide(%+v) = %+v, want %+v", c.target, got, c.want)
		}
		if got := both.CaseSensitive().Decide(c.target, member).Route; got != c.sensitive {
			t.Errorf("case-sensitive: Decide(%+v).Route = %d, want %d", c.target, got, c.sensitive)
		}
	}
	if got := policy(t, Route{Path: "/a/", Rule: public}).Decide(Target{Path: "/A/"}, nil); got != (Decision{Deny, -1,
		"", NoRoute}) {
		t.Errorf("one route, another case: Decide() = %+v, want no route", got)
	}
}

// Of two readings that clients mean, the sterner rule decides for each caller.
func TestVariants(t *testing.T) {
	p := policy(t, Route{Path: "/admin/", Rule: lead}, Route{Path: "/public/", Rule: public},
		Route{Path: "/index.php/own/", Rule: lead}, Route{Path: "/", Rule: signedIn})
	for _, c := range []struct {
		path, variant string
		user          *identity.User
		want          Decision
	}{
		{"/index.php/admin/x", "/admin/x", member, Decision{Allow, 3, "signed_in", ""}},
		{"/index.php/admin/x", "/admin/x", stranger, Decision{Deny, 0, "", NotAllowed}},
		{"/index.php/ADMIN/x", "/ADMIN/x", stranger, Decision{Deny, 0, "", NotAllowed}},
		{"/index.php/public/x", "/public/x", nil, Decision{SignIn, 3, "", NotSignedIn}},
		{"/index.php/own/x", "/own/x", member, Decision{Allow, 2, "roles 主管", ""}},
		{"/index.php/own/x", "/own/x", stranger, Decision{Deny, 2, "", NotAllowed}},
		{"/public/x", "/%70ublic/x", nil, Decision{SignIn, 3, "", NotSignedIn}},
		{"/public/x", "/%70ublic/x", stranger, Decision{Allow, 1, "public", ""}},
	} {
		target := Target{Path: c.path, Variants: []string{c.variant}}
		if got := p.Decide(target, c.user); got != c.want {
			t.Errorf("Decide(%+v) of %+v = %+v, want %+v", target, c.user, got, c.want)
		}
	}
	alone := policy(t, Route{Path: "/index.php/", Rule: public})
	if got := alone.Decide(Target{Path: "/index.php/x", Variants: []string{"/x"}}, nil); got != (Decision{Allow, 0,
		"public", ""}) {
		t.Errorf("a variant without a route: Decide() = %+v, want Allow", got)
	}
}

// A slash behind an exact route's path is the same page to many applications: it
// leads around no rule, and opens nothing (threats P9).
func TestFinalSlash(t *testing.T) {
	p := policy(t, Route{Path: "/healthz", Rule: public}, Route{Path: "/settings", Rule: lead},
		Route{Path: "/private", Rule: signedIn},
		Route{Path: "/private/", Rule: public}, Route{Path: "/", Rule: signedIn})
	for _, c := range []struct {
		path string
		user *identity.User
		want Decision
	}{
		{"/healthz/", nil, Decision{SignIn, 4, "", NotSignedIn}},
		{"/settings/", member, Decision{Allow, 4, "signed_in", ""}},
		{"/settings/", stranger, Decision{Deny, 1, "", NotAllowed}},
		{"/settings/x", stranger, Decision{Allow, 4, "signed_in", ""}},
		{"/private/", nil, Decision{SignIn, 2, "", NotSignedIn}},
		{"/private/x", nil, Decision{Allow, 3, "public", ""}},
	} {
		if got := p.Decide(Target{Path: c.path}, c.user); got != c.want {
			t.Errorf("Decide(%q) of %+v = %+v, want %+v", c.path, c.user, got, c.want)
		}
	}
}

// A script is run for its path info too: an exact route for it is not bypassed by
// one, in any reading, and opens nothing. An earlier route for a part of the path
// info decides alone (threats P17).
func TestScriptPathInfo(t *testing.T) {
	p := policy(t, Route{Path: "/index.php/s/", Rule: public}, Route{Path: "/index.php", Rule: lead},
		Route{Path: "/Up.aspx", Rule: lead}, Route{Path: "/ping.php", Rule: public},
		Route{Path: "/report", Rule: lead}, Route{Path: "/", Rule: signedIn})
	for _, c := range []struct {
		path string
		user *identity.User
		want Decision
	}{
		{"/index.php/x", member, Decision{Allow, 5, "signed_in", ""}},
		{"/index.php/x", stranger, Decision{Deny, 1, "", NotAllowed}},
		{"/index.php/x/y.css", stranger, Decision{Deny, 1, "", NotAllowed}},
		{"/index.php//x", stranger, Decision{Deny, 1, "", NotAllowed}},
		{"/INDEX.PHP/x", stranger, Decision{Deny, -1, "", AmbiguousPath}},
		{"/index.php/s/x", nil, Decision{Allow, 0, "public", ""}},
		{"/index.phpx/x", stranger, Decision{Allow, 5, "signed_in", ""}},
		{"/Up.aspx/x", stranger, Decision{Deny, 2, "", NotAllowed}},
		{"/up.ASPX/x", stranger, Decision{Deny, -1, "", AmbiguousPath}},
		{"/ping.php/x", nil, Decision{SignIn, 5, "", NotSignedIn}},
		{"/report/x", stranger, Decision{Allow, 5, "signed_in", ""}},
	} {
		if got := p.Decide(Target{Path: c.path}, c.user); got != c.want {
			t.Errorf("Decide(%q) of %+v = %+v, want %+v", c.path, c.user, got, c.want)
		}
	}
	variant := Target{Path: "/a.php/index.php/x", Variants: []string{"/index.php/x"}}
	if got, want := p.Decide(variant, stranger), (Decision{Deny, 1, "", NotAllowed}); got != want {
		t.Errorf("Decide(%+v) = %+v, want %+v", variant, got, want)
	}
	alone := policy(t, Route{Path: "/ping.php", Rule: public})
	if got, want := alone.Decide(Target{Path: "/ping.php/x"}, nil), (Decision{Deny, -1, "", NoRoute}); got != want {
		t.Errorf("an exact public route alone: Decide() = %+v, want %+v", got, want)
	}
}

// Letter case costs no allocation.
func TestDecideCostsNothing(t *testing.T) {
	p := policy(t, site...)
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
		{"a rule that names nobody", policy(t, Route{Path: "/"}), Target{Path: "/"}, member,
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
		want   string // Decision.Rule; "" = not allowed
	}{
		{"direct department", Rule{Departments: []int64{42}}, member, "", "departments 42"},
		{"department above", Rule{Departments: []int64{7}}, member, "", "departments 7"}, // K12
		{"direct without ancestors", Rule{Departments: []int64{5}},
			&identity.User{Username: "x", Departments: []int64{5}}, "", "departments 5"},
		{"department that is gone", Rule{Departments: []int64{4242}}, member, "", ""},
		{"department of a stranger", Rule{Departments: []int64{42}}, stranger, "", ""},
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
			Rule{Departments: []int64{9}, Users: []string{"nobody"}, Emails: []string{"*@example.com"}}, member, "",
			"emails *@example.com"},
		{"network", Rule{Networks: prefixes("10.0.0.0/8")}, nil, "10.1.2.3", "networks 10.0.0.0/8"},
		{"network, mapped", Rule{Networks: prefixes("10.0.0.0/8")}, nil, "::ffff:10.1.2.3", "networks 10.0.0.0/8"},
		{"network of IPv6", Rule{Networks: prefixes("10.0.0.0/8", "fd00::/8")}, nil, "fd00::1", "networks fd00::/8"},
		{"another network", Rule{Networks: prefixes("10.0.0.0/8")}, nil, "11.0.0.1", ""},
		{"unknown client", Rule{Networks: prefixes("0.0.0.0/0", "::/0")}, nil, "", ""},
		{"zoned client", Rule{Networks: prefixes("::/0")}, nil, "fe80::1%eth0", ""},
		{"network beside a rule for others", Rule{Users: []string{"nobody"}, Networks: prefixes("10.0.0.0/8")},
			stranger, "10.1.2.3", "networks 10.0.0.0/8"},
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

// An address is no proof where the path is in doubt.
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

// New keeps nothing of the caller's: a policy never changes.
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

func TestExplain(t *testing.T) {
	p := policy(t, Config{
		{Path: "/a", Access: &RuleConfig{Named: "public"}},
		{Path: "/", Host: "wiki.test"},
		{Path: "/", Methods: []string{"GET", "PUT"}, Access: &RuleConfig{Users: []string{"x"}}},
		{Path: "/", Access: &RuleConfig{
			Departments: []string{"3"},
			Roles:       []string{"r"},
			Emails:      []string{"*@b.test"},
			Networks:    []string{"10.0.0.0/8"},
		}},
	}.Routes()...)
	d, steps := p.Explain(Target{Method: "POST", Host: "app.test", Path: "/x"}, member)
	if want := (Decision{Deny, 3, "", NotAllowed}); d != want {
		t.Errorf("Explain() = %+v, want %+v", d, want)
	}
	want := []Step{
		{0, "/a", conf.Text{Format: "does not match: another path"}},
		{1, "wiki.test/", conf.Text{Format: "does not match: another host"}},
		{2, "GET,PUT /", conf.Text{Format: "does not match: another method"}},
		{3, "/", conf.Text{Format: "matches"}},
		{3, "/", conf.Text{Format: "networks: the client is in none"}},
		{3, "/", conf.Text{Format: "departments: the person is in none of them, nor below"}},
		{3, "/", conf.Text{Format: "roles: the person has none of them"}},
		{3, "/", conf.Text{Format: "emails: the person's is none of them"}},
		{3, "/", conf.Text{Format: "names this person in no part of its rule"}},
	}
	if !reflect.DeepEqual(steps, want) {
		t.Errorf("Explain() steps = %+v, want %+v", steps, want)
	}
}

// What Explain says where no single route decides.
func TestExplainWholeRequest(t *testing.T) {
	p := policy(t, Route{Name: "a", Path: "/a", Host: "a.test", Methods: []string{"GET"}, Rule: public})
	for _, c := range []struct {
		target Target
		want   []Step
	}{
		{Target{Path: "/b"},
			[]Step{{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}}}},
		{Target{Path: "/b", Readings: []string{"/c"}},
			[]Step{{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}}, {-1, "", conf.Textf("may be read as %s", "/c")},
				{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}}}},
		{Target{Path: "/a", Method: "GET", Host: "a.test", Readings: []string{"/b"}},
			[]Step{{0, "a", conf.Text{Format: "matches"}}, {0, "a", conf.Text{Format: "public"}},
				{-1, "", conf.Textf("may be read as %s", "/b")},
				{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}},
				{-1, "", conf.Text{Format: "the readings of the path meet different routes"}}}},
		{Target{Path: "/a"},
			[]Step{{0, "a", conf.Text{Format: "may be meant: the host is unknown"}},
				{0, "a", conf.Text{Format: "may be meant: the method is unknown"}},
				{0, "a", conf.Text{Format: "public"}}, {-1, "", conf.Text{Format: "no route matches"}}}},
		{Target{Unknown: true},
			[]Step{{0, "a", conf.Text{Format: "may be meant: the path is unknown"}},
				{0, "a", conf.Text{Format: "public"}}}},
	} {
		if _, got := p.Explain(c.target, nil); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Explain(%+v) = %+v, want %+v", c.target, got, c.want)
		}
	}
}

func TestVerdictString(t *testing.T) {
	for v, want := range map[Verdict]string{Deny: "deny", SignIn: "sign_in", Allow: "allow", 9: "deny"} {
		if got := v.String(); got != want {
			t.Errorf("Verdict(%d).String() = %q, want %q", int(v), got, want)
		}
	}
}
