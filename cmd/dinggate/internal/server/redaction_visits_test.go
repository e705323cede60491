package server_test

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"

	"github.com/alicebob/miniredis/v2"
)

func newSecretFor(l *leaks) string {
	secret := config.NewSecret()
	l.add("configuration", secret)
	raw, _ := base64.StdEncoding.DecodeString(secret)
	l.add("configuration", string(raw))
	return secret
}

// browser returns a client whose traffic is recorded.
func (l *leaks) browser(h *servertest.Env) *servertest.Client {
	v := h.NewClient()
	v.HTTP.Transport = l
	return v
}

// sendAllRequests makes the requests that people, gateways, programs and platforms make,
// including failing ones.
func sendAllRequests(h *servertest.Env, l *leaks, third *servertest.SSOApp, redis *miniredis.Miniredis) {
	v := l.browser(h)
	callback := v.Choose(v.StartSignIn(h.URL+"/oauth2/start?rd=%2Freports"), "zhangsan")
	v.Get(callback)
	v.Get(callback) // once more
	session := ""
	for _, c := range v.HTTP.Jar.Cookies(mustURLOf(h.URL)) {
		if c.Name == "dinggate" {
			session = c.Value
		}
	}
	for _, path := range []string{"/", "/admin/", "/down/x", "/oauth2/userinfo", "/oauth2/sign_in",
		"/oauth2/sign_out", "/oauth2/nothing", "/%2e%2e/", "/dingtalk/authorize",
		"/dingtalk/callback?forward_url=x&authCode=canary-code-1&state=canary-state-1"} {
		v.Get(h.URL + path)
		v.Get(h.URL+path, "Accept: application/json")
	}
	for _, path := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/x"} {
		v.Get(h.URL+path, "X-Original-Url: "+h.URL+"/x?code=canary-code-2&access_token=canary-token-2",
			"X-Forwarded-Uri: /x?code=canary-code-2", "X-Forwarded-Method: GET")
		v.Get(h.URL+path, "Cookie: dinggate="+strings.ToUpper(session), "Authorization: Bearer canary-bearer-3")
	}
	for _, given := range []string{"canary-code-1", "canary-code-2", "canary-token-2", "canary-bearer-3",
		"canary-code-4", "canary-error-5"} {
		l.add("given", given)
	}
	// Other people, and invalid codes.
	for _, id := range []string{"zhouba", "sunqi", "wujiu", "zhengshi"} {
		w := l.browser(h)
		w.Get(w.Choose(w.StartSignIn(h.URL+"/oauth2/start"), id))
	}
	for _, more := range []string{"&authCode=canary-code-4", "&error=canary-error-5",
		"&authCode=canary-code-4&code=canary-code-1"} {
		w := l.browser(h)
		state := mustURLOf(w.StartSignIn(h.URL + "/oauth2/start")).Query().Get("state")
		w.Get(h.URL + "/oauth2/callback?state=" + state + more)
	}
	// Inside the DingTalk client.
	li := l.browser(h)
	code := h.Platform.SilentCode("lisi")
	l.add("code", code)
	li.PostSilent(h.URL, servertest.SilentForm(code, li.OpenSilent(h.URL+"/")))
	w := l.browser(h)
	w.PostSilent(h.URL, servertest.SilentForm(code, w.OpenSilent(h.URL+"/"))) // once more
	// Local accounts: with the form and with Basic, right and wrong passwords; a password
	// in the wrong field.
	for _, body := range []string{"username=alice&password=" + servertest.Canary + "-password",
		"username=alice&password=canary-wrong-6", "username=canary-misplaced-7&password=canary-wrong-6"} {
		w := l.browser(h)
		w.Get(h.URL + "/oauth2/sign_in")
		w.Do(http.MethodPost, h.URL+"/oauth2/sign_in", body, "Content-Type: application/x-www-form-urlencoded",
			"Sec-Fetch-Site: same-origin")
		w.Get(h.URL + "/")
		w.Get(h.URL + "/dingtalk/login/callback?authCode=canary-code-4&state=canary-state-1")
		w.Do(http.MethodPost, h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	}
	for _, pair := range []string{"alice:" + servertest.Canary + "-password", "alice:canary-wrong-6", "canary-misplaced-7:x"} {
		l.browser(h).Get(h.URL+"/reports", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	bindByAllWays(h, l)
	l.add("given", "canary-wrong-6")
	l.add("misplaced", "canary-misplaced-7")
	// A third party: its code twice, its tokens, invalid tokens.
	a := v.Get(third.AuthorizeURL())
	to := mustURLOf(a.Header.Get("Location")).Query()
	third.Post("code=" + to.Get("code") + "&state=wrong")
	b := v.Get(third.AuthorizeURL())
	to = mustURLOf(b.Header.Get("Location")).Query()
	token := third.Read(third.Token(to.Get("code"), to.Get("state")))
	l.add("access_token", token.AccessToken)
	l.add("refresh_token", token.RefreshToken)
	third.UserInfo(token.AccessToken)
	third.UserInfo("canary-bearer-3")
	_, fresh := third.Refresh(token.RefreshToken)
	l.gather([]byte(fresh), nil)
	third.Refresh(token.RefreshToken)
	third.Token(to.Get("code"), to.Get("state"))
	third.As(third.ID, "canary-bearer-3").Token("x", "y")
	l.browser(h).Get(h.URL+"/", "Authorization: Bearer "+token.AccessToken)
	// DingTalk fails in every way, and repeats the data that it received.
	l.parrot.Store(true)
	w = l.browser(h)
	w.Get(w.Choose(w.StartSignIn(h.URL+"/oauth2/start"), "lisi"))
	time.Sleep(1500 * time.Millisecond) // sessions are due: the background looks people up
	v.Get(h.URL + "/")
	time.Sleep(500 * time.Millisecond)
	l.parrot.Store(false)
	for _, verb := range []simulator.Verb{simulator.Status(500), simulator.Cut(30), simulator.Reset(),
		simulator.Refuse(), simulator.TLS(), simulator.Body("<html>"), simulator.Redirect(h.URL + "/x"),
		simulator.Code("60011"), simulator.Code("60020"), simulator.Flood(1 << 21)} {
		for _, on := range []string{"/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me", "/topapi/v2/user/get"} {
			h.Platform.Fault(simulator.Fault{On: on, Do: verb, Times: 1})
			w := l.browser(h)
			w.Get(w.Choose(w.StartSignIn(h.URL+"/oauth2/start"), "lisi"))
			h.Platform.ClearFaults()
		}
	}
	if err := h.Platform.Leave("lisi"); err != nil {
		h.T.Fatal(err)
	}
	servertest.Eventually(h.T,
		"the event of a leaver", func() bool { return li.Get(h.URL+"/").StatusCode != http.StatusOK })
	// Redis stops; then the person leaves.
	redis.SetError("ERR unknown command 'HELLO', with args beginning with: '2' 'AUTH' 'default' '" + servertest.Canary + "-redis'")
	v.Get(h.URL + "/")
	l.browser(h).Get(h.URL + "/")
	redis.SetError("")
	v.Do(http.MethodPost, h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	v.Get(h.URL+"/", "Cookie: dinggate="+session)
}

// bindByAllWays binds with the link and with a page's own script, with success and failure,
// and signs in with such a page.
func bindByAllWays(h *servertest.Env, l *leaks) {
	h.T.Helper()
	const form = "Content-Type: application/x-www-form-urlencoded"
	w := l.browser(h)
	page := w.Get(w.Choose(w.StartSignIn(h.URL+"/oauth2/start?rd=%2Freports"), "zhaoliu")) // named like an account
	m := servertest.LinkAddress.FindStringSubmatch(page.Text)
	if m == nil {
		h.T.Fatalf("zhaoliu gets no link: %d %s", page.StatusCode, page.Text)
	}
	link := html.UnescapeString(m[1])
	l.add("link", mustURLOf(link).Query().Get("link"))
	w.Get(h.URL + link)
	for _, body := range []string{"username=zhaoliu&password=canary-wrong-6",
		"username=zhaoliu&password=" + servertest.Canary + "-password", "username=alice&password=" + servertest.Canary + "-password"} {
		w.Do(http.MethodPost, h.URL+link, body, form, "Sec-Fetch-Site: same-origin")
	}
	w = l.browser(h)
	w.Do(http.MethodPost, h.URL+"/oauth2/sign_in", "username=alice&password="+servertest.Canary+"-password", form,
		"Sec-Fetch-Site: same-origin")
	w.Header = http.Header{} // page script
	for _, kind := range []string{"1", "0"} {
		var start struct {
			AuthorizeURL string `json:"authorize_url"`
		}
		a := w.Get(h.URL+"/oauth2/start?type="+kind+"&page=/reports", "Accept: application/json")
		if err := json.Unmarshal([]byte(a.Text), &start); err != nil {
			h.T.Fatal(err, a.Text)
		}
		back := mustURLOf(w.Choose(start.AuthorizeURL, "wangwu"))
		l.gather(nil, back.Query())
		for range 2 { // once more
			w.Get(h.URL + "/dingtalk/login/callback?type=" + kind + "&" + back.RawQuery)
		}
	}
}
