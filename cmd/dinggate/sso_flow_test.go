package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
)

// withPlatform makes dinggate the SSO service of a third party.
func withPlatform(p *thirdParty, change ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.SSOServer.Clients = []sso.App{
			{ClientID: p.id, ClientSecret: conf.NewSecret(p.secret),
				RedirectURLs: []string{p.callback(), p.base + "/callback?tenant=1&code=old"}},
			{ClientID: "other", ClientSecret: conf.NewSecret("other-secret-0123456789"),
				RedirectURLs: []string{"https://other.test/callback"}, AllowQuery: true},
		}
		for _, f := range change {
			f(c)
		}
	}
}

// ssoTestEnv is an environment whose gate is the SSO service of a platform.
func ssoTestEnv(t testing.TB, change ...func(*config.Config)) (*testEnv, *thirdParty) {
	p := newThirdParty(t)
	h := newTestEnv(t,
		withPlatform(p,
			append([]func(*config.Config){func(c *config.Config) { c.DingTalk.Events = false }}, change...)...))
	p.service = h.base
	return h, p
}

// leaveSSO opens a third party's authorize and gives DingTalk's address.
func (v *visitor) leaveSSO(p *thirdParty) string {
	v.t.Helper()
	return v.leave(p.authorize())
}

// follow goes on through redirects to the first answer that is none.
func (v *visitor) follow(a answer) answer {
	v.t.Helper()
	for range 12 {
		at, err := a.Location()
		if a.StatusCode/100 != 3 || err != nil {
			return a
		}
		a = v.get(at.String())
	}
	v.t.Fatalf("redirects without end, the last to %s", a.Header.Get("Location"))
	return a
}

// TestThirdParty: a platform written from the document alone signs a person in.
func TestThirdParty(t *testing.T) {
	h, p := ssoTestEnv(t)
	v := h.visitor()
	to := v.leaveSSO(p)
	if back := mustURL(t, to).Query().Get("redirect_uri"); back != h.base+"/dingtalk/callback?forward_url="+
		url.QueryEscape(p.callback()) {
		t.Errorf("DingTalk is told to come back to %q, want the document's callback with forward_url", back)
	}
	back := v.get(v.choose(to, "zhangsan"))
	if at := back.Header.Get("Location"); back.StatusCode != http.StatusFound ||
		!strings.HasPrefix(at, p.callback()+"?code=") {
		t.Fatalf("the SSO callback = %d to %q %s, want 302 to the platform", back.StatusCode, at, back.body)
	}
	page := v.get(back.Header.Get("Location"))
	if page.StatusCode != 200 || !strings.Contains(page.body, "PLATFORM zhangsan zhangsan@yunfan.example") {
		t.Fatalf("the platform = %d %s, want zhangsan", page.StatusCode, page.body)
	}
	token := p.last()
	if token.TokenType != "Bearer" || token.ExpiryIn != 7200 || token.RefreshToken == "" ||
		token.AccessToken == token.RefreshToken {
		t.Errorf("the token call yields %d s of %q, want the document's names", token.ExpiryIn, token.TokenType)
	}
	q := mustURL(t, back.Header.Get("Location")).Query()
	if len(q.Get("code")) < 22 || q.Get("state") == "" {
		t.Errorf("code %q and state %q, want random ones", q.Get("code"), q.Get("state"))
	}

	// Single sign-on: the same browser is not sent to DingTalk again (S8: nor is it for dinggate's own pages).
	exchanges := h.platform.Calls("/v1.0/oauth2/userAccessToken")
	if a := v.follow(v.get(p.authorize())); !strings.Contains(a.body, "PLATFORM zhangsan") {
		t.Errorf("the second sign-in = %d %s, want zhangsan again", a.StatusCode, a.body)
	}
	if a := v.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("dinggate's own page after a third party's sign-in = %d, want 200", a.StatusCode)
	}
	if n := h.platform.Calls("/v1.0/oauth2/userAccessToken"); n != exchanges {
		t.Errorf("%d exchanges at DingTalk for single sign-on, want none", n-exchanges)
	}
	for _, secret := range []string{q.Get("code"), q.Get("state"), token.AccessToken, token.RefreshToken, p.secret} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds the secret %.8s…", secret)
		}
	}
}

// TestUserinfoAnswer: the two names of the document are always there.
func TestUserinfoAnswer(t *testing.T) { // T22, T18
	h, p := ssoTestEnv(t)
	for person, want := range map[string]map[string]string{
		"zhangsan": {"username": "zhangsan", "email": "zhangsan@yunfan.example", "userid": "zhangsan", "name": "张三",
			"aud": "platform"},
		"wangwu": {"username": "wangwu", "email": ""},
	} {
		v := h.visitor()
		v.follow(v.get(v.choose(v.leaveSSO(p), person)))
		status, body := p.userinfo(p.last().AccessToken)
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
			t.Errorf("userinfo of %s tells a personal mailbox: %s", person, body)
		}
	}
}

