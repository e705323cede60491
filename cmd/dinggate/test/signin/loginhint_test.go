package signin

import (
	"html"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
	"dinggate/oidc"
)

var usernameField = regexp.MustCompile(`<input id="username"[^>]* value="([^"]*)"`)

// TestLoginHintInForm: the form of the local accounts begins with an application's login_hint, as
// text, if it can be a name. Anyone can write it, and it decides nothing: the person who types
// another account's password is that account.
func TestLoginHintInForm(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci", "root")
	h := servertest.New(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile = file
		c.OIDC.Clients = []oidc.ClientConfig{
			{ClientID: "app", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{"http://127.0.0.1/back"}},
		}
	})
	request := url.Values{"client_id": {"app"}, "redirect_uri": {"http://127.0.0.1/back"}, "response_type": {"code"}, "scope": {"openid"}}
	for _, tt := range []struct{ hint, prompt, field string }{
		{"ci", "", "ci"}, {" ci ", "", "ci"}, {"ci", "login", "ci"}, {"ci@corp.test", "", "ci@corp.test"}, {"张三", "", "张三"},
		{`"><script>alert(1)</script>`, "", `"><script>alert(1)</script>`}, {`"><script>`, "login", `"><script>`},
		{"", "", ""}, {"", "login", ""}, {"call 555", "", ""}, {"c\u202ei", "", ""}, {"c\x00i", "login", ""},
		{strings.Repeat("a", 129), "", ""}, {strings.Repeat("a", 129), "login", ""},
		{"a&dinggate_request=x", "login", "a&dinggate_request=x"},
	} {
		request.Set("login_hint", tt.hint)
		request.Set("prompt", tt.prompt)
		v := h.NewClient()
		form := v.Get(h.URL + "/oidc/authorize?" + request.Encode()).Header.Get("Location")
		a := v.Get(form)
		field := usernameField.FindStringSubmatch(a.Text)
		if field == nil || html.UnescapeString(field[1]) != tt.field || strings.Contains(a.Text, "<script>alert") {
			t.Errorf("login_hint=%q, prompt=%q: %s = %d with %q, want %q", tt.hint, tt.prompt, form, a.StatusCode, field, tt.field)
			continue
		}
		back := v.SubmitPassword(form, "root", "pw-root").Header.Get("Location")
		if code := servertest.ParseURL(t, v.Get(servertest.ParseURL(t, h.URL).ResolveReference(
			servertest.ParseURL(t, back)).String()).Header.Get("Location")).Query(); !code.Has("code") && tt.prompt == "login" {
			t.Errorf("login_hint=%q, prompt=login: after the sign-in %v, want a code", tt.hint, code)
		}
	}
	v := h.NewClient()
	for _, path := range []string{"/x?login_hint=ci", "/oidc/device?login_hint=ci", "/oidc/authorize?login_hint=ci&login_hint=root"} {
		a := v.Get(h.URL + "/oauth2/sign_in?rd=" + url.QueryEscape(path))
		if field := usernameField.FindStringSubmatch(a.Text); field == nil || field[1] != "" {
			t.Errorf("%s: the form begins with %q, want nothing", path, field)
		}
	}
}
