package deploy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/headername"
)

// claimSpellings write a header's name as some application reads it back:
// letters and digits stay, what is between them is its own affair.
var claimSpellings = []struct {
	name  string
	spell func(string) string
	may   bool // a gateway may also refuse the request
}{
	{"usual", func(s string) string { return s }, false},
	{"lower case", strings.ToLower, false},
	{"capitals", strings.ToUpper, false},
	{"_", func(s string) string { return strings.ReplaceAll(s, "-", "_") }, false},
	{".", func(s string) string { return strings.ReplaceAll(s, "-", ".") }, false},
	{"- and _", func(s string) string { return strings.Replace(s, "-", "_", 1) }, false},
	{"_ and -", func(s string) string {
		at := strings.LastIndexByte(s, '-')
		return strings.ReplaceAll(s[:max(at, 0)], "-", "_") + s[max(at, 0):]
	}, false},
	{"_ and .", func(s string) string { return strings.Replace(strings.ReplaceAll(s, "-", "."), ".", "_", 1) }, false},
	{"~", func(s string) string { return strings.ReplaceAll(s, "-", "~") }, true},
	{"!", func(s string) string { return s + "!" }, true},
	{"_ before", func(s string) string { return "_" + s }, true},
}

const claimed = "CLAIMED"

// claimNames are all names that no client may set, for a gateway that removes by
// prefix with one more of each family.
func claimNames(byName bool) []string {
	names := slices.Clone(headername.Names)
	if !byName {
		for _, prefix := range headername.Prefixes {
			names = append(names, strings.TrimSuffix(prefix, "-")+"-Anything")
		}
	}
	return names
}

// claims say something in each of the names in one spelling, some at a time:
// programs take about a hundred headers of a request.
func claims(names []string, spell func(string) string) (requests [][]string) {
	for names := range slices.Chunk(names, 40) {
		var lines []string
		for _, name := range names {
			lines = append(lines, spell(name)+": "+claimed+" /public/x 192.0.2.66")
		}
		requests = append(requests, lines)
	}
	return requests
}

// gatewayClaims: of all that a client says of itself or of another request
// nothing reaches an application, on pages it may see and on public ones, and
// none of it opens anything (threats H16, H17).
func gatewayClaims(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, s := range claimSpellings {
		for i, lines := range claims(claimNames(h.kind.byName), s.spell) {
			for _, c := range []struct {
				who, method, path string
				status            int
			}{
				{"zhangsan", "GET", "/a", 200},
				{"zhangsan", "POST", "/a", 200},
				{"", "GET", "/public/x", 200},
				{"wangwu", "GET", "/public/x", 200},
				{"", "GET", "/a", 302},
				{"zhaoliu", "GET", "/admin/x", 403},
				{"zhangsan", "GET", "/public/%2e%2e/%2e%2e/", 0},
			} {
				what := fmt.Sprintf("claims spelled with %s, part %d: %s %s by %q", s.name, i+1, c.method, c.path,
					c.who)
				h.app.took()
				res := people[c.who].do(c.method, c.path, "", append(slices.Clone(lines), gatewayPage)...)
				got := h.app.took()
				for _, r := range got {
					claimsArrived(t, what, r)
				}
				if s.may && res.StatusCode == http.StatusBadRequest && len(got) == 0 || c.status == 0 {
					continue
				}
				if res.StatusCode != c.status || (c.status == 200) != (len(got) == 1) {
					t.Errorf("%s = %d, the application got %d requests, want %d", what, res.StatusCode, len(got),
						c.status)
				} else if c.status == 200 {
					gatewayIdentity(t, h, what, got[0], gatewayPeople[c.who])
				}
			}
		}
	}
}

// claimsArrived reports what of the claims an application got.
func claimsArrived(t *testing.T, what string, r gatewayRequest) {
	t.Helper()
	var names []string
	for name, values := range r.header {
		if strings.Contains(strings.Join(values, "\n"), claimed) {
			names = append(names, name)
		}
	}
	if slices.Sort(names); len(names) > 0 {
		t.Errorf("%s: the application got the client's own %s", what, strings.Join(names, ", "))
	}
}

// gatewayPort: the application sees the host as the browser wrote it, with its
// port, without which its links lead elsewhere.
func gatewayPort(t *testing.T, h *gatewayEnv, member *gatewayVisitor) {
	h.app.took()
	res := member.page("/a")
	got := h.app.took()
	if len(got) != 1 {
		t.Fatalf("GET /a = %d, the application got %d requests", res.StatusCode, len(got))
	}
	if told := got[0].header.Get("X-Forwarded-Host"); got[0].host != h.site.public || told != h.site.public {
		t.Errorf("GET http://%s/a: the application got Host %q and X-Forwarded-Host %q", h.site.public, got[0].host,
			told)
	}
}

// standinLeaks is what a simulated gateway cannot remove, by the spelling;
// docs/gateways.md says so.
var standinLeaks = map[string]func(name, spelling string) bool{
	"gateway api": func(name, spelling string) bool { // takes 16 names, in one spelling
		return strings.ContainsAny(spelling, "_.~!") || !slices.Contains(headername.Names[:16], name)
	},
	"higress": func(_, spelling string) bool { return strings.ContainsAny(spelling, ".~!") },
	"ingress-nginx": func(name, _ string) bool {
		return name == "X-Forwarded-For" || name == "X-Original-Forwarded-For"
	},
}

// TestStandinClaims asks of the simulations what gatewayClaims asks of programs.
// Envoy Gateway refuses names with _; ingress-nginx hands another account of the
// request on to the question, which dinggate refuses.
func TestStandinClaims(t *testing.T) {
	town := newStandinTown(t)
	all := town.everywhere()
	town.enter("zhaoliu")
	for _, s := range standins(t) {
		for _, spelling := range claimSpellings {
			names := slices.DeleteFunc(claimNames(true), func(name string) bool {
				leaks := standinLeaks[s.name]
				return leaks != nil && leaks(name, spelling.name)
			})
			for _, lines := range claims(names, spelling.spell) {
				for _, c := range []standinCase{
					{method: "GET", target: "/x", member: true},
					{method: "POST", target: "/x", member: true, body: "a=1"},
					{method: "GET", target: "/public/x"},
					{method: "GET", target: "/x"},
					{method: "GET", target: "/admin/", member: true},
				} {
					c.header = append(slices.Clone(lines), standinHTML)
					outcome := town.visit(all[s.name+"|"], c)
					if claim := strings.Index(outcome, "forged"); claim >= 0 {
						t.Errorf("%s: %s %s with names spelled with %s: %s", s.name, c.method, c.target,
							spelling.name, outcome)
					}
					if open := c.member && c.target == "/x" || c.target == "/public/x"; !open &&
						strings.HasPrefix(outcome, "2") {
						t.Errorf("%s: %s %s with names spelled with %s = %s", s.name, c.method, c.target,
							spelling.name, outcome)
					} else if open && !strings.HasPrefix(outcome, "200") &&
						!(spelling.may || s.name == "envoy gateway" || s.name == "ingress-nginx") {
						t.Errorf("%s: %s %s with names spelled with %s = %s, want 200", s.name, c.method, c.target,
							spelling.name, outcome)
					}
				}
			}
		}
	}
}
