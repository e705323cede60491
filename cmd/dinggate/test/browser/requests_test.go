package browser

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/chromedp"
)

// TestBrowserAccessRequest follows a request from the 403 page through the approver's
// notification, which opens in DingTalk with a silent sign-in, to the requested page. The
// first tab continues to that page by itself.
func TestBrowserAccessRequest(t *testing.T) {
	h := servertest.New(t, servertest.AccessRequests)
	const deep = "/admin/%E6%8A%A5%E8%A1%A8?month=11&next=%2Fa"
	tab := browser(t, "zh-CN")
	client := dingtalkClients[0]
	phone := inClient(t, client, fmt.Sprintf(`ok(%q)`, h.Platform.SilentCode("lisi")))
	if err := chromedp.Do(tab, chromedp.Navigate(h.URL+"/"), chromedp.Click(chromedp.CSS("#person-zhaoliu")), untilMark()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := chromedp.Do(tab, chromedp.Navigate(h.URL+deep),
		chromedp.Click(chromedp.CSS(`a[href*="/oauth2/requests?rd="]`)),
		chromedp.WaitVisible(chromedp.CSS("#send")), chromedp.SendKeys(chromedp.CSS("#reason"), "月底对账"),
		chromedp.Click(chromedp.CSS("#send")), until(`/\/oauth2\/requests\/[^?]/.test(location.pathname)`)); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, tab, "#heading"); got != "等待审批" {
		t.Errorf("the page after the form says %q", got)
	}
	inbox := h.Platform.Inbox("lisi")
	if len(inbox) != 1 {
		t.Fatalf("李四 has %d notifications, want one", len(inbox))
	}
	if err := chromedp.Do(phone, chromedp.Navigate(inbox[0].URL), until(`document.querySelector("#approve")`)); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, phone, "main"); !strings.Contains(got, "赵六") || !strings.Contains(got, "月底对账") {
		t.Errorf("the approver sees %q", got)
	}
	if err := chromedp.Do(phone, chromedp.Click(chromedp.CSS("#approve")), until(`document.querySelector("#take")`)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tab, untilMark()); err != nil { // this tab gets no input
		t.Fatal(err)
	}
	t.Logf("from the refusal to the page: %v", time.Since(began).Round(100*time.Millisecond))
	if at := location(t, tab); at != deep {
		t.Errorf("the first tab is at %q, want %q", at, deep)
	}
	if user := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); user != "zhaoliu" {
		t.Errorf("the application got the user %q", user)
	}
	if got := clientCalls(t, phone); got != "requestAuthCodeV2" {
		t.Errorf("the page called the client with %q", got)
	}
}

func location(t *testing.T, ctx context.Context) string {
	t.Helper()
	at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname+location.search`))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestDemoRequest plays both sides of the demo, each in a separate browser.
func TestDemoRequest(t *testing.T) {
	base := startDemo(t)
	asker, approver := browser(t, "zh-CN"), browser(t, "zh-CN")
	if err := chromedp.Do(asker, chromedp.Navigate(base+"/"), withDingTalk, chromedp.Click(chromedp.CSS("#person-zhangsan"))); err != nil {
		t.Fatal(err)
	}
	var dingtalk string
	if err := chromedp.Do(asker, chromedp.Click(chromedp.CSS("#sales")), chromedp.Click(chromedp.CSS(`a[href*="/oauth2/requests?rd="]`)),
		chromedp.SendKeys(chromedp.CSS("#reason"), "看看"), chromedp.Click(chromedp.CSS("#send")),
		until(`/\/oauth2\/requests\/[^?]/.test(location.pathname)`)); err != nil {
		t.Fatal(err)
	}
	// The approver's sign-in shows the address of the simulator.
	if err := chromedp.Do(approver, chromedp.Navigate(base+"/"), withDingTalk, chromedp.WaitVisible(chromedp.CSS("#person-lisi"))); err != nil {
		t.Fatal(err)
	}
	at, err := chromedp.Run(approver, chromedp.Evaluate[string](`location.href`))
	if err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(at); err == nil {
		dingtalk = "http://" + u.Host
	}
	link, err := func() (string, error) {
		if err := chromedp.Do(approver, chromedp.Navigate(dingtalk+"/_simulator/inbox?person=lisi"),
			chromedp.WaitVisible(chromedp.CSS("a.open"))); err != nil {
			return "", err
		}
		return chromedp.Run(approver, chromedp.Evaluate[string](`document.querySelector("a.open").href`))
	}()
	if err != nil || !strings.HasPrefix(link, base+"/oauth2/requests/") {
		t.Fatalf("the inbox leads to %q, %v", link, err)
	}
	if err := chromedp.Do(approver, chromedp.Navigate(link), withDingTalk, chromedp.Click(chromedp.CSS("#person-lisi"))); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(approver, chromedp.Click(chromedp.CSS("#approve")), until(`document.querySelector("#take")`)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(asker, chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	if at := location(t, asker); at != "/sales/report?month=11" {
		t.Errorf("the first window is at %q", at)
	}
}
