package deploy_test

import (
	"net/http"
	"strings"
	"testing"
)

// gatewayProof: a page's script asks dinggate's endpoints by the gateway, with its
// visitor's cookie and whatever it likes to say. dinggate believes the gateway and
// answers it; the script does not get to read what proves the person to an
// application (threats W14).
func gatewayProof(t *testing.T, h *gatewayEnv, member *gatewayVisitor) {
	const header = "X-Dinggate-Assertion"
	told := []string{"X-Original-Url: " + h.base + "/admin/", "X-Original-Method: GET", "X-Forwarded-Uri: /admin/",
		"X-Forwarded-Method: GET", "X-Forwarded-Host: " + strings.TrimPrefix(h.base, "http://"),
		"X-Forwarded-Proto: http"}
	direct, err := http.NewRequest(http.MethodGet, "http://"+h.site.gate+"/oauth2/auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range told { // the jar knows no ports: the cookie comes along
		name, value, _ := strings.Cut(line, ": ")
		direct.Header.Set(name, value)
	}
	// or there is nothing to keep back
	if res := member.send(direct); res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get(header), "eyJ") {
		t.Fatalf("the gateway itself is answered %d with %s: %.20q, want a token", res.StatusCode, header,
			res.Header.Get(header))
	}
	for _, endpoint := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/admin/",
		"/oauth2/ext-authz/", "/oauth2/userinfo", "/admin/", "/"} {
		for _, headers := range [][]string{nil, told, told[:2], told[2:4], {"X-Original-Uri: /admin/"},
			{"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"}} {
			if res := member.do("GET", endpoint, "", headers...); res.Header.Get(header) != "" ||
				strings.Contains(res.body, "eyJ") {
				t.Errorf("a script that asks %s with %q reads %s: %.20q", endpoint, headers, header,
					res.Header.Get(header))
			}
		}
	}
}
