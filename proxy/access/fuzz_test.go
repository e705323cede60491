package access

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
)

// generator makes routes, people and targets from a fuzzer's bytes, with few values, so that they often
// match; past the end every throw is 0.
type generator []byte

func (d *generator) choose(sides int) int {
	if len(*d) == 0 {
		return 0
	}
	n := int((*d)[0]) % sides
	*d = (*d)[1:]
	return n
}

var words = struct {
	paths, methods, hosts, roles, users, emails []string
	networks                                    []netip.Prefix
}{
	[]string{"/", "/a", "/a/", "/a/b", "/a/b/", "/c"},
	[]string{"GET", "HEAD", "POST", "PUT"},
	[]string{"", "a.test", "b.test", "b.test:8443", "*.b.test"},
	[]string{"主管", "7", "r"}, []string{"zhang", "0042"}, []string{"*@a.test", "x@b.test"},
	[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
}

func (d *generator) route() Route {
	r := Route{Path: words.paths[d.choose(len(words.paths))], Host: words.hosts[d.choose(len(words.hosts))]}
	for range d.choose(3) {
		r.Methods = append(r.Methods, words.methods[d.choose(len(words.methods))])
	}
	for range d.choose(4) {
		d.add(&r.Rule)
	}
	return r
}

// add adds one element to rule.
func (d *generator) add(rule *Rule) {
	switch d.choose(7) {
	case 0:
		rule.SignedIn = true
	case 1:
		rule.Public = true
	case 2:
		rule.Departments = append(rule.Departments, int64(1+d.choose(4)))
	case 3:
		rule.Roles = append(rule.Roles, words.roles[d.choose(3)])
	case 4:
		rule.Users = append(rule.Users, words.users[d.choose(2)])
	case 5:
		rule.Emails = append(rule.Emails, words.emails[d.choose(2)])
	case 6:
		rule.Networks = append(rule.Networks, words.networks[d.choose(2)])
	}
}

func (d *generator) user() *identity.User {
	u := &identity.User{Username: []string{"zhang", "li", ""}[d.choose(3)], UserID: []string{"0042", "1", ""}[d.choose(3)],
		Email: []string{"", "y@a.test", "x@b.test", "x@a.test@b.test"}[d.choose(4)]}
	for range d.choose(3) {
		id := int64(1 + d.choose(4))
		u.Departments, u.Ancestors = append(u.Departments, id), append(u.Ancestors, id, 1)
	}
	for range d.choose(3) {
		u.Roles = append(u.Roles, identity.Role{ID: int64(d.choose(9)), Name: words.roles[d.choose(3)]})
	}
	return u
}

func (d *generator) target(path, method, host string) Target {
	t := Target{Method: method, Host: host, Path: path, Odd: d.choose(4) == 1, Unknown: d.choose(8) == 1}
	for range d.choose(3) {
		t.Readings = append(t.Readings, words.paths[d.choose(len(words.paths))])
	}
	t.Client = []netip.Addr{{}, netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("::ffff:10.1.1.1"),
		netip.MustParseAddr("192.0.2.1")}[d.choose(4)]
	return t
}

// FuzzDecide: a target with more unknown parts, or a stricter rule, never allows more; a longer
// list never refuses more.
func FuzzDecide(f *testing.F) {
	for _, path := range []string{"/", "/a", "/a/b", "/A/", "//a", "/a/../c", "/a;x/b", "/a/\x00", "/%2e%2e/a", "/a ",
		"", "a", "/a\\b", "*"} {
		f.Add([]byte{3, 2, 0, 1, 1, 2, 1, 2, 1, 0, 3, 4, 5, 6, 1, 0, 2, 2, 1, 1, 2}, path, "GET", "a.test")
		f.Add([]byte{2, 0, 1, 1, 0, 1, 3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1}, path, "get", "A.test.:443")
		f.Add([]byte{1, 0, 0, 0, 1, 6, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1}, path, "", "")
		f.Add([]byte{2, 3, 4, 0, 1, 1, 0, 1, 3, 4, 0, 0, 1, 0}, path, "GET", "x.B.test")
	}
	f.Fuzz(func(t *testing.T, b []byte, path, method, host string) {
		d := generator(b)
		routes := make([]Route, 1+d.choose(4))
		for i := range routes {
			routes[i] = d.route()
		}
		u, target := d.user(), d.target(path, method, host)
		p := policy(t, routes...)
		got := p.Decide(target, u)

		if again := p.Decide(target, u); again != got {
			t.Errorf("Decide(%+v) = %+v, then %+v", target, got, again)
		}
		by := *p
		by.index = newIndex(p.routes)
		if found := by.Decide(target, u); found != got {
			t.Errorf("Decide(%+v) of %+v = %+v by the index, want %+v", target, routes, found, got)
		}
		if explained, _ := p.Explain(target, u); explained != got {
			t.Errorf("Explain(%+v) = %+v, want %+v as of Decide", target, explained, got)
		}
		if (got.Verdict == Allow) != (got.Rule != "") || (got.Verdict == Allow) == (got.Reason != "") ||
			got.Verdict == SignIn && u.Username != "" {
			t.Errorf("Decide(%+v) = %+v, which contradicts itself", target, got)
		}

		if odd := target; u.Username != "" {
			odd.Odd = true
			if open := p.Decide(odd, nil); open.Verdict == Allow {
				t.Errorf("Decide(%+v) of %+v allows every request by a path that was not written plainly: %+v", odd, routes,
					open)
			}
		}

		// less checks that what is denied for target is denied for the changed one too.
		less := func(why string, q *Policy, target Target, u *identity.User) {
			t.Helper()
			if open := q.Decide(target, u); open.Verdict == Allow && got.Verdict != Allow {
				t.Errorf("%s: Decide(%+v) of %+v = %+v, want no Allow as before: %+v", why, target, routes, open, got)
			}
		}
		change := func(edit func(*Target)) Target {
			c := target
			edit(&c)
			return c
		}
		less("no session", p, target, nil)
		less("odd", p, change(func(c *Target) { c.Odd = true }), u)
		less("unknown method", p, change(func(c *Target) { c.Method = "" }), u)
		less("lower-case method", p, change(func(c *Target) { c.Method = strings.ToLower(c.Method) }), u)
		less("unknown host", p, change(func(c *Target) { c.Host = "" }), u)
		less("unknown client", p, change(func(c *Target) { c.Client = netip.Addr{} }), u)
		less("one more variant", p,
			change(func(c *Target) {
				c.Variants = append(slices.Clone(c.Variants), words.paths[d.choose(len(words.paths))])
			}), u)
		less("one more reading", p,
			change(func(c *Target) { c.Readings = append(slices.Clone(c.Readings), words.paths[d.choose(6)]) }), u)
		less("one more route before, without people",
			policy(t, append([]Route{{Path: words.paths[d.choose(6)]}}, routes...)...), target, u)
		if got.Reason != NoRoute && got.Reason != AmbiguousPath { // every route would allow, and there is none
			less("unknown path", p, change(func(c *Target) { c.Unknown = true }), u)
		}

		if got.Verdict == Allow {
			if open := p.CaseSensitive().Decide(target, u); open.Verdict != Allow {
				t.Errorf("Decide(%+v) of %+v = %+v, and %+v where letter case counts", target, routes, got, open)
			}
			if lowered := p.Decide(change(func(c *Target) { c.Path, c.Readings = lower(c.Path), nil }),
				u); lowered.Verdict != Allow {
				t.Errorf("Decide(%+v) of %+v = %+v, in lower case %+v", target, routes, got, lowered)
			}
		}

		i := d.choose(len(routes))
		d.add(&routes[i].Rule)
		if more := policy(t, routes...).Decide(target, u); more.Verdict < got.Verdict && more.Reason != AmbiguousPath {
			t.Errorf("a larger rule: Decide(%+v) of %+v = %+v, want no less than %+v", target, routes, more, got)
		}
	})
}

// FuzzHost: one host has one decision in every spelling (threats H13).
func FuzzHost(f *testing.F) {
	for _, host := range []string{"a.test", "A.TEST.", "a.test:443", "[::1]:80", "b.test:08443", "a:b:c", "]:",
		"\u212a", "", "."} {
		f.Add(host)
	}
	p := policy(f, Route{Path: "/", Host: "a.test"}, Route{Path: "/", Host: "b.test:8443"},
		Route{Path: "/", Host: "[::1]"}, Route{Path: "/"})
	f.Fuzz(func(t *testing.T, host string) {
		want := p.Decide(Target{Path: "/", Host: host}, member)
		name, port := splitHost(host)
		if port != "" {
			port = ":" + port
		}
		upper := strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				return r - 'a' + 'A'
			}
			return r
		}, name)
		if strings.ToValidUTF8(name, "") != name || strings.ContainsAny(name, ":") && !strings.HasSuffix(name, "]") ||
			strings.HasSuffix(name, ".") || name == "" {
			return // no host name, which the handlers refuse
		}
		for _, other := range []string{name + port, name + "." + port, upper + port} {
			if got := p.Decide(Target{Path: "/", Host: other}, member); got != want {
				t.Errorf("Decide(host %q) = %+v, want %+v as for %q", other, got, want, host)
			}
		}
	})
}

