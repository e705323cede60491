package deploy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/headername"
)

// claimSpellings write a header name in ways that some application folds to the same name. Letters
// and digits stay, and the characters between them differ.
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

// claimNames returns all names that a client must not set. Unless byName is set, it adds one more
// name of each family, which a gateway that removes headers by prefix must also remove.
func claimNames(byName bool) []string {
	names := slices.Clone(headername.Names)
	if !byName {
		for _, prefix := range headername.Prefixes {
			names = append(names, strings.TrimSuffix(prefix, "-")+"-Anything")
		}
	}
	return names
}

// claims returns the header lines that claim an identity in each of the names in one spelling. The
// names are split into several requests because programs accept about a hundred headers per
// request.
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

// gatewayClaims checks that no claim of a client about itself or about another request reaches an
// application, on authorized pages and on public ones, and that no claim gives access (threats
// H16, H17).
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
				h.app.takeRequests()
				res := people[c.who].do(c.method, c.path, "", append(slices.Clone(lines), acceptHTML)...)
				got := h.app.takeRequests()
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

// claimsArrived reports the claims that an application received.
func claimsArrived(t *testing.T, what string, r receivedRequest) {
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

// gatewayPort checks that the application receives the host with the port, as the browser sent it.
// Without the port the application's links would be wrong.
func gatewayPort(t *testing.T, h *gatewayEnv, member *gatewayVisitor) {
	h.app.takeRequests()
	res := member.page("/a")
	got := h.app.takeRequests()
	if len(got) != 1 {
		t.Fatalf("GET /a = %d, the application got %d requests", res.StatusCode, len(got))
	}
	if forwarded := got[0].header.Get("X-Forwarded-Host"); got[0].host != h.addresses.public ||
		forwarded != h.addresses.public {
		t.Errorf("GET http://%s/a: the application got Host %q and X-Forwarded-Host %q", h.addresses.public,
			got[0].host, forwarded)
	}
}

// simulatedLeaks describes the names that a simulated gateway cannot remove, by the spelling.
// docs/gateways.md documents them.
var simulatedLeaks = map[string]func(name, spelling string) bool{
	"gateway api": func(name, spelling string) bool { // removes 16 names, in one spelling
		return strings.ContainsAny(spelling, "_.~!") || !slices.Contains(headername.Names[:16], name)
	},
	"higress": func(_, spelling string) bool { return strings.ContainsAny(spelling, ".~!") },
	"ingress-nginx": func(name, _ string) bool {
		return name == "X-Forwarded-For" || name == "X-Original-Forwarded-For"
	},
}

// TestSimulatedGatewayClaims makes the checks of gatewayClaims with the simulations. Envoy Gateway refuses
// names with _. ingress-nginx forwards a second description of the request to the authorization
// subrequest, which dinggate refuses.
func TestSimulatedGatewayClaims(t *testing.T) {
	env := newSimulatedEnv(t)
	all := env.gateways()
	env.startSession("zhaoliu")
	for _, s := range simulatedGateways(t) {
		for _, spelling := range claimSpellings {
			names := slices.DeleteFunc(claimNames(true), func(name string) bool {
				leaks := simulatedLeaks[s.name]
				return leaks != nil && leaks(name, spelling.name)
			})
			for _, lines := range claims(names, spelling.spell) {
				for _, c := range []browserRequest{
					{method: "GET", target: "/x", member: true},
					{method: "POST", target: "/x", member: true, body: "a=1"},
					{method: "GET", target: "/public/x"},
					{method: "GET", target: "/x"},
					{method: "GET", target: "/admin/", member: true},
				} {
					c.header = append(slices.Clone(lines), browserAccept)
					outcome := env.visit(all[s.name+"|"], c)
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
