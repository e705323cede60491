package browser

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// client is one kind of DingTalk client: its User-Agent, and a substitute for the bridge
// that DingTalk's script calls. In the bridges, ANSWER(ok, fail) stands for the client's
// response. old clients have the older call only.
type client struct {
	name, agent, bridge string
	old                 bool
}

var dingtalkClients = []client{
	{
		"iOS", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
			"Mobile/15E148 AliApp(DingTalk/7.8.1) com.laiwang.DingTalk/46766536 Channel/201200 language/zh-Hans-CN",
		`window.WebViewJavascriptBridge={init(){},registerHandler(){},callHandler(name,params,` +
			`cb){note(name);ANSWER(c=>cb({errorCode:"0",result:{code:c}}),()=>cb({errorCode:"3",` +
			`errorMessage:"no"}),name)}}`, false,
	},
	{
		"iOS 6.5", "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like " +
			"Gecko) Mobile/15E148 AliApp(DingTalk/6.5.10) com.laiwang.DingTalk/1",
		`window.WebViewJavascriptBridge={init(){},registerHandler(){},callHandler(name,params,` +
			`cb){note(name);ANSWER(c=>cb({errorCode:"0",result:{code:c}}),()=>cb({errorCode:"3",` +
			`errorMessage:"no"}),name)}}`, true,
	},
	{
		"Android", "Mozilla/5.0 (Linux; U; Android 14; zh-CN; PHONE) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Version/4.0 Chrome/120.0 Mobile Safari/537.36 AliApp(DingTalk/7.6.0) com.alibaba.android.rimet/15213560",
		`window.nuva={isReady:true,require(){return (ok,fail,service,method,` +
			`params)=>{note(method);ANSWER(c=>ok({code:c}),()=>fail({errorCode:3,errorMessage:"no"}),method)}}}`, false,
	},
	{
		"Harmony", "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0 " +
			"Safari/537.36 ArkWeb/4.1 Mobile AliApp(DingTalk/7.6.3)",
		`window.DingTalkJSBridge={init(){},call(name,params,cb){note(name);ANSWER(c=>cb({success:true,` +
			`body:{code:c}}),()=>cb({success:false,errorCode:"3",errorMessage:"no"}),name)}}`, false,
	},
	{
		"Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Chrome/103.0 Safari/537.36 dingtalk-win/1.0.0 nw(0.14.7) DingTalk(7.8.10-Release.250724002) " +
			"Mojo/1.0.0 Native AppType(release)", desktopBridge, false,
	},
	{
		"Mac", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) " +
			"Chrome/103.0 Safari/537.36 DingTalk(7.8.10-macOS-1) nw Channel/201200", desktopBridge, false,
	},
}

const desktopBridge = `window.dingtalk={platform:{invokeAPI(){}}};window.dd_bridge_config='{"containerId":"c1","hostOrigin":"https://x.dingtalk.com"}';
window.postMessage=(m)=>{if(!m||m.type!=="request")return;note(m.methodName);
const reply=(success,body)=>setTimeout(()=>window.dispatchEvent(new MessageEvent("message",{
origin:"https://x.dingtalk.com",data:{type:"response",msgId:m.msgId,success,body}})),0);
ANSWER(c=>reply(true,{code:c}),()=>reply(false,{errorCode:"3",errorMessage:"no"}),m.methodName)}`

// inClient opens Chromium as that client; answer is a script with ok, fail and the call's
// name.
func inClient(t *testing.T, c client, answer string, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	ctx := browser(t, "zh-CN", more...)
	source := `const note=name=>{sessionStorage.calls=(sessionStorage.calls||"")+name.split(".").pop()+" "};`
	if answer != "" {
		source += strings.Replace(c.bridge, "ANSWER", "((ok,fail,name)=>{"+answer+"})", 1)
	}
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target,
			emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
				UserAgent:      c.agent,
				AcceptLanguage: "zh-CN",
			}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{Source: source})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// clientCalls returns the calls that the page has made to the client, in order.
