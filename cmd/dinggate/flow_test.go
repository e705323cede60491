package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
)

// TestSignIn: a browser that knows nothing opens a deep link and the
// application sees who it is.
func TestSignIn(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	const deep = "/reports/%E9%94%80%E5%94%AE?q=1&next=%2Fa%3Fb&x=%E5%BC%A0;y"
	back := v.signIn(h.base+deep, "zhangsan")
	if back.StatusCode/100 != 3 || back.Header.Get("Location") != deep {
		t.Fatalf("the callback = %d to %q, want a redirect to %q\n%s", back.StatusCode, back.Header.Get("Location"),
			deep, back.body)
	}
	a := v.get(h.base + deep)
	if a.StatusCode != 200 || !strings.Contains(a.body, "UPSTREAM-MARK GET "+deep) {
		t.Fatalf("the page = %d %q, want the application's", a.StatusCode, a.body)
	}
	got := h.app.last(t)
	for name, want := range map[string]string{"X-Forwarded-User": "zhangsan",
		"X-Forwarded-Email": "zhangsan@yunfan.example", "X-Forwarded-Preferred-Username": "%E5%BC%A0%E4%B8%89",
		"X-Forwarded-Groups": "%E4%B8%BB%E7%AE%A1"} {
		if v := got.Header[http.CanonicalHeaderKey(name)]; len(v) != 1 || v[0] != want {
			t.Errorf("the application got %s = %q, want %q", name, v, want)
		}
	}
	if c := got.Header.Get("Cookie"); strings.Contains(c, "dinggate") {
		t.Errorf("the application got our cookie: %q", c)
	}
	for _, c := range a.Header["Set-Cookie"] {
		if strings.HasPrefix(c, "dinggate") {
			t.Errorf("the application set one of our cookies: %q", c)
		}
	}
	if a.Header.Get("X-Auth-Request-User") != "" {
		t.Errorf("the application's own X-Auth-Request-User came back")
	}
	if a := v.get(h.base + "/again"); a.StatusCode != 200 || h.app.last(t).Header.Get("Cookie") != "app=own" {
		t.Errorf("on the next page the application got Cookie %q with %d, want its own alone",
			h.app.last(t).Header.Get("Cookie"), a.StatusCode)
	}
}

func TestUserinfoAndSignOut(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	if a := v.get(h.base+"/oauth2/userinfo", "Accept: application/json"); a.StatusCode != 401 {
		t.Errorf("userinfo of nobody = %d, want 401", a.StatusCode)
	}
	v.signIn(h.base+"/", "zhangsan")
	var who map[string]any
	a := v.get(h.base + "/oauth2/userinfo")
	if err := json.Unmarshal([]byte(a.body), &who); err != nil || who["user"] != "zhangsan" ||
		who["email"] != "zhangsan@yunfan.example" {
		t.Errorf("userinfo = %d %s, want zhangsan", a.StatusCode, a.body)
	}
	cookies := v.client.Jar.Cookies(mustURL(t, h.base))
	if a := v.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: cross-site"); a.StatusCode != 403 {
		t.Errorf("sign-out posted from another site = %d, want 403", a.StatusCode)
	}
	if a := v.get(h.base + "/oauth2/sign_out"); a.StatusCode != 200 || v.get(h.base+"/").StatusCode != 200 {
		t.Errorf("GET sign_out = %d and signed out, want a page that asks", a.StatusCode)
	}
	if a := v.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin",
		"Origin: null"); a.StatusCode/100 != 3 && a.StatusCode != 200 {
		t.Errorf("sign-out as a browser posts it = %d, want done", a.StatusCode)
	}
	if a := v.get(h.base + "/"); a.StatusCode != 302 {
		t.Errorf("after sign-out / = %d, want 302", a.StatusCode)
	}
	v.client.Jar.SetCookies(mustURL(t, h.base), cookies) // a copy of the cookie, replayed
	if a := v.get(h.base + "/"); a.StatusCode != 302 {
		t.Errorf("the signed-out cookie, replayed = %d, want 302", a.StatusCode)
	}
}

