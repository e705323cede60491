package main

import (
	"bufio"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// startDemo runs the demo in this process and gives its address.
func startDemo(t *testing.T) string { return start(t, runDemo) }

func start(t *testing.T, run func(context.Context, string, io.Writer) error) string {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0", w); w.Close() }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if at := regexp.MustCompile(`http://[0-9.:]+`).FindString(lines.Text()); at != "" {
			go io.Copy(io.Discard, r)
			return at
		}
	}
	t.Fatalf("the demo printed no address: %v", <-done)
	return ""
}

// browser starts Chromium; its first step must carry no deadline. Each call is
// a person with an empty cookie jar.
func browser(t *testing.T, language string, more ...chromedp.ExecAllocatorOption) context.Context {
	return browserFor(t, 60*time.Second, language, more...)
}

func browserFor(t *testing.T, patience time.Duration, language string, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(realtool.Path(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language))
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

// prefers makes the browser ask for a light or a dark page.
func prefers(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
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

// TestBrowserSignsIn is the whole product as a person meets it.
func TestBrowserSignsIn(t *testing.T) {
	ctx := browser(t, "zh-CN")
	base := startDemo(t)
	const deep = "/reports/%E9%94%80%E5%94%AE?q=1&next=%2Fa%3Fb&x=%E5%BC%A0"
	if err := chromedp.Do(ctx, chromedp.Navigate(base+deep), chromedp.Click(chromedp.CSS("#person-zhangsan")), chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]string{"#username": "zhangsan", "#email": "zhangsan@yunfan.example", "#name": "张三", "#target": deep} {
		if got := onPage(t, ctx, selector); got != want {
			t.Errorf("the application shows %s = %q, want %q", selector, got, want)
		}
	}
	if headers := onPage(t, ctx, "#headers"); strings.Contains(strings.ToLower(headers), "dinggate=") || strings.Contains(headers, "Cookie") {
		t.Errorf("the application got our cookie:\n%s", headers)
	}
	// Sign out by the page, as its form posts it, and be asked again.
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#sign-out")), chromedp.Click(chromedp.CSS("form button")), chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/"), chromedp.WaitVisible(chromedp.CSS("#person-zhangsan"))); err != nil {
		t.Fatalf("after signing out, / does not lead to DingTalk: %v", err)
	}
}

// TestBrowserRefusals: whoever may not enter reads why, in their language, and
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
			if err := chromedp.Do(ctx, chromedp.Navigate(base+c.path), chromedp.Click(chromedp.CSS(button)), chromedp.WaitVisible(chromedp.CSS("#heading"))); err != nil {
				t.Fatal(err)
			}
			if body := onPage(t, ctx, "body"); !strings.Contains(body, c.want) {
				t.Errorf("%s at %s reads %q, want something with %q", c.person, c.path, body, c.want)
			}
			if username, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`!!document.querySelector("#username")`)); err != nil || username {
				t.Errorf("%s sees the application: %v", c.person, err)
			}
		})
	}
}
