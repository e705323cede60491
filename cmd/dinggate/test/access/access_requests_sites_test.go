package access

import (
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestAccessRequest_Sites checks that nothing except a form of our own page, in a tab of its own on
// public_url's host, answers a request with the session of an approver (threats G1).
func TestAccessRequest_Sites(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) {
		servertest.AccessRequests(c)
		c.Hosts = "any"
		c.TrustedProxies = []string{"127.0.0.1/32"}
		route := c.Routes[0]
		route.Host, route.Path, route.Access = "app.example.com", "/", nil
		c.Routes = append([]config.Route{route}, c.Routes...)
	})
	requester, approver := h.NewClient(), h.NewClient()
	requester.SignIn(h.URL+"/", "zhaoliu")
	approver.SignIn(h.URL+"/", "lisi")
	a := requester.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {"/admin/"}, "reason": {"x"}, "for": {"1h0m0s"}})
	page := h.URL + a.Header.Get("Location")
	if !strings.Contains(page, "/oauth2/requests/") {
		t.Fatalf("a request = %d %s", a.StatusCode, a.Text)
	}
	const script, frame = "Sec-Fetch-Mode: cors\nSec-Fetch-Dest: empty", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe"
	const here, form = "\nSec-Fetch-Site: same-origin", "\n" + consoleForm
	const app = "X-Forwarded-Host: app.example.com\nX-Forwarded-Proto: http"
	for _, row := range []struct {
		what, method, headers string
		status                int
	}{
		{"a script of an application on our host", "POST", script + here + form, 403},
		{"a form in a frame", "POST", frame + here + form, 403},
		{"a script reads the page", "GET", script + here, 403},
		{"a frame shows the page", "GET", frame + here, 403},
		{"a form on the host of an application", "POST", app + here + form, 404},
		{"a script on the host of an application", "POST", app + "\n" + script + here + form, 404},
		{"the page on the host of an application", "GET", app, 404},
		{"an application's origin, without fetch metadata", "POST", "Origin: http://app.example.com" + form, 403},
		{"a sibling's form", "POST", "Sec-Fetch-Site: same-site" + form, 403},
		{"another site's form", "POST", "Sec-Fetch-Site: cross-site" + form, 403},
		{"another site's window, to look only", "GET", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", 200},
		{"our own form", "POST", "Sec-Fetch-Mode: navigate\nSec-Fetch-Dest: document" + here + form, 303},
	} {
		body := ""
		if row.method == "POST" {
			body = "decision=approve"
		}
		if requester.Get(h.URL+"/admin/").StatusCode != 403 {
			t.Fatalf("before %s the requester has access", row.what)
		}
		if a := approver.Do(row.method, page, body, strings.Split(row.headers, "\n")...); a.StatusCode != row.status {
			t.Errorf("%s = %d, want %d: %.300s", row.what, a.StatusCode, row.status, a.Text)
		}
	}
	if a := requester.Get(h.URL + "/admin/"); a.StatusCode != 200 {
		t.Errorf("after our own form the page = %d, want 200", a.StatusCode)
	}
}
