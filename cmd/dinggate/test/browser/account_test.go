package browser

import (
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/chromedp"
)

// TestBrowserOwnLoginPage checks that the sample application's own page signs in through
// the login callback API, with its own script only.
func TestBrowserOwnLoginPage(t *testing.T) {
	ctx := browser(t, "zh-CN")
	base := startDemo(t)
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/public/scan"), chromedp.WaitVisible(chromedp.CSS("#go")),
		chromedp.Click(chromedp.CSS("#go")),
		chromedp.Click(chromedp.CSS("#person-zhangsan")), chromedp.WaitVisible(chromedp.CSS("#go"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "#message"); !strings.HasPrefix(got, "登录成功") {
		t.Fatalf("the page says %q: %s", got, onPage(t, ctx, "#answer"))
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#go")),
		chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "#username"); got != "zhangsan" {
		t.Errorf("the application shows %q, want zhangsan", got)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/oauth2/sign_out"),
		chromedp.Click(chromedp.CSS("form button")), chromedp.WaitVisible(chromedp.CSS(".icon.done")),
		chromedp.Navigate(base+"/public/scan"), chromedp.WaitVisible(chromedp.CSS("#go")),
		chromedp.Click(chromedp.CSS("#go")),
		chromedp.Click(chromedp.CSS("#person-sunqi")), chromedp.WaitVisible(chromedp.CSS("#answer"))); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the refusal", func() bool { return strings.Contains(onPage(t, ctx, "#message"), "其他企业") })
}

// TestBrowserBinds: a person of DingTalk gets the page for people without a binding, and
// binds an account with its form, without any script of dinggate. The session then belongs to
// that account.
func TestBrowserBinds(t *testing.T) {
	ctx := browser(t, "zh-CN")
	h, _ := servertest.NewWithAccounts(t, account.Required)
	// with DingTalk
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/deep?x=1"), chromedp.Click(chromedp.CSS("a.button")),
		// bind
		chromedp.Click(chromedp.CSS("#person-zhangsan")), chromedp.WaitVisible(chromedp.CSS("h1")),
		chromedp.Click(chromedp.CSS("a.button")),
		chromedp.WaitVisible(chromedp.CSS("#password"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "main"); !strings.Contains(got, "张三") {
		t.Errorf("the page does not say who is bound:\n%s", got)
	}
	if err := chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#username"), "zs"),
		chromedp.SendKeys(chromedp.CSS("#password"), "wrong"), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS("#wrong")), chromedp.SendKeys(chromedp.CSS("#password"), "pw-zs"),
		chromedp.Click(chromedp.CSS("form button"))); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, until(`document.body.textContent.includes("UPSTREAM-MARK GET /deep?x=1")`)); err != nil {
		t.Fatal(err)
	}
	if got := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); got != "zs" {
		t.Errorf("the application sees %q, want zs", got)
	}
	all, err := h.Stores.Bindings.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Username != "zs" {
		t.Errorf("bound are %v, %v", all, err)
	}
}
