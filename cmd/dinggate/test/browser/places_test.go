package browser

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	engine "dinggate/internal/realtool/browser"

	"github.com/chromedp/chromedp"
)

// TestBrowserPlaces: 50 hosts under 10 registrable domains in Chromium without third-party
// cookies. One click signs in on all of them, deep links lead to their pages, and a sign-out on one
// host ends all sessions within 2 seconds.
func TestBrowserPlaces(t *testing.T) {
	const public = "https://gate.corp.test"
	hosts := []string{}
	for domain := range 10 {
		for app := range 5 {
			hosts = append(hosts, fmt.Sprintf("app%d.domain%d.test", app, domain))
		}
	}
	h := servertest.New(t, func(c *config.Config) {
		c.PublicURL, c.TrustedProxies = public, nil
		upstream := c.Routes[0].Upstream
		c.Routes = nil
		for i, host := range append(hosts, "gate.corp.test") {
			r := config.DefaultRoute()
			r.Path, r.Host, r.Upstream = "/", host, upstream
			if i < 5 { // one route serves the first domain
				r.Host = "*.domain0.test"
			}
			if i == 0 || i >= 5 {
				c.Routes = append(c.Routes, r)
			}
		}
	})
	if err := h.Platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = append(a.Redirects, public+"/oauth2/callback")
	}); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(h.State)
	t.Cleanup(front.Close)
	origins := map[string]string{public: front.URL}
	for _, host := range hosts {
		origins["https://"+host] = front.URL
	}
	ctx := browserFor(t, 4*time.Minute, "zh-CN", chromedp.ProxyServer("socks5://"+engine.Names(t, origins)),
		chromedp.Flag("proxy-bypass-list", "<-loopback>"), chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("test-third-party-cookie-phaseout", true))
	open := func(host, page string) {
		t.Helper()
		arrived := fmt.Sprintf(`location.href===%q&&document.body&&document.body.textContent.includes("UPSTREAM-MARK GET %s")`,
			"https://"+host+page, page)
		if err := chromedp.Do(ctx, chromedp.Navigate("https://"+host+page), until(arrived)); err != nil {
			at, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href+" "+document.body.innerText`))
			t.Fatalf("%s%s: %v; the page is %s", host, page, err, at)
		}
	}
	if err := chromedp.Do(ctx, chromedp.Navigate("https://"+hosts[0]+"/deep?first=1"),
		chromedp.Click(chromedp.CSS("#person-zhangsan")), untilMark()); err != nil {
		t.Fatal(err)
	}
	for i, host := range hosts {
		open(host, fmt.Sprintf("/deep?host=%d", i))
	}
	if got := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); got != "zhangsan" {
		t.Errorf("the application sees %q", got)
	}
	// sign out on the last host: remaining cookies of the others are not valid
	if err := chromedp.Do(ctx, chromedp.Navigate("https://"+hosts[49]+"/oauth2/sign_out"),
		chromedp.Click(chromedp.CSS("form button")), chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, host := range append(hosts, "gate.corp.test") {
		over, err := signedOut(ctx, host, host == hosts[0])
		if err != nil || !over {
			t.Errorf("%s after the sign-out: over %v, %v", host, over, err)
		}
		if host == hosts[0] {
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the first look after the sign-out took %v", took)
			}
		}
	}
}

// signedOut loads the current user on a host; with page, it also checks that a page leads
// to the sign-in.
func signedOut(ctx context.Context, host string, page bool) (bool, error) {
	if err := chromedp.Do(ctx, chromedp.Navigate("https://"+host+"/oauth2/userinfo"), until(`document.readyState==="complete"`)); err != nil {
		return false, err
	}
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText+document.querySelectorAll("a[href*='/oauth2/start']").length`))
	if err != nil || text[len(text)-1] == '0' || !page {
		return err == nil && text[len(text)-1] != '0', err
	}
	return true, chromedp.Do(ctx, chromedp.Navigate("https://"+host+"/page"), chromedp.WaitVisible(chromedp.CSS("#person-zhangsan")))
}
