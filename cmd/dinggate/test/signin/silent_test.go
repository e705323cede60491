package signin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
)

// TestSilent makes the requests of the sign-in inside the DingTalk client, as the script
// does.
func TestSilent(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	state := v.OpenSilent(h.URL + "/reports/%E5%BC%A0?q=1&x=%2F")
	a := v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), state))
	var answer struct{ Location string }
	if err := json.Unmarshal([]byte(a.Text), &answer); err != nil || a.StatusCode != 200 ||
		answer.Location != "/reports/%E5%BC%A0?q=1&x=%2F" {
		t.Fatalf("POST /oauth2/silent = %d %s, want the way back", a.StatusCode, a.Text)
	}
	if got := v.Get(h.URL+answer.Location, servertest.DingTalkPhone); got.StatusCode != 200 ||
		h.Upstream.Last(t).Header.Get("X-Forwarded-User") != "zhangsan" ||
		h.Upstream.Last(t).Header.Get("X-Forwarded-Email") != "zhangsan@yunfan.example" {
		t.Errorf("GET %s afterwards = %d, the application got %v", answer.Location, got.StatusCode, h.Upstream.Last(t).Header)
	}
	// The same as JSON, from the page to which a gateway redirects people.
	w := h.NewClient()
	state = w.OpenSilent(h.URL + "/oauth2/start?rd=%2Fdeep")
	body, _ := json.Marshal(map[string]string{"code": h.Platform.SilentCode("lisi"), "state": state})
	if a := w.PostSilent(h.URL, string(body), "Content-Type: application/json; charset=utf-8"); a.StatusCode != 200 ||
		!strings.Contains(a.Text, `"location":"/deep"`) {
		t.Errorf("POST /oauth2/silent in JSON = %d %s, want the way back", a.StatusCode, a.Text)
	}
	// With a client that sends no Sec-Fetch-Site, only Origin.
	w = h.NewClient()
	if a := w.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("lisi"), w.OpenSilent(h.URL+"/deep")), "Sec-Fetch-Site:",
		"Sec-Fetch-Mode:", "Origin: "+h.URL); a.StatusCode != 200 || servertest.SessionOf(a) == "" {
		t.Errorf("POST /oauth2/silent with Origin alone = %d %s, want a session", a.StatusCode, a.Text)
	}
	// Not for the robot that makes previews, for API calls, or for a request of the
	// ordinary sign-in.
	for _, c := range []struct {
		path, agent, more string
		status            int
	}{
		{"/", "User-Agent: DingTalk-LinkService/1.0", "", 302},
		{"/", servertest.DingTalkPhone, "Sec-Fetch-Mode: cors", 401},
		{"/oauth2/start?silent=no&rd=%2F", servertest.DingTalkPhone, "", 302},
		{"/", "User-Agent: Mozilla/5.0 Chrome/120", "", 302},
	} {
		headers := []string{c.agent}
		if c.more != "" {
			headers = append(headers, c.more)
		}
		if a := h.NewClient().Get(h.URL+c.path, headers...); a.StatusCode != c.status {
			t.Errorf("GET %s with %s %s = %d, want %d", c.path, c.agent, c.more, a.StatusCode, c.status)
		}
	}
}

