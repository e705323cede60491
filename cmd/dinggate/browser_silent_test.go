package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// client is one kind of DingTalk client: how it calls itself, and a stand-in for
// the bridge that DingTalk's script talks to. In the bridges, ANSWER(ok, fail)
// stands for what the client says.
type client struct{ name, agent, bridge string }

var dingtalkClients = []client{
	{"iOS", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 AliApp(DingTalk/7.8.1) com.laiwang.DingTalk/46766536 Channel/201200 language/zh-Hans-CN",
		`window.WebViewJavascriptBridge={init(){},registerHandler(){},callHandler(name,params,cb){window.asked=(window.asked||[]).concat(name);ANSWER(c=>cb({errorCode:"0",result:{code:c}}),()=>cb({errorCode:"3",errorMessage:"no"}),name)}}`},
	{"iOS 6.5", "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 AliApp(DingTalk/6.5.10) com.laiwang.DingTalk/1",
		`window.WebViewJavascriptBridge={init(){},registerHandler(){},callHandler(name,params,cb){window.asked=(window.asked||[]).concat(name);ANSWER(c=>cb({errorCode:"0",result:{code:c}}),()=>cb({errorCode:"3",errorMessage:"no"}),name)}}`},
	{"Android", "Mozilla/5.0 (Linux; U; Android 14; zh-CN; PHONE) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0 Mobile Safari/537.36 AliApp(DingTalk/7.6.0) com.alibaba.android.rimet/15213560",
		`window.nuva={isReady:true,require(){return (ok,fail,service,method,params)=>{window.asked=(window.asked||[]).concat(method);ANSWER(c=>ok({code:c}),()=>fail({errorCode:3,errorMessage:"no"}),method)}}}`},
	{"Harmony", "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0 Safari/537.36 ArkWeb/4.1 Mobile AliApp(DingTalk/7.6.3)",
		`window.DingTalkJSBridge={init(){},call(name,params,cb){window.asked=(window.asked||[]).concat(name);ANSWER(c=>cb({success:true,body:{code:c}}),()=>cb({success:false,errorCode:"3",errorMessage:"no"}),name)}}`},
	{"Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/103.0 Safari/537.36 dingtalk-win/1.0.0 nw(0.14.7) DingTalk(7.8.10-Release.250724002) Mojo/1.0.0 Native AppType(release)", desktopBridge},
	{"Mac", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/103.0 Safari/537.36 DingTalk(7.8.10-macOS-1) nw Channel/201200", desktopBridge},
}

const desktopBridge = `window.dingtalk={platform:{invokeAPI(){}}};window.dd_bridge_config='{"containerId":"c1","hostOrigin":"https://x.dingtalk.com"}';
window.postMessage=(m)=>{if(!m||m.type!=="request")return;window.asked=(window.asked||[]).concat(m.methodName);
const tell=(success,body)=>setTimeout(()=>window.dispatchEvent(new MessageEvent("message",{origin:"https://x.dingtalk.com",data:{type:"response",msgId:m.msgId,success,body}})),0);
ANSWER(c=>tell(true,{code:c}),()=>tell(false,{errorCode:"3",errorMessage:"no"}),m.methodName)}`

// inClient opens Chromium as that client; answer is a script over ok, fail and
// the call's name.
func inClient(t *testing.T, c client, answer string) context.Context {
	t.Helper()
	ctx := browser(t, "zh-CN")
	source := "window.opened=(window.opened||0)+1;"
	if answer != "" {
		source += strings.Replace(c.bridge, "ANSWER", "((ok,fail,name)=>{"+answer+"})", 1)
	}
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: c.agent, AcceptLanguage: "zh-CN"}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// TestBrowserSilent: in each client a deep link ends on the application, signed
// in, without a click.
func TestBrowserSilent(t *testing.T) {
	for _, c := range dingtalkClients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(c *Config) { c.Upstream, c.Routes = c.Routes[0].Upstream, nil })
			ctx := inClient(t, c, fmt.Sprintf(`ok(%q)`, h.platform.SilentCode("zhangsan")))
			const deep = "/reports/%E9%94%80%E5%94%AE?q=1&next=%2Fa#row-7"
			if err := chromedp.Do(ctx, chromedp.Navigate(h.base+deep), untilMark(), until(`location.href.endsWith("#row-7")`)); err != nil {
				t.Fatal(err)
			}
			if at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname+location.search+location.hash`)); err != nil || at != deep {
				t.Errorf("the browser is at %q, %v, want %q", at, err, deep)
			}
			if user := h.app.last(t).Header.Get("X-Forwarded-User"); user != "zhangsan" {
				t.Errorf("the application got the user %q, want zhangsan", user)
			}
			if n := h.platform.Calls("/topapi/v2/user/getuserinfo"); n != 1 {
				t.Errorf("DingTalk was asked %d times, want once", n)
			}
		})
	}
}

// untilMark waits for the application's own page.
func untilMark() chromedp.Action[chromedp.Void] {
	return until(`document.body && document.body.textContent.includes("UPSTREAM-MARK")`)
}

// until asks the page until an expression holds, also across navigations.
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

// TestBrowserSilentTrouble: whatever the client does, the person is on a page
// with a way out, without a session, and nothing goes round.
func TestBrowserSilentTrouble(t *testing.T) {
	for _, c := range []struct {
		name, answer string // of the client; "" has no bridge at all
		code         string // %q of it stands in answer
		change       func(h *house)
		want         string // on the page
		calls        int    // of getuserinfo
	}{
		{"no bridge", "", "", nil, "没能自动登录", 0},
		{"a bridge that is silent", ";", "", nil, "没能自动登录", 0},
		{"a bridge that is late", `setTimeout(()=>ok(%q),6500)`, "zhangsan", nil, "没能自动登录", 0},
		{"a bridge that refuses", `fail()`, "", nil, "没能自动登录", 0},
		{"a code of nobody here", `ok(%q)`, "zhouba", nil, "外部联系人", 1},
		{"a code of another organisation", `ok("code-of-another-organisation")`, "", nil, "凭证已经过期", 1},
		{"DingTalk is down", `ok(%q)`, "zhangsan", func(h *house) {
			h.platform.Fault(simulator.Fault{On: "/topapi/v2/user/getuserinfo", Do: simulator.Status(503)})
		}, "钉钉没有及时回应", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			if c.change != nil {
				c.change(h)
			}
			answer := c.answer
			if c.code != "" {
				answer = fmt.Sprintf(c.answer, h.platform.SilentCode(c.code))
			}
			ctx := inClient(t, dingtalkClients[0], answer)
			if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/deep"), until(`document.getElementById("failed") && !document.getElementById("failed").hidden`)); err != nil {
				t.Fatal(err)
			}
			if text := onPage(t, ctx, "#failed"); !strings.Contains(text, c.want) || !strings.Contains(text, "用钉钉登录") {
				t.Errorf("the page reads %q, want %q in it and a button", text, c.want)
			}
			if shown, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.getElementById("progress").hidden && document.activeElement.id==="failed"`)); err != nil || !shown {
				t.Errorf("the progress is gone and the message has the focus: %v %v", shown, err)
			}
			if n := h.platform.Calls("/topapi/v2/user/getuserinfo"); n > c.calls*3 || n < c.calls { // a passing trouble may be asked about again
				t.Errorf("DingTalk was asked %d times, want %d", n, c.calls)
			}
			if h.app.count() > 0 {
				t.Error("the application was reached")
			}
			// The way out is the ordinary sign-in, not this page again.
			if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#aloud")), until(`document.querySelector("#person-zhangsan")`)); err != nil {
				t.Fatalf("the button leads to no sign-in: %v", err)
			}
		})
	}
}

// A session that does not stay (cookies blocked) must not make the silent page
// come again and again.
func TestBrowserSilentLoop(t *testing.T) {
	h := newHouse(t, nil)
	ctx := inClient(t, dingtalkClients[0], fmt.Sprintf(`ok(%q)`, h.platform.SilentCode("zhangsan")))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/a"), untilMark()); err != nil {
		t.Fatal(err)
	}
	if err := h.gate.sessions.RevokeAll(t.Context(), "test"); err != nil { // as if the cookie had not been kept
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/b"), until(`document.getElementById("failed") && !document.getElementById("failed").hidden`)); err != nil {
		t.Fatal(err)
	}
	if text := onPage(t, ctx, "#why"); !strings.Contains(text, "Cookie") {
		t.Errorf("the page reads %q, want why it goes round", text)
	}
}
