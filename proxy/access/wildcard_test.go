package access

import "testing"

// TestPolicy_Wildcard: the star of a host is exactly one label of a name with that domain.
func TestPolicy_Wildcard(t *testing.T) {
	public := Rule{Public: true}
	p := policy(t, Route{Name: "own", Path: "/", Host: "own.apps.test", Rule: Rule{SignedIn: true}},
		Route{Name: "apps", Path: "/", Host: "*.Apps.test", Rule: public},
		Route{Name: "port", Path: "/", Host: "*.port.test:8443", Rule: public})
	for host, want := range map[string]int{
		"a.apps.test": 1, "A.APPS.TEST": 1, "a.apps.test.": 1, "a.apps.test:444": 1, "xn--a.apps.test": 1,
		"own.apps.test": 0, "OWN.apps.test.": 0,
		"apps.test": -1, ".apps.test": -1, "a.b.apps.test": -1, "own.a.apps.test": -1, "xapps.test": -1,
		"a.xapps.test": -1, "a-apps.test": -1, "a.apps.test.evil.test": -1, "a.apps.testx": -1,
		"a.port.test:8443": 2, "a.port.test": -1, "a.port.test:443": -1, "port.test:8443": -1,
	} {
		if d := p.Decide(Target{Method: "GET", Host: host, Path: "/"}, nil); d.Route != want {
			t.Errorf("Decide(%s) = %+v, want route %d", host, d, want)
		}
	}
	// an unknown host may match any of them: the strictest decides
	if d := p.Decide(Target{Method: "GET", Path: "/"}, nil); d.Verdict == Allow {
		t.Errorf("Decide(unknown host) = %+v, want no Allow", d)
	}
}

// TestCaseRoutes_Wildcard: letter case of a path is compared for the hosts that two routes have in
// common.
func TestCaseRoutes_Wildcard(t *testing.T) {
	list := Config{{Path: "/Admin/", Host: "*.a.test", Access: &RuleConfig{Users: []string{"x"}}},
		{Path: "/", Host: "b.a.test"}}.CaseRoutes()
	if len(list) == 0 || list[0].Path != "/Admin/" {
		t.Errorf("CaseRoutes() = %+v, want /Admin/", list)
	}
	list = Config{{Path: "/Admin/", Host: "*.a.test", Access: &RuleConfig{Users: []string{"x"}}},
		{Path: "/", Host: "b.c.test"}}.CaseRoutes()
	if len(list) != 0 {
		t.Errorf("CaseRoutes() of other hosts = %+v, want none", list)
	}
}
