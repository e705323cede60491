package sso

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestThirdParty: a platform written from the document alone signs a person in.
func TestThirdParty(t *testing.T) {
	h, p := servertest.NewSSO(t)
	v := h.NewClient()
	to := v.StartSSO(p)
	if back := servertest.ParseURL(t, to).Query().Get("redirect_uri"); back != h.URL+"/dingtalk/callback?forward_url="+
		url.QueryEscape(p.CallbackURL()) {
		t.Errorf("the callback that DingTalk gets is %q, want the document's callback with forward_url", back)
	}
	back := v.Get(v.Choose(to, "zhangsan"))
	if at := back.Header.Get("Location"); back.StatusCode != http.StatusFound ||
		!strings.HasPrefix(at, p.CallbackURL()+"?code=") {
		t.Fatalf("the SSO callback = %d to %q %s, want 302 to the platform", back.StatusCode, at, back.Text)
	}
	page := v.Get(back.Header.Get("Location"))
	if page.StatusCode != 200 || !strings.Contains(page.Text, "PLATFORM zhangsan zhangsan@yunfan.example") {
		t.Fatalf("the platform = %d %s, want zhangsan", page.StatusCode, page.Text)
	}
	token := p.Last()
	if token.TokenType != "Bearer" || token.ExpiryIn != 7200 || token.RefreshToken == "" ||
		token.AccessToken == token.RefreshToken {
		t.Errorf("the token call yields %d s of %q, want the document's names", token.ExpiryIn, token.TokenType)
	}
	q := servertest.ParseURL(t, back.Header.Get("Location")).Query()
	if len(q.Get("code")) < 22 || q.Get("state") == "" {
		t.Errorf("code %q and state %q, want random ones", q.Get("code"), q.Get("state"))
	}

	// Single sign-on: the same browser is not redirected to DingTalk again (S8: nor is it
	// for dinggate's own pages).
	exchanges := h.Platform.Calls("/v1.0/oauth2/userAccessToken")
	if a := v.Follow(v.Get(p.AuthorizeURL())); !strings.Contains(a.Text, "PLATFORM zhangsan") {
		t.Errorf("the second sign-in = %d %s, want zhangsan again", a.StatusCode, a.Text)
	}
	if a := v.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("dinggate's own page after a third party's sign-in = %d, want 200", a.StatusCode)
	}
	if n := h.Platform.Calls("/v1.0/oauth2/userAccessToken"); n != exchanges {
		t.Errorf("%d exchanges at DingTalk for single sign-on, want none", n-exchanges)
	}
	for _, secret := range []string{q.Get("code"), q.Get("state"), token.AccessToken, token.RefreshToken, p.Secret} {
		if strings.Contains(h.Log.String(), secret) {
			t.Errorf("the log holds the secret %.8s…", secret)
		}
	}
}

// TestUserinfoAnswer checks that both documented fields are always present.
func TestUserinfoAnswer(t *testing.T) { // T22, T18
	h, p := servertest.NewSSO(t)
	for person, want := range map[string]map[string]string{
		"zhangsan": {"username": "zhangsan", "email": "zhangsan@yunfan.example", "userid": "zhangsan", "name": "张三",
			"aud": "platform"},
		"wangwu": {"username": "wangwu", "email": ""},
	} {
		v := h.NewClient()
		v.Follow(v.Get(v.Choose(v.StartSSO(p), person)))
		status, body := p.UserInfo(p.Last().AccessToken)
		var got map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
			t.Fatalf("userinfo of %s = %d %s", person, status, body)
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("userinfo of %s has %s = %v, want %q", person, name, got[name], value)
			}
		}
		if strings.Contains(body, "home.example") {
			t.Errorf("userinfo of %s contains a personal mailbox: %s", person, body)
		}
	}
}

