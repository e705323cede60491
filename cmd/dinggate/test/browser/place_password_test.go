package browser

import (
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	engine "dinggate/internal/realtool/browser"

	"github.com/chromedp/chromedp"
)

// TestBrowserPlacePassword: a sign-in with a password for a page on a host out of the cookie's reach
// leads to that page. Chromium applies the form's policy to each redirect on the way.
func TestBrowserPlacePassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "zs")
	h := servertest.New(t, func(c *config.Config) {
		c.PublicURL, c.TrustedProxies = "https://gate.corp.test", nil
		c.Accounts.HtpasswdFile = file
		upstream := c.Routes[0].Upstream
		c.Routes = nil
		for _, host := range []string{"app.other.test", "gate.corp.test"} {
			r := config.DefaultRoute()
			r.Path, r.Host, r.Upstream = "/", host, upstream
			c.Routes = append(c.Routes, r)
		}
	})
	front := httptest.NewServer(h.State)
	t.Cleanup(front.Close)
	ctx := browserFor(t, 3*time.Minute, "zh-CN", chromedp.ProxyServer("socks5://"+engine.Names(t, map[string]string{
		"https://gate.corp.test": front.URL, "https://app.other.test": front.URL})),
		chromedp.Flag("proxy-bypass-list", "<-loopback>"), chromedp.Flag("ignore-certificate-errors", true))
	err := chromedp.Do(ctx, chromedp.Navigate("https://app.other.test/deep?x=1"), chromedp.WaitVisible(chromedp.CSS("#password")),
		chromedp.SendKeys(chromedp.CSS("#username"), "zs"), chromedp.SendKeys(chromedp.CSS("#password"), "pw-zs"),
		chromedp.Click(chromedp.CSS("form button")), until(`location.href==="https://app.other.test/deep?x=1"&&document.body.textContent.includes("UPSTREAM-MARK")`))
	if err != nil {
		at, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href+" "+document.body.innerText`))
		t.Fatalf("%v; the page is %s", err, at)
	}
}
