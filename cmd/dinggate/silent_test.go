package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
)

const phone = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, " +
	"like Gecko) Mobile/15E148 AliApp(DingTalk/7.8.1) com.laiwang.DingTalk/46766536"

var silentState = regexp.MustCompile(`data-state="([A-Za-z0-9_-]{43})"`)

// silent opens a page in the DingTalk client and gives the state that its page carries.
func (v *visitor) silent(address string, headers ...string) string {
	v.t.Helper()
	a := v.get(address, append(headers, phone)...)
	state := silentState.FindStringSubmatch(a.body)
	if a.StatusCode != 200 || state == nil ||
		!strings.Contains(a.Header.Get("Content-Security-Policy"), "script-src 'self'; connect-src 'self'") ||
		a.Header.Get("Cache-Control") != "no-store" {
		v.t.Fatalf("GET %s in DingTalk = %d %v, want the silent page:\n%s", address, a.StatusCode, a.Header, a.body)
	}
	return state[1]
}

// post sends what the page's script sends. A header without a value takes the
// usual one away.
func (v *visitor) post(address, body string, headers ...string) answer {
	v.t.Helper()
	sent := []string{"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: cors"}
	for _, h := range headers {
		name, _, _ := strings.Cut(h, ":")
		for i := range sent {
			if strings.HasPrefix(sent[i], name+":") {
				sent[i] = h
				h = ""
			}
		}
		if h != "" {
			sent = append(sent, h)
		}
	}
	sent = slices.DeleteFunc(sent, func(h string) bool { return strings.HasSuffix(h, ":") })
	return v.do("POST", address+"/oauth2/silent", body, append(sent, phone)...)
}

// askedAbout lists which of the calls that a sign-in makes have reached DingTalk.
func askedAbout(h *testEnv) (paths []string) {
	for path, n := range h.platform.AllCalls() {
		switch path {
		case "/topapi/v2/user/getuserinfo", "/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me",
			"/topapi/user/getbyunionid", "/topapi/v2/user/get":
			paths = append(paths, fmt.Sprint(path, " ", n))
		}
	}
	slices.Sort(paths)
	return paths
}

func form(code, state string) string { return url.Values{"code": {code}, "state": {state}}.Encode() }

// TestSilent is the sign-in inside the DingTalk client, as its script makes it.
func TestSilent(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	state := v.silent(h.base + "/reports/%E5%BC%A0?q=1&x=%2F")
	a := v.post(h.base, form(h.platform.SilentCode("zhangsan"), state))
	var told struct{ Location string }
	if err := json.Unmarshal([]byte(a.body), &told); err != nil || a.StatusCode != 200 ||
		told.Location != "/reports/%E5%BC%A0?q=1&x=%2F" {
		t.Fatalf("POST /oauth2/silent = %d %s, want the way back", a.StatusCode, a.body)
	}
	if got := v.get(h.base+told.Location, phone); got.StatusCode != 200 ||
		h.app.last(t).Header.Get("X-Forwarded-User") != "zhangsan" ||
		h.app.last(t).Header.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" {
		t.Errorf("GET %s afterwards = %d, the application got %v", told.Location, got.StatusCode, h.app.last(t).Header)
	}
	// The same as JSON, from the page that a gateway sends people to.
	w := h.visitor()
	state = w.silent(h.base + "/oauth2/start?rd=%2Fdeep")
	body, _ := json.Marshal(map[string]string{"code": h.platform.SilentCode("lisi"), "state": state})
	if a := w.post(h.base, string(body), "Content-Type: application/json; charset=utf-8"); a.StatusCode != 200 ||
		!strings.Contains(a.body, `"location":"/deep"`) {
		t.Errorf("POST /oauth2/silent in JSON = %d %s, want the way back", a.StatusCode, a.body)
	}
	// By a client that sends no Sec-Fetch-Site, only Origin.
	w = h.visitor()
	if a := w.post(h.base, form(h.platform.SilentCode("lisi"), w.silent(h.base+"/deep")), "Sec-Fetch-Site:",
		"Sec-Fetch-Mode:", "Origin: "+h.base); a.StatusCode != 200 || sessionOf(a) == "" {
		t.Errorf("POST /oauth2/silent with Origin alone = %d %s, want a session", a.StatusCode, a.body)
	}
	// Not for the robot that makes previews, nor for calls, nor for who asks to go the ordinary way.
	for _, c := range []struct {
		path, agent, more string
		status            int
	}{
		{"/", "User-Agent: DingTalk-LinkService/1.0", "", 302},
		{"/", phone, "Sec-Fetch-Mode: cors", 401},
		{"/oauth2/start?silent=no&rd=%2F", phone, "", 302},
		{"/", "User-Agent: Mozilla/5.0 Chrome/120", "", 302},
	} {
		headers := []string{c.agent}
		if c.more != "" {
			headers = append(headers, c.more)
		}
		if a := h.visitor().get(h.base+c.path, headers...); a.StatusCode != c.status {
			t.Errorf("GET %s with %s %s = %d, want %d", c.path, c.agent, c.more, a.StatusCode, c.status)
		}
	}
}

