package signin

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

const challengeOf = `Bearer error="insufficient_user_authentication", max_age=`

// TestFresh checks that a page is redirected to DingTalk and back, and that any other
// request gets 401 with the challenge of RFC 9470, from our own proxy and for every
// gateway.
func TestFresh(t *testing.T) {
	h := servertest.New(t, servertest.FreshRoutes)
	v := h.NewClient()
	if a := v.SignIn(h.URL+"/recent/x?a=1", "zhangsan"); a.Header.Get("Location") != "/recent/x?a=1" {
		t.Fatalf("the sign-in = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.Get(h.URL + "/recent/x"); a.StatusCode != 200 {
		t.Errorf("a page after a scan = %d, want 200", a.StatusCode)
	}
	v.StartSignIn(h.URL + "/now/x") // signed in, and redirected to DingTalk again
	if a := v.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("a page of another route = %d, want 200", a.StatusCode)
	}
	call := []string{"Accept: application/json", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty",
		"Referer: " + h.URL + "/app"}
	v.Header.Del("Accept")
	a := v.Get(h.URL+"/now/x", call...)
	login := `"login_url":"` + h.URL + `/oauth2/start?silent=no\u0026rd=%2Fapp"`
	if a.StatusCode != 401 || !strings.Contains(a.Text, `"error":"reauthentication_required"`) ||
		!strings.Contains(strings.ReplaceAll(a.Text, "&", `\u0026`), login) ||
		a.Header.Get("Www-Authenticate") != challengeOf+"1" || len(a.Header["Set-Cookie"]) > 0 {
		t.Errorf("a call = %d %v %s, want 401 with %s", a.StatusCode, a.Header, a.Text, login)
	}

	original := servertest.OriginalRequest(h.URL, "/now/x")
	if a := v.Get(h.URL+"/oauth2/auth", append(original, "Accept: text/html")...); a.StatusCode != 401 ||
		a.Header.Get("Www-Authenticate") != challengeOf+"1" || a.Text != "" {
		t.Errorf("nginx's subrequest = %d %v %q", a.StatusCode, a.Header, a.Text)
	}
	for _, path := range []string{"/oauth2/forward-auth", "/oauth2/ext-authz/now/x"} {
		page := v.Get(h.URL+path, append(original, "Accept: text/html")...)
		if page.StatusCode != 302 || page.Header.Get("Location") != h.URL+"/oauth2/start?silent=no&rd=%2Fnow%2Fx" {
			t.Errorf("%s, a page = %d to %q", path, page.StatusCode, page.Header.Get("Location"))
		}
		call := v.Get(h.URL+path, append(original, "Accept: application/json")...)
		if call.StatusCode != 401 || call.Header.Get("Www-Authenticate") != challengeOf+"1" ||
			!strings.Contains(call.Text, `"error":"reauthentication_required"`) {
			t.Errorf("%s, a call = %d %v %s", path, call.StatusCode, call.Header, call.Text)
		}
	}
}

// TestFreshInDingTalk checks that the silent sign-in is not recent and not tried, unless
// fresh_silent allows it.
func TestFreshInDingTalk(t *testing.T) {
	h := servertest.New(t, servertest.FreshRoutes)
	v := h.NewClient()
	a := v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), v.OpenSilent(h.URL+"/")))
	if a.StatusCode != 200 {
		t.Fatalf("the silent sign-in = %d %s", a.StatusCode, a.Text)
	}
	for path, want := range map[string]int{"/": 200, "/quiet/x": 200, "/recent/x": 302} {
		a := v.Get(h.URL+path, servertest.DingTalkPhone)
		if a.StatusCode != want || want == 302 && !strings.Contains(a.Header.Get("Location"), "/oauth2/auth?") {
			t.Errorf("GET %s after a silent sign-in = %d to %q, want %d", path, a.StatusCode,
				a.Header.Get("Location"), want)
		}
	}
	fresh := h.NewClient()
	fresh.OpenSilent(h.URL + "/quiet/x")
	for _, path := range []string{"/recent/x", "/oauth2/start?rd=%2Frecent%2Fx"} {
		if a := fresh.Get(h.URL+path, servertest.DingTalkPhone); a.StatusCode != 302 ||
			!strings.Contains(a.Header.Get("Location"), "/oauth2/auth?") {
			t.Errorf("GET %s without a session in DingTalk = %d to %q, want DingTalk's page", path, a.StatusCode,
				a.Header.Get("Location"))
		}
	}
	if a := v.SignIn(h.URL+"/recent/x", "zhangsan"); a.Header.Get("Location") != "/recent/x" {
		t.Errorf("the sign-in by a click = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.Get(h.URL+"/recent/x", servertest.DingTalkPhone); a.StatusCode != 200 {
		t.Errorf("the page after a click = %d, want 200", a.StatusCode)
	}
}

// TestFreshAPI: a password is sent with each request and is always recent.
func TestFreshAPI(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci")
	h := servertest.New(t, func(c *config.Config) {
		servertest.FreshRoutes(c)
		c.APITokens, c.Accounts.HtpasswdFile = true, file
	})
	api := h.NewClient()
	api.Header = http.Header{"Accept": {"*/*"}}
	if a := api.Get(h.URL+"/now/x", servertest.BasicAuth("ci", "pw-ci")); a.StatusCode != 200 {
		t.Errorf("a password = %d %s, want 200", a.StatusCode, a.Text)
	}
}

// TestFreshCurl: curl with an access token opens a page that requires a recent sign-in.
// With an older token it gets 401 with the challenge of RFC 9470 and the sign-in URL.
func TestFreshCurl(t *testing.T) {
	curl := realtool.Path(t, "curl")
	h, p := servertest.NewSSO(t, servertest.FreshRoutes, func(c *config.Config) { c.APITokens, c.APITokenClients = true, []string{"platform"} })
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	token := p.Redeem(v.SSOCode(p))
	for path, want := range map[string][]string{
		"/recent/x": {"HTTP/1.1 200 ", "UPSTREAM-MARK"},
		"/now/x": {"HTTP/1.1 401 ", `"error":"reauthentication_required"`, `"login_url":"` + h.URL + "/oauth2/start?silent=no",
			"Www-Authenticate: " + challengeOf + "1"},
	} {
		out, err := exec.Command(curl, "-sS", "-i", "-m", "10", "-H", "Authorization: Bearer "+token.AccessToken, h.URL+path).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v %s", err, out)
		}
		for _, part := range want {
			if !strings.Contains(string(out), part) || strings.Contains(string(out), "Set-Cookie: dinggate") {
				t.Errorf("curl %s lacks %q, or sets a cookie:\n%s", path, part, out)
			}
		}
	}
}
