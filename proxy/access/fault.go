package access

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
)

// fault is a mistake in one part of a route. The text continues after the part's name: "path" +
// `is "admin"; it must begin with "/"`.
type fault struct {
	part    string
	text    conf.Text
	warning bool
}

// faults lists the mistakes that New refuses, and warnings of settings that are rarely intended.
func (r Route) faults() []fault {
	var all []fault
	add := func(part string, text conf.Text) {
		if !text.IsZero() {
			all = append(all, fault{part: part, text: text})
		}
	}
	add("path", pathFault(r.Path))
	add("host", hostFault(r.Host))
	for _, m := range r.Methods {
		add("methods", methodFault(m))
	}
	all = append(all, r.Rule.lists().faults("access")...)
	for i := range r.Rule.All {
		part := fmt.Sprintf("access.all[%d]", i)
		if !r.Rule.All[i].people() && len(r.Rule.All[i].Networks) == 0 {
			add(part, conf.Textf("is empty, so no user would be allowed; write lists such as {roles: [主管]}"))
		}
		all = append(all, r.Rule.All[i].faults(part)...)
	}
	all = append(all, r.Rule.Deny.faults("access.deny")...)
	if r.Rule.Fresh < 0 {
		add("access.fresh", conf.Textf("is negative"))
	}
	if r.Rule.FreshSilent && r.Rule.Fresh == 0 {
		add("access.fresh_silent", conf.Textf("is true without fresh"))
	}
	if len(r.Rule.Networks) > 0 && !r.Rule.SkipsSignIn() {
		all = append(all, fault{"access.networks", conf.Textf("do not skip the sign-in here, because fresh is set, or all " +
			"or deny contain users: clients in these networks are allowed after a sign-in"), true})
	}
	return all
}

// faults lists the mistakes in lists; part is the name of the lists.
func (l Lists) faults(part string) []fault {
	var all []fault
	add := func(name string, text conf.Text) {
		if !text.IsZero() {
			all = append(all, fault{part: part + name, text: text})
		}
	}
	for _, id := range l.Departments {
		if id < 1 {
			add(".departments", conf.Textf("has %d, which is not a department id", id))
		}
	}
	for _, role := range l.Roles {
		add(".roles", roleFault(role))
		all = append(all, fullWidth(part+".roles", role)...)
	}
	for _, user := range l.Users {
		add(".users", nameFault(user))
		all = append(all, fullWidth(part+".users", user)...)
	}
	for _, email := range l.Emails {
		add(".emails", emailFault(email))
	}
	for _, network := range l.Networks {
		add(".networks", networkFault(network))
		if network.IsValid() && network.Bits() == 0 {
			all = append(all, fault{part + ".networks", conf.Textf("has %v, which includes all addresses", network), true})
		}
	}
	return all
}

// pathFault requires a path as internal/web produces it, since no other would ever match. Braces
// and stars are refused because a path is no pattern (threats L6).
func pathFault(s string) conf.Text {
	switch i := strings.IndexFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || strings.ContainsRune(`{}*%\;?#`, r)
	}); {
	case s == "":
		return conf.Textf(`is missing; "/" matches every path`)
	case s[0] != '/':
		return conf.Textf(`is %q; it must begin with "/"`, s)
	case i >= 0 && strings.IndexByte("{}*", s[i]) >= 0:
		return conf.Textf(`is %q; patterns are not supported, "/admin/" matches every path below /admin`, s)
	case i >= 0 && s[i] == '%':
		return conf.Textf("is %q; write it in decoded form", s)
	case i >= 0:
		return conf.Textf("is %q; it must not contain %q", s, s[i])
	case !utf8.ValidString(s):
		return conf.Textf("is %q, which is not UTF-8", s)
	case strings.Contains(s, "//"):
		return conf.Textf("is %q; write one slash for two", s)
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return conf.Textf("is %q; write it without %q", s, segment)
		}
	}
	return conf.Text{}
}

