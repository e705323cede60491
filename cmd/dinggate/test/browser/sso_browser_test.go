package browser

import (
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/chromedp"
)

// TestBrowserThroughSSO follows the chain of `demo --sso` in a browser: application,
// dinggate, SSO service, DingTalk, and back.
func TestBrowserThroughSSO(t *testing.T) {
	ctx := browser(t, "zh-CN")
	base := servertest.StartDemo(t, demo.RunSSO)
	const deep = "/reports/%E9%94%80%E5%94%AE?q=1"
	if err := chromedp.Do(ctx, chromedp.Navigate(base+deep), chromedp.Click(chromedp.CSS("#person-zhangsan")),
		chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]string{"#username": "zhangsan", "#email": "zhangsan@yunfan.example",
		"#name": "张三", "#target": deep} {
		if got := onPage(t, ctx, selector); got != want {
			t.Errorf("the application shows %s = %q, want %q", selector, got, want)
		}
	}
	// A sign-out here does not end the service's session: the next sign-in needs no
	// interaction.
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#sign-out")), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS(".icon.done")),
		chromedp.Navigate(base+"/again"), chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "#username"); got != "zhangsan" {
		t.Errorf("after single sign-on the application shows %q, want zhangsan", got)
	}
}

// TestBrowserAtThirdParty tests a platform written from the document alone in a real
// browser.
func TestBrowserAtThirdParty(t *testing.T) {
	ctx := browser(t, "en-US")
	_, p := servertest.NewSSO(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(p.URL+"/"), chromedp.Click(chromedp.CSS("#person-lisi")),
		chromedp.WaitVisible(chromedp.CSS("#who"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "#who"); got != "PLATFORM lisi lisi@yunfan.example" {
		t.Errorf("the platform shows %q, want lisi", got)
	}
	p.ID = "unknown"
	if err := chromedp.Do(ctx, chromedp.Navigate(p.URL+"/"), chromedp.WaitVisible(chromedp.CSS("h1"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "h1"); !strings.Contains(got, "not registered") {
		t.Errorf("a platform that is not registered shows %q, want a page that says so", got)
	}
}
