package login

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/ratelimit"
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
		t.Fatalf("callback = %d to %q %q, want 302 to the page asked for", second.StatusCode, second.Header.Get("Location"), second.text)
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

// What is no page load gets 401 and no cookie (threats W9, W10, S10).
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
			continue // a form's POST: a page that says so
		}
		at := "https://app.test"
		if strings.HasPrefix(c.back, "https://route.test/") { // where our cookie does not reach it begins
			at = "https://route.test"
		}
		if err := json.Unmarshal([]byte(a.text), &got); err != nil || got.Error != "unauthenticated" ||
			got.LoginURL != at+"/oauth2/start?rd="+url.QueryEscape(c.back) {
			t.Errorf("%s with %q = %s, want rd %s", c.method, c.header, a.text, c.back)
		}
	}
}

func TestTwoTabs(t *testing.T) { // S9
	b := build(t, plan{}).browser()
	one, two := b.stateOf(b.visit("/one")), b.stateOf(b.visit("/two"))
	if a := b.back("zhangsan", two); a.Header.Get("Location") != "/two" {
		t.Errorf("second tab: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := b.back("zhangsan", one); a.Header.Get("Location") != "/one" {
		t.Errorf("first tab: %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestManyPageLoads(t *testing.T) { // S10
	b := build(t, plan{}).browser()
	var states []string
	for i := range 200 {
		states = append(states, b.stateOf(b.visit(fmt.Sprintf("/page/%d", i))))
		if n := len(b.attempts()); n > slots {
			t.Fatalf("%d attempts after %d page loads, want at most %d", n, i+1, slots)
		}
	}
	before := fmt.Sprint(b.attempts())
	for range 200 {
		if a := b.send("GET", "/api", "Sec-Fetch-Mode", "cors"); a.StatusCode != 401 || len(a.Header["Set-Cookie"]) > 0 {
			t.Fatalf("fetch = %d with %q, want 401 without a cookie", a.StatusCode, a.Header["Set-Cookie"])
		}
	}
	if after := fmt.Sprint(b.attempts()); after != before {
		t.Errorf("fetches changed the attempts")
	}
	b.refused("the oldest attempt", b.back("zhangsan", states[0]), 403, "state_unknown", 0)
	b.refused("the last but five", b.back("zhangsan", states[194]), 403, "state_unknown", 0)
	for i := 195; i < 200; i++ {
		if a := b.back("zhangsan", states[i]); a.Header.Get("Location") != fmt.Sprintf("/page/%d", i) {
			t.Errorf("attempt %d: %d to %q", i, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

func TestOldestGoes(t *testing.T) {
	b := build(t, plan{}).browser()
	load := func(i int) string {
		b.ahead.Store(int64(time.Duration(i) * time.Second))
		return b.stateOf(b.visit(fmt.Sprintf("/page/%d", i)))
	}
	states := map[int]string{}
	for i := range 5 {
		states[i] = load(i)
	}
	for _, done := range []int{3, 1} { // their slots are free, out of turn
		if a := b.back("zhangsan", states[done]); a.StatusCode != 302 {
			t.Fatalf("attempt %d = %d", done, a.StatusCode)
		}
	}
	b.plant(b.Sessions.CookieName(), "dead")
	for i := 5; i < 9; i++ { // two take the free slots, two those of 0 and 2
		states[i] = load(i)
	}
	for i, want := range map[int]int{0: 403, 2: 403, 4: 302, 5: 302, 6: 302, 7: 302, 8: 302} {
		if a := b.back("zhangsan", states[i]); a.StatusCode != want {
			t.Errorf("attempt %d = %d, want %d", i, a.StatusCode, want)
		}
	}
}

func TestTabsAtTheSameMoment(t *testing.T) { // S10, before any answer is there
	h := build(t, plan{})
	b := h.browser()
	states := make(chan string, 200)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			state := ""
			defer func() { states <- state }()
			other := h.browser() // sends no cookie, as 200 tabs at once
			a := other.visit("/page")
			b.jar.SetCookies(a.Request.URL, a.Cookies())
			state = other.stateOf(a)
		})
	}
	all.Wait()
	if n := len(b.attempts()); n != slots {
		t.Errorf("%d attempts, want %d", n, slots)
	}
	good := 0
	for range 200 {
		if b.back("zhangsan", <-states).StatusCode == 302 {
			good++
		}
	}
	if good != slots {
		t.Errorf("%d of the attempts end in a sign-in, want %d", good, slots)
	}
}

func TestLongTargets(t *testing.T) { // S10, R12: no self-made 431
	b := build(t, plan{}).browser()
	long := "/" + strings.Repeat("a", 1000)
	var states []string
	for range 20 {
		a := b.visit(long)
		states = append(states, b.stateOf(a))
		total := 0
		for _, c := range b.attempts() {
			total += len(c.Name) + len(c.Value) + 3
		}
		if total > maxAttempts {
			t.Fatalf("the attempts take %d bytes, want at most %d", total, maxAttempts)
		}
		for _, line := range a.Header["Set-Cookie"] {
			if len(line) > 3500 {
				t.Fatalf("a cookie of %d bytes", len(line))
			}
		}
	}
	for _, state := range states[18:] {
		if a := b.back("zhangsan", state); a.Header.Get("Location") != long {
			t.Errorf("one of the last two = %d", a.StatusCode)
		}
	}
	if a := b.visit("/oauth2/start?rd=/" + strings.Repeat("a", 64<<10)); a.StatusCode != 302 || len(a.Header["Set-Cookie"][0]) > 1000 {
		t.Errorf("start with a target of 64 KiB = %d, want a sign-in that leads to /", a.StatusCode)
	}
}

func TestStrangersPushNobodyOut(t *testing.T) { // S16
	h := build(t, plan{change: func(f *Flow) { f.Starts = ratelimit.Rate{Every: time.Nanosecond, Burst: 1 << 20} }})
	b := h.browser()
	state := b.stateOf(b.visit("/mine"))
	stranger := h.browser()
	for range 1000 {
		stranger.visit("/oauth2/start")
	}
	if a := b.back("zhangsan", state); a.Header.Get("Location") != "/mine" {
		t.Errorf("callback = %d to %q, want /mine", a.StatusCode, a.Header.Get("Location"))
	}
}

func TestStartJSON(t *testing.T) {
	b := build(t, plan{}).browser()
	a := b.send("GET", "/oauth2/start?rd=%2Fa", "Accept", "application/json")
	var got map[string]string
	if err := json.Unmarshal([]byte(a.text), &got); err != nil || a.StatusCode != 200 || len(got) != 4 {
		t.Fatalf("start = %d %s, %v", a.StatusCode, a.text, err)
	}
	if got["client_id"] != "ding-app" || got["redirect_uri"] != "https://app.test/oauth2/callback" ||
		!strings.Contains(got["authorize_url"], "state="+got["state"]) {
		t.Errorf("start = %v", got)
	}
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("start sends %s", name)
		}
	}
	if a := b.back("zhangsan", got["state"]); a.Header.Get("Location") != "/a" {
		t.Errorf("callback = %d to %q, want /a", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestStartWelcomes: a link on whatever page begins a sign-in, and so does a script
// of ours.
func TestStartWelcomes(t *testing.T) {
	for what, header := range map[string][]string{
		"a link of another site": {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
		"one of our scripts":     {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Accept", "application/json"},
		"a script that takes text too": {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept",
			"application/json, text/plain, */*"},
		"a script on plain http": {"Accept", "application/json", "Referer", "https://app.test/page"},
		"a link on plain http":   {"Accept", "text/html,*/*;q=0.8", "Referer", "http://portal.test/"},
		"no browser":             {"Accept", "application/json"},
		"curl":                   {"Accept", "*/*"},
		"nothing said":           nil,
	} {
		b := build(t, plan{}).browser()
		if b.send("GET", "/oauth2/start", header...); len(b.attempts()) != 1 {
			t.Errorf("%s began %d attempts, want one", what, len(b.attempts()))
		}
	}
}

func TestStartRefuses(t *testing.T) {
	b := build(t, plan{}).browser()
	for _, c := range []struct {
		what, method, address string
		header                []string
		status                int
		code                  string
	}{
		{"prefetch", "GET", "/oauth2/start", []string{"Sec-Purpose", "prefetch;prerender"}, 400, "bad_request"},
		{"old prefetch", "GET", "/oauth2/start", []string{"Purpose", "prefetch"}, 400, "bad_request"},
		{"POST", "POST", "/oauth2/start", nil, 405, "method_not_allowed"},
		{"rd twice", "GET", "/oauth2/start?rd=%2Fa&rd=%2Fb", nil, 400, "bad_request"},
		{"a sibling's image", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403,
			"cross_site"},
		{"another site's frame", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 403, "cross_site"},
		{"one of our frames", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 403, "embedded"},
		{"an old frame", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "frame"}, 403,
			"embedded"},
		{"an object", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object"}, 403,
			"embedded"},
		{"an embed", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "embed"}, 403,
			"cross_site"},
		{"a destination nobody knows", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "fencedframe"}, 403, "embedded"},
		{"two destinations", "GET", "/oauth2/start", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Dest", "iframe"}, 403,
			"embedded"},
		{"one of our images", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept",
				"image/avif,*/*;q=0.8"}, 403, "embedded"},
		{"one of our images that wants JSON", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "application/json"}, 403, "embedded"},
		{"one of our scripts that would be redirected", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}, 403, "embedded"},
		{"an image on plain http", "GET", "/oauth2/start", []string{"Accept", "image/webp,image/avif,*/*;q=0.8"}, 403, "embedded"},
		{"a style on plain http", "GET", "/oauth2/start", []string{"Accept", "text/css,*/*;q=0.1"}, 403, "embedded"},
		{"another site's script element on plain http", "GET", "/oauth2/start", []string{"Accept", "*/*", "Referer", "http://evil.test/"}, 403, "cross_site"},
		{"another site's request for JSON on plain http", "GET", "/oauth2/start", []string{"Accept", "application/json", "Referer", "http://evil.test/"}, 403,
			"cross_site"},
		{"a frame of a page", "GET", "/page",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 401, "unauthenticated"},
		{"one of our frames that loads a page", "GET", "/page",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 401, "unauthenticated"},
		{"a purpose in a frame", "GET", "/elsewhere",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 403, "cross_site"},
		{"a stranger's script", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Accept", "application/json", "Origin", "https://evil.test"}, 403, "cross_site"},
		{"an old browser's script", "GET", "/oauth2/start", []string{"Accept", "application/json", "Origin", "https://evil.test"}, 403, "cross_site"},
	} {
		a := b.send(c.method, c.address, c.header...)
		b.refused(c.what, a, c.status, c.code, 0)
		if len(b.attempts()) > 0 {
			t.Errorf("%s left an attempt", c.what)
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
		{"nobody's host", "", "https://evil.test/a", "https://app.test/oauth2/start?rd=%2Fa"},
		{"nobody's host, no path", "", "https://evil.test//evil.test/", "https://app.test/oauth2/start?rd=%2F"},
		{"start on a route's host", "", "https://route.test/oauth2/start?rd=/a", "https://app.test/oauth2/leave?hop=HOP&rd=https://route.test/a"},
		{"start on a route's host, foreign rd", "", "https://route.test/oauth2/start?rd=https://evil.test/",
			"https://app.test/oauth2/leave?hop=HOP&rd=https://route.test/"},
	} {
		b := build(t, plan{domain: c.domain}).browser()
		a := b.visit(c.address)
		to, cookies := regexp.MustCompile(`hop=[\w-]{43}&`).ReplaceAllString(a.Header.Get("Location"), "hop=HOP&"), 0
		if strings.Contains(c.location, "hop=HOP") {
			cookies = 1 // the secret behind the hop
		}
		if a.StatusCode != 302 || to != c.location || len(a.Header["Set-Cookie"]) != cookies {
			t.Errorf("%s: %d to %q with cookies %q, want 302 to %q without", c.what, a.StatusCode, a.Header.Get("Location"), a.Header["Set-Cookie"], c.location)
		}
	}
	h := build(t, plan{domain: "app.test"})
	b := h.browser()
	b.stateOf(b.visit("https://10.0.0.1:4180/oauth2/start?rd=/a")) // a proxy that renames hosts: it must not go round for ever

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
