package sso

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// table counts its rows, so that a lost list is noticed.
type table struct {
	t    *testing.T
	h    *servertest.Env
	rows int
}

// quiet runs a row and checks that DingTalk was not called for it.
func (s *table) quiet(name string, run func() servertest.Response) servertest.Response {
	s.t.Helper()
	s.rows++
	before := maps.Clone(s.h.Platform.AllCalls())
	a := run()
	for path, n := range s.h.Platform.AllCalls() {
		if n != before[path] {
			s.t.Errorf("%s: %s at DingTalk was called %d times, want never", name, path, n-before[path])
		}
	}
	if a.StatusCode >= 500 {
		s.t.Errorf("%s = %d, want no 5xx (O3)", name, a.StatusCode)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
		a.Header.Get("Access-Control-Allow-Origin") != "" {
		s.t.Errorf("%s: headers %v, want no-store, nosniff and no CORS permission (W5, O6)", name, a.Header)
	}
	return a
}

// TestAuthorizeTable tests T1, T2, R14, R15, T26: no redirect is sent and no code is
// issued, with and without a session.
func TestAuthorizeTable(t *testing.T) {
	h, p := servertest.NewSSO(t)
	s := &table{t: t, h: h}
	signedIn := h.NewClient()
	signedIn.SignIn(h.URL+"/", "zhangsan")
	good := url.QueryEscape(p.CallbackURL())
	loose := url.QueryEscape("https://other.test/callback?x=1")
	id := "client_id=platform&redirect_url="
	rows := []string{
		"", "client_id=platform", "redirect_url=" + good, "client_id=&redirect_url=" + good,
		"client_id=unknown&redirect_url=" + good, "client_id=Platform&redirect_url=" + good,
		"client_id=platform%00&redirect_url=" + good, "client_id=platform%0d%0aX:y&redirect_url=" + good,
		"client_id=platform&client_id=platform&redirect_url=" + good,
		"client_id=other&client_id=platform&redirect_url=" + good, "client_id[]=platform&redirect_url=" + good,
		"CLIENT_ID=platform&redirect_url=" + good, "client_id=%zz&redirect_url=" + good,
		"client_id=pl%D0%B0tform&redirect_url=" + good,
		"client_id=" + strings.Repeat("x", 30_000) + "&redirect_url=" + good,
		id, id + good + "&redirect_url=" + good, id + good + "&redirect_url=https://evil.test/",
		"client_id=platform&redirect_url[]=" + good, "client_id=platform&redirect_uri=" + good,
		"client_id=platform;redirect_url=" + good, id + loose, "client_id=other&redirect_url=" + good,
		id + url.QueryEscape(good), id + "https://evil.test/callback",
		id + good + "%3F", id + good + "%3Fa=b", id + good + "%23", id + good + "%23x", id + good + "%2F",
		id + good + "%2Fx", id + good + "%2F..%2Fcallback", id + good + "%252F", id + good + ";x", id + good + "%00",
		id + good + "%0d%0aSet-Cookie:x", id + good + "%20", id + "%20" + good, id + strings.ToUpper(good),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "http:", "https:", 1)),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "http:", "HTTP:", 1)),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "127.0.0.1", "localhost", 1)),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "//", "//user@", 1)),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "/callback", "//callback", 1)),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "/callback", `\callback`, 1)),
		id + url.QueryEscape(strings.Replace(p.CallbackURL(), "/callback", "/%63allback", 1)),
		id + "//evil.test/callback", id + "/callback", id + "javascript:alert(1)", id + good + "@evil.test",
		"client_id=other&redirect_url=" + url.QueryEscape("https://other.test/callback?x=1#y"),
		"client_id=other&redirect_url=" + url.QueryEscape("https://other.test/callback2?x=1"),
		"client_id=other&redirect_url=" + url.QueryEscape(`https://other.test/callback?\`),
		"client_id=other&redirect_url=" + url.QueryEscape("https://other.test/callback?"+strings.Repeat("x", 2000)),
		id + good + "&state=a&state=b", id + good + "&state=%zz", id + good + "&state=a%0ab",
		id + good + "&state=%ff", id + good + "&state=" + strings.Repeat("x", 513),
	}
	for _, query := range rows {
		for who, v := range map[string]*servertest.Client{"no session": h.NewClient(), "zhangsan": signedIn} {
			name := fmt.Sprintf("%s: authorize?%.120s", who, query)
			a := s.quiet(name, func() servertest.Response { return v.Get(h.URL + "/dingtalk/authorize?" + query) })
			if a.StatusCode != 400 || a.Header.Get("Location") != "" || len(a.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s = %d to %q with %q, want a 400 page", name, a.StatusCode, a.Header.Get("Location"),
					a.Header["Set-Cookie"])
			}
			if !strings.Contains(a.Header.Get("Content-Type"), "text/html") ||
				!strings.Contains(a.Text, "application") ||
				strings.Contains(strings.ReplaceAll(a.Text, `="`+h.URL+"/", ""), `="http`) ||
				strings.Contains(a.Text, `="//`) || strings.Contains(a.Text, `="javascript`) {
				t.Errorf("%s: the page does not name the application: %.300s", name, a.Text)
			}
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
		a := s.quiet(method+" authorize", func() servertest.Response { return signedIn.Do(method, p.AuthorizeURL(), "") })
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET" {
			t.Errorf("%s authorize = %d with Allow %q, want 405", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
	if a := signedIn.Get(p.AuthorizeURL(), "Sec-Purpose: prefetch"); a.StatusCode != 400 {
		t.Errorf("a prefetch of authorize = %d, want 400", a.StatusCode)
	}
	// T2: returned unchanged
	for _, state := range []string{"plain", "a+b/c=", "a b&c=d", "%25", "状态", strings.Repeat("x", 512)} {
		s.rows++
		if _, got := signedIn.SSOCode(p, "&state="+url.QueryEscape(state)); got != state {
			t.Errorf("state %q came back as %q", state, got)
		}
	}
	_, one := signedIn.SSOCode(p)
	if _, two := signedIn.SSOCode(p); one == two || len(one) < 22 {
		t.Errorf("the states we make up are %q and %q", one, two)
	}
	a := signedIn.Get(h.URL + "/dingtalk/authorize?client_id=other&redirect_url=" +
		url.QueryEscape("https://other.test/callback?tenant=7&code=old&%73tate=old"))
	// R18
	if at := a.Header.Get("Location"); !strings.HasPrefix(at, "https://other.test/callback?tenant=7&code=") ||
		strings.Count(at, "code=") != 1 || strings.Contains(at, "old") {
		t.Errorf("a callback with a query of its own = %q", at)
	}
	if s.rows < 120 {
		t.Errorf("%d rows, want at least 120", s.rows)
	}
}

// TestSSOCallbackTable tests T23, R16, R17, S8: the request sealed in this browser counts,
// and a refusal causes no call and no redirect.
func TestSSOCallbackTable(t *testing.T) {
	h, p := servertest.NewSSO(t)
	s := &table{t: t, h: h}
	v := h.NewClient()
	// …/dingtalk/callback?forward_url=…&authCode=…&state=…
	good := servertest.ParseURL(t, v.Choose(v.StartSSO(p), "zhangsan")).String()
	page := servertest.ParseURL(t, v.Choose(v.StartSignIn(h.URL+"/"), "zhangsan"))
	forward := "forward_url=" + url.QueryEscape(p.CallbackURL())
	w := h.NewClient()
	noCode := strings.Replace(w.Choose(w.StartSSO(p), "zhangsan"), "authCode=", "x=", 1)
	if !strings.Contains(good, forward) {
		t.Fatalf("DingTalk sends the browser to %q, without forward_url", good)
	}
	other := "forward_url=" + url.QueryEscape(p.URL+"/callback?tenant=1&code=old") // registered, but another one
	for _, row := range []struct {
		name, address string
		status        int
	}{
		{"forward_url changed", strings.Replace(good, forward, "forward_url=https%3A%2F%2Fevil.test%2F", 1), 400},
		{"forward_url changed to another registered one", strings.Replace(good, forward, other, 1), 400},
		{"forward_url empty", strings.Replace(good, forward, "forward_url=", 1), 400},
		{"forward_url missing", strings.Replace(good, forward+"&", "", 1), 400},
		{"forward_url twice", good + "&" + forward, 400},
		{"forward_url and an evil one", good + "&forward_url=https://evil.test/", 400},
		{"forward_url with a fragment", strings.Replace(good, forward, forward+"%23x", 1), 400},
		{"state of a page's sign-in", strings.Replace(good, "state=", "state="+page.Query().Get("state")+"&x=", 1),
			403},
		{"the SSO's state at the page's callback", h.URL + "/oauth2/callback?" + servertest.ParseURL(t, good).RawQuery, 403},
		{"no state", strings.Replace(good, "state=", "x=", 1), 403},
		{"unknown state", h.URL + "/dingtalk/callback?" + forward + "&authCode=x&state=" + strings.Repeat("A", 43),
			403},
		{"doubled state", good + "&state=x", 400},
		{"no code", noCode, 400}, // uses the attempt
		{"nothing", h.URL + "/dingtalk/callback", 403},
	} {
		a := s.quiet(row.name, func() servertest.Response {
			if row.address == noCode {
				return w.Get(noCode)
			}
			return v.Get(row.address)
		})
		if a.StatusCode != row.status || a.Header.Get("Location") != "" || servertest.SessionOf(a) != "" {
			t.Errorf("%s = %d to %q with session %q, want %d and nothing", row.name, a.StatusCode,
				a.Header.Get("Location"), servertest.SessionOf(a), row.status)
		}
	}
	for name, who := range map[string]*servertest.Client{"another browser": h.NewClient(),
		"one that began another sign-in": func() *servertest.Client { w := h.NewClient(); w.StartSSO(p); return w }()} {
		a := s.quiet(name, func() servertest.Response { return who.Get(good) })
		if a.StatusCode != 403 || a.Header.Get("Location") != "" || servertest.SessionOf(a) != "" {
			t.Errorf("%s = %d to %q, want 403", name, a.StatusCode, a.Header.Get("Location"))
		}
	}
	for _, method := range []string{"HEAD", "POST"} {
		if a := s.quiet(method, func() servertest.Response { return v.Do(method, good, "") }); a.StatusCode != 405 {
			t.Errorf("%s callback = %d, want 405", method, a.StatusCode)
		}
	}
	if p.LastCallback != "" {
		t.Errorf("the platform received a callback: %s", p.LastCallback)
	}
	if a := v.Get(good); a.StatusCode != 302 || !strings.HasPrefix(a.Header.Get("Location"), p.CallbackURL()+"?code=") {
		t.Errorf("the right browser after all that = %d to %q %s", a.StatusCode, a.Header.Get("Location"), a.Text)
	}
	if a := v.Get(good); a.StatusCode != 403 || a.Header.Get("Location") != "" {
		t.Errorf("the same callback twice = %d, want 403", a.StatusCode)
	}
	denied := w.Get(w.StartSSO(p) + "&person=-").Header.Get("Location")
	if a := w.Get(denied); a.StatusCode != 403 || a.Header.Get("Location") != "" ||
		!strings.Contains(a.Text, url.QueryEscape("/dingtalk/authorize?client_id=platform")) {
		t.Errorf("denied at DingTalk = %d, want a page that begins the third party's sign-in again:\n%s",
			a.StatusCode, a.Text)
	}
}
