package access

import (
	"net/netip"
	"strconv"
	"strings"

	"dinggate/internal/identity"
)

// listset is a Lists as sets: element → the text of Decision.Rule.
type listset struct {
	departments     map[int64]string
	roleIDs         map[int64]string
	roleNames       map[string]string
	users           map[string]string
	emails, domains map[string]string
	networks        []network
}

type network struct {
	prefix netip.Prefix
	text   string
}

// compile expects lists without faults.
func (l Lists) compile() listset {
	s := listset{
		departments: map[int64]string{}, roleIDs: map[int64]string{},
		roleNames: map[string]string{}, users: map[string]string{},
		emails: map[string]string{}, domains: map[string]string{},
	}
	for _, id := range l.Departments {
		s.departments[id] = "departments " + strconv.FormatInt(id, 10)
	}
	for _, role := range l.Roles {
		if id, ok := parseID(role); ok {
			s.roleIDs[id] = "roles " + role
		} else {
			s.roleNames[role] = "roles " + role
		}
	}
	for _, name := range l.Users {
		s.users[name] = "users " + name
	}
	for _, email := range l.Emails {
		if domain, all := strings.CutPrefix(strings.ToLower(email), "*@"); all {
			s.domains[domain] = "emails " + email
		} else {
			s.emails[identity.NormalizeEmail(email)] = "emails " + email
		}
	}
	for _, prefix := range l.Networks {
		s.networks = append(s.networks, network{prefix, "networks " + prefix.String()})
	}
	return s
}

func (s *listset) given() bool { return s.people() || len(s.networks) > 0 }

// people reports whether the lists contain more than networks.
func (s *listset) people() bool {
	return len(s.departments)+len(s.roleIDs)+len(s.roleNames)+len(s.users)+len(s.emails)+len(s.domains) > 0
}

// memberships reports whether the lists contain departments or roles.
func (s *listset) memberships() bool { return len(s.departments)+len(s.roleIDs)+len(s.roleNames) > 0 }

// network is the entry that contains the client's address, or "".
func (s *listset) network(q *query) string {
	client := q.target.Client.Unmap()
	for _, n := range s.networks {
		if n.prefix.Contains(client) {
			return n.text
		}
	}
	return ""
}

// person is the entry that names the person, who is not nil, or "".
func (s *listset) person(q *query) string {
	if text := s.department(q); text != "" {
		return text
	}
	if text := s.role(q); text != "" {
		return text
	}
	if text := s.user(q); text != "" {
		return text
	}
	return s.email(q)
}

// byNetwork is network if an address may allow access.
func (s *listset) byNetwork(q *query, i int) string {
	if len(s.networks) == 0 {
		return ""
	}
	if q.target.Odd || q.target.Unknown {
		q.steps.add(i, "networks: not used for such a path")
		return ""
	}
	text := s.network(q)
	if text == "" {
		q.steps.add(i, "networks: the client is in none")
	}
	return text
}

// byPerson is person, and records each list that does not name the person.
func (s *listset) byPerson(q *query, i int) string {
	text := s.department(q)
	if text == "" && len(s.departments) > 0 {
		q.steps.add(i, "departments: the person is in none of them, nor below")
	}
	if text == "" {
		if text = s.role(q); text == "" && len(s.roleIDs)+len(s.roleNames) > 0 {
			q.steps.add(i, "roles: the person has none of them")
		}
	}
	if text == "" {
		if text = s.user(q); text == "" && len(s.users) > 0 {
			q.steps.add(i, "users: the person is none of them")
		}
	}
	if text == "" {
		if text = s.email(q); text == "" && len(s.emails)+len(s.domains) > 0 {
			q.steps.add(i, "emails: the person's is none of them")
		}
	}
	return text
}

func (s *listset) department(q *query) string {
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
	return ""
}

func (s *listset) role(q *query) string {
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
	return ""
}

func (s *listset) user(q *query) string {
	if len(s.users) == 0 {
		return ""
	}
	if text, ok := s.users[q.user.Username]; ok {
		return text
	}
	return s.users[q.user.UserID]
}

func (s *listset) email(q *query) string {
	if len(s.emails)+len(s.domains) == 0 {
		return ""
	}
	email := q.user.Email
	if text, ok := s.emails[email]; ok {
		return text
	}
	if at := strings.LastIndexByte(email, '@'); at > 0 {
		return s.domains[email[at+1:]]
	}
	return ""
}

// parseID parses a positive id in its canonical spelling.
func parseID(s string) (int64, bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id > 0 && strconv.FormatInt(id, 10) == s
}