// FuzzConfig: New accepts what Check finds no mistake in, and each accepted route matches its own
// path.
func FuzzConfig(f *testing.F) {
	f.Add("/a/", "a.test:8443", "GET", "public", "42", "主管", "*@a.test", "10.0.0.0/8")
	f.Add("/a{x}", "*.test", "get", "", "042", "007", "a@b@c", "10.0.0.1")
	f.Add("/文档", "[::1]", "M-SEARCH", "", "1", "7", "A@b.test", "::ffff:10.0.0.0/104")
	f.Fuzz(func(t *testing.T, path, host, method, named, department, role, email, network string) {
		c := Config{{Path: path, Host: host, Methods: []string{method},
			Access: &RuleConfig{Named: named, Departments: []string{department},
				Roles: []string{role}, Users: []string{role}, Emails: []string{email}, Networks: []string{network}}}}
		var problems conf.Problems
		c.Check(&problems, "routes")
		p, err := New(c.Routes())
		if problems.Mistakes() > 0 {
			return
		}
		if err != nil {
			t.Fatalf("New(%+v) = %v, want nil as Check finds no mistake", c, err)
		}
		if got := p.Decide(Target{Method: method, Host: strings.ToUpper(host), Path: path}, member); got.Route != 0 {
			t.Errorf("Decide(%+v) = %+v, want its own route", c, got)
		}
	})
}
