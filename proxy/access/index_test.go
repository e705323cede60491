package access

import (
	"fmt"
	"testing"
)

// many is a company's list of routes: by path, by host, and with a wildcard.
func many(t testing.TB) *Policy {
	var routes []Route
	for i := range 500 {
		routes = append(routes, Route{Path: fmt.Sprintf("/application-%d/", i), Rule: lead},
			Route{Path: "/", Host: fmt.Sprintf("app%d.test", i), Rule: lead})
	}
	routes = append(routes, Route{Path: "/page.php", Rule: lead}, Route{Path: "/", Host: "*.apps.test", Rule: public},
		Route{Path: "/Shared/", Rule: public}, Route{Path: "/", Rule: signedIn})
	return policy(t, routes...)
}

// TestIndex: a long list decides in the same way without its index.
func TestIndex(t *testing.T) {
	p := many(t)
	flat := *p
	if flat.index = nil; p.index == nil {
		t.Fatal("a list of 1,004 routes has no index")
	}
	for _, host := range []string{"", "a.test", "app7.test", "APP7.test.:443", "x.apps.test", "apps.test", ".apps.test"} {
		for _, path := range []string{"", "/", "//", "*", "/application-7", "/application-7/", "/Application-7/x",
			"/application-77", "/page.php", "/page.php/", "/page.php/x", "/PAGE.php/x", "/shared/x", "/Shared", "/other"} {
			for _, u := range []Target{{Method: "GET"}, {}, {Unknown: true}} {
				u.Host, u.Path = host, path
				if got, want := p.Decide(u, member), flat.Decide(u, member); got != want {
					t.Errorf("Decide(%+v) = %+v, want %+v", u, got, want)
				}
			}
		}
	}
}

func BenchmarkDecideMany(b *testing.B) {
	p := many(b)
	target := Target{Method: "GET", Host: "wiki.test", Path: "/reports/2026/q1"}
	b.ReportAllocs()
	for b.Loop() {
		if p.Decide(target, member).Verdict != Allow {
			b.Fatal("Decide() is not Allow")
		}
	}
}
