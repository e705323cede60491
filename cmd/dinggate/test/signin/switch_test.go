package signin

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/servertest"
)

var otherAccountLink = regexp.MustCompile(`href="([^"]*/oauth2/sign_out\?then=sign_in[^"]*)"`)

// TestUseAnotherAccount: the page that refuses a person shows their account. After one
// confirmation they are at the requested page with another account. Before the
// confirmation nothing has changed.
func TestUseAnotherAccount(t *testing.T) {
	const deep = "/admin/x?q=1&n=%E5%BC%A0"
	for what, request := range map[string]func(h *servertest.Env, v *servertest.Client) servertest.Response{
		"the proxy": func(h *servertest.Env, v *servertest.Client) servertest.Response { return v.Get(h.URL + deep) },
		"a gateway": func(h *servertest.Env, v *servertest.Client) servertest.Response {
			return v.Get(h.URL+"/oauth2/forward-auth", servertest.OriginalRequest(h.URL, deep)...)
		},
	} {
		h := servertest.New(t, nil)
		v := h.NewClient()
		v.SignIn(h.URL+"/", "zhaoliu")
		a := request(h, v)
		to := otherAccountLink.FindStringSubmatch(a.Text)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.Text, "赵六 (zhaoliu)") || to == nil {
			t.Fatalf("%s = %d:\n%s", what, a.StatusCode, a.Text)
		}
		confirm := v.Get(html.UnescapeString(to[1]))
		if confirm.StatusCode != 200 || !strings.Contains(confirm.Text, "赵六 (zhaoliu)") ||
			confirm.Header.Get("Referrer-Policy") != "strict-origin" {
			t.Fatalf("%s: the confirmation = %d:\n%s", what, confirm.StatusCode, confirm.Text)
		}
		if a = v.Get(h.URL + "/still"); a.StatusCode != 200 {
			t.Errorf("%s: before the confirmation the person is signed out: %d", what, a.StatusCode)
		}
		action := h.URL +
			html.UnescapeString(regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(confirm.Text)[1])
		if a = v.Do("POST", action, "", "Origin: http://evil.test"); a.StatusCode != http.StatusForbidden ||
			v.Get(h.URL+"/still").StatusCode != 200 {
			t.Errorf("%s: another site's form = %d, and /still %d", what, a.StatusCode,
				v.Get(h.URL+"/still").StatusCode)
		}
		a = v.Do("POST", action, "", "Origin: "+h.URL)
		if a.StatusCode != http.StatusSeeOther ||
			!strings.HasPrefix(a.Header.Get("Location"), "/oauth2/start?silent=no&rd=") {
			t.Fatalf("%s: confirmed = %d to %q", what, a.StatusCode, a.Header.Get("Location"))
		}
		start := h.URL + a.Header.Get("Location")
		if a = v.Get(h.URL + "/still"); a.StatusCode == 200 {
			t.Errorf("%s: the person is still signed in", what)
		}
		if a = v.SignIn(start, "zhangsan"); a.StatusCode != http.StatusFound || a.Header.Get("Location") != deep {
			t.Errorf("%s: the sign-in ends at %d %q, want %q", what, a.StatusCode, a.Header.Get("Location"), deep)
		}
		if a = v.Get(html.UnescapeString(to[1])); a.StatusCode != 200 { // signed in again: a confirmation is required
			t.Errorf("%s: the link again = %d", what, a.StatusCode)
		}
		if a = h.NewClient().Get(html.UnescapeString(to[1])); a.StatusCode != http.StatusFound ||
			!strings.HasPrefix(a.Header.Get("Location"), "/oauth2/start?silent=no&rd=") {
			t.Errorf("%s: the link without a session = %d to %q", what, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

// TestUseAnotherLocalAccount leads to the page with the form, and back.
func TestUseAnotherLocalAccount(t *testing.T) {
	h, _ := servertest.NewWithAccounts(t, account.Off)
	v := h.NewClient()
	v.SubmitPassword(h.URL+"/oauth2/sign_in?rd=%2F", "zs", "pw-zs")
	to := otherAccountLink.FindStringSubmatch(v.Get(h.URL + "/admin/x").Text)
	if to == nil {
		t.Fatal("the page offers no other account")
	}
	a := v.Do("POST", html.UnescapeString(to[1]), "", "Origin: "+h.URL)
	if at := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || at != "/oauth2/sign_in?rd=%2Fadmin%2Fx" {
		t.Errorf("confirmed = %d to %q, want the form", a.StatusCode, at)
	}
}
