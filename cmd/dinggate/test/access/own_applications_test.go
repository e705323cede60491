package access

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/oidc"
	"dinggate/proxy/access"
)

type listedApplication struct{ Application, Kind, Session, End string }

// listApplications returns the entries on the page of a client's sessions, by kind.
func listApplications(v *servertest.Client, h *servertest.Env) map[string]listedApplication {
	v.T.Helper()
	var got struct {
		Incomplete   bool
		Applications []listedApplication
	}
	a := v.Get(h.URL+"/oauth2/sessions", "Accept: application/json")
	if err := json.Unmarshal([]byte(a.Text), &got); err != nil || a.StatusCode != 200 || got.Incomplete {
		v.T.Fatalf("sessions = %d %s, %v", a.StatusCode, a.Text, err)
	}
	byKind := map[string]listedApplication{}
	for _, one := range got.Applications {
		byKind[one.Kind] = one
	}
	if len(byKind) != len(got.Applications) {
		v.T.Fatalf("two applications of one kind: %s", a.Text)
	}
	return byKind
}

// TestOwnApplications checks that people see the applications and API clients that they
// are signed in to, and end each of them: its tokens are refused, the others remain valid.
func TestOwnApplications(t *testing.T) {
	p := servertest.NewSSOApp(t)
	h := servertest.New(t, func(c *config.Config) {
		c.SSOServer.Clients = []sso.App{
			{ClientID: p.ID, ClientSecret: conf.NewSecret(p.Secret), RedirectURLs: []string{p.CallbackURL()}},
		}
		c.OIDC.Clients = []oidc.ClientConfig{
			{ClientID: "app", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{"http://127.0.0.1/back"}},
		}
	})
	p.Service = h.URL
	in := &insider{h: h, p: p, v: h.NewClient()}
	other := h.NewClient()
	in.v.SignIn(h.URL+"/oauth2/start?rd=%2F", "zhaoliu")
	other.SignIn(h.URL+"/oauth2/start?rd=%2F", "lisi")
	if got := listApplications(in.v, h); len(got) != 0 {
		t.Fatalf("before anything: %v", got)
	}
	in.token = p.Redeem(in.v.SSOCode(p))
	in.connect(t)
	device := in.v.StartDevice(h, "app")
	got := listApplications(in.v, h)
	if len(got) != 3 || got["oidc"].Application != "app" || got["device"].Application != "app" || got["sso"].Application != p.ID ||
		got["oidc"].Session == "" || got["sso"].Session != got["oidc"].Session || got["device"].Session != "" {
		t.Fatalf("applications = %+v", got)
	}
	page := in.v.Get(h.URL+"/oauth2/sessions", "Accept-Language: en", "Sec-Fetch-Mode: navigate").Text
	for _, want := range []string{"<dt>Signed in to</dt><dd><bdi>app, " + p.ID + "</bdi></dd>", "Device flow", "SSO tokens (API client)"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q: %s", want, page)
		}
	}
	if n := strings.Count(page, `name="application"`); n != 3 || strings.Count(page, `name="session"`) != 1 {
		t.Errorf("the page has %d buttons for applications, want 3: %s", n, page)
	}
	if got := listApplications(other, h); len(got) != 0 {
		t.Errorf("another person sees %v", got)
	}
	end := func(v *servertest.Client, kind string, headers ...string) int {
		return v.Submit(h.URL+"/oauth2/sessions", url.Values{"application": {got[kind].End}}, headers...).StatusCode
	}
	alive := func() string {
		var names []string
		if status, _ := p.UserInfo(in.token.AccessToken); status == http.StatusOK {
			names = append(names, "sso")
		}
		for name, token := range map[string]string{"oidc": in.access, "device": device} {
			if a := h.NewClient().Get(h.URL+"/oidc/userinfo", "Authorization: Bearer "+token); a.StatusCode == http.StatusOK {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	if end(other, "oidc") != 404 || end(other, "sso") != 404 || end(in.v, "oidc", "Sec-Fetch-Site: cross-site") != 403 ||
		in.v.Submit(h.URL+"/oauth2/sessions", url.Values{"application": {"eA"}}).StatusCode != 404 ||
		in.v.Submit(h.URL+"/oauth2/sessions", url.Values{"application": {got["oidc"].End}, "all": {"yes"}}).StatusCode != 400 {
		t.Error("another person's, another site's, a made-up or an ambiguous form is not refused")
	}
	if got := alive(); got != "device oidc sso" {
		t.Fatalf("alive after refused forms: %s", got)
	}
	for _, step := range []struct{ kind, rest string }{{"oidc", "device sso"}, {"sso", "device"}, {"device", ""}} {
		if status := end(in.v, step.kind); status != 303 {
			t.Errorf("ending %s = %d, want 303", step.kind, status)
		}
		if rest := alive(); rest != step.rest {
			t.Errorf("after ending %s %q lives, want %q", step.kind, rest, step.rest)
		}
		if left := listApplications(in.v, h); len(left) != len(strings.Fields(step.rest)) {
			t.Errorf("after ending %s the list is %v", step.kind, left)
		}
		if status := end(in.v, step.kind); status != 303 {
			t.Errorf("ending %s again = %d, want 303 to the page", step.kind, status)
		}
	}
	if a := in.v.Get(h.URL + "/x"); a.StatusCode != 200 {
		t.Errorf("the person's own session = %d, want 200", a.StatusCode)
	}
	record := regexp.MustCompile(`"audit":"application_ended"[^\n]*"how":"sessions","user":"zhaoliu"[^\n]*"application":"app"`)
	servertest.Eventually(t, "the record", func() bool { return record.MatchString(h.Log.String()) })

	in.connect(t)
	device = in.v.StartDevice(h, "app")
	in.token = p.Redeem(in.v.SSOCode(p))
	if a := in.v.Submit(h.URL+"/oauth2/sessions", url.Values{"all": {"yes"}}); a.StatusCode != 303 {
		t.Fatalf("sign out everywhere = %d", a.StatusCode)
	}
	servertest.Eventually(t, "the end of everything, the device's too", func() bool { return alive() == "" })
}

// TestVerifiedEmail checks that an application learns that an address is the organisation's own
// mailbox, however the person signed in: the cookie has no space for it.
func TestVerifiedEmail(t *testing.T) {
	for name, signIn := range map[string]func(h *servertest.Env, v *servertest.Client){
		"in a browser": func(h *servertest.Env, v *servertest.Client) {
			v.SignIn(h.URL+"/oauth2/start?rd=%2F", "zhangsan")
		},
		"in the DingTalk client": func(h *servertest.Env, v *servertest.Client) {
			state := v.OpenSilent(h.URL + "/")
			v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), state))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := servertest.New(t, func(c *config.Config) {
				c.OIDC.Clients = []oidc.ClientConfig{
					{ClientID: "app", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{"http://127.0.0.1/back"}},
				}
			})
			in := &insider{h: h, v: h.NewClient()}
			signIn(h, in.v)
			in.connect(t)
			a := h.NewClient().Get(h.URL+"/oidc/userinfo", "Authorization: Bearer "+in.access)
			if a.StatusCode != http.StatusOK || !strings.Contains(a.Text, `"email":"zhangsan@yunfan.example","email_verified":true`) {
				t.Errorf("userinfo = %d %s, want a verified address", a.StatusCode, a.Text)
			}
		})
	}
}