// TestSilentRefused checks that a request that fails the local checks causes no call to
// DingTalk, and that a person who is not a member gets no session (threats S19, K1, K6,
// D6).
func TestSilentRefused(t *testing.T) {
	h := servertest.New(t, nil)
	for _, c := range []struct {
		name   string
		code   func() string
		change func(v *servertest.Client, body string) (string, []string)
		status int
		want   string
		calls  int // of getuserinfo
	}{
		{"another site", nil,
			func(v *servertest.Client, b string) (string, []string) {
				return b, []string{"Sec-Fetch-Site: cross-site"}
			}, 403,
			"cross_site", 0},
		{"a sibling site", nil,
			func(v *servertest.Client, b string) (string, []string) {
				return b, []string{"Sec-Fetch-Site: same-site"}
			}, 403,
			"cross_site", 0},
		{"another site by Origin alone", nil, func(v *servertest.Client, b string) (string, []string) {
			return b, []string{"Sec-Fetch-Site:", "Sec-Fetch-Mode:", "Origin: https://evil.test"}
		}, 403, "cross_site", 0},
		{"a page without an origin, by Origin alone", nil, func(v *servertest.Client, b string) (string, []string) {
			return b, []string{"Sec-Fetch-Site:", "Sec-Fetch-Mode:", "Origin: null"}
		}, 403, "cross_site", 0},
		{"no attempt cookie", nil,
			func(v *servertest.Client, b string) (string, []string) { v.HTTP.Jar = nil; return b, nil }, 403, "state_unknown",
			0},
		{"another browser", nil, func(v *servertest.Client, b string) (string, []string) {
			v.HTTP.Jar = h.NewClient().HTTP.Jar
			v.OpenSilent(h.URL + "/")
			return b, nil
		}, 403, "state_unknown", 0},
		{"no state", nil, func(v *servertest.Client, b string) (string, []string) { return "code=x", nil }, 403,
			"state_unknown", 0},
		{"no code", nil, func(v *servertest.Client, b string) (string, []string) { return b[strings.Index(b, "state"):], nil },
			400, "bad_request", 0},
		{"code twice", nil, func(v *servertest.Client, b string) (string, []string) { return b + "&code=y", nil }, 400,
			"bad_request", 0},
		{"state twice", nil, func(v *servertest.Client, b string) (string, []string) { return b + "&state=y", nil }, 400,
			"bad_request", 0},
		{"a state of the redirect", nil, func(v *servertest.Client, b string) (string, []string) {
			u, _ := url.Parse(v.StartSignIn(h.URL + "/"))
			return servertest.SilentForm("x", u.Query().Get("state")), nil
		}, 403, "state_unknown", 0},
		{"plain text", nil,
			func(v *servertest.Client, b string) (string, []string) {
				return b, []string{"Content-Type: text/plain"}
			}, 415,
			"bad_request", 0},
		{"no JSON", nil,
			func(v *servertest.Client, b string) (string, []string) {
				return b, []string{"Content-Type: application/json"}
			},
			400, "bad_request", 0},
		{"too long", nil,
			func(v *servertest.Client, b string) (string, []string) {
				return b + "&x=" + strings.Repeat("x", 5000), nil
			}, 413,
			"too_large", 0},
		{"a browser's code", func() string {
			c, _ := h.Platform.Code(simulator.Browser, simulator.DemoClientID, "zhangsan")
			return c
		}, nil, 403, "code_rejected", 1},
		{"an unknown code", func() string { return "no-such-code" }, nil, 403, "code_rejected", 1},
		{"an external contact", func() string { return h.Platform.SilentCode("zhouba") }, nil, 403,
			"external_contact", 1},
		{"an inactive person", func() string { return h.Platform.SilentCode("wujiu") }, nil, 403, "inactive", 1},
		{"a disabled person", func() string { return h.Platform.SilentCode("zhengshi") }, nil, 403, "disabled", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := h.NewClient()
			v.T = t
			state := v.OpenSilent(h.URL + "/deep")
			code := "code"
			if c.code != nil {
				code = c.code()
			}
			body, headers := servertest.SilentForm(code, state), []string(nil)
			if c.change != nil {
				body, headers = c.change(v, body)
			}
			h.Platform.ResetCalls()
			a := v.PostSilent(h.URL, body, headers...)
			if a.StatusCode != c.status || !strings.Contains(a.Text, `"error":"`+c.want+`"`) ||
				!strings.Contains(a.Text, `"message":"`) || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("POST /oauth2/silent = %d %s, want %d %s in JSON", a.StatusCode, a.Text, c.status, c.want)
			}
			if servertest.SessionOf(a) != "" {
				t.Error("a session came with the refusal")
			}
			if got := h.Platform.Calls("/topapi/v2/user/getuserinfo"); got != c.calls {
				t.Errorf("DingTalk received %d calls, want %d", got, c.calls)
			}
			if got := servertest.SignInCalls(h); c.calls == 0 && len(got) > 0 {
				t.Errorf("DingTalk received %v, want nothing", got)
			}
		})
	}
	// A redeemed code is valid once, and so is the attempt.
	v := h.NewClient()
	body := servertest.SilentForm(h.Platform.SilentCode("zhangsan"), v.OpenSilent(h.URL+"/"))
	if a := v.PostSilent(h.URL, body); a.StatusCode != 200 {
		t.Fatalf("POST /oauth2/silent = %d %s", a.StatusCode, a.Text)
	}
	h.Platform.ResetCalls()
	if a := v.PostSilent(h.URL, body); a.StatusCode != 403 || len(servertest.SignInCalls(h)) > 0 {
		t.Errorf("the same again = %d %s and %v called, want 403 and nothing", a.StatusCode, a.Text, servertest.SignInCalls(h))
	}
	used, _ := url.ParseQuery(body)
	w := h.NewClient()
	if a := w.PostSilent(h.URL, servertest.SilentForm(used.Get("code"), w.OpenSilent(h.URL+"/"))); a.StatusCode != 403 ||
		!strings.Contains(a.Text, "code_rejected") || servertest.SessionOf(a) != "" {
		t.Errorf("the code in another browser's attempt = %d %s, want 403", a.StatusCode, a.Text)
	}
	// The client's code is not valid for the redirect sign-in either: DingTalk's token for
	// it cannot read the account, which resembles a missing permission of the app.
	w = h.NewClient()
	u, _ := url.Parse(w.StartSignIn(h.URL + "/"))
	h.Platform.ResetCalls()
	a := w.Get(h.URL + "/oauth2/callback?authCode=" + h.Platform.SilentCode("zhangsan") + "&state=" +
		u.Query().Get("state"))
	if got := servertest.SignInCalls(h); a.StatusCode < 400 || servertest.SessionOf(a) != "" ||
		h.Platform.Calls("/topapi/v2/user/get") > 0 || h.Platform.Calls("/v1.0/oauth2/userAccessToken") != 1 {
		t.Errorf("the client's code at the callback = %d, and %v called, want a refusal", a.StatusCode, got)
	}
	if a := v.Do("GET", h.URL+"/oauth2/silent", ""); a.StatusCode != 405 || a.Header.Get("Allow") != "POST" {
		t.Errorf("GET /oauth2/silent = %d, want 405", a.StatusCode)
	}
}

