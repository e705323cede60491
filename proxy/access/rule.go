package access

import (
	"net/netip"
	"slices"
	"time"
)

// Rule says whom a route lets in. Deny refuses first; every entry of All must hold;
// then one listed thing, or SignedIn, lets in; a Fresh sign-in is asked for last. The
// zero value names nobody.
type Rule struct {
	Public   bool // everybody, signed in or not; nothing else counts then
	SignedIn bool // every member of the organisation

	// Departments by id; a department means all below it, through the ancestors
	// that the directory returns. An id that no longer exists names nobody.
	Departments []int64

	// Roles by exact name, or by id when the text is digits only: names repeat
	// across role groups, ids do not. A role whose name is digits only is
	// written by its id.
	Roles []string

	// Users by Username, as upstreams see it, or by UserID; letter case counts.
	// A text that is one person's username and another's userid names both.
	Users []string

	// Emails are addresses, or *@example.com for all whose address has exactly
	// that after its last @ (CVE-2026-40574); *@example.com is no subdomain.
	Emails []string

	// Networks let in by the address of the real client: without sign-in, unless
	// Fresh is set or All or Deny name more than networks; then they are one more way
	// to name a person. IPv4 within IPv6 counts as IPv4.
	Networks []netip.Prefix

	// All are conditions beside the lists above: of each entry one listed thing must
	// be true of the person or the client. An entry that lists nothing never holds.
	All []Lists

	// Deny refuses whom it lists, also somebody with a grant. A client whose address
	// is unknown counts as listed where it lists networks.
	Deny Lists

	// Fresh is how long ago the person may have signed in, by scan, click or password;
	// 0: at any time. FreshSilent has a silent sign-in count too.
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

// people reports whether more is listed than networks.
func (l *Lists) people() bool { return len(l.Departments)+len(l.Roles)+len(l.Users)+len(l.Emails) > 0 }

// NamesPeople reports whether the lists of the rule name more than networks.
func (r *Rule) NamesPeople() bool {
	lists := r.lists()
	return lists.people()
}

// SkipsSignIn reports whether the rule's networks let in without sign-in.
func (r *Rule) SkipsSignIn() bool {
	people := func(l Lists) bool { return l.people() }
	return len(r.Networks) > 0 && r.Fresh == 0 && !r.Deny.people() && !slices.ContainsFunc(r.All, people)
}

// ruleset is a Rule made ready for comparing.
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

// judge asks the route's rule: what refuses before what lets in.
func (r *route) judge(q *question, i int) Decision {
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
		q.steps.add(i, "asks who it is: nobody is signed in")
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

func (q *question) allow(i int, text string) Decision {
	q.steps.add(i, text)
	return Decision{Allow, i, text, ""}
}

// refuses reports whether deny or all keep out; of nobody it is known only where the
// client is.
func (s *ruleset) refuses(q *question, i int) (d Decision, refused bool) {
	if s.deny.given() {
		text := s.deny.network(q)
		if text == "" && len(s.deny.networks) > 0 && !q.target.Client.IsValid() {
			text = "networks: the client is unknown"
		}
		if text == "" && q.user != nil {
			if text = s.deny.person(q); text == "" && q.user.Cut && s.deny.memberships() {
				text = "the person's departments and roles are more than a session has room for"
			}
		}
		if text != "" {
			q.steps.quote(i, "deny refuses: %s", text)
			return Decision{Deny, i, "", Denied}, true
		}
		q.steps.add(i, "deny: nothing of it is true")
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
func (s *ruleset) isFresh(q *question, i int) bool {
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
