package access

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Rule is who may access a route. First Deny refuses; then every entry of All must be satisfied;
// then one list entry, or SignedIn, allows; finally the sign-in must satisfy Fresh. The zero value
// names no person.
type Rule struct {
	Public   bool // every request; the other fields are ignored
	SignedIn bool // every member of the organisation

	// Departments by id; a department includes all below it, by the ancestors that the directory
	// returns. An id that no longer exists names no person.
	Departments []int64

	// Roles by exact name, or by id if the text is digits only: names repeat across role groups,
	// ids do not. A role whose name is digits only is configured by its id.
	Roles []string

	// Users by Username, as upstreams receive it, or by UserID; letter case is distinguished. A
	// text that is one person's username and another's userid names both.
	Users []string

	// Emails are addresses, or *@example.com for all addresses with exactly that domain after the
	// last @ (CVE-2026-40574); *@example.com includes no subdomain.
	Emails []string

	// Networks allow access by the address of the real client: without sign-in, unless Fresh is
	// set or All or Deny contain more than networks; then they are one more way to name a person.
	// IPv4 within IPv6 is treated as IPv4.
	Networks []netip.Prefix

	// All are conditions besides the lists above: one item of each entry must be true of the
	// person or the client. An empty entry is never satisfied.
	All []Lists

	// Deny refuses those it lists, also with a grant. If it lists networks, a client whose address
	// is unknown is refused.
	Deny Lists

	// Fresh is the maximum age of a sign-in by scan, click or password; 0 is any age. With
	// FreshSilent a silent sign-in satisfies it too.
	Fresh       time.Duration
	FreshSilent bool
}

// Lists name people and clients, as the fields of Rule do; one entry is enough.
type Lists struct {
	Departments []int64
	Roles       []string
	Users       []string
	Emails      []string
	Networks    []netip.Prefix
}

func (r *Rule) lists() Lists {
	return Lists{Departments: r.Departments, Roles: r.Roles, Users: r.Users, Emails: r.Emails, Networks: r.Networks}
}

// people reports whether the lists contain more than networks.
func (l *Lists) people() bool { return len(l.Departments)+len(l.Roles)+len(l.Users)+len(l.Emails) > 0 }

// NamesPeople reports whether the lists of the rule contain more than networks.
func (r *Rule) NamesPeople() bool {
	lists := r.lists()
	return lists.people()
}

// SkipsSignIn reports whether the rule's networks allow access without sign-in.
func (r *Rule) SkipsSignIn() bool {
	people := func(l Lists) bool { return l.people() }
	return len(r.Networks) > 0 && r.Fresh == 0 && !r.Deny.people() && !slices.ContainsFunc(r.All, people)
}

// digest is the same text for rules that compile to the same, and another one for most
// that do not: what is listed counts, not its order, letter case or how often.
func (r *Rule) digest() string {
	b := fmt.Appendf(nil, "%t %t %v %t", r.Public, r.SignedIn, r.Fresh, r.FreshSilent)
	for _, l := range append([]Lists{r.lists(), r.Deny}, r.All...) {
		departments := slices.Sorted(slices.Values(l.Departments))
		b = fmt.Appendf(b, " | %d", slices.Compact(departments))
		for _, list := range [][]string{l.Roles, l.Users, l.Emails} {
			names := slices.Sorted(func(yield func(string) bool) {
				for _, name := range list {
					if !yield(strings.ToLower(name)) {
						return
					}
				}
			})
			b = fmt.Appendf(b, " %q", slices.Compact(names))
		}
		b = fmt.Appendf(b, " %v", l.Networks)
	}
	return string(b)
}

// ruleset is a compiled Rule.
type ruleset struct {
	public, signedIn bool
	any, deny        listset
	all              []listset
	fresh            time.Duration
	freshSilent      bool
	skipsSignIn      bool
}

// compile expects a Rule without faults.
func (r Rule) compile() ruleset {
	s := ruleset{
		public: r.Public, signedIn: r.SignedIn,
		any: r.lists().compile(), deny: r.Deny.compile(),
		fresh: r.Fresh, freshSilent: r.FreshSilent,
		skipsSignIn: r.SkipsSignIn(),
	}
	for _, entry := range r.All {
		s.all = append(s.all, entry.compile())
	}
	return s
}

// evaluate evaluates the route's rule: first what refuses, then what allows.
func (r *route) evaluate(q *query, i int) Decision {
	s, u := &r.rule, q.user
	if s.public {
		if u != nil || !q.target.Odd {
			return q.allow(i, rulePublic)
		}
		q.steps.add(i, "is public, but not for a path that is not written plainly")
		return Decision{SignIn, i, "", OddPath}
	}
	if d, refused := s.refuses(q, i); refused {
		return d
	}
	text := s.any.byNetwork(q, i)
	if text != "" && s.skipsSignIn {
		return q.allow(i, text)
	}
	if u == nil {
		q.steps.add(i, "requires a sign-in: no session")
		return Decision{SignIn, i, "", NotSignedIn}
	}
	if s.signedIn {
		text = "signed_in"
	}
	if text == "" {
		text = s.any.byPerson(q, i)
	}
	if text == "" && q.target.Granted != nil && q.target.Granted(i) {
		text = ruleGrant
	}
	if text == "" {
		q.steps.add(i, "names this person in no part of its rule")
		return Decision{Deny, i, "", NotAllowed}
	}
	if s.fresh > 0 && !s.isFresh(q, i) {
		return Decision{SignIn, i, "", NotFresh}
	}
	return q.allow(i, text)
}

func (q *query) allow(i int, text string) Decision {
	q.steps.add(i, text)
	return Decision{Allow, i, text, ""}
}

// refuses reports whether deny or all refuse. Without a session this is known only if it depends
// on the client alone.
func (s *ruleset) refuses(q *query, i int) (d Decision, refused bool) {
	if s.deny.given() {
		text := s.deny.network(q)
		if text == "" && len(s.deny.networks) > 0 && !q.target.Client.IsValid() {
			text = "networks: the client is unknown"
		}
		if text == "" && q.user != nil {
			if text = s.deny.person(q); text == "" && q.user.Cut && s.deny.memberships() {
				text = "the person's departments and roles do not fit into a session"
			}
		}
		if text != "" {
			q.steps.quote(i, "deny refuses: %s", text)
			return Decision{Deny, i, "", Denied}, true
		}
		q.steps.add(i, "deny: nothing in it applies")
	}
	for n := range s.all {
		entry := &s.all[n]
		text := entry.network(q)
		if text == "" && q.user != nil {
			text = entry.person(q)
		}
		switch {
		case text != "":
			q.steps.entry(i, "all[%d] holds: %s", n, text)
		case q.user != nil || !entry.people():
			q.steps.entry(i, "all[%d] does not hold", n, "")
			return Decision{Deny, i, "", NotAll}, true
		}
	}
	return d, false
}

// isFresh reports whether the sign-in is recent enough.
func (s *ruleset) isFresh(q *query, i int) bool {
	switch at := q.target.SignIn; {
	case !at.Known:
		q.steps.fresh(i, "fresh %v: it is unknown when the person signed in", s.fresh, 0)
	case at.Silent && !s.freshSilent:
		q.steps.fresh(i, "fresh %v: the sign-in was silent, which does not count", s.fresh, 0)
	case at.Age > s.fresh:
		q.steps.fresh(i, "fresh %v: the sign-in was %v ago", s.fresh, at.Age)
	default:
		q.steps.fresh(i, "fresh %v: the sign-in is recent enough", s.fresh, 0)
		return true
	}
	return false
}
