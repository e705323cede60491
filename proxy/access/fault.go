package access

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"dinggate/internal/identity"
)

// fault is what is wrong with one part of a route. The text reads on after the
// part's name: "path" + `is "admin"; it begins with "/"`.
type fault struct {
	part, text string
	warning    bool
}

// faults lists what New refuses, and warnings for what is rarely meant.
func (r Route) faults() []fault {
	var all []fault
	add := func(part, text string) {
		if text != "" {
			all = append(all, fault{part: part, text: text})
		}
	}
	add("path", pathFault(r.Path))
	add("host", hostFault(r.Host))
	for _, m := range r.Methods {
		add("methods", methodFault(m))
	}
	for _, id := range r.Rule.Departments {
		if id < 1 {
			add("access.departments", fmt.Sprintf("has %d, which is no department's id", id))
		}
	}
	for _, role := range r.Rule.Roles {
		add("access.roles", roleFault(role))
		all = append(all, fullWidth("access.roles", role)...)
	}
	for _, user := range r.Rule.Users {
		add("access.users", nameFault(user))
		all = append(all, fullWidth("access.users", user)...)
	}
	for _, email := range r.Rule.Emails {
		add("access.emails", emailFault(email))
	}
	for _, network := range r.Rule.Networks {
		add("access.networks", networkFault(network))
		if network.IsValid() && network.Bits() == 0 {
			all = append(all, fault{"access.networks", fmt.Sprintf("has %v, which is everybody", network), true})
		}
	}
	return all
}

// pathFault wants a path as internal/web makes it, or nothing would ever equal it.
// Braces and stars are refused because nothing here is a pattern (threats L6).
func pathFault(s string) string {
	switch i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`{}*%\;?#`, r) }); {
	case s == "":
		return `is missing; "/" is everything`
	case s[0] != '/':
		return fmt.Sprintf(`is %q; it begins with "/"`, s)
	case i >= 0 && strings.IndexByte("{}*", s[i]) >= 0:
		return fmt.Sprintf(`is %q; there are no patterns, "/admin/" is everything below /admin`, s)
	case i >= 0 && s[i] == '%':
		return fmt.Sprintf("is %q; write it decoded", s)
	case i >= 0:
		return fmt.Sprintf("is %q; %q can not be in it", s, s[i])
	case !utf8.ValidString(s):
		return fmt.Sprintf("is %q, which is not UTF-8", s)
	case strings.Contains(s, "//"):
		return fmt.Sprintf("is %q; write one slash for two", s)
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return fmt.Sprintf("is %q; write it without %q", s, segment)
		}
	}
	return ""
}

func hostFault(s string) string {
	if s == "" {
		return ""
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]"
	if bad := strings.Trim(s, letters); bad != "" {
		return fmt.Sprintf("is %q; it is one host name in ASCII, no URL and no pattern (中文.cn is xn--fiq228c.cn)", s)
	}
	host, port := splitHost(strings.ToLower(s))
	plain := host
	if port != "" {
		plain += ":" + port
	}
	n, err := strconv.Atoi(port)
	switch {
	case port != "" && (err != nil || n < 1 || n > math.MaxUint16):
		return fmt.Sprintf("is %q, whose port is not 1 to 65535", s)
	case n == 80 || n == 443:
		return fmt.Sprintf("is %q; browsers leave this port out, so write %q", s, host)
	case strings.ToLower(s) != plain:
		return fmt.Sprintf("is %q; write %q", s, plain)
	case strings.HasPrefix(host, "["):
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || "["+addr.String()+"]" != host || addr.Is4() {
			return fmt.Sprintf("is %q, which is no plain IPv6 address in brackets", s)
		}
	case strings.ContainsAny(host, "[]:") || slices.Contains(strings.Split(host, "."), "") || len(host) > 253:
		return fmt.Sprintf("is %q, which is no host name", s)
	}
	return ""
}

func methodFault(s string) string {
	switch {
	case !isMethod(s):
		return fmt.Sprintf("has %q; a method is written in capitals, as in GET", s)
	case s == "TRACE" || s == "TRACK" || s == "CONNECT": // the doors answer 405 (threats P11)
		return fmt.Sprintf("has %s, which is never let through", s)
	}
	return ""
}

func nameFault(s string) string {
	if s == "" || strings.TrimSpace(s) != s {
		return fmt.Sprintf("has %q; write a name without blanks around it", s)
	}
	return ""
}

// fullWidth warns of what a Chinese input method writes for a comma or a quote: to
// YAML it is part of a name, and [zhangsan，lisi] is one person, whom nobody is.
func fullWidth(part, name string) []fault {
	i := strings.IndexAny(name, "，、；“”‘’")
	if i < 0 {
		return nil
	}
	mark, _ := utf8.DecodeRuneInString(name[i:])
	return []fault{{part, fmt.Sprintf("has %q with the full-width %q, which is part of the name; between two names write , and a space", name, string(mark)), true}}
}

func roleFault(s string) string {
	if _, ok := parseID(s); !ok && s != "" && strings.Trim(s, "0123456789") == "" {
		return fmt.Sprintf("has %q; digits alone are a role's id, which has no zeros in front", s)
	}
	return nameFault(s)
}

func emailFault(s string) string {
	whole := s
	if domain, all := strings.CutPrefix(s, "*@"); all {
		whole = "x@" + domain
	}
	switch {
	case strings.Count(s, "@") > 1:
		return fmt.Sprintf("has %q, with more than one @", s)
	case strings.Contains(whole, "*"), strings.HasPrefix(s, "@"):
		return fmt.Sprintf("has %q; a whole domain is written *@example.com", s)
	case identity.NormalizeEmail(whole) == "":
		return fmt.Sprintf("has %q, which is no address", s)
	}
	return ""
}

func networkFault(n netip.Prefix) string {
	switch {
	case !n.IsValid():
		return "has a network that is none"
	case n.Addr().Is4In6():
		return fmt.Sprintf("has %v; write the IPv4 network itself", n)
	case n != n.Masked():
		return fmt.Sprintf("has %v; write %v", n, n.Masked())
	}
	return ""
}
