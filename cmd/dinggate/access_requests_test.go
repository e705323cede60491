package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/proxy/accessrequest"
)

// askable lets people whom /admin/ refuses ask 李四, and their own manager.
func askable(c *config.Config) {
	c.AccessRequests.AgentID = simulator.DemoAgentID
	for i := range c.Routes {
		if c.Routes[i].Path == "/admin/" {
			c.Routes[i].Request = &accessrequest.RouteConfig{
				Approvers: accessrequest.ApproversConfig{Users: []string{"lisi"}, Manager: true},
			}
		}
	}
}

const formType = "Content-Type: application/x-www-form-urlencoded"

func (v *visitor) submit(address string, fields url.Values, headers ...string) answer {
	v.t.Helper()
	return v.do(http.MethodPost, address, fields.Encode(), append([]string{formType}, headers...)...)
}

// From the 403 page to the page first asked for, and back when it is taken back.
func TestAccessRequest(t *testing.T) {
	h := newTestEnv(t, func(c *config.Config) {
		askable(c)
		c.Assertion.Enabled = true
	})
	requester, approver, stranger := h.visitor(), h.visitor(), h.visitor()
	const wanted = "/admin/reports?month=11"
	requester.signIn(h.base+"/", "zhaoliu")
	refused := requester.get(h.base + wanted)
	form := "/oauth2/requests?rd=" + url.QueryEscape(wanted)
	if refused.StatusCode != http.StatusForbidden || !strings.Contains(refused.body, `href="`+h.base+form+`"`) {
		t.Fatalf("403 page = %d, no way to ask:\n%s", refused.StatusCode, refused.body)
	}
	if a := requester.get(h.base + form); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `name="reason"`) {
		t.Fatalf("form = %d %s", a.StatusCode, a.body)
	}
	ask := url.Values{"rd": {wanted}, "reason": {"[urgent](http://evil.example) <b>logs</b>"}, "for": {"1h0m0s"}}
	if a := requester.submit(h.base+"/oauth2/requests", ask, "Sec-Fetch-Site: cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign form = %d (threats G1)", a.StatusCode)
	}
	for name, bad := range map[string]url.Values{
		"no reason":     {"rd": {wanted}, "for": {"1h0m0s"}},
		"too long":      {"rd": {wanted}, "for": {"9h0m0s"}, "reason": {"x"}},
		"a long reason": {"rd": {wanted}, "for": {"1h0m0s"}, "reason": {strings.Repeat("x", 201)}},
	} {
		if a := requester.submit(h.base+"/oauth2/requests", bad); a.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s = %d", name, a.StatusCode)
		}
	}
	a := requester.submit(h.base+"/oauth2/requests", ask, "Sec-Fetch-Site: same-origin")
	page := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(page, "/oauth2/requests/") {
		t.Fatalf("asking = %d to %q %s", a.StatusCode, page, a.body)
	}
	waiting := requester.get(h.base + page)
	if waiting.Header.Get("Refresh") != "2" || strings.Contains(waiting.body, "<b>logs") ||
		!strings.Contains(waiting.body, "&lt;b&gt;logs") || strings.Contains(waiting.body, `name="decision"`) {
		t.Errorf("the page that waits = %d %q %s", waiting.StatusCode, waiting.Header.Get("Refresh"), waiting.body)
	}
	if again := requester.submit(h.base+"/oauth2/requests", ask); again.Header.Get("Location") != page {
		t.Errorf("asking again leads to %q, want %q", again.Header.Get("Location"), page)
	}

	inbox := h.platform.Inbox("lisi")
	if len(inbox) != 1 || inbox[0].URL != h.base+page || strings.ContainsAny(inbox[0].Markdown, "[]<>()") ||
		!strings.Contains(inbox[0].Markdown, "赵六") || !strings.Contains(inbox[0].Markdown, "人力资源部") {
		t.Fatalf("李四's inbox = %+v", inbox)
	}
	stranger.signIn(h.base+"/", "wangwu")
	if a := stranger.get(h.base + page); a.StatusCode != http.StatusNotFound {
		t.Errorf("a stranger finds the request: %d (threats G6)", a.StatusCode)
	}
	yes := url.Values{"decision": {"approve"}, "word": {"好的"}}
	for name, v := range map[string]*visitor{"a stranger": stranger, "the requester": requester, "nobody": h.visitor()} {
		if a := v.submit(h.base+page, yes); a.StatusCode < 400 {
			t.Errorf("%s approves: %d (threats G1)", name, a.StatusCode)
		}
	}
	if a := requester.get(h.base + wanted); a.StatusCode != http.StatusForbidden {
		t.Fatalf("a request lets in: %d", a.StatusCode)
	}

	approver.signIn(h.base+page, "lisi")
	if a := approver.get(h.base + page); !strings.Contains(a.body, `value="approve"`) || !strings.Contains(a.body, "赵六") {
		t.Fatalf("the approver's page = %d %s", a.StatusCode, a.body)
	}
	if a := approver.get(h.base + page + "?decision=approve"); a.StatusCode != http.StatusOK {
		t.Errorf("GET with a decision = %d", a.StatusCode)
	}
	if a := approver.submit(h.base+page, yes, "Sec-Fetch-Site: cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page approves: %d (threats G1)", a.StatusCode)
	}
	if a := approver.submit(h.base+page, yes, "Sec-Fetch-Site: same-origin"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("approving = %d %s", a.StatusCode, a.body)
	}
	if a := approver.submit(h.base+page, url.Values{"decision": {"deny"}}); a.StatusCode != http.StatusOK ||
		!strings.Contains(a.body, `id="wrong"`) {
		t.Errorf("a second answer = %d", a.StatusCode)
	}
	if a := requester.get(h.base + page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != wanted {
		t.Errorf("the requester's page leads to %d %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := requester.get(h.base + wanted); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "UPSTREAM-MARK GET "+wanted) {
		t.Errorf("with the grant: %d %s", a.StatusCode, a.body)
	}
	id := strings.TrimPrefix(page, "/oauth2/requests/")
	token := h.app.last(t).Header.Get("X-Dinggate-Assertion")
	if claims := proven(t, h, token, h.base+"/admin/"); claims["sub"] != "zhaoliu" || claims["grant"] != id {
		t.Errorf("with the grant, the application's token says %v, want grant %s", claims, id)
	}
	asked := requester.get(h.base+"/oauth2/auth", "X-Original-URI: "+wanted, "X-Original-Method: GET")
	if got := asked.Header.Get("X-Dinggate-Assertion"); got != token {
		t.Errorf("with the grant, a gateway gets %q, want %q", got, token)
	}
	if approver.get(h.base + "/admin/"); proven(t, h, h.app.last(t).Header.Get("X-Dinggate-Assertion"),
		h.base+"/admin/")["grant"] != nil {
		t.Error("a token of somebody whom the rule lets in names a grant")
	}
	if a := stranger.get(h.base + "/oauth2/auth"); a.StatusCode == http.StatusInternalServerError {
		t.Errorf("auth = %d", a.StatusCode)
	}
	if told := h.platform.Inbox("zhaoliu"); len(told) != 1 || !strings.Contains(told[0].Markdown, "好的") {
		t.Errorf("赵六's inbox = %+v", told)
	}
	if a := approver.submit(h.base+page, url.Values{"decision": {"end"}}); a.StatusCode != http.StatusSeeOther {
		t.Errorf("taking back = %d", a.StatusCode)
	}
	if a := requester.get(h.base + wanted); a.StatusCode != http.StatusForbidden {
		t.Errorf("taken back, and still let in: %d (threats G4)", a.StatusCode)
	}
	for _, what := range []string{"access_request", "access_granted", "access_ended"} {
		eventually(t, "the audit record "+what, func() bool { return strings.Contains(h.log.String(), `"audit":"`+what+`"`) })
	}
}

// A reload with another rule ends grants; a leaver's end with them (threats G4).
func TestAccessRequest_Ends(t *testing.T) {
	h := newTestEnv(t, askable)
	requester, approver := h.visitor(), h.visitor()
	requester.signIn(h.base+"/", "zhaoliu")
	approver.signIn(h.base+"/", "lisi")
	grant := func() {
		t.Helper()
		a := requester.submit(h.base+"/oauth2/requests", url.Values{"rd": {"/admin/"}, "reason": {"x"}, "for": {"4h0m0s"}})
		page := a.Header.Get("Location")
		if approver.submit(h.base+page, url.Values{"decision": {"approve"}}); requester.get(h.base+"/admin/").StatusCode != http.StatusOK {
			t.Fatal("not let in")
		}
	}
	grant()
	if err := h.platform.Leave("zhaoliu"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of a leaver's grant", func() bool {
		return strings.Contains(h.log.String(), `"reason":"left"`) && strings.Contains(h.log.String(), "access_ended")
	})
}

// Nobody is offered to ask where the route cannot be asked for, and nobody sees the pages without it.
func TestAccessRequest_Off(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	v.signIn(h.base+"/", "zhaoliu")
	if a := v.get(h.base + "/admin/"); strings.Contains(a.body, "/oauth2/requests") {
		t.Error("the 403 page offers a request")
	}
	for _, path := range []string{"/oauth2/requests", "/oauth2/requests/x"} {
		if a := v.get(h.base + path); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s = %d", path, a.StatusCode)
		}
	}
}
