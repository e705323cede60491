package login

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
)

// attemptOf requests an attempt as a page script does.
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

// api calls the login callback API and returns the envelope, which must be well formed and match
// the HTTP status.
func (b *browser) api(query string, header ...string) (e envelope) {
	b.t.Helper()
	e, status := b.apiStatus(query, header...)
	if status != 200 {
		b.t.Errorf("api%s = %d with %+v", query, status, e)
	}
	return e
}

func (b *browser) apiStatus(query string, header ...string) (e envelope, status int) {
	b.t.Helper()
	a := b.send("GET", "/dingtalk/login/callback"+query,
		append([]string{"Accept", "application/json", "Accept-Language", "en", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, header...)...)
	dec := json.NewDecoder(strings.NewReader(a.text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || strings.Count(a.text, `":`) != 4 || !strings.HasPrefix(a.text, `{"success":`) {
		b.t.Errorf("api%s = %s, %v: no envelope", query, a.text, err)
	}
	if e.Success != (e.Code == 200) || e.Message == "" || e.Success && (e.Message == "SUCCESS") != (e.Data == nil) {
		b.t.Errorf("api%s = %d %s", query, a.StatusCode, a.text)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Location") != "" {
		b.t.Errorf("api%s: headers %v", query, a.Header)
	}
	return e, a.StatusCode
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
	for _, bad := range []string{"//evil.test/", "https://evil.test/", "/a?b", "/a%23b", "x", "/\\evil.test", "/oauth2/callback",
		"/" + strings.Repeat("a", maxPage), "%2F&page=%2F"} {
		if _, redirect, status := again.attemptOf("?page=" + bad); status != 400 {
			t.Errorf("page=%s = %d with %q, want 400", bad, status, redirect)
		}
	}
}

// TestLoginAPIType: 1 is the only number that does not sign in.
func TestLoginAPIType(t *testing.T) {
	h := build(t, plan{})
	for kind, binds := range map[string]bool{"": false, "0": false, "2": false, "-1": false, "00": false, "-0": false, "%2B0": false,
		"99999999999999999999": false, "1": true, "01": true, "%2B1": true, "%31": true} {
		b := h.browser()
		state, _, status := b.attemptOf("?type=" + kind)
		if e := b.api("?code=zhangsan&state=" + cmp.Or(state, "S") + "&type=" + kind); e.Success == binds || status == 200 == binds || binds && e.Code != 201 {
			t.Errorf("type=%s = %+v after a start of %d, want a binding: %v", kind, e, status, binds)
		}
	}
	for _, kind := range []string{"x", "1+", "+1", "1.0", "0x1", "１", "true", "null", "1,0", "1%00", "0'", "%zz", "-", "%2B", "--1", "%2B-1", "1e0", "0%20",
		"%0A1"} {
		b := h.browser()
		state, _, _ := b.attemptOf("")
		if e := b.api("?code=zhangsan&state=" + state + "&type=" + kind); e.Code != 221 || b.session() != "" {
			t.Errorf("type=%s = %+v, want 221", kind, e)
		}
		if _, _, status := b.attemptOf("?type=" + kind); status != 400 {
			t.Errorf("start?type=%s = %d, want 400", kind, status)
		}
	}
}

// TestLoginAPIRefuses: an envelope with its code and the message of its kind, no session, no
// details, and no unnecessary call to DingTalk (threats T27). Under StrictAPI every refusal is
// 500.
func TestLoginAPIRefuses(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) { refusesByAPI(t, strict) })
	}
}