// TestFreshOIDC checks that an application with fresh gets a code only for a sign-in with
// a click. Inside the DingTalk client no silent sign-in is made for it.
func TestFreshOIDC(t *testing.T) {
	const back = "http://127.0.0.1/back"
	h := servertest.New(t, func(c *config.Config) {
		c.OIDC.Clients = []oidc.ClientConfig{
			{ClientID: "app", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{back},
				Access: &access.RuleConfig{Fresh: time.Hour}},
			{ClientID: "quiet", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{back},
				Access: &access.RuleConfig{Fresh: time.Hour, FreshSilent: true}},
		}
	})
	request := func(client string, more ...string) string {
		q := url.Values{"client_id": {client}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {back}, "state": {"s"}}
		for i := 0; i < len(more); i += 2 {
			q.Set(more[i], more[i+1])
		}
		return h.URL + "/oidc/authorize?" + q.Encode()
	}
	gotCode := func(a servertest.Response) bool {
		return strings.HasPrefix(a.Header.Get("Location"), back+"?") && strings.Contains(a.Header.Get("Location"), "code=")
	}
	v := h.NewClient()
	if a := v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), v.OpenSilent(h.URL+"/"))); a.StatusCode != 200 {
		t.Fatalf("the silent sign-in = %d %s", a.StatusCode, a.Text)
	}
	if a := v.Get(request("quiet"), servertest.DingTalkPhone); !gotCode(a) {
		t.Errorf("fresh_silent after a silent sign-in = %d to %q, want a code", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.Get(request("app", "prompt", "none"), servertest.DingTalkPhone); !strings.Contains(a.Header.Get("Location"), "error=login_required") {
		t.Errorf("prompt=none after a silent sign-in = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	for name, who := range map[string]*servertest.Client{"a silent session": v, "no session": h.NewClient()} {
		a := who.Get(request("app"), servertest.DingTalkPhone)
		if a.StatusCode != 302 || !strings.Contains(a.Header.Get("Location"), "/oauth2/auth?") {
			t.Fatalf("%s in DingTalk = %d to %q, want DingTalk's page: %s", name, a.StatusCode, a.Header.Get("Location"), a.Text)
		}
	}
	a := v.SignIn(request("app"), "zhangsan")
	if a.StatusCode/100 != 3 || !strings.Contains(a.Header.Get("Location"), "/oidc/authorize?dinggate_click=") {
		t.Fatalf("the sign-in leads to %d %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.Get(h.URL + a.Header.Get("Location")); !gotCode(a) {
		t.Errorf("after a click = %d to %q, want a code", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.Get(request("app"), servertest.DingTalkPhone); !gotCode(a) {
		t.Errorf("once more = %d to %q, want a code", a.StatusCode, a.Header.Get("Location"))
	}
}
