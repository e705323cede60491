package browser

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// promptByButton makes a tab request a new sign-in as an application does: a person clicks a
// button, and the click calls signIn.
const promptByButton = `document.body.innerHTML="<button id=again>sign in again</button>";window.seen=[];
new BroadcastChannel("seen").onmessage=e=>seen.push(e.data);
dinggate.onExpired=url=>new Promise((ok,no)=>{document.getElementById("again").onclick=()=>dinggate.signIn(url).then(p=>{window.person=p.username;ok()},no)});`

// popup clicks the button of tab and returns the window that opens. Every page of dinggate in
// that window records its content in the tab's `seen`.
func popup(t *testing.T, tab context.Context) (context.Context, target.ID) {
	t.Helper()
	opened := chromedp.WaitNewTarget(tab, func(*target.Info) bool { return true })
	if err := chromedp.Do(tab, chromedp.Click(chromedp.CSS("#again"))); err != nil {
		t.Fatal(err)
	}
	var id target.ID
	select {
	case id = <-opened:
	case <-tab.Done():
		t.Fatal("no window opened")
	}
	ctx, cancel := chromedp.NewContext(tab, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{
				Source: `addEventListener("DOMContentLoaded",()=>new ` +
					`BroadcastChannel("seen").postMessage(location.pathname+" "+document.body.innerText))`})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	return ctx, id
}

// untilGone waits until a window is closed.
func untilGone(t *testing.T, tab context.Context, id target.ID) {
	t.Helper()
	for {
		all, err := chromedp.Targets(tab)
		if err != nil {
			t.Fatalf("the window stays open: %v", err)
		}
		if !slices.ContainsFunc(all, func(i *target.Info) bool { return i.TargetID == id }) {
			return
		}
		select {
		case <-tab.Done():
			t.Fatal("the window stays open")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestBrowserPopup: a person clicks and signs in in the window that opens. The window
// shows the success and closes, and the page's calls continue, here and in another tab.
// This also works if DingTalk's page severs the link to its opener.
func TestBrowserPopup(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"tied": nil,
		"cut": func(c *config.Config) {
			login, err := url.Parse(c.DingTalk.LoginURL)
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(login)
			proxy.ModifyResponse = func(resp *http.Response) error {
				resp.Header.Set("Cross-Origin-Opener-Policy", "same-origin")
				return nil
			}
			server := httptest.NewServer(proxy)
			t.Cleanup(server.Close)
			c.DingTalk.LoginURL = server.URL
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, tabs, _ := helperTabs(t, 2, change)
			if err := chromedp.Do(tabs[1],
				runs(`dinggate.onExpired=()=>{window.prompts=true;return new Promise(()=>{})};`+threeCalls),
				until(`window.prompts`)); err != nil {
				t.Fatal(err)
			}
			if err := chromedp.Do(tabs[0],
				runs(`window.woken=0;dinggate.onSignIn(()=>woken++);`+promptByButton+threeCalls),
				until(`document.getElementById("again").onclick`)); err != nil {
				t.Fatal(err)
			}
			window, id := popup(t, tabs[0])
			if err := chromedp.Do(window, chromedp.Click(chromedp.CSS("#person-zhangsan"))); err != nil {
				t.Fatal(err)
			}
			gotAll(t, tabs[0])
			gotAll(t, tabs[1])
			untilGone(t, tabs[0], id)
			got, err := chromedp.Run(tabs[0],
				chromedp.Evaluate[string](`JSON.stringify([person,woken,seen.filter(s=>s.startsWith("/oauth2/"))])`))
			if err != nil {
				t.Fatal(err)
			}
			var person string
			var woken int
			var seen []string
			if err := json.Unmarshal([]byte(got), &[]any{&person, &woken, &seen}); err != nil {
				t.Fatal(err)
			}
			if person != "zhangsan" || woken != 1 {
				t.Errorf("the page was notified %d times, of %q, want once of zhangsan", woken, person)
			}
			if len(seen) != 1 || !strings.HasPrefix(seen[0], "/oauth2/signed_in ") ||
				!strings.Contains(seen[0], "你已登录") || !strings.Contains(seen[0], "张三 (zhangsan)") ||
				!strings.Contains(seen[0], "可以关闭这个窗口") {
				t.Errorf("the window showed %q, want where it may be closed", seen)
			}
		})
	}
}

// TestBrowserPopupDocs runs the unchanged example of docs/single-page-apps.
func TestBrowserPopupDocs(t *testing.T) {
	for _, file := range []string{"../../../../docs/single-page-apps.md", "../../../../docs/single-page-apps.zh-CN.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, example, _ := strings.Cut(string(text), "```html\n")
		example, _, found := strings.Cut(example, "```")
		if !found {
			t.Fatalf("%s has no example", file)
		}
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				io.WriteString(w, "<!doctype html><p>UPSTREAM-MARK</p>"+example)
				return
			}
			io.WriteString(w, "orders of "+r.Header.Get("X-Forwarded-User"))
		}))
		t.Cleanup(app.Close)
		h := servertest.New(t, func(c *config.Config) {
			for i := range c.Routes {
				c.Routes[i].Upstream = app.URL
			}
		})
		tab := browser(t, "zh-CN")
		if err := chromedp.Do(tab, chromedp.Navigate(h.URL+"/"), chromedp.Click(chromedp.CSS("#person-zhangsan")),
			untilMark(),
			until(
				`window.dinggate&&document.readyState==="complete"&`+
					`&performance.getEntriesByName(location.origin+"/api/orders").length`,
			)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := h.Gateway.Sessions.RevokeAll(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Do(tab,
			runs(
				`dinggate.fetch("/api/orders").then(async a=>{window.got=await `+
					`a.text()});document.querySelector("#session-over button").id="again"`,
			), until(`!document.getElementById("session-over").hidden`)); err != nil {
			t.Fatalf("%s: the example does not prompt: %v", file, err)
		}
		window, id := popup(t, tab)
		if err := chromedp.Do(window, chromedp.Click(chromedp.CSS("#person-zhangsan"))); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Do(tab,
			until(`window.got==="orders of zhangsan"&&document.getElementById("session-over").hidden`)); err != nil {
			t.Fatalf("%s: the example does not go on: %v", file, err)
		}
		untilGone(t, tab, id)
	}
}

