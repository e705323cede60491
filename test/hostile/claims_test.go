package hostile

import (
	"fmt"
	"slices"
	"strings"

	"dinggate/internal/headername"
)

// claim is a request that claims an identity in some of the names of headername.
type claim struct {
	name  string // of the try
	lines []string
}

// requestClaims returns the requests of H16 and H17. In H16 each name is sent in its usual
// spelling, in lower case and in upper case. In H17 all names are sent in one spelling that some
// application reads as the usual one. The names are sent in groups because servers accept about a
// hundred headers.
func requestClaims(spellings []func(string) string) (list []claim) {
	for _, name := range headername.Names {
		c := claim{name: "H16 " + name}
		for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			c.lines = append(c.lines, spelled+": "+forged)
		}
		list = append(list, c)
	}
	mixed := func(s string) string { return strings.Replace(s, "-", "_", 1) }
	last := func(s string) string {
		at := max(strings.LastIndexByte(s, '-'), 0)
		return strings.ReplaceAll(s[:at], "-", "_") + s[at:]
	}
	dots := func(s string) string { return strings.Replace(mixed(s), "-", ".", 1) }
	for i, spell := range append(slices.Clone(spellings), mixed, last, dots) {
		for part := range slices.Chunk(headername.Names, 40) {
			c := claim{name: fmt.Sprintf("H17 spelling %d from %s on", i+1, spell(part[0]))}
			for _, name := range part {
				c.lines = append(c.lines, spell(name)+": "+forged)
			}
			list = append(list, c)
		}
	}
	return list
}

// ownClaims sends the claims to dinggate as the proxy.
func ownClaims() (list []try) {
	for _, c := range requestClaims(spellings) {
		for _, where := range []struct {
			target     string
			member, ws bool
		}{{"/page", false, false}, {"/page", true, false}, {"/public/page", false, false},
			{"/public/page", true, false}, {"/act/ws", true, true}} {
			list = append(list,
				try{fmt.Sprintf("%s, %s member %v", c.name, where.target, where.member), func(h *client) {
					forge(h, where.target, where.member, where.ws, c.lines)
				}})
		}
	}
	return list
}

// claims sends the requests through nginx. nginx drops names that contain characters other than
// letters, digits and dashes, and the configuration deletes the other names.
func (n *nginxGateway) claims() (list []try) {
	for _, c := range requestClaims([]func(string) string{spellings[3], spellings[4], spellings[8], spellings[10]}) {
		for _, where := range []struct {
			target string
			member bool
			status int
		}{{"/page", true, 200}, {"/public/a", false, 200}, {"/public/a", true, 200}, {"/page", false, 302},
			{"/admin/", true, 403}} {
			list = append(list,
				try{fmt.Sprintf("%s through nginx, %s member %v", c.name, where.target, where.member), func(h *client) {
					lines := append(slices.Clone(c.lines), "Accept: text/html")
					if where.member {
						lines = append(lines, h.member("zhangsan"))
					}
					a := h.send(request{
						to:         n.address,
						raw:        requestText("GET", where.target, h.id, lines...),
						authorized: where.status == 200,
					})
					seen := n.up.received(h.id)
					if a.status != where.status || (where.status == 200) != (len(seen) == 1) {
						h.failf("got %v, want %d", a, where.status)
					}
					for _, got := range seen {
						if strings.Contains(got.head, forged) {
							h.failf("a forged value arrived: %q", got.head)
						}
					}
				}})
		}
	}
	return list
}
