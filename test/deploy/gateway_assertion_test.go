package deploy_test

import (
	"net/http"
	"strings"
	"testing"
)

// gatewayAssertion checks a script in a page that calls dinggate's endpoints through the gateway, with
// its visitor's cookie and arbitrary headers. dinggate trusts the gateway and responds, but the
// script must not be able to read the assertion that proves the person to an application (threats
// W14).
func gatewayAssertion(t *testing.T, h *gatewayEnv, member *gatewayVisitor) {
	const header = "X-Dinggate-Assertion"
	described := []string{"X-Original-Url: " + h.base + "/admin/", "X-Original-Method: GET", "X-Forwarded-Uri: /admin/",
		"X-Forwarded-Method: GET", "X-Forwarded-Host: " + strings.TrimPrefix(h.base, "http://"),
		"X-Forwarded-Proto: http"}
	direct, err := http.NewRequest(http.MethodGet, "http://"+h.addresses.dinggate+"/oauth2/auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range described { // the jar ignores ports: the cookie is sent
		name, value, _ := strings.Cut(line, ": ")
		direct.Header.Set(name, value)
	}
	// Otherwise there is no assertion to protect.
	if res := member.send(direct); res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get(header), "eyJ") {
		t.Fatalf("the gateway itself gets %d with %s: %.20q, want a token", res.StatusCode, header,
			res.Header.Get(header))
	}
	for _, endpoint := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/admin/",
		"/oauth2/ext-authz/", "/oauth2/userinfo", "/admin/", "/"} {
		for _, headers := range [][]string{nil, described, described[:2], described[2:4], {"X-Original-Uri: /admin/"},
			{"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"}} {
			if res := member.do("GET", endpoint, "", headers...); res.Header.Get(header) != "" ||
				strings.Contains(res.body, "eyJ") {
				t.Errorf("a script that requests %s with %q reads %s: %.20q", endpoint, headers, header,
					res.Header.Get(header))
			}
		}
	}
}
