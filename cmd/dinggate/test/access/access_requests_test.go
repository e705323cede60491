package access

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// From the 403 page to the requested page, and back after the grant is revoked.
func TestAccessRequest(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) {
		servertest.AccessRequests(c)
		c.Assertion.Enabled = true
	})
	requester, approver, other := h.NewClient(), h.NewClient(), h.NewClient()
	const wanted = "/admin/reports?month=11"
	requester.SignIn(h.URL+"/", "zhaoliu")
	refused := requester.Get(h.URL + wanted)
	form := "/oauth2/requests?rd=" + url.QueryEscape(wanted)
	if refused.StatusCode != http.StatusForbidden || !strings.Contains(refused.Text, `href="`+h.URL+form+`"`) {
		t.Fatalf("403 page = %d, no link to request access:\n%s", refused.StatusCode, refused.Text)
	}
	if a := requester.Get(h.URL + form); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, `name="reason"`) {
		t.Fatalf("form = %d %s", a.StatusCode, a.Text)
	}
	fields := url.Values{"rd": {wanted}, "reason": {"[urgent](http://evil.example) <b>logs</b>"}, "for": {"1h0m0s"}}
	if a := requester.Submit(h.URL+"/oauth2/requests", fields, "Sec-Fetch-Site: cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign form = %d (threats G1)", a.StatusCode)
	}
	for name, bad := range map[string]url.Values{
		"no reason":     {"rd": {wanted}, "for": {"1h0m0s"}},
		"too long":      {"rd": {wanted}, "for": {"9h0m0s"}, "reason": {"x"}},
		"a long reason": {"rd": {wanted}, "for": {"1h0m0s"}, "reason": {strings.Repeat("x", 201)}},
	} {
		if a := requester.Submit(h.URL+"/oauth2/requests", bad); a.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s = %d", name, a.StatusCode)
		}
	}
	a := requester.Submit(h.URL+"/oauth2/requests", fields, "Sec-Fetch-Site: same-origin")
	page := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(page, "/oauth2/requests/") {
		t.Fatalf("a request = %d to %q %s", a.StatusCode, page, a.Text)
	}
	waiting := requester.Get(h.URL + page)
	if waiting.Header.Get("Refresh") != "2" || strings.Contains(waiting.Text, "<b>logs") ||
		!strings.Contains(waiting.Text, "&lt;b&gt;logs") || strings.Contains(waiting.Text, `name="decision"`) {
		t.Errorf("the page that waits = %d %q %s", waiting.StatusCode, waiting.Header.Get("Refresh"), waiting.Text)
	}
	if !strings.Contains(waiting.Text, "/admin/ and everything below it") || !regexp.MustCompile(`\d\d:\d\d [A-Z+-]`).MatchString(waiting.Text) {
		t.Errorf("the page that waits names neither the scope nor the time zone:\n%s", waiting.Text)
	}
	if again := requester.Submit(h.URL+"/oauth2/requests", fields); again.Header.Get("Location") != page {
		t.Errorf("a second request leads to %q, want %q", again.Header.Get("Location"), page)
	}

	inbox := h.Platform.Inbox("lisi")
	if len(inbox) != 1 || inbox[0].URL != h.URL+page || strings.ContainsAny(inbox[0].Markdown, "[]<>()") ||
		!strings.Contains(inbox[0].Markdown, "赵六") || !strings.Contains(inbox[0].Markdown, "人力资源部") {
		t.Fatalf("李四's inbox = %+v", inbox)
	}
	other.SignIn(h.URL+"/", "wangwu")
	if a := other.Get(h.URL + page); a.StatusCode != http.StatusNotFound {
		t.Errorf("another person finds the request: %d (threats G6)", a.StatusCode)
	}
	yes := url.Values{"decision": {"approve"}, "word": {"好的"}}
	for name, v := range map[string]*servertest.Client{"another person": other, "the requester": requester, "no session": h.NewClient()} {
		if a := v.Submit(h.URL+page, yes); a.StatusCode < 400 {
			t.Errorf("%s approves: %d (threats G1)", name, a.StatusCode)
		}
	}
	if a := requester.Submit(h.URL+page, yes, "Accept-Language: en"); a.StatusCode != http.StatusForbidden ||
		!strings.Contains(a.Text, "your own request") {
		t.Errorf("the requester's answer is refused with %d, without the reason: %s", a.StatusCode, a.Text)
	}
	if a := requester.Get(h.URL + wanted); a.StatusCode != http.StatusForbidden {
		t.Fatalf("a request allows access: %d", a.StatusCode)
	}

	approver.SignIn(h.URL+page, "lisi")
	if a := approver.Get(h.URL + page); !strings.Contains(a.Text, `value="approve"`) || !strings.Contains(a.Text, "赵六") ||
		!strings.Contains(a.Text, "<bdi>/admin/ and everything below it</bdi>") { // chosen by the requester
		t.Fatalf("the approver's page = %d %s", a.StatusCode, a.Text)
	}
	if a := approver.Get(h.URL + page + "?decision=approve"); a.StatusCode != http.StatusOK {
		t.Errorf("GET with a decision = %d", a.StatusCode)
	}
	if a := approver.Submit(h.URL+page, yes, "Sec-Fetch-Site: cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page approves: %d (threats G1)", a.StatusCode)
	}
	if a := approver.Submit(h.URL+page, yes, "Sec-Fetch-Site: same-origin"); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("approving = %d %s", a.StatusCode, a.Text)
	}
	if a := approver.Submit(h.URL+page, url.Values{"decision": {"deny"}}); a.StatusCode != http.StatusOK ||
		!strings.Contains(a.Text, `id="wrong"`) {
		t.Errorf("a second answer = %d", a.StatusCode)
	}
	if a := requester.Get(h.URL + page); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != wanted {
		t.Errorf("the requester's page leads to %d %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := requester.Get(h.URL + wanted); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, "UPSTREAM-MARK GET "+wanted) {
		t.Errorf("with the grant: %d %s", a.StatusCode, a.Text)
	}
	id := strings.TrimPrefix(page, "/oauth2/requests/")
	token := h.Upstream.Last(t).Header.Get("X-Dinggate-Assertion")
	if claims := servertest.VerifyAssertion(t, h, token, h.URL+"/admin/"); claims["sub"] != "zhaoliu" || claims["grant"] != id {
		t.Errorf("with the grant, the application's token says %v, want grant %s", claims, id)
	}
	subrequest := requester.Get(h.URL+"/oauth2/auth", "X-Original-URI: "+wanted, "X-Original-Method: GET")
	if got := subrequest.Header.Get("X-Dinggate-Assertion"); got != token {
		t.Errorf("with the grant, a gateway gets %q, want %q", got, token)
	}
	if approver.Get(h.URL + "/admin/"); servertest.VerifyAssertion(t, h, h.Upstream.Last(t).Header.Get("X-Dinggate-Assertion"),
		h.URL+"/admin/")["grant"] != nil {
		t.Error("a token of a person whom the rule allows names a grant")
	}
	if a := other.Get(h.URL + "/oauth2/auth"); a.StatusCode == http.StatusInternalServerError {
		t.Errorf("auth = %d", a.StatusCode)
	}
	if inbox := h.Platform.Inbox("zhaoliu"); len(inbox) != 1 || !strings.Contains(inbox[0].Markdown, "好的") {
		t.Errorf("赵六's inbox = %+v", inbox)
	}
	if a := approver.Submit(h.URL+page, url.Values{"decision": {"end"}}); a.StatusCode != http.StatusSeeOther {
		t.Errorf("taking back = %d", a.StatusCode)
	}
	if a := requester.Get(h.URL + wanted); a.StatusCode != http.StatusForbidden {
		t.Errorf("taken back, and still allowed: %d (threats G4)", a.StatusCode)
	}
	servertest.Eventually(t, "the requester's notification that access was taken back", func() bool {
		inbox := h.Platform.Inbox("zhaoliu")
		return len(inbox) == 2 && strings.Contains(inbox[1].Markdown+inbox[0].Markdown, "已收回授权")
	})
	for _, what := range []string{"access_request", "access_granted", "access_ended"} {
		servertest.Eventually(t, "the audit record "+what, func() bool { return strings.Contains(h.Log.String(), `"audit":"`+what+`"`) })
	}
}