func hostFault(s string) conf.Text {
	if s == "" {
		return conf.Text{}
	}
	name, wild := strings.CutPrefix(s, "*.")
	if wild && (strings.ContainsAny(name, "*[]") || !strings.Contains(strings.Trim(name, "."), ".") || isIPv4(name)) {
		return conf.Textf("is %q; a star may only be the whole first label, as in *.apps.example.com, "+
			"followed by at least two labels", s)
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]"
	if bad := strings.Trim(name, letters); bad != "" {
		return conf.Textf("is %q; it must be one host name in ASCII, or *. and a host name, "+
			"not a URL (中文.cn is xn--fiq228c.cn)", s)
	}
	host, port := splitHost(strings.ToLower(s))
	plain := host
	if port != "" {
		plain += ":" + port
	}
	n, err := strconv.Atoi(port)
	switch {
	case port != "" && (err != nil || n < 1 || n > math.MaxUint16):
		return conf.Textf("is %q, whose port is not 1 to 65535", s)
	case n == 80 || n == 443:
		return conf.Textf("is %q; browsers omit this port, so write %q", s, host)
	case strings.ToLower(s) != plain:
		return conf.Textf("is %q; write %q", s, plain)
	case strings.HasPrefix(host, "["):
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || "["+addr.String()+"]" != host || addr.Is4() {
			return conf.Textf("is %q, which is not a plain IPv6 address in brackets", s)
		}
	case strings.ContainsAny(host, "[]:") || slices.Contains(strings.Split(host, "."), "") || len(host) > 253:
		return conf.Textf("is %q, which is not a host name", s)
	}
	return conf.Text{}
}

func isIPv4(host string) bool {
	name, _ := splitHost(host)
	_, err := netip.ParseAddr(name)
	return err == nil
}

func methodFault(s string) conf.Text {
	switch {
	case !isMethod(s):
		return conf.Textf("has %q; a method is written in capitals, as in GET", s)
	case s == "TRACE" || s == "TRACK" || s == "CONNECT": // the handlers answer 405 (threats P11)
		return conf.Textf("has %s, which is never forwarded", s)
	}
	return conf.Text{}
}

func nameFault(s string) conf.Text {
	if s == "" || strings.TrimSpace(s) != s {
		return conf.Textf("has %q; write the name without spaces around it", s)
	}
	return conf.Text{}
}

// fullWidth warns of the characters that a Chinese input method writes for a comma or a quote:
// YAML reads them as part of a name, so that [zhangsan，lisi] is one name, which no person has.
func fullWidth(part, name string) []fault {
	i := strings.IndexAny(name, "，、；“”‘’")
	if i < 0 {
		return nil
	}
	mark, _ := utf8.DecodeRuneInString(name[i:])
	return []fault{{part,
		conf.Textf("has %q with the full-width %q, which is part of the name; between two names write , and a space",
			name, string(mark)), true}}
}

func roleFault(s string) conf.Text {
	if _, ok := parseID(s); !ok && s != "" && strings.Trim(s, "0123456789") == "" {
		return conf.Textf("has %q; digits alone are a role id, which has no leading zeros", s)
	}
	return nameFault(s)
}

func emailFault(s string) conf.Text {
	whole := s
	if domain, all := strings.CutPrefix(s, "*@"); all {
		whole = "x@" + domain
	}
	switch {
	case strings.Count(s, "@") > 1:
		return conf.Textf("has %q, with more than one @", s)
	case strings.Contains(whole, "*"), strings.HasPrefix(s, "@"):
		return conf.Textf("has %q; a whole domain is written *@example.com", s)
	case identity.NormalizeEmail(whole) == "":
		return conf.Textf("has %q, which is not an e-mail address", s)
	}
	return conf.Text{}
}

func networkFault(n netip.Prefix) conf.Text {
	switch {
	case !n.IsValid():
		return conf.Textf("has an invalid network")
	case n.Addr().Is4In6():
		return conf.Textf("has %v; write the IPv4 network itself", n)
	case n != n.Masked():
		return conf.Textf("has %v; write %v", n, n.Masked())
	}
	return conf.Text{}
}