// TestSilentAfterSignOut checks that a person who signed out inside DingTalk stays signed
// out until a click (threats K17).
func TestSilentAfterSignOut(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), v.OpenSilent(h.URL+"/")))
	out := v.Do("POST", h.URL+"/oauth2/sign_out?rd=%2Fwelcome", "", servertest.DingTalkPhone, "Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: navigate")
	if out.StatusCode != http.StatusSeeOther || !strings.HasPrefix(out.Header.Get("Location"), "/oauth2/sign_out") {
		t.Fatalf("signing out in DingTalk = %d to %q, want our own page", out.StatusCode, out.Header.Get("Location"))
	}
	for _, path := range []string{"/", "/welcome", "/oauth2/sign_out"} {
		if a := v.Get(h.URL+path, servertest.DingTalkPhone); a.StatusCode != 200 || servertest.SilentState.MatchString(a.Text) ||
			!strings.Contains(a.Text, "/oauth2/start?rd=") {
			t.Errorf("GET %s after the sign-out = %d, want the signed-out page with a button:\n%s", path,
				a.StatusCode, a.Text)
		}
	}
	v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode("zhangsan"), v.OpenSilent(h.URL+"/oauth2/start?rd=%2F"))) // the click
	if a := v.Get(h.URL+"/", servertest.DingTalkPhone); a.StatusCode != 200 || !strings.Contains(a.Text, "UPSTREAM-MARK") {
		t.Errorf("GET / after the click = %d, want the application", a.StatusCode)
	}
	// outside of DingTalk no sign-out is recorded
	v.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
	v.OpenSilent(h.URL + "/")
}
