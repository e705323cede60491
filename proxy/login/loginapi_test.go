package login

import (
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
)

// attemptOf asks for an attempt as page script does.
func (b *browser) attemptOf(query string) (state, redirect string, status int) {
	b.t.Helper()
	a := b.send("GET", "/oauth2/start"+query, "Accept", "application/json", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin")
	var start struct {
		AuthorizeURL string `json:"authorize_url"`
		State        string `json:"state"`
		ClientID     string `json:"client_id"`
		RedirectURI  string `json:"redirect_uri"`
	}
	if err := json.Unmarshal([]byte(a.text), &start); err != nil {
		b.t.Fatalf("start%s = %d %s", query, a.StatusCode, a.text)
	}
	if a.StatusCode == 200 && !strings.Contains(start.AuthorizeURL, url.QueryEscape(start.RedirectURI)) {
		b.t.Errorf("start%s: authorize_url %q does not lead to %q", query, start.AuthorizeURL, start.RedirectURI)
	}
	return start.State, start.RedirectURI, a.StatusCode
}

// api calls the login callback API and gives the envelope, which must be one to
// the letter.
func (b *browser) api(query string, header ...string) (e envelope) {
	b.t.Helper()
	a := b.send("GET", "/dingtalk/login/callback"+query, append([]string{"Accept", "application/json", "Accept-Language", "en", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, header...)...)
	dec := json.NewDecoder(strings.NewReader(a.text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || strings.Count(a.text, `":`) != 4 || !strings.HasPrefix(a.text, `{"success":`) {
		b.t.Errorf("api%s = %s, %v: no envelope", query, a.text, err)
	}
	if a.StatusCode != 200 && a.StatusCode != 500 || e.Code != a.StatusCode || e.Success != (a.StatusCode == 200) || e.Message == "" || e.Success && (e.Message != "SUCCESS" || e.Data != nil) {
		b.t.Errorf("api%s = %d %s", query, a.StatusCode, a.text)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Location") != "" {
		b.t.Errorf("api%s: headers %v", query, a.Header)
	}
	return e
}

func TestLoginAPI(t *testing.T) {
	b := build(t, plan{}).browser()
	state, redirect, _ := b.attemptOf("")
	if redirect != "https://app.test/oauth2/callback" {
		t.Errorf("redirect_uri = %q", redirect)
	}
	if e := b.api("?code=zhangsan&state=" + state); !e.Success || b.session() == "" {
		t.Errorf("the envelope is %+v, session %q", e, b.session())
	}
	if a := b.visit("/x"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zhangsan ") {
		t.Errorf("the page says %q", a.text)
	}
	again := b.browser()
	state, redirect, _ = again.attemptOf("?page=%2Fopen%2Fscan")
	if redirect != "https://app.test/open/scan" {
		t.Errorf("redirect_uri = %q, want the page", redirect)
	}
	if e := again.api("?type=0&authCode=zhangsan&state=" + state); !e.Success {
		t.Errorf("type=0 with authCode: %+v", e)
	}
	for _, bad := range []string{"//evil.test/", "https://evil.test/", "/a?b", "/a%23b", "x", "/\\evil.test", "/oauth2/callback", "/" + strings.Repeat("a", maxPage), "%2F&page=%2F"} {
		if _, redirect, status := again.attemptOf("?page=" + bad); status != 400 {
			t.Errorf("page=%s = %d with %q, want 400", bad, status, redirect)
		}
	}
}

// TestLoginAPIRefuses: 500 with the envelope, each its message, no session, no
// detail, DingTalk asked only where it must be (threats T27).
func TestLoginAPIRefuses(t *testing.T) {
	h := build(t, plan{})
	seen := map[string]string{}
	for _, tt := range []struct {
		name, query string
		fail        error
		calls       int32
		kind        string // equal kinds read the same, others differ
	}{
		{"no code", "?state=S", nil, 0, "request"}, {"no state", "?code=zhangsan", nil, 0, "request"}, {"nothing", "", nil, 0, "request"}, {"no code, unknown state", "?state=x", nil, 0, "request"}, {"type 1, no code", "?state=S&type=1", nil, 0, "request"},
		{"unknown state", "?code=zhangsan&state=" + strings.Repeat("A", 43), nil, 0, "state"}, {"garbage state", "?code=zhangsan&state=x", nil, 0, "state"},
		{"code twice", "?code=zhangsan&code=lisi&state=S", nil, 0, "request"}, {"state twice", "?code=zhangsan&state=S&state=S", nil, 0, "request"},
		{"state[]", "?code=zhangsan&state[]=S", nil, 0, "request"},
		{"type 2", "?code=zhangsan&state=S&type=2", nil, 0, "request"}, {"type -1", "?code=zhangsan&state=S&type=-1", nil, 0, "request"}, {"type '1 '", "?code=zhangsan&state=S&type=1+", nil, 0, "request"},
		{"type empty", "?code=zhangsan&state=S&type=", nil, 0, "request"}, {"type twice", "?code=zhangsan&state=S&type=0&type=1", nil, 0, "request"}, {"type 00", "?type=00&code=zhangsan&state=S", nil, 0, "request"}, {"type x", "?type=x&code=zhangsan&state=S", nil, 0, "request"},
		{"type 1, binding off", "?code=zhangsan&state=S&type=1", nil, 0, "off"},
		{"error instead of a code", "?error=access_denied&state=S", nil, 0, "denied"},
		{"refused person", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Refused, Code: "not_member", Err: errIll}, 1, "member"},
		{"DingTalk down", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Later, Code: "unavailable", Err: errIll}, 1, "down"},
		{"code rejected", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Restart, Code: "code_rejected", Err: errIll}, 1, "rejected"},
		{"permission missing", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Operator, Code: "permission_missing", Hint: "SECRET-HINT", Err: errIll}, 1, "operator"},
	} {
		b := h.browser()
		state, _, _ := b.attemptOf("")
		h.provider.fails(tt.fail)
		before := h.provider.calls.Load()
		e := b.api(strings.Replace(tt.query, "=S", "="+state, -1))
		if e.Success || e.Data != nil || b.session() != "" {
			t.Errorf("%s: %+v, session %q", tt.name, e, b.session())
		}
		if n := h.provider.calls.Load() - before; n != tt.calls {
			t.Errorf("%s: DingTalk was asked %d times, want %d", tt.name, n, tt.calls)
		}
		if strings.Contains(e.Message, "SECRET-HINT") || strings.Contains(e.Message, "refused") || strings.Contains(e.Message, "login:") {
			t.Errorf("%s: the message tells %q", tt.name, e.Message)
		}
		if known, ok := seen[tt.kind]; ok && known != e.Message {
			t.Errorf("%s reads %q, others of its kind %q", tt.name, e.Message, known)
		}
		seen[tt.kind] = e.Message
	}
	unique := map[string]string{}
	for kind, message := range seen {
		if other, twice := unique[message]; twice {
			t.Errorf("%s and %s both read %q", kind, other, message)
		}
		unique[message] = kind
	}
	h.provider.fails(nil)
	b := h.browser()
	state, _, _ := b.attemptOf("")
	for name, header := range map[string][]string{"cross-site": {"Sec-Fetch-Site", "cross-site"}, "prefetch": {"Sec-Purpose", "prefetch"}} {
		a := b.send("GET", "/dingtalk/login/callback?code=zhangsan&state="+state, header...)
		if a.StatusCode != 500 || b.session() != "" {
			t.Errorf("%s = %d %s", name, a.StatusCode, a.text)
		}
	}
	for _, method := range []string{"POST", "HEAD", "PUT"} {
		if a := b.send(method, "/dingtalk/login/callback?code=zhangsan&state="+state); a.StatusCode != 500 || b.session() != "" {
			t.Errorf("%s = %d", method, a.StatusCode)
		}
	}
	if e := b.api("?code=zhangsan&state=" + state); !e.Success {
		t.Errorf("the attempt was used up by requests that are none: %+v", e)
	}
	a := h.browser().send("GET", "/dingtalk/login/callback?code=x&state=y", "Accept-Language", "zh-CN")
	if !strings.Contains(a.text, "登录") {
		t.Errorf("in Chinese it reads %s", a.text)
	}
}