func refusesByAPI(t *testing.T, strict bool) {
	cause := errors.New("the cause")
	h := build(t, plan{change: func(f *Flow) { f.StrictAPI = strict }})
	seen := map[string]string{}
	for _, tt := range []struct {
		name, query string
		fail        error
		calls       int32
		kind        string // equal kinds have the same message, others differ
		status      int
		code        int
	}{
		{"no code", "?state=S", nil, 0, "request", 200, 221},
		{"no state", "?code=zhangsan", nil, 0, "request", 200, 221},
		{"nothing", "", nil, 0, "request", 200, 221},
		{"no code, unknown state", "?state=x", nil, 0, "request", 200, 221}, {"type 1, no code", "?state=S&type=1", nil, 0, "request", 200, 221},
		{"unknown state", "?code=zhangsan&state=" + strings.Repeat("A", 43), nil, 0, "state", 200, 500},
		{"garbage state", "?code=zhangsan&state=x", nil, 0, "state", 200, 500},
		{"code twice", "?code=zhangsan&code=lisi&state=S", nil, 0, "request", 200, 221},
		{"state twice", "?code=zhangsan&state=S&state=S", nil, 0, "request", 200, 221},
		{"state[]", "?code=zhangsan&state[]=S", nil, 0, "request", 200, 221},
		{"type '1 '", "?code=zhangsan&state=S&type=1+", nil, 0, "request", 200, 221},
		{"type twice", "?code=zhangsan&state=S&type=0&type=1", nil, 0, "request", 200, 221},
		{"type x", "?type=x&code=zhangsan&state=S", nil, 0, "request", 200, 221},
		{"type 1, no session, binding off", "?code=zhangsan&state=S&type=1", nil, 0, "off", 200, 201},
		{"error instead of a code", "?error=access_denied&state=S", nil, 0, "denied", 200, 500},
		{"refused person", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Refused, Code: "not_member", Err: cause}, 1, "member", 200, 500},
		{"DingTalk down", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Later, Code: "unavailable", Err: cause}, 1, "down", 500, 500},
		{"code rejected", "?code=zhangsan&state=S", &identity.Failure{Class: identity.Restart, Code: "code_rejected", Err: cause}, 1, "rejected", 200, 500},
		{"permission missing", "?code=zhangsan&state=S", &identity.Failure{
			Class: identity.Operator,
			Code:  "permission_missing",
			Hint:  "SECRET-HINT",
			Err:   cause,
		}, 1, "operator", 500, 500},
		{"a nonsense answer", "?code=nameless&state=S", nil, 1, "nonsense", 500, 500},
	} {
		b := h.browser()
		state, _, _ := b.attemptOf("")
		h.provider.fails(tt.fail)
		before := h.provider.calls.Load()
		e, status := b.apiStatus(strings.Replace(tt.query, "=S", "="+state, -1))
		if strict {
			tt.status, tt.code = 500, 500
		}
		if status != tt.status || e.Code != tt.code || e.Success || e.Data != nil || b.session() != "" {
			t.Errorf("%s = %d %+v, session %q, want %d with %d", tt.name, status, e, b.session(), tt.status, tt.code)
		}
		if n := h.provider.calls.Load() - before; n != tt.calls {
			t.Errorf("%s: DingTalk was called %d times, want %d", tt.name, n, tt.calls)
		}
		if strings.Contains(e.Message, "SECRET-HINT") || strings.Contains(e.Message, "refused") || strings.Contains(e.Message, "login:") {
			t.Errorf("%s: the message contains %q", tt.name, e.Message)
		}
		if known, ok := seen[tt.kind]; ok && known != e.Message {
			t.Errorf("%s reads %q, others of its kind %q", tt.name, e.Message, known)
		}
		seen[tt.kind] = e.Message
	}
	h.provider.fails(nil)
	b := h.browser()
	state, _, _ := b.attemptOf("")
	h.store.Away.Store(true)
	if e, status := b.apiStatus("?code=zhangsan&state=" + state); status != 500 || e.Code != 500 || e.Success || b.session() != "" {
		t.Errorf("a failing store = %d %+v, want 500", status, e)
	}
	h.store.Away.Store(false)
	for _, kind := range []string{"", "2", "-1", "00"} {
		b := h.browser()
		state, _, _ := b.attemptOf("")
		if e, status := b.apiStatus("?code=zhangsan&type=" + kind + "&state=" + state); status == 500 != strict || e.Success == strict {
			t.Errorf("type=%s = %d %+v, want 500 under strict alone", kind, status, e)
		}
	}
	unique := map[string]string{}
	for kind, message := range seen {
		if other, twice := unique[message]; twice {
			t.Errorf("%s and %s both read %q", kind, other, message)
		}
		unique[message] = kind
	}
	b = h.browser()
	state, _, _ = b.attemptOf("")
	for name, header := range map[string][]string{"cross-site": {"Sec-Fetch-Site", "cross-site"}, "prefetch": {"Sec-Purpose", "prefetch"}} {
		a := b.send("GET", "/dingtalk/login/callback?code=zhangsan&state="+state, header...)
		if a.StatusCode == 200 == (strict || name == "prefetch") || strings.Contains(a.text, `"success":true`) || b.session() != "" {
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
		t.Errorf("%d succeeded and DingTalk was called %d times, want once", won.Load(), b.provider.calls.Load())
	}
}

