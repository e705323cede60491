package identity

import (
	"slices"
	"strconv"
	"strings"
)

// Fields lists the fields that headers.request and headers.response can use.
var Fields = []string{"username", "email", "name", "groups", "roles", "departments", "userid", "unionid",
	"job_number", "access_token"}

// HeaderRule sets one header to the value of one field.
type HeaderRule struct {
	Name  string // canonical form, as http.CanonicalHeaderKey returns it
	Field string // one of Fields
}

// HeaderRules is an ordered list of rules; the zero value sets nothing.
type HeaderRules []HeaderRule

// Header is a header ready to be assigned: h[Name] = Value. Value has exactly one element and is
// shared between requests: read-only.
type Header struct {
	Name  string
	Value []string
}

// HeaderSet is rendered once per session and read on every request.
type HeaderSet struct {
	Request  []Header // for upstreams
	Response []Header // for gateways
}

// Render returns every rule's header with its value for u, empty if unknown: if a header were
// missing, a client's own copy could pass (GHSA-7r4p-vjf4-gxv4). If u is nil, every header is
// empty.
func (r HeaderRules) Render(u *User, t Token) []Header {
	out, values := make([]Header, len(r)), make([]string, len(r))
	for i, rule := range r {
		values[i] = value(rule.Field, u, t)
		out[i] = Header{rule.Name, values[i : i+1 : i+1]}
	}
	return out
}

// Bounds on the headers of one person (threats D8): longer lists are truncated, but rules use the
// whole list.
const (
	maxGroups     = 64
	maxListLength = 2048 // bytes, after encoding
)

func value(field string, u *User, t Token) string {
	if u == nil {
		return ""
	}
	switch field {
	case "username":
		return Encode(u.Username)
	case "email":
		return Encode(u.Email)
	case "name":
		return Encode(u.Name)
	case "groups", "roles":
		names := make([]string, len(u.Roles))
		for i, role := range u.Roles {
			names[i] = role.Name
		}
		return list(names)
	case "departments":
		ids := make([]string, len(u.Departments))
		for i, id := range u.Departments {
			ids[i] = strconv.FormatInt(id, 10)
		}
		return list(ids)
	case "userid":
		return Encode(u.UserID)
	case "unionid":
		return Encode(u.UnionID)
	case "job_number":
		return Encode(u.JobNumber)
	case "access_token":
		return Encode(t.Access)
	}
	return ""
}

// list joins with commas; an element that contains a comma is encoded, so that a comma in a role's
// name cannot add a group (threats H11).
func list(names []string) string {
	var b strings.Builder
	for i, name := range names {
		e := Encode(name)
		if strings.Contains(e, ",") {
			e = percentEncode(name)
		}
		if i == maxGroups || b.Len()+len(e) >= maxListLength {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(e)
	}
	return b.String()
}

// Encode makes text safe for a header. Printable ASCII without a `%` is unchanged; any other text
// is percent-encoded as UTF-8, except for the unreserved characters of RFC 3986 §2.3. So
// zhangsan@example.com is unchanged and 张三 is %E5%BC%A0%E4%B8%89; a CR LF cannot begin a
// second header, and one percent-decoding always restores the original.
func Encode(s string) string {
	if strings.TrimSpace(s) != s {
		return percentEncode(s)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f || s[i] == '%' {
			return percentEncode(s)
		}
	}
	return s
}

func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, 3*len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// NormalizeEmail converts an address to lower case. It returns "" for anything except a plain
// local@domain in ASCII: with two `@`, blanks, commas, brackets, a final dot, or similar letters
// (K, the Kelvin sign), a rule and an upstream could read two different people (CVE-2026-40574).
func NormalizeEmail(s string) string {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || len(s) > 254 || strings.HasSuffix(domain, ".") {
		return ""
	}
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`@,;:<>()[]"\`, r) }
	if strings.ContainsFunc(local, bad) || strings.ContainsFunc(domain, bad) {
		return ""
	}
	return strings.ToLower(s)
}

// RoleNames lists the names of a person's roles, for userinfo.
func (u *User) RoleNames() []string {
	names := make([]string, 0, len(u.Roles))
	for _, role := range u.Roles {
		if !slices.Contains(names, role.Name) {
			names = append(names, role.Name)
		}
	}
	return names
}
