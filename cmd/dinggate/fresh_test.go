package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/proxy/access"

	"github.com/chromedp/chromedp"
)

// withFresh has routes that want a recent sign-in: within the hour, at all, silently.
func withFresh(c *config.Config) {
	fresh := func(path string, rule access.RuleConfig) config.Route {
		r := config.DefaultRoute()
		r.Path, r.Access, r.Upstream = path, &rule, c.Routes[0].Upstream
		return r
	}
	c.Routes = append([]config.Route{
		fresh("/recent/", access.RuleConfig{Fresh: time.Hour}),
		fresh("/now/", access.RuleConfig{Fresh: time.Nanosecond}),
		fresh("/quiet/", access.RuleConfig{Fresh: time.Hour, FreshSilent: true}),
	}, c.Routes...)
}

const challengeOf = `Bearer error="insufficient_user_authentication", max_age=`

// TestFresh: a page leads to DingTalk and back, everything else is 401 with the
// challenge of RFC 9470, at our own proxy and for every gateway.
func TestFresh(t *testing.T) {
	h := newTestEnv(t, withFresh)
	v := h.visitor()
	if a := v.signIn(h.base+"/recent/x?a=1", "zhangsan"); a.Header.Get("Location") != "/recent/x?a=1" {
		t.Fatalf("the sign-in = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.get(h.base + "/recent/x"); a.StatusCode != 200 {
		t.Errorf("a page after a scan = %d, want 200", a.StatusCode)
	}
	v.leave(h.base + "/now/x") // signed in, and sent to DingTalk again
	if a := v.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("a page of another route = %d, want 200", a.StatusCode)
	}
	call := []string{"Accept: application/json", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty",
		"Referer: " + h.base + "/app"}
	v.header.Del("Accept")
	a := v.get(h.base+"/now/x", call...)
	login := `"login_url":"` + h.base + `/oauth2/start?silent=no\u0026rd=%2Fapp"`
	if a.StatusCode != 401 || !strings.Contains(a.body, `"error":"reauthentication_required"`) ||
		!strings.Contains(strings.ReplaceAll(a.body, "&", `\u0026`), login) ||
		a.Header.Get("Www-Authenticate") != challengeOf+"1" || len(a.Header["Set-Cookie"]) > 0 {
		t.Errorf("a call = %d %v %s, want 401 with %s", a.StatusCode, a.Header, a.body, login)
	}

	question := []string{"X-Original-URI: /now/x", "X-Original-Method: GET", "X-Forwarded-Uri: /now/x",
		"X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
		"X-Forwarded-Host: " + strings.TrimPrefix(h.base, "http://")}
	if a := v.get(h.base+"/oauth2/auth", append(question, "Accept: text/html")...); a.StatusCode != 401 ||
		a.Header.Get("Www-Authenticate") != challengeOf+"1" || a.body != "" {
		t.Errorf("nginx's question = %d %v %q", a.StatusCode, a.Header, a.body)
	}
	for _, path := range []string{"/oauth2/forward-auth", "/oauth2/ext-authz/now/x"} {
		page := v.get(h.base+path, append(question, "Accept: text/html")...)
		if page.StatusCode != 302 || page.Header.Get("Location") != h.base+"/oauth2/start?silent=no&rd=%2Fnow%2Fx" {
			t.Errorf("%s, a page = %d to %q", path, page.StatusCode, page.Header.Get("Location"))
		}
		call := v.get(h.base+path, append(question, "Accept: application/json")...)
		if call.StatusCode != 401 || call.Header.Get("Www-Authenticate") != challengeOf+"1" ||
			!strings.Contains(call.body, `"error":"reauthentication_required"`) {
			t.Errorf("%s, a call = %d %v %s", path, call.StatusCode, call.Header, call.body)
		}
	}
}

// TestFreshInDingTalk: the silent sign-in makes nothing fresh and is not tried, unless
// fresh_silent allows it.
func TestFreshInDingTalk(t *testing.T) {
	h := newTestEnv(t, withFresh)
	v := h.visitor()
	a := v.post(h.base, form(h.platform.SilentCode("zhangsan"), v.silent(h.base+"/")))
	if a.StatusCode != 200 {
		t.Fatalf("the silent sign-in = %d %s", a.StatusCode, a.body)
	}
	for path, want := range map[string]int{"/": 200, "/quiet/x": 200, "/recent/x": 302} {
		a := v.get(h.base+path, phone)
		if a.StatusCode != want || want == 302 && !strings.Contains(a.Header.Get("Location"), "/oauth2/auth?") {
			t.Errorf("GET %s after a silent sign-in = %d to %q, want %d", path, a.StatusCode,
				a.Header.Get("Location"), want)
		}
	}
	nobody := h.visitor()
	nobody.silent(h.base + "/quiet/x")
	for _, path := range []string{"/recent/x", "/oauth2/start?rd=%2Frecent%2Fx"} {
		if a := nobody.get(h.base+path, phone); a.StatusCode != 302 ||
			!strings.Contains(a.Header.Get("Location"), "/oauth2/auth?") {
			t.Errorf("GET %s of nobody in DingTalk = %d to %q, want DingTalk's page", path, a.StatusCode,
				a.Header.Get("Location"))
		}
	}
	if a := v.signIn(h.base+"/recent/x", "zhangsan"); a.Header.Get("Location") != "/recent/x" {
		t.Errorf("the sign-in by a click = %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	if a := v.get(h.base+"/recent/x", phone); a.StatusCode != 200 {
		t.Errorf("the page after a click = %d, want 200", a.StatusCode)
	}
}

// TestFreshAPI: a password is sent with each request and always fresh.
func TestFreshAPI(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci")
	h := newTestEnv(t, func(c *config.Config) {
		withFresh(c)
		c.APITokens, c.Accounts.HtpasswdFile = true, file
	})
	api := h.visitor()
	api.header = http.Header{"Accept": {"*/*"}}
	if a := api.get(h.base+"/now/x", basic("ci", "pw-ci")); a.StatusCode != 200 {
		t.Errorf("a password = %d %s, want 200", a.StatusCode, a.body)
	}
}

// TestBrowserFresh: Chromium as the DingTalk client signs in without a click, is led
// to DingTalk's page by a route with fresh, and after a click is on that page.
func TestBrowserFresh(t *testing.T) {
	h := newTestEnv(t, withFresh)
	ctx := inClient(t, dingtalkClients[0], fmt.Sprintf(`ok(%q)`, h.platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/"), untilMark()); err != nil {
		t.Fatal(err)
	}
	before := asked(t, ctx)
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/recent/x?a=1"),
		chromedp.Click(chromedp.CSS("#person-zhangsan")), untilMark(),
		until(`location.pathname==="/recent/x"`)); err != nil {
		t.Fatal(err)
	}
	if got := asked(t, ctx); got != before {
		t.Errorf("the client was asked by %q, want no more than %q", got, before)
	}
}
