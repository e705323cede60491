package login

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestSignIn(t *testing.T) {
	b := build(t, plan{}).browser()
	first := b.visit("/reports?year=2026&q=a%20b")
	state := b.stateOf(first)
	line := first.cookieLine(b.attempts()[0].Name)
	for _, want := range []string{"__Host-dinggate-attempt-", "Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"} {
		if !strings.Contains(line, want) {
			t.Errorf("attempt cookie = %s, want %s in it", line, want)
		}
	}
	if strings.Contains(line, "Domain") {
		t.Errorf("attempt cookie = %s, want no Domain", line)
	}
	redirect := must(url.Parse(first.Header.Get("Location"))).Query().Get("redirect_uri")
	if redirect != "https://app.test/oauth2/callback" {
		t.Errorf("redirect_uri = %s", redirect)
	}
	second := b.back("zhangsan", state)
	if second.StatusCode != 302 || second.Header.Get("Location") != "/reports?year=2026&q=a%20b" || b.session() == "" || second.text != "" {
		t.Fatalf("callback = %d to %q %q, want 302 to the requested page", second.StatusCode, second.Header.Get("Location"), second.text)
	}
	if n := len(b.attempts()); n != 0 {
		t.Errorf("%d attempts are left, want 0", n)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} { // O6, W11
		if got := second.Header.Get(name); got != want {
			t.Errorf("callback: %s = %q, want %q", name, got, want)
		}
	}
	if third := b.visit("/reports"); !strings.HasPrefix(third.text, "UPSTREAM-MARK zhangsan ") {
		t.Errorf("GET /reports = %d %s", third.StatusCode, third.text)
	}
	if len(b.events) != 1 || b.events[0].What != "sign_in" || b.events[0].User != "zhangsan" || !b.events[0].Client.IsLoopback() ||
		b.events[0].RequestID == "" {
		t.Errorf("audit = %+v, want one sign-in", b.events)
	}
}

// TestChallengeOfScripts: a request that is no page load gets 401 and no cookie (threats W9, W10,
// S10).
func TestChallengeOfScripts(t *testing.T) {
	b := build(t, plan{}).browser()
	for _, c := range []struct {
		method string
		header []string
		back   string
	}{
		{"GET", nil, "/"},
		{"GET", []string{"Accept", "application/json"}, "/"},
		{"GET", []string{"Accept", "text/html", "X-Requested-With", "XMLHttpRequest"}, "/"},
		{"GET", []string{"Accept", "text/html", "Sec-Fetch-Mode", "cors"}, "/"},
		{"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Purpose", "prefetch"}, "/"},
		{"GET", []string{"Accept", "text/html", "Sec-WebSocket-Key", "x"}, "/"},
		{"POST", []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, "/"},
		{"POST", []string{"Referer", "https://app.test/form?id=1"}, "/form?id=1"},
		{"GET", []string{"Referer", "https://route.test/x"}, "https://route.test/x"},
		{"GET", []string{"Referer", "https://evil.test/x"}, "/"},
		{"GET", []string{"Referer", "https://app.test@evil.test/x"}, "/"},
		{"GET", []string{"Referer", "https://app.test/oauth2/sign_out"}, "/"},
		{"GET", []string{"Referer", "https://app.test/a", "Referer", "https://app.test/b"}, "/"},
	} {
		a := b.send(c.method, "/api?x=1", c.header...)
		var got struct {
			Error    string `json:"error"`
			LoginURL string `json:"login_url"`
		}
		if a.StatusCode != 401 || len(a.Header["Set-Cookie"]) > 0 || a.Header.Get("Location") != "" {
			t.Errorf("%s with %q = %d, %q, want 401 without a cookie", c.method, c.header, a.StatusCode, a.Header)
		}
		if strings.Contains(a.Header.Get("Content-Type"), "html") {
			continue // a form's POST: a page that explains it
		}
		at := "https://app.test"
		if strings.HasPrefix(c.back, "https://route.test/") { // where our cookie does not reach, the sign-in begins
			at = "https://route.test"
		}
		if err := json.Unmarshal([]byte(a.text), &got); err != nil || got.Error != "unauthenticated" ||
			got.LoginURL != at+"/oauth2/start?rd="+url.QueryEscape(c.back) {
			t.Errorf("%s with %q = %s, want rd %s", c.method, c.header, a.text, c.back)
		}
	}
}