func mustURL(t testing.TB, raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRefused: who may not enter gets 403 and the reason in their language, no
// session, and the application sees nothing.
func TestRefused(t *testing.T) {
	h := newTestEnv(t, nil)
	for _, c := range []struct{ person, language, want string }{
		{"sunqi", "en", "member"}, {"sunqi", "zh-CN", "成员"}, {"zhouba", "en", "external"}, {"zhouba", "zh-CN", "外部"},
		{"wujiu", "en", "activated"}, {"zhengshi", "en", "disabled"},
	} {
		v := h.visitor()
		v.header.Set("Accept-Language", c.language)
		a := v.signIn(h.base+"/", c.person)
		if a.StatusCode != 403 || !strings.Contains(a.body, c.want) {
			t.Errorf("%s in %s = %d, want 403 with %q:\n%s", c.person, c.language, a.StatusCode, c.want, a.body)
		}
		if again := v.get(h.base + "/"); again.StatusCode != 302 {
			t.Errorf("%s has a session: / = %d", c.person, again.StatusCode)
		}
	}
	if n := h.app.count(); n != 0 {
		t.Errorf("the application saw %d requests of people who may not enter", n)
	}
	v := h.visitor()
	v.signIn(h.base+"/", "zhaoliu")
	before := h.app.count()
	if a := v.get(h.base + "/admin/x"); a.StatusCode != 403 || strings.Contains(a.body, "UPSTREAM-MARK") ||
		h.app.count() != before {
		t.Errorf("zhaoliu at /admin/ = %d, want 403 and nothing at the application", a.StatusCode)
	}
	if a := v.get(h.base+"/admin/x", "Accept: application/json"); a.StatusCode != 403 {
		t.Errorf("zhaoliu's fetch of /admin/ = %d %s, want 403", a.StatusCode, a.body)
	}
	lisi := h.visitor() // of a department below 42
	lisi.signIn(h.base+"/", "lisi")
	if a := lisi.get(h.base + "/admin/x"); a.StatusCode != 200 {
		t.Errorf("lisi at /admin/ = %d %s, want 200", a.StatusCode, a.body)
	}
}

// TestCallbackCallsNobody: without a valid attempt of this browser DingTalk is
// not asked anything (threats S1–S7).
func TestCallbackCallsNobody(t *testing.T) {
	h := newTestEnv(t, func(c *config.Config) { c.DingTalk.Events = false }) // its connection would be counted
	attacker, victim := h.visitor(), h.visitor()
	stolen := attacker.choose(attacker.leave(h.base+"/"), "zhangsan")
	before := maps.Clone(h.platform.AllCalls())
	state := mustURL(t, stolen).Query().Get("state")
	victim.leave(h.base + "/")
	for _, address := range []string{
		stolen, h.base + "/oauth2/callback", h.base + "/oauth2/callback?authCode=x",
		h.base + "/oauth2/callback?authCode=x&state=",
		h.base + "/oauth2/callback?authCode=x&state=" + strings.Repeat("A", 43),
		stolen + "&state=" + state, stolen + "x", strings.Replace(stolen, "state=", "state[]=", 1),
		h.base + "/oauth2/callback?authCode=x&state=" + strings.Repeat("A", 60_000),
	} {
		a := victim.get(address)
		if a.StatusCode < 400 || a.StatusCode >= 500 || sessionOf(a) != "" {
			t.Errorf("GET %.80s in another browser = %d with session %q, want a refusal", address, a.StatusCode,
				sessionOf(a))
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT"} {
		if a := attacker.do(method, stolen, ""); a.StatusCode != 405 {
			t.Errorf("%s callback = %d, want 405", method, a.StatusCode)
		}
	}
	if a := attacker.get(stolen, "Sec-Purpose: prefetch"); a.StatusCode < 400 {
		t.Errorf("a prefetch of the callback = %d, want refused", a.StatusCode)
	}
	after := h.platform.AllCalls()
	for path, n := range after {
		if n != before[path] && !strings.HasPrefix(path, "/oauth2/auth") {
			t.Errorf("%s was called %d times for nothing", path, n-before[path])
		}
	}
	if a := attacker.get(stolen); a.StatusCode/100 != 3 || sessionOf(a) == "" {
		t.Errorf("the right browser's callback after all that = %d, want signed in", a.StatusCode)
	}
	exchanges := h.platform.Calls("/v1.0/oauth2/userAccessToken")
	if a := attacker.get(stolen); a.StatusCode < 400 || h.platform.Calls("/v1.0/oauth2/userAccessToken") != exchanges {
		t.Errorf("the same callback twice = %d, want refused without an exchange", a.StatusCode)
	}
}

// sessionOf is the session that an answer sets, "" for none.
func sessionOf(a answer) string {
	for _, c := range a.Cookies() {
		if c.Name == "dinggate" && c.MaxAge >= 0 {
			return c.Value
		}
	}
	return ""
}

func TestTwoTabs(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	one, two := v.leave(h.base+"/one"), v.leave(h.base+"/two")
	second := v.get(v.choose(two, "zhangsan"))
	first := v.get(v.choose(one, "zhangsan"))
	if first.Header.Get("Location") != "/one" || second.Header.Get("Location") != "/two" {
		t.Errorf("two tabs end at %q and %q, want /one and /two", first.Header.Get("Location"),
			second.Header.Get("Location"))
	}
	if a := v.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("after both tabs / = %d, want 200", a.StatusCode)
	}
}

// TestForgedHeaders: no spelling of an identity header reaches the application
// with a client's value, on public routes neither (threats H1–H3).
func TestForgedHeaders(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	for _, path := range []string{"/", "/public/"} {
		for _, who := range []*visitor{v, h.visitor()} {
			for _, name := range []string{"X-Forwarded-User", "X_Forwarded_User", "x-forwarded.user",
				"X-FORWARDED-USER", "X-Forwarded-Email", "X-Auth-Request-User", "X_Auth_Request_Email", "Remote-User",
				"X-Forwarded-Groups", "X-Original-URL"} {
				before := h.app.count()
				who.get(h.base+path, name+": forged", name+": forged2")
				if h.app.count() == before {
					continue // not allowed in: nothing to see
				}
				for got, values := range h.app.last(t).Header {
					if strings.Contains(strings.Join(values, " "), "forged") {
						t.Errorf("%s: the application got %s: %q after %s", path, got, values, name)
					}
				}
			}
		}
	}
}

// TestWhoIsAsked: what a request is decides how it is told to sign in.
func TestWhoIsAsked(t *testing.T) {
	h := newTestEnv(t, nil)
	for _, c := range []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"page", "GET", "/x", []string{"Accept: text/html"}, 302},
		{"fetch", "GET", "/x", []string{"Sec-Fetch-Mode: cors"}, 401},
		{"json", "GET", "/x", []string{"Accept: application/json"}, 401},
		{"post", "POST", "/x", []string{"Accept: text/html"}, 401},
		{"xhr", "GET", "/x", []string{"Accept: text/html", "X-Requested-With: XMLHttpRequest"}, 401},
		{"public", "GET", "/public/x", nil, 200},
		{"unknown endpoint", "GET", "/oauth2/nope", nil, 404},
		{"endpoint in capitals", "GET", "/oauth2/START", nil, 404},
		{"endpoint, encoded", "GET", "/oauth2/%73tart", nil, 404},
		{"endpoint, encoded slash", "GET", "/oauth2%2fstart", nil, 404},
		{"endpoint, double slash", "GET", "//oauth2/start", nil, 404},
		{"admin endpoints are elsewhere", "GET", "/oauth2/metrics", nil, 404},
		{"dot segments", "GET", "/public/../admin/", nil, 400},
		{"encoded dot segments", "GET", "/public/%2e%2e/admin/", nil, 400},
		{"trace", "TRACE", "/public/", nil, 405},
		{"auth", "GET", "/oauth2/auth", nil, 401},
		{"auth of a public page", "GET", "/oauth2/auth", []string{"X-Original-URL: " + h.base + "/public/x"}, 200},
		{"ext-authz", "GET", "/oauth2/ext-authz/x", []string{"Sec-Fetch-Mode: cors"}, 401},
		{"forward-auth", "GET", "/oauth2/forward-auth",
			[]string{"Accept: text/html", "X-Forwarded-Uri: /x", "X-Forwarded-Method: GET"}, 302},
	} {
		v := h.visitor()
		v.header = http.Header{}
		a := v.do(c.method, h.base+c.path, "", c.headers...)
		if a.StatusCode != c.status {
			t.Errorf("%s: %s %s = %d %.200s, want %d", c.name, c.method, c.path, a.StatusCode, a.body, c.status)
		}
		if a.StatusCode == 401 {
			if len(a.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s: 401 sets a cookie", c.name)
			}
			if !strings.HasPrefix(c.name, "auth") &&
				(!strings.Contains(a.body, `"error":"unauthenticated"`) ||
					!strings.Contains(a.body, h.base+"/oauth2/start?rd=")) {
				t.Errorf("%s: 401 reads %s, want login_url", c.name, a.body)
			}
		}
		if c.path == "/oauth2/auth" { // for a program: no more than it needs
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Request-Id") == "" ||
				a.Header.Get("Content-Security-Policy") != "" {
				t.Errorf("%s: %d has other headers than a question's answer: %v", c.name, a.StatusCode, a.Header)
			}
		} else if a.StatusCode >= 400 &&
			(a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
				a.Header.Get("X-Request-Id") == "" ||
				!strings.Contains(a.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")) {
			t.Errorf("%s: %d lacks a security header: %v", c.name, a.StatusCode, a.Header)
		}
	}
}

