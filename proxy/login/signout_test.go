package login

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"dinggate/session"
)

func TestSignOut(t *testing.T) {
	b := build(t, plan{}).browser()
	b.signIn("zhangsan")
	stolen := b.session()
	a := b.visit("/oauth2/sign_out") // S15: a GET changes nothing
	if a.StatusCode != 200 || !strings.Contains(a.text, `<form class="actions" method="post" action="/oauth2/sign_out">`) ||
		!strings.Contains(a.text, "张三 (zhangsan)") || b.session() == "" {
		t.Fatalf("GET sign_out = %d %s, want a confirmation", a.StatusCode, a.text)
	}
	a = b.send("POST", "/oauth2/sign_out", "Sec-Fetch-Site", "same-origin", "Origin", "null") // W3a
	if a.StatusCode != 303 || a.Header.Get("Location") != "/oauth2/sign_out" || b.session() != "" {
		t.Fatalf("POST sign_out = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	a = b.visit("/oauth2/sign_out") // K17: a page with a button
	if a.StatusCode != 200 || strings.Contains(a.text, "<form") || !strings.Contains(a.text, `href="https://app.test/oauth2/start?rd=%2F"`) {
		t.Errorf("signed-out page = %d %s", a.StatusCode, a.text)
	}
	b.plant(b.Sessions.CookieName(), stolen) // C10
	if a := b.send("GET", "/"); a.StatusCode != 401 {
		t.Errorf("the old cookie = %d, want 401", a.StatusCode)
	}
	if n := len(b.events); n != 2 || b.events[1].What != "sign_out" || b.events[1].User != "zhangsan" || b.events[1].Session != b.events[0].Session {
		t.Errorf("audit = %+v", b.events)
	}
}

func TestSignOutFromElsewhere(t *testing.T) { // S15, W3a
	for _, c := range []struct {
		header []string
		out    bool
	}{
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, true},
		{[]string{"Sec-Fetch-Site", "none"}, true},
		{[]string{"Origin", "https://app.test"}, true},
		{[]string{"Origin", "https://APP.test:443"}, true},
		{nil, true}, // no browser
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.test"}, false},
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://x.app.test"}, false},
		{[]string{"Sec-Fetch-Site", ""}, false},
		{[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		{[]string{"Origin", "null"}, false},
		{[]string{"Origin", "https://evil.test"}, false},
		{[]string{"Origin", "https://app.test.evil.test"}, false},
		{[]string{"Origin", "http://app.test"}, false},
		{[]string{"Origin", "https://route.test"}, false}, // another application's page
		{[]string{"Origin", ""}, false},
		{[]string{"Origin", "https://app.test", "Origin", "https://evil.test"}, false},
	} {
		b := build(t, plan{}).browser()
		b.signIn("zhangsan")
		a := b.send("POST", "/oauth2/sign_out", c.header...)
		want := 403
		if c.out {
			want = 303
		}
		if a.StatusCode != want || c.out != (b.session() == "") || !c.out && len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("POST with %q = %d with %q, want %d", c.header, a.StatusCode, a.Header["Set-Cookie"], want)
		}
		if !c.out && !strings.HasPrefix(b.visit("/").text, "UPSTREAM-MARK zhangsan") {
			t.Errorf("POST with %q ended the session", c.header)
		}
	}
}

func TestSignOutTargets(t *testing.T) {
	for _, c := range []struct{ rd, action, location string }{
		{"?rd=/bye?a=1", "/oauth2/sign_out?rd=%2Fbye%3Fa%3D1", "/bye?a=1"},
		{"?rd=%2Fbye", "/oauth2/sign_out?rd=%2Fbye", "/bye"},
		{"?rd=https://route.test/bye", "/oauth2/sign_out?rd=https%3A%2F%2Froute.test%2Fbye", "/oauth2/sign_out?rd=https%3A%2F%2Froute.test%2Fbye"},
		{"?rd=https://evil.test/", "/oauth2/sign_out", "/oauth2/sign_out"},
		{"?rd=//evil.test/", "/oauth2/sign_out", "/oauth2/sign_out"},
		{`?rd=/\evil.test/`, "/oauth2/sign_out", "/oauth2/sign_out"},
		{"?rd=/oauth2/start", "/oauth2/sign_out", "/oauth2/sign_out"},
	} {
		b := build(t, plan{}).browser()
		b.signIn("zhangsan")
		if a := b.visit("/oauth2/sign_out" + c.rd); !strings.Contains(a.text, `action="`+c.action+`"`) {
			t.Errorf("GET %s = %s, want action %s", c.rd, a.text, c.action)
		}
		if a := b.send("POST", "/oauth2/sign_out"+c.rd); a.StatusCode != 303 || a.Header.Get("Location") != c.location {
			t.Errorf("POST %s = %d to %q, want %q", c.rd, a.StatusCode, a.Header.Get("Location"), c.location)
		}
	}
}

func TestSignOutWithFailingStore(t *testing.T) {
	b := build(t, plan{}).browser()
	b.signIn("zhangsan")
	b.store.Away.Store(true)
	for _, method := range []string{"GET", "POST"} {
		if a := b.send(method, "/oauth2/sign_out"); a.StatusCode != 503 || b.session() == "" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s with a failing store = %d, want 503 and the session unchanged", method, a.StatusCode)
		}
	}
	b.store.Away.Store(false)
	if a := b.visit("/"); !strings.HasPrefix(a.text, "UPSTREAM-MARK zhangsan") {
		t.Errorf("afterwards = %d", a.StatusCode)
	}
}

// TestSignOutOfAllPresented: of two valid cookies it is unknown which one was planted, so that
// neither is accepted; a sign-out ends both, and never reports "signed out" for a cookie that was
// not checked.
func TestSignOutOfAllPresented(t *testing.T) {
	h := build(t, plan{})
	name := h.Sessions.CookieName()
	garbage := strings.Repeat(name+"=x; ", 9)
	for _, tt := range []struct {
		what    string
		people  []string
		cookies string // $1, $2: the sessions of the people
		status  int
		ended   int
	}{
		{"two people's", []string{"zhangsan", "lisi"}, "$1; $2", 303, 2},
		{"two of one person", []string{"zhangsan", "zhangsan"}, "$1; $2", 303, 2},
		{"one twice", []string{"zhangsan", "lisi"}, "$1; $1", 303, 1},
		{"behind nine that are none", []string{"zhangsan", "lisi"}, garbage + "$1; $2", 303, 2},
		{"around one that is none", []string{"zhangsan", "lisi"}, "$1; " + name + "=x; $2", 303, 2},
		{"behind more than are looked at", []string{"zhangsan", "lisi"}, strings.Repeat(garbage, 8) + "$1; $2", 400, 0},
		{"behind more than are read", []string{"zhangsan", "lisi"}, strings.Repeat("a;", 3400) + "$1; $2", 431, 0},
	} {
		var sessions []string
		cookies := tt.cookies
		for i, who := range tt.people {
			b := h.browser()
			b.signIn(who)
			sessions = append(sessions, b.session())
			cookies = strings.ReplaceAll(cookies, fmt.Sprint("$", i+1), name+"="+b.session())
		}
		lives := func() (n int) {
			for _, text := range sessions {
				if h.browser().send("GET", "/", "Cookie", name+"="+text).StatusCode == 200 {
					n++
				}
			}
			return n
		}
		before := len(h.events)
		a := h.browser().visit("/oauth2/sign_out", "Cookie", cookies)
		if confirms := strings.Contains(a.text, `<form class="actions" method="post"`); confirms != (tt.status == 303) || lives() != 2 {
			t.Errorf("%s: GET = %d %.200s, %d live; want a confirmation", tt.what, a.StatusCode, a.text, lives())
		}
		a = h.browser().send("POST", "/oauth2/sign_out", "Cookie", cookies)
		if a.StatusCode != tt.status || lives() != 2-tt.ended {
			t.Errorf("%s: POST = %d and %d of 2 live, want %d and %d", tt.what, a.StatusCode, lives(), tt.status, 2-tt.ended)
		}
		if n := len(h.events) - before; n != tt.ended {
			t.Errorf("%s: %d audit records, want %d", tt.what, n, tt.ended)
		}
	}
}

func TestMethodsOfPages(t *testing.T) {
	b := build(t, plan{}).browser()
	for path, allow := range map[string]string{"sign_in": "GET, HEAD", "sign_out": "GET, HEAD, POST", "userinfo": "GET, HEAD"} {
		if a := b.send("PUT", "/oauth2/"+path); a.StatusCode != 405 || a.Header.Get("Allow") != allow {
			t.Errorf("PUT %s = %d, Allow %q", path, a.StatusCode, a.Header.Get("Allow"))
		}
		if a := b.send("HEAD", "/oauth2/"+path); a.StatusCode == 405 || a.text != "" {
			t.Errorf("HEAD %s = %d %q", path, a.StatusCode, a.text)
		}
	}
}

func TestSignInPage(t *testing.T) {
	b := build(t, plan{}).browser()
	// R3
	for query, rd := range map[string]string{"": "%2F", "?rd=/a?b=1&c=2": "%2Fa%3Fb%3D1%26c%3D2", "?rd=//evil.test": "%2F", "?rd=javascript:alert(1)": "%2F"} {
		if a := b.visit("/oauth2/sign_in" + query); a.StatusCode != 200 || !strings.Contains(a.text, `href="https://app.test/oauth2/start?rd=`+rd+`"`) ||
			strings.Contains(a.text, `"javascript`) {
			t.Errorf("sign_in%s = %d %s, want a link with rd=%s", query, a.StatusCode, a.text, rd)
		}
	}
	if n := len(b.attempts()); n > 0 {
		t.Errorf("the page began %d attempts", n)
	}
	b.signIn("zhangsan")
	if a := b.visit("/oauth2/sign_in"); !strings.Contains(a.text, "zhangsan@example.com") || !strings.Contains(a.text, `href="/oauth2/sign_out"`) {
		t.Errorf("signed in = %s, want who it is", a.text)
	}
}

func TestUserInfo(t *testing.T) {
	b := build(t, plan{}).browser()
	a := b.send("GET", "/oauth2/userinfo", "Referer", "https://app.test/dashboard")
	if a.StatusCode != 401 || !strings.Contains(a.text, `"error":"unauthenticated"`) || !strings.Contains(a.text, "rd=%2Fdashboard") ||
		a.Header.Get("Www-Authenticate") != "" {
		t.Errorf("without a session = %d %s", a.StatusCode, a.text)
	}
	b.signIn("zhangsan")
	a = b.send("GET", "/oauth2/userinfo", "Origin", "https://evil.test") // W5
	var got map[string]any
	if err := json.Unmarshal([]byte(a.text), &got); err != nil || a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("userinfo = %d %s, %v", a.StatusCode, a.text, err)
	}
	for name, want := range map[string]string{"user": "zhangsan", "username": "zhangsan", "email": "zhangsan@example.com", "name": "张三",
		"preferredUsername": "张三",
		"groups":            "[主管]", "userid": "user-zhangsan", "unionid": "union-zhangsan", "departments": "[42]", "job_number": ""} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("userinfo: %s = %v, want %s", name, got[name], want)
		}
	}
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("userinfo sends %s", name)
		}
	}
	if strings.Contains(a.text, "CANARY") || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("userinfo = %q %s", a.Header, a.text)
	}
	b.store.Away.Store(true)
	if a := b.send("GET", "/oauth2/userinfo"); a.StatusCode != 503 || b.session() == "" || a.Header.Get("Retry-After") == "" {
		t.Errorf("userinfo with a failing store = %d", a.StatusCode)
	}
}

