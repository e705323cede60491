package signin

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestSignIn: a browser without cookies opens a deep link, and the application receives
// the identity of the person.
func TestSignIn(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	const deep = "/reports/%E9%94%80%E5%94%AE?q=1&next=%2Fa%3Fb&x=%E5%BC%A0;y"
	back := v.SignIn(h.URL+deep, "zhangsan")
	if back.StatusCode/100 != 3 || back.Header.Get("Location") != deep {
		t.Fatalf("the callback = %d to %q, want a redirect to %q\n%s", back.StatusCode, back.Header.Get("Location"),
			deep, back.Text)
	}
	a := v.Get(h.URL + deep)
	if a.StatusCode != 200 || !strings.Contains(a.Text, "UPSTREAM-MARK GET "+deep) {
		t.Fatalf("the page = %d %q, want the application's", a.StatusCode, a.Text)
	}
	got := h.Upstream.Last(t)
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
	if a := v.Get(h.URL + "/again"); a.StatusCode != 200 || h.Upstream.Last(t).Header.Get("Cookie") != "app=own" {
		t.Errorf("on the next page the application got Cookie %q with %d, want its own alone",
			h.Upstream.Last(t).Header.Get("Cookie"), a.StatusCode)
	}
}

func TestUserinfoAndSignOut(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	if a := v.Get(h.URL+"/oauth2/userinfo", "Accept: application/json"); a.StatusCode != 401 {
		t.Errorf("userinfo without a session = %d, want 401", a.StatusCode)
	}
	v.SignIn(h.URL+"/", "zhangsan")
	var who map[string]any
	a := v.Get(h.URL + "/oauth2/userinfo")
	if err := json.Unmarshal([]byte(a.Text), &who); err != nil || who["user"] != "zhangsan" ||
		who["email"] != "zhangsan@yunfan.example" {
		t.Errorf("userinfo = %d %s, want zhangsan", a.StatusCode, a.Text)
	}
	cookies := v.HTTP.Jar.Cookies(servertest.ParseURL(t, h.URL))
	if a := v.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: cross-site"); a.StatusCode != 403 {
		t.Errorf("sign-out posted from another site = %d, want 403", a.StatusCode)
	}
	if a := v.Get(h.URL + "/oauth2/sign_out"); a.StatusCode != 200 || v.Get(h.URL+"/").StatusCode != 200 {
		t.Errorf("GET sign_out = %d and signed out, want a confirmation page", a.StatusCode)
	}
	if a := v.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin",
		"Origin: null"); a.StatusCode/100 != 3 && a.StatusCode != 200 {
		t.Errorf("sign-out as a browser posts it = %d, want done", a.StatusCode)
	}
	if a := v.Get(h.URL + "/"); a.StatusCode != 302 {
		t.Errorf("after sign-out / = %d, want 302", a.StatusCode)
	}
	v.HTTP.Jar.SetCookies(servertest.ParseURL(t, h.URL), cookies) // a replayed copy of the cookie
	if a := v.Get(h.URL + "/"); a.StatusCode != 302 {
		t.Errorf("the signed-out cookie, replayed = %d, want 302", a.StatusCode)
	}
}

// TestRefused checks that a person without permission gets 403 and the reason in their
// language and no session, and that the application receives no request.
func TestRefused(t *testing.T) {
	h := servertest.New(t, nil)
	for _, c := range []struct{ person, language, want string }{
		{"sunqi", "en", "member"}, {"sunqi", "zh-CN", "成员"}, {"zhouba", "en", "external"}, {"zhouba", "zh-CN", "外部"},
		{"wujiu", "en", "activated"}, {"zhengshi", "en", "disabled"},
	} {
		v := h.NewClient()
		v.Header.Set("Accept-Language", c.language)
		a := v.SignIn(h.URL+"/", c.person)
		if a.StatusCode != 403 || !strings.Contains(a.Text, c.want) {
			t.Errorf("%s in %s = %d, want 403 with %q:\n%s", c.person, c.language, a.StatusCode, c.want, a.Text)
		}
		if again := v.Get(h.URL + "/"); again.StatusCode != 302 {
			t.Errorf("%s has a session: / = %d", c.person, again.StatusCode)
		}
	}
	if n := h.Upstream.Count(); n != 0 {
		t.Errorf("the application saw %d requests of people who may not enter", n)
	}
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhaoliu")
	before := h.Upstream.Count()
	if a := v.Get(h.URL + "/admin/x"); a.StatusCode != 403 || strings.Contains(a.Text, "UPSTREAM-MARK") ||
		h.Upstream.Count() != before {
		t.Errorf("zhaoliu at /admin/ = %d, want 403 and nothing at the application", a.StatusCode)
	}
	if a := v.Get(h.URL+"/admin/x", "Accept: application/json"); a.StatusCode != 403 {
		t.Errorf("zhaoliu's fetch of /admin/ = %d %s, want 403", a.StatusCode, a.Text)
	}
	lisi := h.NewClient() // of a department below 42
	lisi.SignIn(h.URL+"/", "lisi")
	if a := lisi.Get(h.URL + "/admin/x"); a.StatusCode != 200 {
		t.Errorf("lisi at /admin/ = %d %s, want 200", a.StatusCode, a.Text)
	}
}

