package access

import (
	"net/netip"
	"testing"
	"time"

	"dinggate/internal/identity"
)

// TestDecideConditions: who is allowed if all, deny and fresh are set beside the lists, and which
// part refuses the others.
func TestDecideConditions(t *testing.T) {
	prefixes := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	lan := prefixes("10.0.0.0/8")
	inside, outside := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.0.2.7")
	both := Rule{Departments: []int64{42}, All: []Lists{{Roles: []string{"100"}}, {Networks: lan}}}
	except := Rule{SignedIn: true, Deny: Lists{Users: []string{"zhangsan"}}}
	recent := Rule{SignedIn: true, Fresh: 15 * time.Minute}
	quiet := Rule{SignedIn: true, Fresh: 15 * time.Minute, FreshSilent: true}
	openLAN := Rule{Networks: lan, All: []Lists{{Networks: lan}}, Deny: Lists{Networks: prefixes("10.9.0.0/16")}}
	scan := func(age time.Duration) SignInAge { return SignInAge{Known: true, Age: age} }
	silently := SignInAge{Known: true, Silent: true}
	granted := func(route int) bool { return route == 0 }
	other := &identity.User{Username: "lisi", UserID: "lisi"}

	for _, c := range []struct {
		name   string
		rule   Rule
		user   *identity.User
		client netip.Addr
		signIn SignInAge
		grant  func(int) bool
		want   Decision
	}{
		{"all: every entry holds", both, member, inside, SignInAge{}, nil, Decision{Allow, 0, "departments 42", ""}},
		{"all: the network does not", both, member, outside, SignInAge{}, nil, Decision{Deny, 0, "", NotAll}},
		{"all: the person does not", both, other, inside, SignInAge{}, nil, Decision{Deny, 0, "", NotAll}},
		{"all: no session, in the network", both, nil, inside, SignInAge{}, nil, Decision{SignIn, 0, "", NotSignedIn}},
		{"all: no session, in no network", both, nil, outside, SignInAge{}, nil, Decision{Deny, 0, "", NotAll}},
		{"all: no grant helps", both, other, inside, SignInAge{}, granted, Decision{Deny, 0, "", NotAll}},

		{"deny: named", except, member, inside, SignInAge{}, nil, Decision{Deny, 0, "", Denied}},
		{"deny: another", except, other, inside, SignInAge{}, nil, Decision{Allow, 0, "signed_in", ""}},
		{"deny: no session", except, nil, inside, SignInAge{}, nil, Decision{SignIn, 0, "", NotSignedIn}},
		{"deny wins over a grant", Rule{Users: []string{"x"}, Deny: except.Deny}, member, inside, SignInAge{}, granted,
			Decision{Deny, 0, "", Denied}},
		{"deny: by userid", Rule{SignedIn: true, Deny: Lists{Users: []string{"0042"}}}, member, inside, SignInAge{}, nil,
			Decision{Deny, 0, "", Denied}},
		{"deny: by a department above", Rule{SignedIn: true, Deny: Lists{Departments: []int64{7}}}, member, inside,
			SignInAge{}, nil, Decision{Deny, 0, "", Denied}},
		{"deny: by network", Rule{SignedIn: true, Deny: Lists{Networks: lan}}, nil, inside, SignInAge{}, nil,
			Decision{Deny, 0, "", Denied}},
		{"deny: an unknown client", Rule{SignedIn: true, Deny: Lists{Networks: lan}}, member, netip.Addr{}, SignInAge{},
			nil, Decision{Deny, 0, "", Denied}},

		{"fresh: just now", recent, member, inside, scan(0), nil, Decision{Allow, 0, "signed_in", ""}},
		{"fresh: to the moment", recent, member, inside, scan(15 * time.Minute), nil,
			Decision{Allow, 0, "signed_in", ""}},
		{"fresh: past", recent, member, inside, scan(15*time.Minute + 1), nil, Decision{SignIn, 0, "", NotFresh}},
		{"fresh: unknown", recent, member, inside, SignInAge{}, nil, Decision{SignIn, 0, "", NotFresh}},
		{"fresh: silent", recent, member, inside, silently, nil, Decision{SignIn, 0, "", NotFresh}},
		{"fresh: silent counts", quiet, member, inside, silently, nil, Decision{Allow, 0, "signed_in", ""}},
		{"fresh: with a grant", Rule{Users: []string{"x"}, Fresh: time.Minute}, member, inside, scan(time.Hour), granted,
			Decision{SignIn, 0, "", NotFresh}},
		{"fresh: whom no list names", Rule{Users: []string{"x"}, Fresh: time.Minute}, member, inside, scan(time.Hour),
			nil, Decision{Deny, 0, "", NotAllowed}},

		{"a grant replaces the lists", Rule{Users: []string{"x"}}, member, inside, SignInAge{}, granted,
			Decision{Allow, 0, "grant", ""}},
		{"a grant without a session", Rule{Users: []string{"x"}}, nil, inside, SignInAge{}, granted,
			Decision{SignIn, 0, "", NotSignedIn}},

		{"networks skip the sign-in", openLAN, nil, inside, SignInAge{}, nil, Decision{Allow, 0, "networks 10.0.0.0/8", ""}},
		{"networks: denied", openLAN, nil, netip.MustParseAddr("10.9.0.1"), SignInAge{}, nil, Decision{Deny, 0, "", Denied}},
		{"networks beside fresh", Rule{Networks: lan, Fresh: time.Hour}, nil, inside, SignInAge{}, nil,
			Decision{SignIn, 0, "", NotSignedIn}},
		{"networks beside fresh, signed in", Rule{Networks: lan, Fresh: time.Hour}, member, inside, scan(0), nil,
			Decision{Allow, 0, "networks 10.0.0.0/8", ""}},
		{"networks beside a person to deny", Rule{Networks: lan, Deny: Lists{Users: []string{"x"}}}, nil, inside,
			SignInAge{}, nil, Decision{SignIn, 0, "", NotSignedIn}},
		{"networks beside people in all", Rule{Networks: lan, All: []Lists{{Roles: []string{"r"}}}}, nil, inside,
			SignInAge{}, nil, Decision{SignIn, 0, "", NotSignedIn}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy(t, Route{Path: "/", Rule: c.rule})
			target := Target{Method: "GET", Path: "/x", Client: c.client, SignIn: c.signIn, Granted: c.grant}
			got := p.Decide(target, c.user)
			if got != c.want {
				t.Errorf("Decide(%+v) = %+v, want %+v", c.rule, got, c.want)
			}
			if explained, steps := p.Explain(target, c.user); explained != got || len(steps) < 2 {
				t.Errorf("Explain(%+v) = %+v in %d steps, want %+v", c.rule, explained, len(steps), got)
			}
		})
	}
}