// TestLoginAPINotBound: a success without a session; data is the one-time link, which works at the
// sign-in page.
func TestLoginAPINotBound(t *testing.T) {
	for _, strict := range []bool{false, true} {
		h := withAccounts(t, account.Required)
		h.StrictAPI = strict
		b := h.browser()
		state, _, _ := b.attemptOf("?rd=%2Fdeep")
		e, status := b.apiStatus("?code=zhangsan&state=" + state)
		if status == 500 != strict || e.Success == strict || e.Data == nil || b.session() != "" {
			t.Fatalf("strict %v: %d with %+v", strict, status, e)
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
	h := build(t, plan{change: func(f *Flow) { // bindings are imported: there is no account to sign in with
		f.People = &account.Policy{Binding: account.Required, Bindings: new(account.Memory)}
	}})
	b := h.browser()
	state, _, _ := b.attemptOf("")
	if e := b.api("?code=zhangsan&state=" + state); e.Success || e.Code != 500 || e.Data != nil || b.session() != "" {
		t.Errorf("not bound, without accounts: %+v", e)
	}
}

// TestBindSession: type=1 binds the signed-in account, and no other sign-in binds (threats T28).
func TestBindSession(t *testing.T) {
	h := withAccounts(t, account.Optional)
	local := func(name string) *browser {
		b := h.browser()
		if a := b.submit("/oauth2/sign_in", name, "pw-"+name); a.StatusCode != 303 {
			t.Fatalf("sign-in of %s = %d", name, a.StatusCode)
		}
		return b
	}
	refuses := func(what string, e envelope, code int, calls int32) {
		t.Helper()
		if e.Success || e.Code != code || e.Data != nil || h.provider.calls.Load() != calls {
			t.Errorf("%s: %+v with %d calls, want the refusal %d with %d", what, e, h.provider.calls.Load(), code, calls)
		}
	}
	other := h.browser()
	if _, _, status := other.attemptOf("?type=1"); status != 403 {
		t.Errorf("start?type=1 without a session = %d, want 403", status)
	}
	state, _, _ := other.attemptOf("")
	refuses("no session", other.api("?type=1&code=zhangsan&state="+state), 201, 0)
	dingtalk := h.browser()
	dingtalk.signIn("wangwu")
	if _, _, status := dingtalk.attemptOf("?type=1"); status != 403 {
		t.Errorf("start?type=1 of a person without a local account = %d, want 403", status)
	}
	state, _, _ = dingtalk.attemptOf("")
	refuses("a person without a local account", dingtalk.api("?type=1&code=zhangsan&state="+state), 500, 1)
	zs := local("zs")
	asZero, _, _ := zs.attemptOf("")
	e := zs.api("?type=1&code=zhangsan&state=" + asZero)
	refuses("a sign-in's state with type=1", e, 500, 1)
	if !strings.Contains(e.Message, "without type=1") {
		t.Errorf("it says %q, want what the page has to do", e.Message)
	}
	asOne, _, _ := zs.attemptOf("?type=1")
	e = zs.api("?type=0&code=zhangsan&state=" + asOne)
	refuses("a binding's state with type=0", e, 500, 1)
	if !strings.Contains(e.Message, "without type=1") {
		t.Errorf("it says %q, want what the page has to do", e.Message)
	}
	if a := zs.back("zhangsan", asOne); a.StatusCode != 403 {
		t.Errorf("a binding's state at the callback = %d, want 403", a.StatusCode)
	}
	refuses("another browser", local("ls").api("?type=1&code=zhangsan&state="+asOne), 500, 1)
	// The attempt of one session, after another account has signed in.
	if a := zs.submit("/oauth2/sign_in", "ls", "pw-ls"); a.StatusCode != 303 {
		t.Fatal(a.StatusCode)
	}
	refuses("another session of this browser", zs.api("?type=1&code=zhangsan&state="+asOne), 500, 1)
	h.bound(t)
	zs = local("zs")
	asOne, _, _ = zs.attemptOf("?type=1")
	if e := zs.api("?type=1&code=zhangsan&state=" + asOne); !e.Success {
		t.Fatalf("type=1: %+v", e)
	}
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
	again, _, _ := zs.attemptOf("?type=1")
	if e := zs.api("?type=1&code=zhangsan&state=" + again); !e.Success || e.Data != nil {
		t.Errorf("bound to this account already: %+v", e)
	}
	refuses("used again", zs.api("?type=1&code=lisi&state="+asOne), 500, 3)
	asOne, _, _ = zs.attemptOf("?type=1")
	refuses("an account that is bound", zs.api("?type=1&code=lisi&state="+asOne), 500, 4)
	ls := local("ls")
	asOne, _, _ = ls.attemptOf("?type=1")
	refuses("a person who is bound", ls.api("?type=1&code=zhangsan&state="+asOne), 500, 5)
	h.bound(t, account.Binding{UnionID: "union-zhangsan", Username: "zs"})
}

// TestBindNeedsARecentSignIn: a session that is older than ten minutes cannot bind, neither when
// the attempt begins nor when it ends (threats T33).
func TestBindNeedsARecentSignIn(t *testing.T) {
	h := withAccounts(t, account.Optional)
	signIn := func() *browser {
		b := h.browser()
		if a := b.submit("/oauth2/sign_in", "ls", "pw-ls"); a.StatusCode != 303 {
			t.Fatalf("sign-in = %d", a.StatusCode)
		}
		return b
	}
	ls := signIn()
	h.ahead.Store(int64(bindWithin - 2*time.Second))
	young, _, status := ls.attemptOf("?type=1")
	if status != 200 {
		t.Fatalf("start?type=1 just within ten minutes = %d", status)
	}
	h.ahead.Store(int64(bindWithin))
	e := ls.api("?type=1&code=lisi&state=" + young)
	if e.Success || e.Code != 201 || !strings.Contains(e.Message, "10 minutes") || h.provider.calls.Load() != 0 {
		t.Errorf("a sign-in of ten minutes ago: %+v, want 201", e)
	}
	if _, _, status := ls.attemptOf("?type=1"); status != 403 {
		t.Errorf("start?type=1 then = %d, want 403", status)
	}
	h.bound(t)
	ls = signIn()
	state, _, _ := ls.attemptOf("?type=1")
	if e := ls.api("?type=1&code=lisi&state=" + state); !e.Success {
		t.Errorf("after a new sign-in: %+v", e)
	}
	h.bound(t, account.Binding{UnionID: "union-lisi", Username: "ls"})
}
