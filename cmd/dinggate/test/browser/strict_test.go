package browser

import (
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/chromedp"
)

// TestBrowserStrict checks that a sign-in completes with cookie.same_site strict, although
// the browser does not send such a cookie along a redirect that began at DingTalk. A site
// is a host name here: 127.0.0.1, the host of DingTalk, is a different site than
// localhost.
func TestBrowserStrict(t *testing.T) {
	ctx := browser(t, "zh-CN")
	var base string
	h := servertest.New(t, func(c *config.Config) {
		base = strings.Replace(c.PublicURL, "127.0.0.1", "localhost", 1)
		c.PublicURL, c.Cookie.SameSite = base, "strict"
	})
	const deep = "/reports/x?q=1&next=%2Fa%3Fb;c=d"
	if err := chromedp.Do(ctx, chromedp.Navigate(base+deep), chromedp.Click(chromedp.CSS("#person-zhangsan")),
		until(`document.body.innerText.startsWith("UPSTREAM-MARK")`)); err != nil {
		t.Fatalf("%v\n%s", err, h.Log.String())
	}
	if got := onPage(t, ctx, "body"); !strings.HasPrefix(got, "UPSTREAM-MARK GET "+deep) {
		t.Errorf("after the sign-in the browser shows %q, want %s", got, deep)
	}
	at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`))
	if err != nil || at != base+deep {
		t.Errorf("the address is %q, %v, want %s", at, err, base+deep)
	}
}
