package demo_test

import (
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestDemoOIDC checks that an application without any DingTalk code signs people in by
// OpenID Connect, refreshes its tokens, and ends the session after a sign-out at the
// application or at the provider.
func TestDemoOIDC(t *testing.T) {
	app := servertest.StartDemo(t, demo.RunOIDC)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &servertest.Client{T: t, HTTP: &http.Client{Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Header: http.Header{"Accept": {"text/html"}, "Accept-Language": {"en"}}}
	on := func(a servertest.Response) servertest.Response {
		t.Helper()
		for range 20 {
			to, err := a.Location()
			if err != nil {
				break
			}
			if strings.Contains(to.Path, "/oauth2/auth") { // DingTalk's
				to = servertest.ParseURL(t, v.Choose(to.String(), "zhangsan"))
			}
			a = v.Get(to.String())
		}
		return a
	}
	submit := func(address string) servertest.Response {
		return v.Do("POST", address, "", "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin",
			"Sec-Fetch-Mode: navigate")
	}
	const signedOut, signedIn = "Not signed in", "Hello, zhangsan"
	if page := v.Get(app + "/"); !strings.Contains(page.Text, signedOut) {
		t.Fatalf("the application shows %s", page.Text)
	}
	page := on(v.Get(app + "/login"))
	for _, want := range []string{signedIn, "zhangsan@yunfan.example", "主管", "42"} {
		if !strings.Contains(page.Text, want) {
			t.Errorf("after the sign-in %s does not show %q: %s", page.Request.URL, want, page.Text)
		}
	}
	if page := on(submit(app + "/refresh")); !strings.Contains(page.Text, signedIn) {
		t.Errorf("after a refresh the application shows %s", page.Text)
	}
	for _, query := range []string{"code=x&state=y&iss=http://evil.test", "", "error=access_denied&state=y"} {
		if page := v.Get(app + "/callback" + "?" + query); page.StatusCode != 403 {
			t.Errorf("the callback with %q = %d, want 403", query, page.StatusCode)
		}
	}
	for _, token := range []string{"", "x.y.z"} {
		if a := v.Do("POST", app+"/backchannel_logout", "logout_token="+token, "Content-Type: application/x-www-form-urlencoded"); a.StatusCode != 400 {
			t.Errorf("the back channel with %q = %d, want 400", token, a.StatusCode)
		}
	}
	on(submit(app + "/logout"))
	if page := v.Get(app + "/"); !strings.Contains(page.Text, signedOut) {
		t.Errorf("after the sign-out the application shows %s", page.Text)
	}
	page = on(v.Get(app + "/login")) // the session at the provider has ended too: DingTalk's page was shown
	if !strings.Contains(page.Text, signedIn) {
		t.Fatalf("the next sign-in shows %s", page.Text)
	}
	issuer := regexp.MustCompile(`(http\S+)/\.well-known`).FindStringSubmatch(page.Text)
	if a := submit(issuer[1] + "/oauth2/sign_out"); a.StatusCode != 303 {
		t.Fatalf("sign-out = %d %s", a.StatusCode, a.Text)
	}
	for limit := time.Now().Add(time.Minute); strings.Contains(v.Get(app+"/").Text, signedIn); {
		if time.Now().After(limit) {
			t.Fatal("a minute after the sign-out at the provider the person is still in the application")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
