package browser

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
	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/chromedp"
)

// untilFailed waits for the silent page's message.
func untilFailed() chromedp.Action[chromedp.Void] {
	return until(`document.getElementById("failed") && !document.getElementById("failed").hidden`)
}

// TestBrowserSilentAttempt: if the attempt's cookie is not returned, or an old one is, the
// page shows a remedy, and DingTalk is not called.
func TestBrowserSilentAttempt(t *testing.T) {
	for name, change := range map[string]func(r *http.Request){
		"no cookie":        func(r *http.Request) { r.Header.Del("Cookie") },
		"an older release": func(r *http.Request) { r.Header.Set("Cookie", "dinggate-attempt-0=AAAA") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var front *httptest.Server // a proxy that removes the cookie
			h := servertest.New(t, func(c *config.Config) {
				public, err := url.Parse(c.PublicURL)
				if err != nil {
					t.Fatal(err)
				}
				proxy := httputil.NewSingleHostReverseProxy(public)
				front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/oauth2/silent" {
						change(r)
					}
					proxy.ServeHTTP(w, r)
				}))
				t.Cleanup(front.Close)
				c.PublicURL = front.URL
			})
			ctx := inClient(t, dingtalkClients[0], fmt.Sprintf(`ok(%q)`, h.Platform.SilentCode("zhangsan")))
			if err := chromedp.Do(ctx, chromedp.Navigate(front.URL+"/deep"), untilFailed()); err != nil {
				t.Fatal(err)
			}
			if got := onPage(t, ctx, "#failed"); !strings.Contains(got, "登录没有完成") || !strings.Contains(got, "请求编号") {
				t.Errorf("the page reads %q, want what to do", got)
			}
			if got := servertest.SignInCalls(h); len(got) > 0 || h.Upstream.Count() > 0 {
				t.Errorf("DingTalk received %v, the application %d requests, want neither", got, h.Upstream.Count())
			}
			if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#aloud")),
				chromedp.Click(chromedp.CSS("#person-zhangsan")), untilMark()); err != nil {
				t.Fatalf("the button is no way out: %v", err)
			}
		})
	}
}

// manyHosts is an environment at http://sso.corp.test with an application on
// http://app.corp.test, and a DingTalk client that reaches both.
func manyHosts(t *testing.T, domain, answer string) (h *servertest.Env, ctx context.Context, app string) {
	t.Helper()
	h = servertest.New(t, func(c *config.Config) {
		c.PublicURL = strings.Replace(c.PublicURL, "127.0.0.1", "sso.corp.test", 1)
		c.Cookie.Domain = domain
		for i := range c.Routes {
			c.Routes[i].Host = "app.corp.test"
		}
	})
	ctx = inClient(t, dingtalkClients[0], strings.ReplaceAll(answer, "CODE", h.Platform.SilentCode("zhangsan")),
		chromedp.Flag("host-resolver-rules", "MAP *.corp.test 127.0.0.1"))
	return h, ctx, strings.Replace(h.URL, "127.0.0.1", "app.corp.test", 1)
}

// TestBrowserSilentHosts: for the host of a route, the code is requested on public_url's
// host, which DingTalk knows. The browser then returns to the page with its fragment. If
// the session's cookie does not apply to that host, a one-time ticket transfers the
// session, without a redirect loop.
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
		if n := h.Platform.Calls("/topapi/v2/user/getuserinfo"); n != 1 {
			t.Errorf("DingTalk received %d calls, want one", n)
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
		if n := h.Platform.Calls("/topapi/v2/user/getuserinfo"); n != 1 {
			t.Errorf("DingTalk received %d calls, want one", n)
		}
	})
}

// TestBrowserSilentSignedOut checks that a person who signs out inside the client stays
// signed out on every page until they click a button (threats K17).
func TestBrowserSilentSignedOut(t *testing.T) {
	h := servertest.New(t, nil)
	ctx := inClient(t, dingtalkClients[0],
		fmt.Sprintf(`ok(sessionStorage.second||%q)`, h.Platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/"), untilMark(),
		chromedp.Navigate(h.URL+"/oauth2/sign_out"), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	h.Platform.ResetCalls()
	clearStorage := runs(fmt.Sprintf(`sessionStorage.clear();sessionStorage.second=%q`, h.Platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, clearStorage, chromedp.Navigate(h.URL+"/deep"),
		chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatal(err)
	}
	if got := clientCalls(t, ctx); got != "" || len(servertest.SignInCalls(h)) > 0 {
		t.Errorf("after the sign-out the page called the client with %q, DingTalk %v, want neither", got, servertest.SignInCalls(h))
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("a.button")), untilMark(),
		until(`location.pathname==="/deep"`)); err != nil {
		t.Fatalf("the button does not sign in: %v", err)
	}
}

// TestBrowserDemoInDingTalk opens the demo as the DingTalk client without its bridge: the
// page reports this, its button starts a sign-in, and after a sign-out no sign-in starts
// automatically.
func TestBrowserDemoInDingTalk(t *testing.T) {
	base := startDemo(t)
	ctx := inClient(t, dingtalkClients[2], "")
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/reports?q=1"), untilFailed(),
		chromedp.Click(chromedp.CSS("#aloud")), chromedp.Click(chromedp.CSS("#person-zhangsan")),
		chromedp.WaitVisible(chromedp.CSS("#username"))); err != nil {
		t.Fatal(err)
	}
	if got := onPage(t, ctx, "#target"); got != "/reports?q=1" {
		t.Errorf("the application shows %q, want the page that was requested", got)
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#sign-out")), chromedp.Click(chromedp.CSS("form button")),
		chromedp.WaitVisible(chromedp.CSS(".icon.done")),
		chromedp.Navigate(base+"/"), chromedp.WaitVisible(chromedp.CSS(".icon.done"))); err != nil {
		t.Fatalf("after the sign-out: %v", err)
	}
}