// TestOutsiderAtThirdParty: any person can complete DingTalk's page; the third party
// receives members only (threats K1).
func TestOutsiderAtThirdParty(t *testing.T) {
	h, p := servertest.NewSSO(t)
	for _, person := range []string{"sunqi", "zhouba", "wujiu", "zhengshi"} {
		v := h.NewClient()
		a := v.Get(v.Choose(v.StartSSO(p), person))
		if a.StatusCode != 403 || a.Header.Get("Location") != "" || servertest.SessionOf(a) != "" {
			t.Errorf("%s = %d to %q, want a 403 page", person, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if p.LastCallback != "" {
		t.Errorf("the platform received a callback: %s", p.LastCallback)
	}
}

func TestPageFirstAtThirdParty(t *testing.T) {
	h, p := servertest.NewSSO(t, func(c *config.Config) { c.SignIn.Page = true })
	v := h.NewClient()
	a := v.Get(p.AuthorizeURL() + "&state=theirs")
	if at := a.Header.Get("Location"); a.StatusCode != 302 || !strings.HasPrefix(at, h.URL+"/oauth2/sign_in?rd=") {
		t.Fatalf("authorize = %d to %q, want the sign-in page", a.StatusCode, at)
	}
	rd := servertest.ParseURL(t, a.Header.Get("Location")).Query().Get("rd")
	back := v.Get(v.Choose(v.StartSignIn(h.URL+"/oauth2/start?rd="+url.QueryEscape(rd)), "lisi"))
	if page := v.Follow(back); !strings.Contains(page.Text, "PLATFORM lisi") ||
		!strings.Contains(p.LastCallback, "state=theirs") {
		t.Errorf("after the page = %d %s with %s, want lisi", page.StatusCode, page.Text, p.LastCallback)
	}
}

// TestSSOPathsOff: without sso_server these paths belong to the routes.
func TestSSOPathsOff(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	for _, path := range []string{"/dingtalk/authorize", "/dingtalk/token", "/dingtalk/userinfo", "/dingtalk/other"} {
		if a := v.Get(h.URL + path); a.StatusCode != 200 || !strings.Contains(a.Text, "UPSTREAM-MARK GET "+path) {
			t.Errorf("%s without sso_server = %d %.100s, want the application's", path, a.StatusCode, a.Text)
		}
	}
	on, _ := servertest.NewSSO(t)
	v = on.NewClient()
	v.SignIn(on.URL+"/", "zhangsan")
	for _, path := range []string{"/dingtalk", "/dingtalk/", "/dingtalk/other", "/dingtalk/token/",
		"/dingtalk/%74oken", "/dingtalk%2ftoken", "//dingtalk/token", "/dingtalk/login", "/dingtalk/login/callback/"} {
		if a := v.Get(on.URL + path); a.StatusCode != 404 || strings.Contains(a.Text, "UPSTREAM-MARK") {
			t.Errorf("%s with sso_server = %d %.100s, want 404", path, a.StatusCode, a.Text)
		}
	}
	if a := v.Get(on.URL + "/dingtalk/login/callback"); a.StatusCode != 200 ||
		!strings.HasPrefix(a.Text, `{"success":false,"code":221,`) {
		t.Errorf("the login callback with sso_server = %d %.100s, want its envelope", a.StatusCode, a.Text)
	}
	if a := v.Get(on.URL + "/dingtalks"); a.StatusCode != 200 {
		t.Errorf("/dingtalks = %d, want the application's", a.StatusCode)
	}
}

// TestAuthorizeOnAnotherHost: the sign-in begins on the host that has the cookie when the
// browser returns.
func TestAuthorizeOnAnotherHost(t *testing.T) {
	h, p := servertest.NewSSO(t, func(c *config.Config) {
		here := c.AllRoutes()[0]
		other := here
		other.Host = "other.test"
		c.Upstream, c.Routes = "", []config.Route{other, here}
	})
	v := h.NewClient()
	path := strings.TrimPrefix(p.AuthorizeURL(), h.URL)
	a := v.Get(h.URL+path, "X-Forwarded-Host: other.test", "X-Forwarded-Proto: http")
	if at := a.Header.Get("Location"); a.StatusCode != 302 || at != h.URL+path || len(a.Header["Set-Cookie"]) > 0 {
		t.Errorf("authorize on another of our hosts = %d to %q, want the same on public_url", a.StatusCode, at)
	}
}