// TestOutsiderAtThirdParty: DingTalk lets anybody finish its page; the third
// party learns of members alone (threats K1).
func TestOutsiderAtThirdParty(t *testing.T) {
	h, p := ssoTestEnv(t)
	for _, person := range []string{"sunqi", "zhouba", "wujiu", "zhengshi"} {
		v := h.visitor()
		a := v.get(v.choose(v.leaveSSO(p), person))
		if a.StatusCode != 403 || a.Header.Get("Location") != "" || sessionOf(a) != "" {
			t.Errorf("%s = %d to %q, want a 403 page", person, a.StatusCode, a.Header.Get("Location"))
		}
	}
	if p.lastCallback != "" {
		t.Errorf("the platform heard of somebody: %s", p.lastCallback)
	}
}

func TestPageFirstAtThirdParty(t *testing.T) {
	h, p := ssoTestEnv(t, func(c *config.Config) { c.SignIn.Page = true })
	v := h.visitor()
	a := v.get(p.authorize() + "&state=theirs")
	if at := a.Header.Get("Location"); a.StatusCode != 302 || !strings.HasPrefix(at, h.base+"/oauth2/sign_in?rd=") {
		t.Fatalf("authorize = %d to %q, want the sign-in page", a.StatusCode, at)
	}
	rd := mustURL(t, a.Header.Get("Location")).Query().Get("rd")
	back := v.get(v.choose(v.leave(h.base+"/oauth2/start?rd="+url.QueryEscape(rd)), "lisi"))
	if page := v.follow(back); !strings.Contains(page.body, "PLATFORM lisi") ||
		!strings.Contains(p.lastCallback, "state=theirs") {
		t.Errorf("after the page = %d %s with %s, want lisi", page.StatusCode, page.body, p.lastCallback)
	}
}

// TestSSOPathsOff: without sso_server these are paths like any other.
func TestSSOPathsOff(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	for _, path := range []string{"/dingtalk/authorize", "/dingtalk/token", "/dingtalk/userinfo", "/dingtalk/other"} {
		if a := v.get(h.base + path); a.StatusCode != 200 || !strings.Contains(a.body, "UPSTREAM-MARK GET "+path) {
			t.Errorf("%s without sso_server = %d %.100s, want the application's", path, a.StatusCode, a.body)
		}
	}
	on, _ := ssoTestEnv(t)
	v = on.visitor()
	v.signIn(on.base+"/", "zhangsan")
	for _, path := range []string{"/dingtalk", "/dingtalk/", "/dingtalk/other", "/dingtalk/token/",
		"/dingtalk/%74oken", "/dingtalk%2ftoken", "//dingtalk/token", "/dingtalk/login", "/dingtalk/login/callback/"} {
		if a := v.get(on.base + path); a.StatusCode != 404 || strings.Contains(a.body, "UPSTREAM-MARK") {
			t.Errorf("%s with sso_server = %d %.100s, want 404", path, a.StatusCode, a.body)
		}
	}
	if a := v.get(on.base + "/dingtalk/login/callback"); a.StatusCode != 200 ||
		!strings.HasPrefix(a.body, `{"success":false,"code":221,`) {
		t.Errorf("the login callback with sso_server = %d %.100s, want its envelope", a.StatusCode, a.body)
	}
	if a := v.get(on.base + "/dingtalks"); a.StatusCode != 200 {
		t.Errorf("/dingtalks = %d, want the application's", a.StatusCode)
	}
}

// TestAuthorizeOnAnotherHost: the sign-in begins where its cookie will be
// when the browser comes back.
func TestAuthorizeOnAnotherHost(t *testing.T) {
	h, p := ssoTestEnv(t, func(c *config.Config) {
		here := c.AllRoutes()[0]
		other := here
		other.Host = "other.test"
		c.Upstream, c.Routes = "", []config.Route{other, here}
	})
	v := h.visitor()
	path := strings.TrimPrefix(p.authorize(), h.base)
	a := v.get(h.base+path, "X-Forwarded-Host: other.test", "X-Forwarded-Proto: http")
	if at := a.Header.Get("Location"); a.StatusCode != 302 || at != h.base+path || len(a.Header["Set-Cookie"]) > 0 {
		t.Errorf("authorize on another of our hosts = %d to %q, want the same on public_url", a.StatusCode, at)
	}
}
