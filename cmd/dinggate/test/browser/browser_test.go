package browser

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/demo"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// startDemo runs the demo in this process and returns its address.
func startDemo(t *testing.T) string { return servertest.StartDemo(t, demo.Run) }

// withDingTalk clicks the button of the sign-in page, which the demo shows first.
var withDingTalk = chromedp.Click(chromedp.CSS(`a.button[href*="/oauth2/start"]`))

// TestDemoOnAPhone checks that no page is wider than a phone, and that the values of
// headers are readable.
func TestDemoOnAPhone(t *testing.T) {
	ctx := browser(t, "zh-CN")
	base := startDemo(t)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(360, 740), chromedp.Navigate(base+"/"), withDingTalk,
		chromedp.Click(chromedp.CSS("#person-zhangsan")),
		chromedp.WaitVisible(chromedp.CSS("#username")), chromedp.Click(chromedp.CSS("summary"))); err != nil {
		t.Fatal(err)
	}
	narrow := `[...document.querySelectorAll("td:last-child")].filter(td=>td.getBoundingClientRect().width<240).map(td=>td.textContent)`
	for _, path := range []string{"/", "/public/scan"} {
		if path != "/" {
			if err := chromedp.Do(ctx, chromedp.Navigate(base+path),
				chromedp.WaitVisible(chromedp.CSS("#go"))); err != nil {
				t.Fatal(err)
			}
		}
		wrong, err := chromedp.Run(ctx,
			chromedp.Evaluate[string](`JSON.stringify([`+narrow+
				`,document.documentElement.scrollWidth>innerWidth,`+
				`[...document.querySelectorAll("section")].some(s=>s.getBoundingClientRect().left<8)])`))
		if err != nil || wrong != "[[],false,false]" {
			t.Errorf("%s: narrow, too wide, without a margin: %s, %v", path, wrong, err)
		}
	}
}

// browser starts Chromium; the context of its first step must have no deadline. Each call
// is a person with an empty cookie jar.
func browser(t *testing.T, language string, more ...chromedp.ExecAllocatorOption) context.Context {
	return browserFor(t, 60*time.Second, language, more...)
}

func browserFor(t *testing.T, patience time.Duration, language string,
	more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(realtool.Path(t, "chromium")),
		chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language))
	options = append(options, more...)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	return ctx
}

// prefers makes the browser request a light or a dark page.
func prefers(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme",
				Value: scheme}}})
		return err
	})
}

func onPage(t *testing.T, ctx context.Context, selector string) string {
	t.Helper()
	s, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		t.Fatalf("reading %s: %v", selector, err)
	}
	return strings.TrimSpace(s)
}

// TestBrowserSignsIn tests the whole product in a browser.
func TestBrowserSignsIn(t *testing.T) {
	ctx := browser(t, "zh-CN")
	base := startDemo(t)
	const deep = "/reports/%E9%94%80%E5%94%AE?q=1&next=%2Fa%3Fb&x=%E5%BC%A0"
	if err := chromedp.Do(ctx, chromedp.Navigate(base+deep), withDingTalk,
		chromedp.Click(chromedp.CSS("#person-zhangsan")), chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]string{"#username": "zhangsan", "#email": "zhangsan@yunfan.example",
		"#name": "张三", "#target": deep} {
		if got := onPage(t, ctx, selector); got != want {
			t.Errorf("the application shows %s = %q, want %q", selector, got, want)
		}
	}
	headers := onPage(t, ctx, "#headers")
	if names := regexp.MustCompile(`X-[A-Za-z-]+`).FindAllString(headers, -1); !slices.Equal(names,
		demo.IdentityHeaders) || !strings.Contains(headers, "主管") {
		t.Errorf("first among the headers are %q, want %q with their text:\n%s", names, demo.IdentityHeaders, headers)
	}
	others, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector("#others").textContent`))
	if err != nil || !strings.Contains(others, "User-Agent") {
		t.Fatalf("the other headers are %q, %v", others, err)
	}
	if headers += others; strings.Contains(strings.ToLower(headers), "dinggate=") ||
		strings.Contains(headers, "Cookie") {
		t.Errorf("the application got our cookie:\n%s", headers)
	}
	// Sign out with the form of the page; the next page requires a sign-in again.
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#sign-out")), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/"), withDingTalk,
		chromedp.WaitVisible(chromedp.CSS("#person-zhangsan"))); err != nil {
		t.Fatalf("after signing out, / does not lead to DingTalk: %v", err)
	}
}

// TestBrowserRefusals checks that a refused person sees the reason in their language and
// has no session.
func TestBrowserRefusals(t *testing.T) {
	base := startDemo(t)
	for _, c := range []struct{ language, person, path, want string }{
		{"zh-CN", "sunqi", "/", "成员"},
		{"en-US", "sunqi", "/", "member"},
		{"zh-CN", "zhouba", "/", "外部"},
		{"en-US", "zhouba", "/", "external"},
		{"zh-CN", "wujiu", "/", "激活"},
		{"zh-CN", "zhengshi", "/", "停用"},
		{"zh-CN", "zhaoliu", "/admin/", "权限"},
		{"zh-CN", "deny", "/", "取消"},
	} {
		t.Run(c.language+" "+c.person, func(t *testing.T) {
			ctx := browser(t, c.language)
			button := "#person-" + c.person
			if c.person == "deny" {
				button = "#deny"
			}
			if err := chromedp.Do(ctx, chromedp.Navigate(base+c.path), withDingTalk,
				chromedp.Click(chromedp.CSS(button)), chromedp.WaitVisible(chromedp.CSS("#heading"))); err != nil {
				t.Fatal(err)
			}
			// The page before has a heading too, and is replaced while it is read.
			servertest.Eventually(t, fmt.Sprintf("%s at %s reads %q", c.person, c.path, c.want), func() bool {
				body, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
				return err == nil && strings.Contains(body, c.want)
			})
			if username, err := chromedp.Run(ctx,
				chromedp.Evaluate[bool](`!!document.querySelector("#username")`)); err != nil || username {
				t.Errorf("%s sees the application: %v", c.person, err)
			}
		})
	}
}