// TestCancelLeadsBack: a person who cancels the switch of accounts returns to the requested page,
// never to a foreign one.
func TestCancelLeadsBack(t *testing.T) {
	b := build(t, plan{}).browser()
	b.signIn("zhangsan")
	for rd, want := range map[string]string{
		"%2Fadmin%2Fx%3Fq%3D1%26n%3D2":     "/admin/x?q=1&amp;n=2",
		"https%3A%2F%2Froute.test%2Fadmin": "https://route.test/admin",
		"https%3A%2F%2Fevil.test%2F":       "/",
		"javascript%3Aalert(1)":            "/",
		"":                                 "/",
	} {
		a := b.visit("/oauth2/sign_out?then=sign_in&rd=" + rd)
		if a.StatusCode != 200 || !strings.Contains(a.text, `<a class="button quiet" href="`+want+`">`) {
			t.Errorf("rd=%s = %d, want a way back to %s:\n%s", rd, a.StatusCode, want, a.text)
		}
	}
}

// TestEndedCookieBesideALivingOne: a cookie that was signed out or has expired is ignored beside a
// valid one, in any position, also on a replica that has seen neither. Two valid ones are refused,
// also of one person (threats C3).
func TestEndedCookieBesideALivingOne(t *testing.T) {
	for _, store := range []string{session.StoreCookie, session.StoreRedis} {
		h := build(t, plan{change: func(f *Flow) { f.Sessions.Config.Store = store }})
		begin := func(who string) string {
			b := h.browser()
			b.signIn(who)
			return b.session()
		}
		over := begin("lisi")
		h.ahead.Add(int64(h.Sessions.Config.Lifetime - time.Hour))
		revoked, gone := begin("lisi"), begin("zhangsan")
		one, two, other := begin("zhangsan"), begin("zhangsan"), begin("lisi")
		h.ahead.Add(int64(2 * time.Hour))
		for _, text := range []string{revoked, gone} {
			if a := h.browser().post("/oauth2/sign_out", nil, "Cookie", h.Sessions.CookieName()+"="+text); a.StatusCode != 303 {
				t.Fatalf("%s: sign-out = %d", store, a.StatusCode)
			}
		}
		replicas := map[string]*env{"here": h}
		if store == session.StoreRedis {
			replicas["on a replica"] = build(t, plan{change: func(f *Flow) { f.Used, f.Sessions.Store = h.store, h.store }})
			replicas["on a replica"].ahead.Store(h.ahead.Load())
		}
		for where, e := range replicas {
			for _, tt := range []struct {
				what    string
				cookies []string
				status  int
			}{
				{"a living one alone", []string{one}, 200},
				{"one revoked of another person", []string{revoked, one}, 200},
				{"one revoked of the same person", []string{gone, one}, 200},
				{"behind the living one", []string{one, revoked}, 200},
				{"on both sides", []string{gone, one, revoked}, 200},
				{"past its time", []string{over, one}, 200},
				{"everything that ended, and junk", []string{over, revoked, "x", gone, one}, 200},
				{"one revoked, twice", []string{revoked, revoked, one}, 200},
				{"all have ended", []string{over, revoked, gone}, 401},
				{"one revoked, alone", []string{revoked}, 401},
				{"two that live, of one person", []string{one, two}, 401},
				{"two that live, of two people", []string{one, other}, 401},
				{"two that live, of two people, and one revoked", []string{other, revoked, one}, 401},
				{"one that lives, twice", []string{one, one}, 401},
			} {
				name := e.Sessions.CookieName() + "="
				lines := make([]string, 0, 2*len(tt.cookies))
				for _, text := range tt.cookies {
					lines = append(lines, "Cookie", name+text)
				}
				for _, header := range [][]string{lines, {"Cookie", name + strings.Join(tt.cookies, "; "+name)}} {
					a := e.browser().send("GET", "/oauth2/userinfo", append(header, "Accept", "application/json")...)
					if a.StatusCode != tt.status || (tt.status == 200) != strings.Contains(a.text, `"username":"zhangsan"`) {
						t.Errorf("%s, %s: %s = %d %s, want %d", store, where, tt.what, a.StatusCode, a.text, tt.status)
					}
				}
			}
			if store == session.StoreRedis { // the state of a cookie that cannot be verified is unknown
				e.store.Away.Store(true)
				h.store.Away.Store(true)
				if a := e.browser().send("GET", "/oauth2/userinfo", "Cookie",
					e.Sessions.CookieName()+"="+two+"; "+e.Sessions.CookieName()+"="+other); a.StatusCode != 503 {
					t.Errorf("%s: two that cannot be verified = %d %s, want 503", where, a.StatusCode, a.text)
				}
				e.store.Away.Store(false)
				h.store.Away.Store(false)
			}
		}
	}
}
