package browser

import (
	"fmt"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/chromedp"
)

// TestBrowserFresh: Chromium as the DingTalk client signs in without a click. A route with
// fresh redirects it to DingTalk's page, and after a click it shows the requested page.
func TestBrowserFresh(t *testing.T) {
	h := servertest.New(t, servertest.FreshRoutes)
	ctx := inClient(t, dingtalkClients[0], fmt.Sprintf(`ok(%q)`, h.Platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/"), untilMark()); err != nil {
		t.Fatal(err)
	}
	before := clientCalls(t, ctx)
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/recent/x?a=1"),
		chromedp.Click(chromedp.CSS("#person-zhangsan")), untilMark(),
		until(`location.pathname==="/recent/x"`)); err != nil {
		t.Fatal(err)
	}
	if got := clientCalls(t, ctx); got != before {
		t.Errorf("the page called the client with %q, want no more than %q", got, before)
	}
}