// TestCallbackWithoutAttempt checks that DingTalk is not called without a valid attempt of
// this browser (threats S1–S7).
func TestCallbackWithoutAttempt(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.DingTalk.Events = false }) // its connection would be counted
	attacker, victim := h.NewClient(), h.NewClient()
	stolen := attacker.Choose(attacker.StartSignIn(h.URL+"/"), "zhangsan")
	before := maps.Clone(h.Platform.AllCalls())
	state := servertest.ParseURL(t, stolen).Query().Get("state")
	victim.StartSignIn(h.URL + "/")
	for _, address := range []string{
		stolen, h.URL + "/oauth2/callback", h.URL + "/oauth2/callback?authCode=x",
		h.URL + "/oauth2/callback?authCode=x&state=",
		h.URL + "/oauth2/callback?authCode=x&state=" + strings.Repeat("A", 43),
		stolen + "&state=" + state, stolen + "x", strings.Replace(stolen, "state=", "state[]=", 1),
		h.URL + "/oauth2/callback?authCode=x&state=" + strings.Repeat("A", 60_000),
	} {
		a := victim.Get(address)
		if a.StatusCode < 400 || a.StatusCode >= 500 || servertest.SessionOf(a) != "" {
			t.Errorf("GET %.80s in another browser = %d with session %q, want a refusal", address, a.StatusCode,
				servertest.SessionOf(a))
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT"} {
		if a := attacker.Do(method, stolen, ""); a.StatusCode != 405 {
			t.Errorf("%s callback = %d, want 405", method, a.StatusCode)
		}
	}
	if a := attacker.Get(stolen, "Sec-Purpose: prefetch"); a.StatusCode < 400 {
		t.Errorf("a prefetch of the callback = %d, want refused", a.StatusCode)
	}
	after := h.Platform.AllCalls()
	for path, n := range after {
		if n != before[path] && !strings.HasPrefix(path, "/oauth2/auth") {
			t.Errorf("%s received %d unneeded calls", path, n-before[path])
		}
	}
	if a := attacker.Get(stolen); a.StatusCode/100 != 3 || servertest.SessionOf(a) == "" {
		t.Errorf("the right browser's callback after all that = %d, want signed in", a.StatusCode)
	}
	exchanges := h.Platform.Calls("/v1.0/oauth2/userAccessToken")
	if a := attacker.Get(stolen); a.StatusCode < 400 || h.Platform.Calls("/v1.0/oauth2/userAccessToken") != exchanges {
		t.Errorf("the same callback twice = %d, want refused without an exchange", a.StatusCode)
	}
}

func TestTwoTabs(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	one, two := v.StartSignIn(h.URL+"/one"), v.StartSignIn(h.URL+"/two")
	second := v.Get(v.Choose(two, "zhangsan"))
	first := v.Get(v.Choose(one, "zhangsan"))
	if first.Header.Get("Location") != "/one" || second.Header.Get("Location") != "/two" {
		t.Errorf("two tabs end at %q and %q, want /one and /two", first.Header.Get("Location"),
			second.Header.Get("Location"))
	}
	if a := v.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("after both tabs / = %d, want 200", a.StatusCode)
	}
}

// TestForgedHeaders checks that no spelling of an identity header reaches the application
// with a client's value, also on public routes (threats H1–H3).
func TestForgedHeaders(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	for _, path := range []string{"/", "/public/"} {
		for _, who := range []*servertest.Client{v, h.NewClient()} {
			for _, name := range []string{"X-Forwarded-User", "X_Forwarded_User", "x-forwarded.user",
				"X-FORWARDED-USER", "X-Forwarded-Email", "X-Auth-Request-User", "X_Auth_Request_Email", "Remote-User",
				"X-Forwarded-Groups", "X-Original-URL"} {
				before := h.Upstream.Count()
				who.Get(h.URL+path, name+": forged", name+": forged2")
				if h.Upstream.Count() == before {
					continue // refused: no request to inspect
				}
				for got, values := range h.Upstream.Last(t).Header {
					if strings.Contains(strings.Join(values, " "), "forged") {
						t.Errorf("%s: the application got %s: %q after %s", path, got, values, name)
					}
				}
			}
		}
	}
}

