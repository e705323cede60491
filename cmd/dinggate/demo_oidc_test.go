package main

import (
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDemoOIDC: an application that knows nothing of DingTalk signs people in by
// OpenID Connect, refreshes, and has them out when they sign out, here or there.
func TestDemoOIDC(t *testing.T) {
	app := start(t, runDemoOIDC)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t, &http.Client{Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		http.Header{"Accept": {"text/html"}, "Accept-Language": {"en"}}}
	on := func(a answer) answer {
		t.Helper()
		for range 20 {
			to, err := a.Location()
			if err != nil {
				break
			}
			if strings.Contains(to.Path, "/oauth2/auth") { // DingTalk's
				to = mustURL(t, v.choose(to.String(), "zhangsan"))
			}
			a = v.get(to.String())
		}
		return a
	}
	submit := func(address string) answer {
		return v.do("POST", address, "", "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin",
			"Sec-Fetch-Mode: navigate")
	}
	const nobody, somebody = "Nobody is signed in", "Hello, zhangsan"
	if page := v.get(app + "/"); !strings.Contains(page.body, nobody) {
		t.Fatalf("the application shows %s", page.body)
	}
	page := on(v.get(app + "/login"))
	for _, want := range []string{somebody, "zhangsan@yunfan.example", "主管", "42"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("after the sign-in %s does not show %q: %s", page.Request.URL, want, page.body)
		}
	}
	if page := on(submit(app + "/refresh")); !strings.Contains(page.body, somebody) {
		t.Errorf("after a refresh the application shows %s", page.body)
	}
	for _, query := range []string{"code=x&state=y&iss=http://evil.test", "", "error=access_denied&state=y"} {
		if page := v.get(app + oidcCallback + "?" + query); page.StatusCode != 403 {
			t.Errorf("the callback with %q = %d, want 403", query, page.StatusCode)
		}
	}
	for _, token := range []string{"", "x.y.z"} {
		if a := v.do("POST", app+oidcBackchannel, "logout_token="+token, "Content-Type: application/x-www-form-urlencoded"); a.StatusCode != 400 {
			t.Errorf("the back channel with %q = %d, want 400", token, a.StatusCode)
		}
	}
	on(submit(app + "/logout"))
	if page := v.get(app + "/"); !strings.Contains(page.body, nobody) {
		t.Errorf("after the sign-out the application shows %s", page.body)
	}
	page = on(v.get(app + "/login")) // the session at the provider has ended too: DingTalk was asked
	if !strings.Contains(page.body, somebody) {
		t.Fatalf("the next sign-in shows %s", page.body)
	}
	issuer := regexp.MustCompile(`(http\S+)/\.well-known`).FindStringSubmatch(page.body)
	if a := submit(issuer[1] + "/oauth2/sign_out"); a.StatusCode != 303 {
		t.Fatalf("sign-out = %d %s", a.StatusCode, a.body)
	}
	for limit := time.Now().Add(5 * time.Second); strings.Contains(v.get(app+"/").body, somebody); {
		if time.Now().After(limit) {
			t.Fatal("5 s after the sign-out at the provider the person is still in the application")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