// TestSilentRefused: anyone who fails the local checks calls nobody; anyone who is
// nobody here gets no session (threats S19, K1, K6, D6).
func TestSilentRefused(t *testing.T) {
	h := newTestEnv(t, nil)
	for _, c := range []struct {
		name   string
		code   func() string
		change func(v *visitor, body string) (string, []string)
		status int
		want   string
		calls  int // of getuserinfo
	}{
		{"another site", nil,
			func(v *visitor, b string) (string, []string) { return b, []string{"Sec-Fetch-Site: cross-site"} }, 403,
			"cross_site", 0},
		{"a sibling site", nil,
			func(v *visitor, b string) (string, []string) { return b, []string{"Sec-Fetch-Site: same-site"} }, 403,
			"cross_site", 0},
		{"another site by Origin alone", nil, func(v *visitor, b string) (string, []string) {
			return b, []string{"Sec-Fetch-Site:", "Sec-Fetch-Mode:", "Origin: https://evil.test"}
		}, 403, "cross_site", 0},
		{"a page without an origin, by Origin alone", nil, func(v *visitor, b string) (string, []string) {
			return b, []string{"Sec-Fetch-Site:", "Sec-Fetch-Mode:", "Origin: null"}
		}, 403, "cross_site", 0},
		{"no attempt cookie", nil,
			func(v *visitor, b string) (string, []string) { v.client.Jar = nil; return b, nil }, 403, "state_unknown",
			0},
		{"another browser", nil, func(v *visitor, b string) (string, []string) {
			v.client.Jar = h.visitor().client.Jar
			v.silent(h.base + "/")
			return b, nil
		}, 403, "state_unknown", 0},
		{"no state", nil, func(v *visitor, b string) (string, []string) { return "code=x", nil }, 403,
			"state_unknown", 0},
		{"no code", nil, func(v *visitor, b string) (string, []string) { return b[strings.Index(b, "state"):], nil },
			400, "bad_request", 0},
		{"code twice", nil, func(v *visitor, b string) (string, []string) { return b + "&code=y", nil }, 400,
			"bad_request", 0},
		{"state twice", nil, func(v *visitor, b string) (string, []string) { return b + "&state=y", nil }, 400,
			"bad_request", 0},
		{"a state of the redirect", nil, func(v *visitor, b string) (string, []string) {
			u, _ := url.Parse(v.leave(h.base + "/"))
			return form("x", u.Query().Get("state")), nil
		}, 403, "state_unknown", 0},
		{"plain text", nil,
			func(v *visitor, b string) (string, []string) { return b, []string{"Content-Type: text/plain"} }, 415,
			"bad_request", 0},
		{"no JSON", nil,
			func(v *visitor, b string) (string, []string) { return b, []string{"Content-Type: application/json"} },
			400, "bad_request", 0},
		{"too long", nil,
			func(v *visitor, b string) (string, []string) { return b + "&x=" + strings.Repeat("x", 5000), nil }, 413,
			"too_large", 0},
		{"a browser's code", func() string {
			c, _ := h.platform.Code(simulator.Browser, simulator.DemoClientID, "zhangsan")
			return c
		}, nil, 403, "code_rejected", 1},
		{"an unknown code", func() string { return "no-such-code" }, nil, 403, "code_rejected", 1},
		{"an external contact", func() string { return h.platform.SilentCode("zhouba") }, nil, 403,
			"external_contact", 1},
		{"an inactive person", func() string { return h.platform.SilentCode("wujiu") }, nil, 403, "inactive", 1},
		{"a disabled person", func() string { return h.platform.SilentCode("zhengshi") }, nil, 403, "disabled", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := h.visitor()
			v.t = t
			state := v.silent(h.base + "/deep")
			code := "code"
			if c.code != nil {
				code = c.code()
			}
			body, headers := form(code, state), []string(nil)
			if c.change != nil {
				body, headers = c.change(v, body)
			}
			h.platform.ResetCalls()
			a := v.post(h.base, body, headers...)
			if a.StatusCode != c.status || !strings.Contains(a.body, `"error":"`+c.want+`"`) ||
				!strings.Contains(a.body, `"message":"`) || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("POST /oauth2/silent = %d %s, want %d %s in JSON", a.StatusCode, a.body, c.status, c.want)
			}
			if sessionOf(a) != "" {
				t.Error("a session came with the refusal")
			}
			if got := h.platform.Calls("/topapi/v2/user/getuserinfo"); got != c.calls {
				t.Errorf("DingTalk was asked %d times, want %d", got, c.calls)
			}
			if got := askedAbout(h); c.calls == 0 && len(got) > 0 {
				t.Errorf("DingTalk was asked %v, want nothing", got)
			}
		})
	}
	// A code that worked works once, and so does the attempt.
	v := h.visitor()
	body := form(h.platform.SilentCode("zhangsan"), v.silent(h.base+"/"))
	if a := v.post(h.base, body); a.StatusCode != 200 {
		t.Fatalf("POST /oauth2/silent = %d %s", a.StatusCode, a.body)
	}
	h.platform.ResetCalls()
	if a := v.post(h.base, body); a.StatusCode != 403 || len(askedAbout(h)) > 0 {
		t.Errorf("the same again = %d %s and %v asked, want 403 and nothing", a.StatusCode, a.body, askedAbout(h))
	}
	used, _ := url.ParseQuery(body)
	w := h.visitor()
	if a := w.post(h.base, form(used.Get("code"), w.silent(h.base+"/"))); a.StatusCode != 403 ||
		!strings.Contains(a.body, "code_rejected") || sessionOf(a) != "" {
		t.Errorf("the code in another browser's attempt = %d %s, want 403", a.StatusCode, a.body)
	}
	// The client's code is none for the redirect's way either: DingTalk's token for it
	// may not see who that is, which looks like a permission that the app lacks.
	w = h.visitor()
	u, _ := url.Parse(w.leave(h.base + "/"))
	h.platform.ResetCalls()
	a := w.get(h.base + "/oauth2/callback?authCode=" + h.platform.SilentCode("zhangsan") + "&state=" +
		u.Query().Get("state"))
	if got := askedAbout(h); a.StatusCode < 400 || sessionOf(a) != "" ||
		h.platform.Calls("/topapi/v2/user/get") > 0 || h.platform.Calls("/v1.0/oauth2/userAccessToken") != 1 {
		t.Errorf("the client's code at the callback = %d, and %v asked, want a refusal", a.StatusCode, got)
	}
	if a := v.do("GET", h.base+"/oauth2/silent", ""); a.StatusCode != 405 || a.Header.Get("Allow") != "POST" {
		t.Errorf("GET /oauth2/silent = %d, want 405", a.StatusCode)
	}
}