// TestKindsOfRequests checks that the kind of a request determines how a sign-in is requested.
func TestKindsOfRequests(t *testing.T) {
	h := servertest.New(t, nil)
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
		{"auth of a public page", "GET", "/oauth2/auth", []string{"X-Original-URL: " + h.URL + "/public/x"}, 200},
		{"ext-authz", "GET", "/oauth2/ext-authz/x", []string{"Sec-Fetch-Mode: cors"}, 401},
		{"forward-auth", "GET", "/oauth2/forward-auth",
			[]string{"Accept: text/html", "X-Forwarded-Uri: /x", "X-Forwarded-Method: GET"}, 302},
	} {
		v := h.NewClient()
		v.Header = http.Header{}
		a := v.Do(c.method, h.URL+c.path, "", c.headers...)
		if a.StatusCode != c.status {
			t.Errorf("%s: %s %s = %d %.200s, want %d", c.name, c.method, c.path, a.StatusCode, a.Text, c.status)
		}
		if a.StatusCode == 401 {
			if len(a.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s: 401 sets a cookie", c.name)
			}
			if !strings.HasPrefix(c.name, "auth") &&
				(!strings.Contains(a.Text, `"error":"unauthenticated"`) ||
					!strings.Contains(a.Text, h.URL+"/oauth2/start?rd=")) {
				t.Errorf("%s: 401 reads %s, want login_url", c.name, a.Text)
			}
		}
		if c.path == "/oauth2/auth" { // for a program: only the necessary headers
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Request-Id") == "" ||
				a.Header.Get("Content-Security-Policy") != "" {
				t.Errorf("%s: %d has other headers than the response to a subrequest: %v", c.name, a.StatusCode, a.Header)
			}
		} else if a.StatusCode >= 400 &&
			(a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
				a.Header.Get("X-Request-Id") == "" ||
				!strings.Contains(a.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")) {
			t.Errorf("%s: %d lacks a security header: %v", c.name, a.StatusCode, a.Header)
		}
	}
}

// TestCanaries checks that no log line contains a secret, after any event (threats L1).
func TestCanaries(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	callback := v.Choose(v.StartSignIn(h.URL+"/"), "zhangsan")
	session := servertest.SessionOf(v.Get(callback))
	v.Get(h.URL + "/")
	v.Get(callback)
	h.Platform.ClearFaults()
	h.NewClient().SignIn(h.URL+"/", "sunqi")
	q := servertest.ParseURL(t, callback).Query()
	for _, secret := range []string{servertest.Canary, session, q.Get("state"), q.Get("authCode") + q.Get("code")} {
		if secret == "" {
			t.Fatal("a canary is empty: this test cannot fail")
		}
		if strings.Contains(h.Log.String(), secret) {
			t.Errorf("the log holds the secret %.12s…", secret)
		}
	}
}

// TestLeaver: after the event of a leaver the session ends at once, and so does its open
// WebSocket (threats K7, W2).
func TestLeaver(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	if a := v.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Fatalf("/ = %d, want 200", a.StatusCode)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Platform.WaitStreams(ctx, 1); err != nil {
		t.Fatalf("dinggate does not follow the organisation's events: %v", err)
	}
	if err := h.Platform.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	// Leave has sent this event already. The order of two events is undefined, so wait for
	// one whose id is known.
	sent := h.Platform.Emit("user_leave_org", map[string]any{"userId": []string{"zhangsan"}})
	if err := h.Platform.Delivered(ctx, sent); err != nil {
		t.Fatal(err)
	}
	if a := v.Get(h.URL + "/"); a.StatusCode != 302 {
		t.Errorf("a leaver's next page = %d, want 302", a.StatusCode)
	}
	if a := v.Get(h.URL+"/oauth2/auth", "X-Original-URL: "+h.URL+"/"); a.StatusCode != 401 {
		t.Errorf("an authorization subrequest of a leaver = %d, want 401", a.StatusCode)
	}
}

// TestLeaverWhileDisconnected: no event arrives for a person who leaves while the event
// stream is disconnected. The leave records have the person after the stream has
// reconnected. A person who has rejoined since stays signed in.
func TestLeaverWhileDisconnected(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.Session.Recheck = time.Hour })
	leaver, back := h.NewClient(), h.NewClient()
	leaver.SignIn(h.URL+"/", "zhangsan")
	back.SignIn(h.URL+"/", "lisi")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.Platform.WaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	h.Platform.Mute(true) // no event arrives, also later
	h.Platform.DropStreams()
	lisi, _ := h.Platform.Who("lisi")
	for _, id := range []string{"zhangsan", "lisi"} {
		if err := h.Platform.Leave(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Platform.Join(lisi); err != nil {
		t.Fatal(err)
	}
	if a := leaver.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Fatalf("before the stream is back = %d, want 200: what ended the session?", a.StatusCode)
	}
	if err := h.Platform.WaitStreams(ctx, 1); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the session of the leaver has ended", func() bool { return leaver.Get(h.URL+"/").StatusCode == 302 })
	if a := back.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("a person who has come back = %d, want 200", a.StatusCode)
	}
}
