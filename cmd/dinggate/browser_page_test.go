package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"

	"github.com/chromedp/chromedp"
)

// TestBrowserQR: the sign-in page draws DingTalk's QR code by DingTalk's script,
// within its policy; a scan signs in once although the script calls twice.
func TestBrowserQR(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.SignIn.EmbedQR = true })
	code, err := h.platform.Code(simulator.Browser, simulator.DemoClientID, "zhangsan")
	if err != nil {
		t.Fatal(err)
	}
	cdn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w, `window.DTFrameLogin=(frame,login,ok)=>{const f=document.createElement("iframe");f.src=decodeURIComponent(%q);document.getElementById(frame.id).append(f);
window.login=login;setTimeout(()=>{ok({authCode:%q,state:login.state});ok({authCode:"again",state:login.state})},500)}`, h.platformURL+"/oauth2/challenge.htm", code)
	}))
	t.Cleanup(cdn.Close)
	ctx := browser(t, "zh-CN", chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com:443 "+cdn.Listener.Addr().String()))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/deep?a=1"), until(`window.login && !document.getElementById("qr").hidden`)); err != nil {
		t.Fatal(err)
	}
	if sent, err := chromedp.Run(ctx, chromedp.Evaluate[string](`decodeURIComponent(login.redirect_uri)+" "+login.client_id+" "+login.prompt+" "+login.state.length`)); err != nil || sent != h.base+"/oauth2/callback "+simulator.DemoClientID+" consent 43" {
		t.Errorf("DingTalk's script got %q, %v", sent, err)
	}
	if err := chromedp.Do(ctx, until(`location.pathname==="/deep"`), untilMark()); err != nil {
		t.Fatal(err)
	}
	if n := h.platform.Calls("/v1.0/oauth2/userAccessToken"); n != 1 {
		t.Errorf("DingTalk was asked %d times, want once", n)
	}
	// Where DingTalk's script does not come, the button is there and nothing else is.
	ctx = browser(t, "zh-CN", chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com:443 127.0.0.1:9"))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/"), until(`document.readyState==="complete"`)); err != nil {
		t.Fatal(err)
	}
	if alone, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.getElementById("qr").hidden && !!document.querySelector("a.button")`)); err != nil || !alone {
		t.Errorf("without DingTalk's script the page has its button alone: %v %v", alone, err)
	}
	policy := h.visitor().get(h.base + "/oauth2/sign_in").Header.Get("Content-Security-Policy")
	if !strings.HasSuffix(policy, "; script-src 'self' https://g.alicdn.com/dingding/h5-dingtalk-login/0.21.0/ddlogin.js; frame-src "+h.platformURL) {
		t.Errorf("the policy is %s", policy)
	}
}

// TestBrowserHelper: an application whose session has ended asks for a new
// sign-in by dinggate.js, goes on by itself when it is done, and so do others.
func TestBrowserHelper(t *testing.T) {
	h := newHouse(t, nil)
	ctx := browser(t, "zh-CN")
	signIn := func(ctx context.Context) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.Navigate(h.base+"/"), chromedp.Click(chromedp.CSS("#person-zhangsan")), untilMark()); err != nil {
			t.Fatal(err)
		}
	}
	signIn(ctx)
	other, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	const load = `new Promise((ok,no)=>{const s=document.createElement("script");s.src="/oauth2/assets/dinggate.js";s.onload=()=>ok(true);s.onerror=()=>no("not loaded");document.head.append(s)})`
	if err := chromedp.Do(other, chromedp.Navigate(h.base+"/other"), untilMark()); err != nil {
		t.Fatal(err)
	}
	for _, tab := range []context.Context{ctx, other} {
		if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](load, chromedp.EvalAwaitPromise)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.gate.sessions.RevokeAll(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(other, chromedp.Evaluate[chromedp.Void](`dinggate.onSignIn(()=>{window.woken=true});undefined`)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](`dinggate.onExpired=(url)=>{window.asked=url;return dinggate.signIn(url).then(p=>{window.person=p.username})};
window.open=(url)=>{window.opened=url;return {closed:false,close(){this.closed=true}}};
dinggate.fetch("/api/data",{headers:{Accept:"application/json"}}).then(async r=>{window.got=r.status+" "+await r.text()},e=>{window.got=String(e)});undefined`), until(`window.opened`)); err != nil {
		t.Fatal(err)
	}
	third, cancel := chromedp.NewContext(ctx) // stands for the popup
	t.Cleanup(cancel)
	signIn(third)
	if err := chromedp.Do(ctx, until(`window.got`)); err != nil {
		t.Fatal(err)
	}
	if got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`got+" | "+person+" | "+opened`)); err != nil || !strings.HasPrefix(got, "200 UPSTREAM-MARK GET /api/data") || !strings.Contains(got, "| zhangsan |") || !strings.Contains(got, "/oauth2/start?rd=%2Foauth2%2Fuserinfo") {
		t.Errorf("the call came to %q, %v, want the application's answer after a sign-in in a popup", got, err)
	}
	if err := chromedp.Do(other, until(`window.woken`)); err != nil {
		t.Errorf("the other tab was not woken: %v", err)
	}
}

// The scripts are served as such, and nothing else is below assets/.
func TestAssets(t *testing.T) {
	h := newHouse(t, nil)
	v := h.visitor()
	if a := v.get(h.base + "/oauth2/assets/dinggate.js"); a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.body, "BroadcastChannel") {
		t.Errorf("GET dinggate.js = %d %v", a.StatusCode, a.Header)
	}
	for _, path := range []string{"", "silent.js", "page.js", "../userinfo", "dinggate.js/", "silent/package.json", "%2e%2e/x"} {
		if a := v.get(h.base + "/oauth2/assets/" + path); a.StatusCode != 404 && a.StatusCode != 400 {
			t.Errorf("GET assets/%s = %d, want 404", path, a.StatusCode)
		}
	}
	if a := v.do("POST", h.base+"/oauth2/assets/dinggate.js", "x"); a.StatusCode != 405 {
		t.Errorf("POST dinggate.js = %d, want 405", a.StatusCode)
	}
}
