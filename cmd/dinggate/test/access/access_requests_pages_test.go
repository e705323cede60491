package access

import (
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestAccessRequest_Pages checks that the page of a request offers its reader the next step, in every
// state, and that the console names who may answer.
func TestAccessRequest_Pages(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) {
		servertest.AccessRequests(c)
		servertest.Administrators(c)
	})
	requester, approver, boss := h.NewClient(), h.NewClient(), h.NewClient()
	requester.SignIn(h.URL+"/", "zhaoliu")
	approver.SignIn(h.URL+"/", "lisi")
	boss.SignIn(h.URL+"/", "zhangsan")
	const wanted = "/admin/reports?month=11"
	again := `id="renew" href="/oauth2/requests?rd=` + url.QueryEscape(wanted) + `"`
	request := func() string {
		t.Helper()
		a := requester.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {wanted}, "reason": {"x"}, "for": {"1h0m0s"}})
		if !strings.HasPrefix(a.Header.Get("Location"), "/oauth2/requests/") {
			t.Fatalf("a request = %d %s", a.StatusCode, a.Text)
		}
		return a.Header.Get("Location")
	}
	decide := func(page, decision string) {
		t.Helper()
		if a := approver.Submit(h.URL+page, url.Values{"decision": {decision}}); a.StatusCode != 303 {
			t.Fatalf("%s = %d %s", decision, a.StatusCode, a.Text)
		}
	}
	reads := func(what string, v *servertest.Client, path, has, lacks string) {
		t.Helper()
		a := v.Get(h.URL+path, "Accept-Language: en")
		if !strings.Contains(a.Text, has) || lacks != "" && strings.Contains(a.Text, lacks) {
			t.Errorf("%s: want %q and not %q: %d %s", what, has, lacks, a.StatusCode, a.Text)
		}
	}

	denied := request()
	reads("a waiting request, in the console", boss, "/oauth2/console/requests", "<dt>Approvers</dt><dd><bdi>李四 (lisi)", "Approved by")
	reads("who waits", requester, denied, "Look now", again)
	// The session ended while the page was open: the form's answer leads back to it.
	for path, back := range map[string]string{denied: denied, "/oauth2/requests": "/oauth2/requests?rd=" + url.QueryEscape(wanted),
		"/oauth2/console/requests": "/oauth2/console/requests"} {
		if a := h.NewClient().Submit(h.URL+path, url.Values{"decision": {"approve"}, "rd": {wanted}}, "Accept: text/html"); a.StatusCode != 401 ||
			!strings.Contains(a.Text, `href="`+back+`"`) {
			t.Errorf("a form to %s without a session = %d, want 401 with a link to %s: %s", path, a.StatusCode, back, a.Text)
		}
	}
	decide(denied, "deny")
	reads("who was denied", requester, denied, again, "")
	reads("who denied", approver, denied, "was denied", again)
	granted := request()
	decide(granted, "approve")
	reads("who approved", approver, granted, "You can take it back", "Continue")
	reads("a grant, in the console", boss, "/oauth2/console/requests", "Approved by", "<dt>Approvers</dt>")
	decide(granted, "end")
	reads("whose grant was revoked", requester, granted, again, "")
	ended := request()
	boss.Submit(h.URL+"/oauth2/console/requests", url.Values{"request": {strings.TrimPrefix(ended, "/oauth2/requests/")},
		"reason": {"ask <b>the owner</b> first"}})
	reads("whose request an administrator ended", requester, ended, "ask &lt;b&gt;the owner&lt;/b&gt; first", "")
	reads("the same", requester, ended, again, "")
}
