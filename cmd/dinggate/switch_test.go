package main

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	engine "dinggate/internal/realtool/browser"
)

var otherAccountLink = regexp.MustCompile(`href="([^"]*/oauth2/sign_out\?then=sign_in[^"]*)"`)

// TestUseAnotherAccount: the page that keeps a person out says who they are; one
// confirmation later they are at the page they asked for as somebody else. Before
// that nothing has changed.
func TestUseAnotherAccount(t *testing.T) {
	const deep = "/admin/x?q=1&n=%E5%BC%A0"
	for what, ask := range map[string]func(h *testEnv, v *visitor) answer{
		"the proxy": func(h *testEnv, v *visitor) answer { return v.get(h.base + deep) },
		"a gateway": func(h *testEnv, v *visitor) answer {
			return v.get(h.base+"/oauth2/forward-auth", "X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
				"X-Forwarded-Host: "+strings.TrimPrefix(h.base, "http://"), "X-Forwarded-Uri: "+deep)
		},
	} {
		h := newTestEnv(t, nil)
		v := h.visitor()
		v.signIn(h.base+"/", "zhaoliu")
		a := ask(h, v)
		to := otherAccountLink.FindStringSubmatch(a.body)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "赵六 (zhaoliu)") || to == nil {
			t.Fatalf("%s = %d:\n%s", what, a.StatusCode, a.body)
		}
		confirm := v.get(html.UnescapeString(to[1]))
		if confirm.StatusCode != 200 || !strings.Contains(confirm.body, "赵六 (zhaoliu)") ||
			confirm.Header.Get("Referrer-Policy") != "strict-origin" {
			t.Fatalf("%s: the confirmation = %d:\n%s", what, confirm.StatusCode, confirm.body)
		}
		if a = v.get(h.base + "/still"); a.StatusCode != 200 {
			t.Errorf("%s: before the confirmation the person is signed out: %d", what, a.StatusCode)
		}
		action := h.base +
			html.UnescapeString(regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(confirm.body)[1])
		if a = v.do("POST", action, "", "Origin: http://evil.test"); a.StatusCode != http.StatusForbidden ||
			v.get(h.base+"/still").StatusCode != 200 {
			t.Errorf("%s: another site's form = %d, and /still %d", what, a.StatusCode,
				v.get(h.base+"/still").StatusCode)
		}
		a = v.do("POST", action, "", "Origin: "+h.base)
		if a.StatusCode != http.StatusSeeOther ||
			!strings.HasPrefix(a.Header.Get("Location"), "/oauth2/start?silent=no&rd=") {
			t.Fatalf("%s: confirmed = %d to %q", what, a.StatusCode, a.Header.Get("Location"))
		}
		start := h.base + a.Header.Get("Location")
		if a = v.get(h.base + "/still"); a.StatusCode == 200 {
			t.Errorf("%s: the person is still signed in", what)
		}
		if a = v.signIn(start, "zhangsan"); a.StatusCode != http.StatusFound || a.Header.Get("Location") != deep {
			t.Errorf("%s: the sign-in ends at %d %q, want %q", what, a.StatusCode, a.Header.Get("Location"), deep)
		}
		if a = v.get(html.UnescapeString(to[1])); a.StatusCode != 200 { // signed in again: it asks
			t.Errorf("%s: the link again = %d", what, a.StatusCode)
		}
		if a = h.visitor().get(html.UnescapeString(to[1])); a.StatusCode != http.StatusFound ||
			!strings.HasPrefix(a.Header.Get("Location"), "/oauth2/start?silent=no&rd=") {
			t.Errorf("%s: the link with nobody signed in = %d to %q", what, a.StatusCode, a.Header.Get("Location"))
		}
	}
}

// TestUseAnotherLocalAccount leads to the page with the form, and back.
func TestUseAnotherLocalAccount(t *testing.T) {
	h, _ := accountEnv(t, account.Off)
	v := h.visitor()
	v.password(h.base+"/oauth2/sign_in?rd=%2F", "zs", "pw-zs")
	to := otherAccountLink.FindStringSubmatch(v.get(h.base + "/admin/x").body)
	if to == nil {
		t.Fatal("the page offers no other account")
	}
	a := v.do("POST", html.UnescapeString(to[1]), "", "Origin: "+h.base)
	if at := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || at != "/oauth2/sign_in?rd=%2Fadmin%2Fx" {
		t.Errorf("confirmed = %d to %q, want the form", a.StatusCode, at)
	}
}

// TestBrowserUsesAnotherAccount: the same in every engine, whose policies for
// forms bind the redirects that follow them.
func TestBrowserUsesAnotherAccount(t *testing.T) {
	for _, one := range engines {
		t.Run(one.name, func(t *testing.T) {
			const gate = "http://gate.corp.test"
			h := newTestEnv(t, func(c *config.Config) { c.PublicURL, c.TrustedProxies = gate, nil })
			if err := h.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
				a.Redirects = append(a.Redirects, gate+"/oauth2/callback")
			}); err != nil {
				t.Fatal(err)
			}
			b := one.start(t, engine.Names(t, map[string]string{gate: h.base}))
			b.Open(gate + "/admin/x?q=1")
			b.Click("#person-zhaoliu")
			b.Until(`document.body.textContent.includes("赵六 (zhaoliu)")`)
			b.Click("a.button")
			b.Click("form button")
			b.Click("#person-zhangsan")
			b.Until(`document.body.textContent.includes("UPSTREAM-MARK GET /admin/x?q=1")`)
			if got := h.app.last(t).Header.Get("X-Forwarded-User"); got != "zhangsan" {
				t.Errorf("%s: the application sees %q, want zhangsan", b.Name, got)
			}
		})
	}
}