func clientCalls(t *testing.T, ctx context.Context) string {
	t.Helper()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(sessionStorage.calls||"").trim()`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBrowserSilent: in each client a deep link ends on the application, signed in,
// without a click. The page uses the call that names the app if the client has it and it
// works, otherwise the older one.
func TestBrowserSilent(t *testing.T) {
	const newer, older = "requestAuthCodeV2", "requestAuthCode"
	for _, c := range dingtalkClients {
		if c.old {
			t.Run(c.name, func(t *testing.T) { silentDeepLink(t, c, `ok(%q)`, older) })
			continue
		}
		t.Run(c.name, func(t *testing.T) { silentDeepLink(t, c, `ok(%q)`, newer) })
		t.Run(c.name+", the newer call fails", func(t *testing.T) {
			silentDeepLink(t, c, `name.endsWith("V2")?fail():ok(%q)`, newer+" "+older)
		})
	}
}

func silentDeepLink(t *testing.T, c client, answer, calls string) {
	t.Parallel()
	h := servertest.New(t, func(c *config.Config) { c.Upstream, c.Routes = c.Routes[0].Upstream, nil })
	ctx := inClient(t, c, fmt.Sprintf(answer, h.Platform.SilentCode("zhangsan")))
	const deep = "/reports/%E9%94%80%E5%94%AE?q=1&next=%2Fa#row-7"
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+deep), untilMark(),
		until(`location.href.endsWith("#row-7")`)); err != nil {
		t.Fatal(err)
	}
	if at, err := chromedp.Run(ctx,
		chromedp.Evaluate[string](`location.pathname+location.search+location.hash`)); err != nil || at != deep {
		t.Errorf("the browser is at %q, %v, want %q", at, err, deep)
	}
	if user := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); user != "zhangsan" {
		t.Errorf("the application got the user %q, want zhangsan", user)
	}
	if got := clientCalls(t, ctx); got != calls {
		t.Errorf("the page called the client with %q, want %q", got, calls)
	}
	if n := h.Platform.Calls("/topapi/v2/user/getuserinfo"); n != 1 {
		t.Errorf("DingTalk received %d calls, want one", n)
	}
}

// untilMark waits for the application's own page.
func untilMark() chromedp.Action[chromedp.Void] {
	return until(`document.body && document.body.textContent.includes("UPSTREAM-MARK")`)
}

// until polls an expression in the page until it holds, also across navigations.
func until(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for {
			done, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`!!(`+expression+`)`))
			if err == nil && done {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s: %w (last: %v)", expression, ctx.Err(), err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

// TestBrowserSilentFailures checks that after every failure of the client the person is on
// a page with an alternative, without a session and without a redirect loop.
func TestBrowserSilentFailures(t *testing.T) {
	const newer, both = "requestAuthCodeV2", "requestAuthCodeV2 requestAuthCode"
	for _, c := range []struct {
		name, answer string // of the client; "": no bridge
		code         string // %q of it is in answer
		change       func(h *servertest.Env)
		want         string // on the page: the problem, the cause, the remedy
		button       string
		client       string // calls to it
		calls        int    // of getuserinfo
	}{
		{"no bridge", "", "", nil, "没能自动登录|没有及时回应|点一下按钮", "用钉钉登录", "", 0},
		{"a bridge that is silent", ";", "", nil, "没能自动登录|没有及时回应", "用钉钉登录", newer, 0},
		{"a bridge that is late", `setTimeout(()=>ok(%q),6500)`, "zhangsan", nil, "没能自动登录|没有及时回应", "用钉钉登录", newer, 0},
		{"a bridge that refuses", `fail()`, "", nil, "没能自动登录|没有同意", "用钉钉登录", both, 0},
		{"a code of a person outside the organisation", `ok(%q)`, "zhouba", nil, "外部联系人不能登录|只对本企业成员开放|换个账号", "换个账号", newer, 1},
		{"a code of another organisation", `ok("code-of-another-organisation")`, "", nil, "登录没有完成|凭证已经过期|重新登录一次",
			"用钉钉登录", newer, 1},
		{"DingTalk is down", `ok(%q)`, "zhangsan", func(h *servertest.Env) {
			h.Platform.Fault(simulator.Fault{On: "/topapi/v2/user/getuserinfo", Do: simulator.Status(503)})
		}, "暂时连不上钉钉|没有及时回应|过一会儿再试", "再试一次", newer, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := servertest.New(t, nil)
			if c.change != nil {
				c.change(h)
			}
			answer := c.answer
			if c.code != "" {
				answer = fmt.Sprintf(c.answer, h.Platform.SilentCode(c.code))
			}
			ctx := inClient(t, dingtalkClients[0], answer)
			if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/deep"), untilFailed()); err != nil {
				t.Fatal(err)
			}
			text := onPage(t, ctx, "#failed")
			for _, want := range strings.Split(c.want, "|") {
				if !strings.Contains(text, want) {
					t.Errorf("the page reads %q, want %q in it", text, want)
				}
			}
			if got := onPage(t, ctx, "#aloud"); got != c.button {
				t.Errorf("the button reads %q, want %q", got, c.button)
			}
			if got := clientCalls(t, ctx); got != c.client {
				t.Errorf("the page called the client with %q, want %q", got, c.client)
			}
			if shown, err := chromedp.Run(ctx,
				chromedp.Evaluate[bool](
					`document.getElementById("progress").hidden && document.activeElement.id==="failed"`,
				)); err != nil || !shown {
				t.Errorf("the progress is gone and the message has the focus: %v %v", shown, err)
			}
			// a temporary failure may be retried
			if n := h.Platform.Calls("/topapi/v2/user/getuserinfo"); n > c.calls*3 || n < c.calls {
				t.Errorf("DingTalk received %d calls, want %d", n, c.calls)
			}
			if h.Upstream.Count() > 0 {
				t.Error("the application was reached")
			}
			if c.button == "再试一次" { // DingTalk is available again: one automatic retry
				h.Platform.ClearFaults()
				if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](`sessionStorage.calls="";undefined`),
					chromedp.Click(chromedp.CSS("#aloud")), untilMark()); err != nil {
					t.Fatalf("the button does not try again: %v", err)
				}
				return
			}
			// The alternative is the ordinary sign-in, not this page again.
			if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#aloud")),
				until(`document.querySelector("#person-zhangsan")`)); err != nil {
				t.Fatalf("the button leads to no sign-in: %v", err)
			}
		})
	}
}

// A session that is not stored (cookies blocked) must not cause a loop of the silent page.
func TestBrowserSilentLoop(t *testing.T) {
	h := servertest.New(t, nil)
	ctx := inClient(t, dingtalkClients[0], fmt.Sprintf(`ok(%q)`, h.Platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/a"), untilMark()); err != nil {
		t.Fatal(err)
	}
	if err := h.Gateway.Sessions.RevokeAll(t.Context(), "test"); err != nil { // as if the browser had not stored the cookie
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/b"), untilFailed()); err != nil {
		t.Fatal(err)
	}
	if text := onPage(t, ctx, "#failed"); !strings.Contains(text, "一直在重复登录") ||
		!strings.Contains(text, "Cookie 被拦截") || !strings.Contains(text, "检查设备的时间") {
		t.Errorf("the page reads %q, want why it goes round", text)
	}
}
