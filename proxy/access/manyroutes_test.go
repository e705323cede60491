package access

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// anyRoutes is a list with routes that meet in hosts, methods, paths, letter case and rules.
func anyRoutes(r *rand.Rand, n int) Config {
	one := func(words ...string) string { return words[r.IntN(len(words))] }
	var c Config
	for range n {
		rule := &RuleConfig{}
		switch r.IntN(6) {
		case 0:
			rule = nil
		case 1:
			rule.Named = "public"
		case 2:
			rule.Users = []string{one("a", "b", "A"), one("a", "b", "c")}
		case 3:
			rule.Roles, rule.Emails = []string{one("7", "x")}, []string{one("*@a.test", "*@A.test", "u@a.test", "U@a.test")}
		case 4:
			rule.Networks = []string{one("10.0.0.0/8", "192.168.0.0/16"), "10.0.0.0/8"}
		case 5:
			rule.All, rule.Deny.Departments = []ListsConfig{{Roles: []string{one("x", "y")}}}, []string{one("3", "4")}
		}
		route := RouteConfig{Path: one("/", "/a/", "/A/", "/a", "/a/b/", "/B/", "/b/", "/1/", "/x.php"),
			Host: one("", "", "a.test", "b.test", "*.a.test", "x.a.test", "a.test:8443"), Access: rule}
		if r.IntN(3) == 0 {
			route.Methods = []string{one("GET", "POST", "PUT"), one("DELETE", "POST")}
		}
		c = append(c, route)
	}
	return c
}

// caseRouteOfPairs is caseRoute with every pair of routes looked at.
func caseRouteOfPairs(p *Policy, i int) (CaseRoute, bool) {
	r := &p.routes[i]
	if slices.ContainsFunc(p.routes[:i], func(before route) bool { return before.shadows(r) }) {
		return CaseRoute{}, false
	}
	for _, example := range []string{swapCase(r.path), r.path} {
		for j := range p.routes {
			o := &p.routes[j]
			if o.same == r.same || !o.meets(r) {
				continue
			}
			t := r.target(o, example)
			if p.Decide(t, nil).Reason == AmbiguousPath {
				return CaseRoute{i, p.CaseSensitive().Decide(t, nil).Route, r.path, example}, true
			}
		}
	}
	return CaseRoute{}, false
}

// TestManyRoutes: what long lists are spared changes nothing: equal rules are found, and
// letter case concerns the same routes, as if all pairs were compared.
func TestManyRoutes(t *testing.T) {
	concerned, equal := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := anyRoutes(r, 3+r.IntN(40))
		p, err := New(c.Routes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.routes {
			same := slices.IndexFunc(p.routes[:i+1], func(o route) bool { return reflect.DeepEqual(o.rule, p.routes[i].rule) })
			if p.routes[i].same != same {
				t.Fatalf("seed %d: the rule of route %d is that of %d, want %d", seed, i, p.routes[i].same, same)
			}
			if same < i {
				equal++
			}
			got, found := p.caseRoute(i)
			want, wanted := caseRouteOfPairs(p, i)
			if got != want || found != wanted {
				t.Fatalf("seed %d: caseRoute(%d) = %+v, %t, want %+v, %t", seed, i, got, found, want, wanted)
			}
			if found {
				concerned++
			}
		}
	}
	if concerned < 100 || equal < 100 {
		t.Errorf("letter case concerns %d routes, %d rules are equal: something is wrong with this test", concerned, equal)
	}
}

// BenchmarkCheckMany is what `dinggate check` does with 1,000 routes of one rule each.
func BenchmarkCheckMany(b *testing.B) {
	var c Config
	for i := range 500 {
		c = append(c, RouteConfig{Path: fmt.Sprintf("/application-%d/", i), Access: &RuleConfig{Users: []string{fmt.Sprint("u", i)}}},
			RouteConfig{Path: "/p" + strings.Repeat("x", i%4) + "/", Host: fmt.Sprintf("app%d.test", i/4),
				Access: &RuleConfig{Roles: []string{fmt.Sprint("r", i)}}})
	}
	for b.Loop() {
		if _, err := New(c.Routes()); err != nil {
			b.Fatal(err)
		}
		if list := c.CaseRoutes(); len(list) > 0 {
			b.Fatal(list)
		}
	}
}