// TestBrowserPopupAlone checks that the window closes itself even if its opener is gone. A
// window that was opened otherwise stays open and shows the success, and an anonymous
// person is sent to the sign-in.
func TestBrowserPopupAlone(t *testing.T) {
	h, tabs, _ := helperTabs(t, 1, nil)
	if err := chromedp.Do(tabs[0], runs(promptByButton+threeCalls),
		until(`document.getElementById("again").onclick`)); err != nil {
		t.Fatal(err)
	}
	window, id := popup(t, tabs[0])
	if err := chromedp.Do(tabs[0], chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(window, chromedp.Click(chromedp.CSS("#person-lisi"))); err != nil {
		t.Fatal(err)
	}
	untilGone(t, tabs[0], id)

	if err := chromedp.Do(tabs[0], chromedp.Navigate(h.URL+"/oauth2/signed_in"),
		until(
			`document.body.innerText.includes("李四 (lisi)")&&document.body.innerText.includes("可以关闭这个窗口")`,
		)); err != nil {
		t.Fatal(err)
	}
	if err := h.Gateway.Sessions.RevokeAll(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tabs[0], chromedp.Navigate(h.URL+"/oauth2/signed_in"),
		chromedp.Click(chromedp.CSS("a.button")), chromedp.Click(chromedp.CSS("#person-wangwu")),
		until(`location.pathname==="/oauth2/signed_in"&&document.body.innerText.includes("wangwu")`)); err != nil {
		t.Fatal(err)
	}
}
