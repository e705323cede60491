package servertest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// DingTalkPhone is the User-Agent header of the DingTalk client on a phone.
const DingTalkPhone = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, " +
	"like Gecko) Mobile/15E148 AliApp(DingTalk/7.8.1) com.laiwang.DingTalk/46766536"

// SilentState finds the state in the page of the silent sign-in.
var SilentState = regexp.MustCompile(`data-state="([A-Za-z0-9_-]{43})"`)

// OpenSilent opens a page in the DingTalk client and returns the state in the page.
func (v *Client) OpenSilent(address string, headers ...string) string {
	v.T.Helper()
	a := v.Get(address, append(headers, DingTalkPhone)...)
	state := SilentState.FindStringSubmatch(a.Text)
	if a.StatusCode != 200 || state == nil ||
		!strings.Contains(a.Header.Get("Content-Security-Policy"), "script-src 'self'; connect-src 'self'") ||
		a.Header.Get("Cache-Control") != "no-store" {
		v.T.Fatalf("GET %s in DingTalk = %d %v, want the silent page:\n%s", address, a.StatusCode, a.Header, a.Text)
	}
	return state[1]
}

// PostSilent sends the request of the page's script. A header without a value removes the
// default one.
func (v *Client) PostSilent(address, body string, headers ...string) Response {
	v.T.Helper()
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
	return v.Do("POST", address+"/oauth2/silent", body, append(sent, DingTalkPhone)...)
}

// SignInCalls lists which calls of a sign-in have reached DingTalk.
func SignInCalls(h *Env) (paths []string) {
	for path, n := range h.Platform.AllCalls() {
		switch path {
		case "/topapi/v2/user/getuserinfo", "/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me",
			"/topapi/user/getbyunionid", "/topapi/v2/user/get":
			paths = append(paths, fmt.Sprint(path, " ", n))
		}
	}
	slices.Sort(paths)
	return paths
}

// SilentForm returns the form that the script of that page submits.
func SilentForm(code, state string) string {
	return url.Values{"code": {code}, "state": {state}}.Encode()
}
