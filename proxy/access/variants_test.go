package access

import (
	"testing"

	"dinggate/internal/identity"
)

// TestLetterCase: letter case selects no other rule (threats P19), unless applications distinguish
// it.
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
		sensitive int // the route if letter case is distinguished
	}{
		{Target{Path: "/admin/x"}, member, Decision{Allow, 1, "roles 主管", ""}, 1},
		{Target{Path: "/ADMIN/x"}, member, ambiguous, 5},
		{Target{Path: "/ADMIN/x"}, nil, ambiguous, 5},
		{Target{Path: "/aDmin"}, colleague, ambiguous, 5},
		{Target{Path: "/admin/X"}, member, Decision{Allow, 1, "roles 主管", ""}, 1},
		{Target{Path: "/HEALTHZ"}, nil, ambiguous, 5},
		{Target{Path: "/Wiki/x"}, member, Decision{Allow, 2, "roles 主管", ""}, 2},
		{Target{Path: "/wiki/x"}, member, ambiguous, 5}, // letter case of a route cannot bypass it
		{Target{Path: "/WIKI/x"}, colleague, ambiguous, 5},
		{Target{Path: "/SAME/x"}, colleague, Decision{Allow, 5, "signed_in", ""}, 5}, // the same rule on another route
		{Target{Path: "/Reports/x"}, colleague, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/BOSS", Method: "POST", Host: "b.test"}, member, ambiguous, 5},
		{Target{Path: "/BOSS", Method: "GET", Host: "b.test"}, member, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/BOSS", Method: "POST", Host: "a.test"}, member, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/BOSS", Host: "b.test"}, colleague, ambiguous, 5}, // an unknown method, which may be POST
		{Target{Path: "/x;y/ADMIN", Readings: []string{"/x/ADMIN"}}, colleague, Decision{Allow, 5, "signed_in", ""}, 5},
		{Target{Path: "/;x/ADMIN", Readings: []string{"/ADMIN"}}, colleague, ambiguous, 5},
		{Target{Path: "/\u212aadmin", Readings: nil}, colleague, Decision{Allow, 5, "signed_in", ""}, 5}, // ASCII only
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

// TestVariants: of two readings that clients intend, the stricter rule decides for each caller.
func TestVariants(t *testing.T) {
	p := policy(t, Route{Path: "/admin/", Rule: lead}, Route{Path: "/public/", Rule: public},
		Route{Path: "/index.php/own/", Rule: lead}, Route{Path: "/", Rule: signedIn})
	for _, c := range []struct {
		path, variant string
		user          *identity.User
		want          Decision
	}{
		{"/index.php/admin/x", "/admin/x", member, Decision{Allow, 3, "signed_in", ""}},
		{"/index.php/admin/x", "/admin/x", colleague, Decision{Deny, 0, "", NotAllowed}},
		{"/index.php/ADMIN/x", "/ADMIN/x", colleague, Decision{Deny, 0, "", NotAllowed}},
		{"/index.php/public/x", "/public/x", nil, Decision{SignIn, 3, "", NotSignedIn}},
		{"/index.php/own/x", "/own/x", member, Decision{Allow, 2, "roles 主管", ""}},
		{"/index.php/own/x", "/own/x", colleague, Decision{Deny, 2, "", NotAllowed}},
		{"/public/x", "/%70ublic/x", nil, Decision{SignIn, 3, "", NotSignedIn}},
		{"/public/x", "/%70ublic/x", colleague, Decision{Allow, 1, "public", ""}},
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

// TestFinalSlash: a final slash after an exact route's path is the same page to many applications:
// it bypasses no rule, and allows nothing (threats P9).
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
		{"/settings/", colleague, Decision{Deny, 1, "", NotAllowed}},
		{"/settings/x", colleague, Decision{Allow, 4, "signed_in", ""}},
		{"/private/", nil, Decision{SignIn, 2, "", NotSignedIn}},
		{"/private/x", nil, Decision{Allow, 3, "public", ""}},
	} {
		if got := p.Decide(Target{Path: c.path}, c.user); got != c.want {
			t.Errorf("Decide(%q) of %+v = %+v, want %+v", c.path, c.user, got, c.want)
		}
	}
}

// TestScriptPathInfo: a script is run for its path info too: path info does not bypass the
// script's exact route, in any reading, and allows nothing. An earlier route for a part of the
// path info decides alone (threats P17).
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
		{"/index.php/x", colleague, Decision{Deny, 1, "", NotAllowed}},
		{"/index.php/x/y.css", colleague, Decision{Deny, 1, "", NotAllowed}},
		{"/index.php//x", colleague, Decision{Deny, 1, "", NotAllowed}},
		{"/INDEX.PHP/x", colleague, Decision{Deny, -1, "", AmbiguousPath}},
		{"/index.php/s/x", nil, Decision{Allow, 0, "public", ""}},
		{"/index.phpx/x", colleague, Decision{Allow, 5, "signed_in", ""}},
		{"/Up.aspx/x", colleague, Decision{Deny, 2, "", NotAllowed}},
		{"/up.ASPX/x", colleague, Decision{Deny, -1, "", AmbiguousPath}},
		{"/ping.php/x", nil, Decision{SignIn, 5, "", NotSignedIn}},
		{"/report/x", colleague, Decision{Allow, 5, "signed_in", ""}},
	} {
		if got := p.Decide(Target{Path: c.path}, c.user); got != c.want {
			t.Errorf("Decide(%q) of %+v = %+v, want %+v", c.path, c.user, got, c.want)
		}
	}
	variant := Target{Path: "/a.php/index.php/x", Variants: []string{"/index.php/x"}}
	if got, want := p.Decide(variant, colleague), (Decision{Deny, 1, "", NotAllowed}); got != want {
		t.Errorf("Decide(%+v) = %+v, want %+v", variant, got, want)
	}
	alone := policy(t, Route{Path: "/ping.php", Rule: public})
	if got, want := alone.Decide(Target{Path: "/ping.php/x"}, nil), (Decision{Deny, -1, "", NoRoute}); got != want {
		t.Errorf("an exact public route alone: Decide() = %+v, want %+v", got, want)
	}
}