// TestCanaries: no secret shows in any log line, whatever happened (threats L1).
func TestCanaries(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	callback := v.choose(v.leave(h.base+"/"), "zhangsan")
	session := sessionOf(v.get(callback))
	v.get(h.base + "/")
	v.get(callback)
	h.platform.ClearFaults()
	h.visitor().signIn(h.base+"/", "sunqi")
	q := mustURL(t, callback).Query()
	for _, secret := range []string{canary, session, q.Get("state"), q.Get("authCode") + q.Get("code")} {
		if secret == "" {
			t.Fatal("a canary is empty: this test cannot fail")
		}
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds the secret %.12s…", secret)
		}
	}
}

// TestLeaver: the organisation says that somebody left, and they are out at
// once, with their open WebSocket (threats K7, W2).
func TestLeaver(t *testing.T) {
	h := newTestEnv(t, nil)
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	if a := v.get(h.base + "/"); a.StatusCode != 200 {
		t.Fatalf("/ = %d, want 200", a.StatusCode)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.platform.WaitStreams(ctx, 1); err != nil {
		t.Fatalf("dinggate does not follow the organisation's events: %v", err)
	}
	if err := h.platform.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	// Leave has sent this event already; of two nobody knows which arrives first, so wait for one whose id is known.
	sent := h.platform.Emit("user_leave_org", map[string]any{"userId": []string{"zhangsan"}})
	if err := h.platform.Delivered(ctx, sent); err != nil {
		t.Fatal(err)
	}
	if a := v.get(h.base + "/"); a.StatusCode != 302 {
		t.Errorf("a leaver's next page = %d, want 302", a.StatusCode)
	}
	if a := v.get(h.base+"/oauth2/auth", "X-Original-URL: "+h.base+"/"); a.StatusCode != 401 {
		t.Errorf("a gateway's question about a leaver = %d, want 401", a.StatusCode)
	}
}

// TestLeaverWhileDisconnected: nobody tells us that somebody left while the event
// stream was broken; the records of leavers do, once it is there again. Somebody who
// has come back since stays in.
func TestLeaverWhileDisconnected(t *testing.T) {
	h := newTestEnv(t, func(c *config.Config) { c.Session.Recheck = time.Hour })
	leaver, back := h.visitor(), h.visitor()
	leaver.signIn(h.base+"/", "zhangsan")
	back.signIn(h.base+"/", "lisi")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.platform.WaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	h.platform.Mute(true) // no event arrives, also later
	h.platform.DropStreams()
	lisi, _ := h.platform.Who("lisi")
	for _, id := range []string{"zhangsan", "lisi"} {
		if err := h.platform.Leave(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.platform.Join(lisi); err != nil {
		t.Fatal(err)
	}
	if a := leaver.get(h.base + "/"); a.StatusCode != 200 {
		t.Fatalf("before the stream is back = %d, want 200: what ended the session?", a.StatusCode)
	}
	if err := h.platform.WaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the leaver is out", func() bool { return leaver.get(h.base+"/").StatusCode == 302 })
	if a := back.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("somebody who has come back = %d, want 200", a.StatusCode)
	}
}
