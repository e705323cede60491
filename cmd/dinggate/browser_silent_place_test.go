package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"

	"github.com/chromedp/chromedp"
)

// untilFailed waits for the silent page's message.
func untilFailed() chromedp.Action[chromedp.Void] {
	return until(`document.getElementById("failed") && !document.getElementById("failed").hidden`)
}

// TestBrowserSilentAttempt: where the attempt's cookie does not come back, or an
// old one does, the page says what to do, and DingTalk is not asked.
func TestBrowserSilentAttempt(t *testing.T) {
	for name, change := range map[string]func(r *http.Request){
		"no cookie":        func(r *http.Request) { r.Header.Del("Cookie") },
		"an older release": func(r *http.Request) { r.Header.Set("Cookie", "dinggate-attempt-0=AAAA") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var front *httptest.Server // what loses the cookie on its way
			h := newTestEnv(t, func(c *config.Config) {
				gate, err := url.Parse(c.PublicURL)
				if err != nil {
					t.Fatal(err)
				}
				proxy := httputil.NewSingleHostReverseProxy(gate)
				front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/oauth2/silent" {
						change(r)
					}
					proxy.ServeHTTP(w, r)
				}))
				t.Cleanup(front.Close)
				c.PublicURL = front.URL
			})
			ctx := inClient(t, dingtalkClients[0], fmt.Sprintf(`ok(%q)`, h.platform.SilentCode("zhangsan")))
			if err := chromedp.Do(ctx, chromedp.Navigate(front.URL+"/deep"), untilFailed()); err != nil {
				t.Fatal(err)
			}
			if got := onPage(t, ctx, "#failed"); !strings.Contains(got, "登录没有完成") || !strings.Contains(got, "请求编号") {
				t.Errorf("the page reads %q, want what to do", got)
			}
			if got := askedAbout(h); len(got) > 0 || h.app.count() > 0 {
				t.Errorf("DingTalk was asked %v, the application %d times, want neither", got, h.app.count())
			}
			if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#aloud")),
				chromedp.Click(chromedp.CSS("#person-zhangsan")), untilMark()); err != nil {
				t.Fatalf("the button is no way out: %v", err)
			}
		})
	}
}

// manyHosts is an environment at http://sso.corp.test whose application is on
// http://app.corp.test, and a DingTalk client that finds both.
func manyHosts(t *testing.T, domain, answer string) (h *testEnv, ctx context.Context, app string) {
	t.Helper()
	h = newTestEnv(t, func(c *config.Config) {
		c.PublicURL = strings.Replace(c.PublicURL, "127.0.0.1", "sso.corp.test", 1)
		c.Cookie.Domain = domain
		for i := range c.Routes {
			c.Routes[i].Host = "app.corp.test"
		}
	})
	ctx = inClient(t, dingtalkClients[0], strings.ReplaceAll(answer, "CODE", h.platform.SilentCode("zhangsan")),
		chromedp.Flag("host-resolver-rules", "MAP *.corp.test 127.0.0.1"))
	return h, ctx, strings.Replace(h.base, "127.0.0.1", "app.corp.test", 1)
}

// TestBrowserSilentHosts: on the host of a route the client is asked on
// public_url's, which DingTalk knows, and the way leads back to the page, with
// its fragment; where the session's cookie does not reach that host, a one-time
// ticket takes the session there, and nothing goes round.
func TestBrowserSilentHosts(t *testing.T) {
	t.Run("one cookie", func(t *testing.T) {
		t.Parallel()
		h, ctx, app := manyHosts(t, "corp.test", `ok("CODE")`)
		if err := chromedp.Do(ctx, chromedp.Navigate(app+"/deep?q=1#row-7"), untilMark()); err != nil {
			t.Fatal(err)
		}
		if at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`)); err != nil ||
			at != app+"/deep?q=1#row-7" {
			t.Errorf("the browser is at %q, %v, want %s/deep?q=1#row-7", at, err, app)
		}
		if n := h.platform.Calls("/topapi/v2/user/getuserinfo"); n != 1 {
			t.Errorf("DingTalk was asked %d times, want once", n)
		}
	})
	t.Run("a cookie of each host", func(t *testing.T) {
		t.Parallel()
		h, ctx, app := manyHosts(t, "", `ok("CODE")`)
		if err := chromedp.Do(ctx, chromedp.Navigate(app+"/deep"), untilMark()); err != nil {
			t.Fatal(err)
		}
		if at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`)); err != nil || at != app+"/deep" {
			t.Errorf("the browser is at %q, %v, want %s/deep", at, err, app)
		}
		if n := h.platform.Calls("/topapi/v2/user/getuserinfo"); n != 1 {
			t.Errorf("DingTalk was asked %d times, want once", n)
		}
	})
}

// TestBrowserSilentSignedOut: anyone who signs out inside the client stays out, on
// every page, until they press a button (threats K17).
func TestBrowserSilentSignedOut(t *testing.T) {
	h := newTestEnv(t, nil)
	ctx := inClient(t, dingtalkClients[0],
		fmt.Sprintf(`ok(sessionStorage.second||%q)`, h.platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/"), untilMark(),
		chromedp.Navigate(h.base+"/oauth2/sign_out"), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	h.platform.ResetCalls()
	forget := runs(fmt.Sprintf(`sessionStorage.clear();sessionStorage.second=%q`, h.platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, forget, chromedp.Navigate(h.base+"/deep"),
		chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	if got := asked(t, ctx); got != "" || len(askedAbout(h)) > 0 {
		t.Errorf("after the sign-out the client was asked by %q, DingTalk %v, want neither", got, askedAbout(h))
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("a.button")), untilMark(),
		until(`location.pathname==="/deep"`)); err != nil {
		t.Fatalf("the button does not sign in: %v", err)
	}
}

// TestBrowserDemoInDingTalk is a newcomer who opens the demo as the DingTalk
// client, which has no bridge there: the page says so, its button leads in, and
// after a sign-out nothing happens by itself.
func TestBrowserDemoInDingTalk(t *testing.T) {
	base := startDemo(t)
	ctx := inClient(t, dingtalkClients[2], "")
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/reports?q=1"), untilFailed(),
		chromedp.Click(chromedp.CSS("#aloud")), chromedp.Click(chromedp.CSS("#person-zhangsan")),
		chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "#target"); got != "/reports?q=1" {
		t.Errorf("the application shows %q, want the page that was asked for", got)
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#sign-out")), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS(".icon.done")),
		chromedp.Navigate(base+"/"), chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatalf("after the sign-out: %v", err)
	}
}