// TestSilentAfterSignOut: anyone who signed out inside DingTalk stays out until a
// click (threats K17).
func TestSilentAfterSignOut(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	v.post(h.base, form(h.platform.SilentCode("zhangsan"), v.silent(h.base+"/")))
	out := v.do("POST", h.base+"/oauth2/sign_out?rd=%2Fwelcome", "", phone, "Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: navigate")
	if out.StatusCode != http.StatusSeeOther || !strings.HasPrefix(out.Header.Get("Location"), "/oauth2/sign_out") {
		t.Fatalf("signing out in DingTalk = %d to %q, want our own page", out.StatusCode, out.Header.Get("Location"))
	}
	for _, path := range []string{"/", "/welcome", "/oauth2/sign_out"} {
		if a := v.get(h.base+path, phone); a.StatusCode != 200 || silentState.MatchString(a.body) ||
			!strings.Contains(a.body, "/oauth2/start?rd=") {
			t.Errorf("GET %s after the sign-out = %d, want the signed-out page with a button:\n%s", path,
				a.StatusCode, a.body)
		}
	}
	v.post(h.base, form(h.platform.SilentCode("zhangsan"), v.silent(h.base+"/oauth2/start?rd=%2F"))) // the click
	if a := v.get(h.base+"/", phone); a.StatusCode != 200 || !strings.Contains(a.body, "UPSTREAM-MARK") {
		t.Errorf("GET / after the click = %d, want the application", a.StatusCode)
	}
	// elsewhere than in DingTalk nothing is remembered
	v.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	v.silent(h.base + "/")
}