// TestLoginAPIOnce: the same code sent many times at once is exchanged once.
func TestLoginAPIOnce(t *testing.T) {
	b := build(t, plan{}).browser()
	state, _, _ := b.attemptOf("")
	var won atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if b.api("?code=zhangsan&state=" + state).Success {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || b.provider.calls.Load() != 1 {
		t.Errorf("%d succeeded and DingTalk was asked %d times, want once", won.Load(), b.provider.calls.Load())
	}
}

// TestLoginAPINotBound: data is the one-time link, which works at the sign-in page.
func TestLoginAPINotBound(t *testing.T) {
	h := withAccounts(t, account.Required)
	b := h.browser()
	state, _, _ := b.attemptOf("?rd=%2Fdeep")
	e := b.api("?code=zhangsan&state=" + state)
	if e.Success || e.Data == nil || b.session() != "" {
		t.Fatalf("the envelope is %+v", e)
	}
	if a := b.submit("/oauth2/sign_in?link="+url.QueryEscape(*e.Data), "zs", "pw-zs"); a.StatusCode != 303 || a.Header.Get("Location") != "/deep" {
		t.Errorf("the link = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
	for _, event := range h.events {
		if event.Err != nil && strings.Contains(event.Err.Error(), *e.Data) {
			t.Errorf("the audit log holds the link: %v", event.Err)
		}
	}
}

// TestBindSession: type=1 binds the account that is signed in, and nothing else
// does (threats T28).
func TestBindSession(t *testing.T) {
	h := withAccounts(t, account.Optional)
	local := func(name string) *browser {
		b := h.browser()
		if a := b.submit("/oauth2/sign_in", name, "pw-"+name); a.StatusCode != 303 {
			t.Fatalf("sign-in of %s = %d", name, a.StatusCode)
		}
		return b
	}
	refuses := func(what string, e envelope, calls int32) {
		t.Helper()
		if e.Success || e.Data != nil || h.provider.calls.Load() != calls {
			t.Errorf("%s: %+v with %d calls, want a refusal with %d", what, e, h.provider.calls.Load(), calls)
		}
	}
	nobody := h.browser()
	if _, _, status := nobody.attemptOf("?type=1"); status != 403 {
		t.Errorf("start?type=1 of nobody = %d, want 403", status)
	}
	dingtalk := h.browser()
	dingtalk.signIn("wangwu")
	if _, _, status := dingtalk.attemptOf("?type=1"); status != 403 {
		t.Errorf("start?type=1 of somebody without a local account = %d, want 403", status)
	}
	zs := local("zs")
	asZero, _, _ := zs.attemptOf("")
	refuses("a sign-in's state with type=1", zs.api("?type=1&code=zhangsan&state="+asZero), 1)
	asOne, _, _ := zs.attemptOf("?type=1")
	refuses("a binding's state with type=0", zs.api("?type=0&code=zhangsan&state="+asOne), 1)
	if a := zs.back("zhangsan", asOne); a.StatusCode != 403 {
		t.Errorf("a binding's state at the callback = %d, want 403", a.StatusCode)
	}
	refuses("another browser", local("ls").api("?type=1&code=zhangsan&state="+asOne), 1)
	// The attempt of one session, when another account has signed in meanwhile.
	if a := zs.submit("/oauth2/sign_in", "ls", "pw-ls"); a.StatusCode != 303 {
		t.Fatal(a.StatusCode)
	}
	refuses("another session of this browser", zs.api("?type=1&code=zhangsan&state="+asOne), 1)
	h.bound(t)
	zs = local("zs")
	asOne, _, _ = zs.attemptOf("?type=1")
	if e := zs.api("?type=1&code=zhangsan&state=" + asOne); !e.Success {
		t.Fatalf("type=1: %+v", e)
	}
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
	refuses("used again", zs.api("?type=1&code=lisi&state="+asOne), 2)
	asOne, _, _ = zs.attemptOf("?type=1")
	refuses("an account that is bound", zs.api("?type=1&code=lisi&state="+asOne), 3)
	ls := local("ls")
	asOne, _, _ = ls.attemptOf("?type=1")
	refuses("a person who is bound", ls.api("?type=1&code=zhangsan&state="+asOne), 4)
	h.ahead.Store(int64(attemptLife + time.Minute))
	asOld, _, _ := ls.attemptOf("?type=1")
	h.ahead.Store(int64(2 * (attemptLife + time.Minute)))
	refuses("late", ls.api("?type=1&code=lisi&state="+asOld), 4)
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
}
