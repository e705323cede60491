package access

import (
	"net/netip"
	"testing"
)

// common is what a typical request meets: some other routes, then its own.
func common(t testing.TB) (*Policy, Target) {
	p := policy(t,
		Route{Path: "/healthz", Rule: public},
		Route{Path: "/assets/", Rule: public},
		Route{Path: "/", Host: "wiki.test", Rule: signedIn},
		Route{Path: "/admin/", Methods: []string{"GET"}, Rule: lead},
		Route{
			Path: "/",
			Rule: Rule{
				Departments: []int64{9},
				Roles:       []string{"r"},
				Users:       []string{"u"},
				Emails:      []string{"*@example.com"},
				Networks:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			},
		})
	return p, Target{
		Method:   "GET",
		Host:     "App.test:8443",
		Path:     "/reports/2026/q1",
		Readings: []string{"/reports"},
		Client:   netip.MustParseAddr("192.0.2.7"),
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	p, target := common(t)
	unclear := target
	unclear.Method, unclear.Host = "", ""
	for _, c := range []Target{target, unclear, {Unknown: true}} {
		if got := testing.AllocsPerRun(100, func() { p.Decide(c, member) }); got != 0 {
			t.Errorf("Decide(%+v) allocates %v times, want 0", c, got)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p, target := common(b)
	b.ReportAllocs()
	for b.Loop() {
		if p.Decide(target, member).Verdict != Allow {
			b.Fatal("Decide() is not Allow")
		}
	}
}

func BenchmarkDecideNoSession(b *testing.B) {
	p, target := common(b)
	b.ReportAllocs()
	for b.Loop() {
		if p.Decide(target, nil).Verdict != SignIn {
			b.Fatal("Decide() is not SignIn")
		}
	}
}