// A reload with another rule ends grants, and so does the departure of the person (threats
// G4).
func TestAccessRequest_Ends(t *testing.T) {
	h := servertest.New(t, servertest.AccessRequests)
	requester, approver := h.NewClient(), h.NewClient()
	requester.SignIn(h.URL+"/", "zhaoliu")
	approver.SignIn(h.URL+"/", "lisi")
	grant := func() {
		t.Helper()
		a := requester.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {"/admin/"}, "reason": {"x"}, "for": {"4h0m0s"}})
		page := a.Header.Get("Location")
		if approver.Submit(h.URL+page, url.Values{"decision": {"approve"}}); requester.Get(h.URL+"/admin/").StatusCode != http.StatusOK {
			t.Fatal("no access")
		}
	}
	grant()
	if err := h.Platform.Leave("zhaoliu"); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the end of a leaver's grant", func() bool {
		return strings.Contains(h.Log.String(), `"reason":"left"`) && strings.Contains(h.Log.String(), "access_ended")
	})
}

// The 403 page offers no request if the route does not support requests, and the pages of
// requests are 404 if requests are off.
func TestAccessRequest_Off(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhaoliu")
	if a := v.Get(h.URL + "/admin/"); strings.Contains(a.Text, "/oauth2/requests") {
		t.Error("the 403 page offers a request")
	}
	for _, path := range []string{"/oauth2/requests", "/oauth2/requests/x"} {
		if a := v.Get(h.URL + path); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s = %d", path, a.StatusCode)
		}
	}
}