func TestFreshness(t *testing.T) {
	p := policy(t,
		Route{Path: "/admin/", Rule: Rule{SignedIn: true, Fresh: 15 * time.Minute}},
		Route{Path: "/pay/", Rule: Rule{SignedIn: true, Fresh: time.Minute, FreshSilent: true}},
		Route{Path: "/", Rule: signedIn})
	for _, c := range []struct {
		target Target
		fresh  time.Duration
		silent bool
	}{
		{Target{Path: "/admin/x"}, 15 * time.Minute, false},
		{Target{Path: "/pay"}, time.Minute, true},
		{Target{Path: "/"}, 0, false},
		{Target{Path: "/", Variants: []string{"/pay/x", "/admin"}}, time.Minute, false},
		{Target{Unknown: true}, time.Minute, false},
	} {
		if fresh, silent := p.Freshness(c.target); fresh != c.fresh || silent != c.silent {
			t.Errorf("Freshness(%+v) = %v, %v, want %v, %v", c.target, fresh, silent, c.fresh, c.silent)
		}
	}
}

func TestDecideConditionsAllocatesNothing(t *testing.T) {
	p := policy(t, Route{Path: "/", Rule: Rule{SignedIn: true, Fresh: time.Hour, All: []Lists{{Departments: []int64{42}}},
		Deny: Lists{Users: []string{"x"}}}})
	for _, age := range []time.Duration{0, 2 * time.Hour} {
		target := Target{Method: "GET", Path: "/x", SignIn: SignInAge{Known: true, Age: age}}
		if got := testing.AllocsPerRun(100, func() { p.Decide(target, member) }); got != 0 {
			t.Errorf("Decide(age %v) allocates %v times, want 0", age, got)
		}
	}
}

// TestGrant_LetterCase: a grant allows no other route in another letter case, also if both have
// the same rule (threats G4).
func TestGrant_LetterCase(t *testing.T) {
	rule := Rule{Users: []string{"lisi"}}
	routes := []Route{{Path: "/request/below/", Rule: rule}, {Path: "/request/", Rule: rule}}
	p, err := New(routes)
	if err != nil {
		t.Fatal(err)
	}
	u := &identity.User{Username: "zhangsan", UserID: "zhangsan"}
	for _, tt := range []struct {
		path    string
		variant string
		policy  *Policy
		want    Verdict
	}{
		{"/request/x", "", p, Allow}, {"/request/X", "", p, Allow}, {"/REQUEST/x", "", p, Deny}, {"/request/below/x", "", p, Deny},
		{"/request/BELOW/x", "", p, Deny}, {"/request/Below", "", p, Deny}, {"/request/x", "/request/BELOW/x", p, Deny},
		{"/request/BELOW/x", "", p.CaseSensitive(), Allow},
	} {
		target := Target{Method: "GET", Path: tt.path, Granted: func(route int) bool { return route == 1 }}
		if tt.variant != "" {
			target.Variants = []string{tt.variant}
		}
		if got := tt.policy.Decide(target, u); got.Verdict != tt.want {
			t.Errorf("%s (%s) = %v, want %v", tt.path, tt.variant, got, tt.want)
		}
	}
}
