package deploy_test

import (
	"slices"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
)

// gatewaySignOut ends a session. A copy of its cookie must be invalid too.
func gatewaySignOut(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	copied := v.cookies()
	if res := v.page("/oauth2/sign_out"); res.StatusCode != 200 || !strings.Contains(res.body, "<form") {
		t.Errorf("GET /oauth2/sign_out = %d, want a confirmation page", res.StatusCode)
	}
	if res := v.page("/"); res.StatusCode != 200 {
		t.Errorf("GET / after the sign-out page was loaded = %d, want 200", res.StatusCode)
	}
	if res := v.do("POST", "/oauth2/sign_out", "", acceptHTML, "Sec-Fetch-Site: same-origin"); res.StatusCode != 303 {
		t.Errorf("POST /oauth2/sign_out = %d %s, want 303", res.StatusCode, res.body)
	}
	h.app.takeRequests()
	for _, headers := range [][]string{nil, {copied}} {
		if res := v.page("/", headers...); res.StatusCode != 302 || len(h.app.takeRequests()) > 0 {
			t.Errorf("GET / after the sign-out, with the old cookie %v = %d, want 302", headers != nil, res.StatusCode)
		}
	}
}

// gatewayRenewal adds a new cookie secret in first place. The old cookie stays valid. Browsers
// receive a cookie under the new secret if the gateway can forward it, and nothing may depend on
// that.
func gatewayRenewal(t *testing.T, h *gatewayEnv, v *gatewayVisitor, forwards bool) {
	old := v.cookies()
	h.startDinggate("DINGGATE_COOKIE_SECRETS=" + cookieSecret("new") + "," + cookieSecret("old"))
	res := v.page("/")
	cookies := slices.DeleteFunc(slices.Clone(res.Header["Set-Cookie"]), func(c string) bool {
		return c == "app=own; Path=/"
	})
	if res.StatusCode != 200 || (len(cookies) == 1) != forwards || len(cookies) > 1 ||
		forwards && !strings.HasPrefix(cookies[0], "dinggate=") {
		t.Errorf("GET / after a change of secrets = %d with our cookies %q, want 200, renewed %v", res.StatusCode,
			cookies, forwards)
	}
	if renewed := v.cookies() != old; renewed != forwards {
		t.Errorf("the browser's cookie changed: %v, want %v", renewed, forwards)
	}
	if res := v.page("/"); res.StatusCode != 200 {
		t.Errorf("GET / with the newest cookie = %d, want 200", res.StatusCode)
	}
	if !forwards {
		return
	}
	// Only a cookie under the new secret stays valid after the old secret is removed.
	h.startDinggate("DINGGATE_COOKIE_SECRETS=" + cookieSecret("new"))
	if res := v.page("/"); res.StatusCode != 200 {
		t.Errorf("GET / without the old secret = %d, want 200", res.StatusCode)
	}
}

// gatewayDingTalkDown makes every membership overdue while DingTalk is unavailable. No person gets
// access, and no person is redirected to a sign-in, which would fail too.
func gatewayDingTalkDown(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	h.platform.Fault(simulator.Fault{Do: simulator.Status(503)})
	defer h.platform.ClearFaults()
	h.startDinggate("DINGGATE_COOKIE_SECRETS="+cookieSecret("new")+","+cookieSecret("old"),
		"DINGGATE_SESSION_RECHECK=1ms", "DINGGATE_SESSION_GRACE=0s")
	h.app.takeRequests()
	if res := v.page("/"); res.StatusCode != 503 || !strings.Contains(res.body, "<html") || len(h.app.takeRequests()) > 0 {
		t.Errorf("GET / by a person whose membership cannot be confirmed = %d %.200q, want 503 with the page", res.StatusCode,
			res.body)
	}
	if res := v.do("POST", "/", "x", "Accept: application/json"); res.StatusCode != 503 ||
		!strings.Contains(res.body, `"error"`) || len(h.app.takeRequests()) > 0 {
		t.Errorf("POST / by a person whose membership cannot be confirmed = %d %.200q, want 503 with JSON", res.StatusCode, res.body)
	}
	if res := v.page("/public/x"); res.StatusCode != 200 || len(h.app.takeRequests()) != 1 {
		t.Errorf("GET /public/x meanwhile = %d, want 200", res.StatusCode)
	}
}

// gatewayDinggateDown stops dinggate. Every page is refused, including public pages, because only dinggate
// knows which pages are public.
func gatewayDinggateDown(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	h.dinggate.end()
	h.app.takeRequests()
	for _, c := range [][2]string{{"GET", "/"}, {"POST", "/a"}, {"GET", "/public/x"}, {"GET", "/oauth2/start"}} {
		res := v.do(c[0], c[1], "", append([]string{acceptHTML}, forgedIdentity...)...)
		if got := h.app.takeRequests(); res.StatusCode < 500 || len(got) > 0 {
			t.Errorf("%s %s without dinggate = %d, the application got %v, want 5xx and nothing", c[0], c[1],
				res.StatusCode, got)
		}
	}
}
