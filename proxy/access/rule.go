package access

import (
	"net/netip"
	"strconv"
	"strings"

	"dinggate/internal/identity"
)

// Rule says whom a route lets in: any one of the listed things is enough, and
// there is nothing that takes back. The zero value names nobody.
type Rule struct {
	Public   bool // everybody, signed in or not
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

	// Networks let in without sign-in, by the address of the real client.
	// IPv4 within IPv6 counts as IPv4.
	Networks []netip.Prefix
}

// ruleset is a Rule as sets: element → the text that Decision.Rule shows.
type ruleset struct {
	public, signedIn bool
	departments      map[int64]string
	roleIDs          map[int64]string
	roleNames        map[string]string
	users            map[string]string
	emails, domains  map[string]string
	networks         []network
}

type network struct {
	prefix netip.Prefix
	text   string
}

// compile expects a Rule without faults.
func (r Rule) compile() ruleset {
	s := ruleset{
		public: r.Public, signedIn: r.SignedIn,
		departments: map[int64]string{}, roleIDs: map[int64]string{},
		roleNames: map[string]string{}, users: map[string]string{},
		emails: map[string]string{}, domains: map[string]string{},
	}
	for _, id := range r.Departments {
		s.departments[id] = "departments " + strconv.FormatInt(id, 10)
	}
	for _, role := range r.Roles {
		if id, ok := parseID(role); ok {
			s.roleIDs[id] = "roles " + role
		} else {
			s.roleNames[role] = "roles " + role
		}
	}
	for _, name := range r.Users {
		s.users[name] = "users " + name
	}
	for _, email := range r.Emails {
		if domain, all := strings.CutPrefix(strings.ToLower(email), "*@"); all {
			s.domains[domain] = "emails " + email
		} else {
			s.emails[identity.NormalizeEmail(email)] = "emails " + email
		}
	}
	for _, prefix := range r.Networks {
		s.networks = append(s.networks, network{prefix, "networks " + prefix.String()})
	}
	return s
}

// judge asks the route's rule, cheapest part first.
func (r *route) judge(q *question, i int) Decision {
	s, u := &r.rule, q.user
	if s.public {
		if u != nil || !q.target.Odd {
			return q.allow(i, rulePublic)
		}
		q.steps.add(i, "is public, but not for a path that is not written plainly")
		return Decision{SignIn, i, "", OddPath}
	}
	if text := s.byNetwork(q, i); text != "" {
		return q.allow(i, text)
	}
	if u == nil {
		q.steps.add(i, "asks who it is: nobody is signed in")
		return Decision{SignIn, i, "", NotSignedIn}
	}
	if s.signedIn {
		return q.allow(i, "signed_in")
	}
	text := s.byDepartment(q, i)
	if text == "" {
		text = s.byRole(q, i)
	}
	if text == "" {
		text = s.byUser(q, i)
	}
	if text == "" {
		text = s.byEmail(q, i)
	}
	if text != "" {
		return q.allow(i, text)
	}
	q.steps.add(i, "names this person in no part of its rule")
	return Decision{Deny, i, "", NotAllowed}
}

func (q *question) allow(i int, text string) Decision {
	q.steps.add(i, text)
	return Decision{Allow, i, text, ""}
}

func (s *ruleset) byNetwork(q *question, i int) string {
	if len(s.networks) == 0 {
		return ""
	}
	if q.target.Odd || q.target.Unknown {
		q.steps.add(i, "networks: not asked for such a path")
		return ""
	}
	client := q.target.Client.Unmap()
	for _, n := range s.networks {
		if n.prefix.Contains(client) {
			return n.text
		}
	}
	q.steps.add(i, "networks: the client is in none")
	return ""
}

func (s *ruleset) byDepartment(q *question, i int) string {
	if len(s.departments) == 0 {
		return ""
	}
	for _, ids := range [...][]int64{q.user.Departments, q.user.Ancestors} {
		for _, id := range ids {
			if text, ok := s.departments[id]; ok {
				return text
			}
		}
	}
	q.steps.add(i, "departments: the person is in none of them, nor below")
	return ""
}

func (s *ruleset) byRole(q *question, i int) string {
	if len(s.roleIDs)+len(s.roleNames) == 0 {
		return ""
	}
	for _, role := range q.user.Roles {
		if text, ok := s.roleIDs[role.ID]; ok {
			return text
		}
		if text, ok := s.roleNames[role.Name]; ok {
			return text
		}
	}
	q.steps.add(i, "roles: the person has none of them")
	return ""
}

func (s *ruleset) byUser(q *question, i int) string {
	if len(s.users) == 0 {
		return ""
	}
	if text, ok := s.users[q.user.Username]; ok {
		return text
	}
	if text, ok := s.users[q.user.UserID]; ok {
		return text
	}
	q.steps.add(i, "users: the person is none of them")
	return ""
}

func (s *ruleset) byEmail(q *question, i int) string {
	if len(s.emails)+len(s.domains) == 0 {
		return ""
	}
	email := q.user.Email
	if text, ok := s.emails[email]; ok {
		return text
	}
	if at := strings.LastIndexByte(email, '@'); at > 0 {
		if text, ok := s.domains[email[at+1:]]; ok {
			return text
		}
	}
	q.steps.add(i, "emails: the person's is none of them")
	return ""
}

// parseID reads a positive id in its one plain spelling.
func parseID(s string) (int64, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id > 0 && strconv.FormatInt(id, 10) == s
}