func TestOtherHosts(t *testing.T) { // S17, R11
	for _, c := range []struct {
		what, domain, address string
		location              string
	}{
		{"a route's host", "", "https://route.test/a?b=1", "https://app.test/oauth2/leave?hop=HOP&rd=https://route.test/a?b=1"},
		{"a route's host below cookie.domain", "test", "https://route.test/a", "https://app.test/oauth2/start?rd=https%3A%2F%2Froute.test%2Fa"},
		{"under cookie.domain", "app.test", "https://x.app.test/a", "https://app.test/oauth2/start?rd=https%3A%2F%2Fx.app.test%2Fa"},
		{"a foreign host", "", "https://evil.test/a", "https://app.test/oauth2/start?rd=%2Fa"},
		{"a foreign host, no path", "", "https://evil.test//evil.test/", "https://app.test/oauth2/start?rd=%2F"},
		{"start on a route's host", "", "https://route.test/oauth2/start?rd=/a", "https://app.test/oauth2/leave?hop=HOP&rd=https://route.test/a"},
		{"start on a route's host, foreign rd", "", "https://route.test/oauth2/start?rd=https://evil.test/",
			"https://app.test/oauth2/leave?hop=HOP&rd=https://route.test/"},
	} {
		b := build(t, plan{domain: c.domain}).browser()
		a := b.visit(c.address)
		to, cookies := regexp.MustCompile(`hop=[\w-]{43}&`).ReplaceAllString(a.Header.Get("Location"), "hop=HOP&"), 0
		if strings.Contains(c.location, "hop=HOP") {
			cookies = 1 // the secret of the hop
		}
		if a.StatusCode != 302 || to != c.location || len(a.Header["Set-Cookie"]) != cookies {
			t.Errorf("%s: %d to %q with cookies %q, want 302 to %q without", c.what, a.StatusCode, a.Header.Get("Location"), a.Header["Set-Cookie"], c.location)
		}
	}
	h := build(t, plan{domain: "app.test"})
	b := h.browser()
	b.stateOf(b.visit("https://10.0.0.1:4180/oauth2/start?rd=/a")) // no loop behind a proxy that renames hosts

	state := b.stateOf(b.visit("https://app.test/oauth2/start?rd=https://x.app.test/a"))
	elsewhere := h.browser()
	for _, c := range b.attempts() {
		elsewhere.jar.SetCookies(must(url.Parse("https://x.app.test")), []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}})
	}
	elsewhere.refused("finished on another host", elsewhere.visit("https://x.app.test/oauth2/callback?code=zhangsan&state="+state), 403, "state_unknown", 0)
	if a := b.back("zhangsan", state); a.Header.Get("Location") != "https://x.app.test/a" {
		t.Errorf("callback = %d to %q, want https://x.app.test/a", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestPlainHTTP(t *testing.T) { // a Secure cookie would be lost
	b := build(t, plan{trusted: []string{"127.0.0.0/8"}}).browser()
	if a := b.visit("/a", "X-Forwarded-Proto", "http"); a.Header.Get("Location") != "https://app.test/oauth2/start?rd=%2Fa" {
		t.Errorf("page load over http = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestPageFirst(t *testing.T) {
	b := build(t, plan{change: func(f *Flow) { f.PageFirst = true }}).browser()
	a := b.visit("/a?b=1&c=2")
	if a.Header.Get("Location") != "https://app.test/oauth2/sign_in?rd=%2Fa%3Fb%3D1%26c%3D2" || len(b.attempts()) > 0 {
		t.Fatalf("page load = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	a = b.visit(a.Header.Get("Location"))
	if a.StatusCode != 200 || !strings.Contains(a.text, `href="https://app.test/oauth2/start?rd=%2Fa%3Fb%3D1%26c%3D2"`) {
		t.Errorf("sign_in = %d %s", a.StatusCode, a.text)
	}
}

func TestPlainCookieNames(t *testing.T) {
	for _, c := range []struct{ public, domain, session, attempt string }{
		{"https://app.test", "", "__Host-dinggate", "__Host-dinggate-attempt-0"},
		{"https://app.test", "app.test", "dinggate", "__Host-dinggate-attempt-0"},
		{"http://127.0.0.1:4180", "", "dinggate", "dinggate-attempt-0"},
	} {
		h := flow(t, plan{public: c.public, domain: c.domain})
		if got := h.attempts().slotName(0); h.Sessions.CookieName() != c.session || got != c.attempt {
			t.Errorf("cookies of %s, domain %q = %s, %s, want %s, %s", c.public, c.domain, h.Sessions.CookieName(), got, c.session, c.attempt)
		}
	}
}

func TestCheck(t *testing.T) {
	for what, spoil := range map[string]func(*Flow){
		"provider": func(f *Flow) { f.Provider = nil }, "sessions": func(f *Flow) { f.Sessions = nil }, "keyring": func(f *Flow) { f.Keyring = nil },
		"used": func(f *Flow) { f.Used = nil }, "pages": func(f *Flow) { f.Pages = nil }, "origins": func(f *Flow) { f.Origins = nil },
		"prefix": func(f *Flow) { f.Prefix = "oauth2" }, "client": func(f *Flow) { f.ClientID = "" },
	} {
		f := flow(t, plan{}).Flow
		spoil(f)
		if f.Check() == nil {
			t.Errorf("Check() without %s = nil", what)
		}
	}
}
