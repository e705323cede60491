package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"

	"github.com/chromedp/chromedp"
)

// TestBrowserQR checks that the sign-in page draws DingTalk's QR code with DingTalk's
// script, within its policy. A scan signs in once although the script calls twice.
func TestBrowserQR(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.SignIn.EmbedQR = true })
	code, err := h.Platform.Code(simulator.Browser, simulator.DemoClientID, "zhangsan")
	if err != nil {
		t.Fatal(err)
	}
	cdn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w,
			`window.DTFrameLogin=(frame,login,ok)=>{const f=document.createElement("iframe");f.src=decodeURIComponent(%q);document.getElementById(frame.id).append(f);
window.login=login;setTimeout(()=>{ok({authCode:%q,state:login.state});ok({authCode:"again",state:login.state})},500)}`,
			h.PlatformURL+"/oauth2/challenge.htm", code)
	}))
	t.Cleanup(cdn.Close)
	ctx := browser(t, "zh-CN", chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com:443 "+cdn.Listener.Addr().String()))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/deep?a=1"),
		until(`window.login && !document.getElementById("qr").hidden`)); err != nil {
		t.Fatal(err)
	}
	if sent, err := chromedp.Run(ctx,
		chromedp.Evaluate[string](
			`decodeURIComponent(login.redirect_uri)+" "+login.client_id+" "+login.prompt+" "+login.state.length`,
		)); err != nil || sent != h.URL+"/oauth2/callback "+simulator.DemoClientID+" consent 43" {
		t.Errorf("DingTalk's script got %q, %v", sent, err)
	}
	if err := chromedp.Do(ctx, until(`location.pathname==="/deep"`), untilMark()); err != nil {
		t.Fatal(err)
	}
	if n := h.Platform.Calls("/v1.0/oauth2/userAccessToken"); n != 1 {
		t.Errorf("DingTalk received %d calls, want one", n)
	}
	// If DingTalk's script cannot be loaded, the page shows the button only.
	ctx = browser(t, "zh-CN", chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com:443 127.0.0.1:9"))
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/"), until(`document.readyState==="complete"`)); err != nil {
		t.Fatal(err)
	}
	if alone, err := chromedp.Run(ctx,
		chromedp.Evaluate[bool](
			`document.getElementById("qr").hidden && !!document.querySelector("a.button")`,
		)); err != nil || !alone {
		t.Errorf("without DingTalk's script the page has its button alone: %v %v", alone, err)
	}
	policy := h.NewClient().Get(h.URL + "/oauth2/sign_in").Header.Get("Content-Security-Policy")
	if !strings.HasSuffix(policy,
		"; script-src 'self' https://g.alicdn.com/dingding/h5-dingtalk-login/0.21.0/ddlogin.js; frame-src "+
			h.PlatformURL) {
		t.Errorf("the policy is %s", policy)
	}
}

// helperTabs returns n tabs of one person on the application, with dinggate.js and an
// ended session; signIn opens another tab and signs in again.
func helperTabs(t *testing.T, n int,
	change func(*config.Config)) (h *servertest.Env, tabs []context.Context, signIn func() context.Context) {
	t.Helper()
	h = servertest.New(t, change)
	first := browser(t, "zh-CN")
	signIn = func() context.Context {
		t.Helper()
		ctx, cancel := chromedp.NewContext(first)
		t.Cleanup(cancel)
		if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/"), chromedp.Click(chromedp.CSS("#person-zhangsan")),
			untilMark()); err != nil {
			t.Fatal(err)
		}
		return ctx
	}
	tabs = append(tabs, signIn())
	for len(tabs) < n {
		ctx, cancel := chromedp.NewContext(first)
		t.Cleanup(cancel)
		if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/other"), untilMark()); err != nil {
			t.Fatal(err)
		}
		tabs = append(tabs, ctx)
	}
	for _, tab := range tabs {
		loadHelper(t, tab)
	}
	if err := h.Gateway.Sessions.RevokeAll(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	return h, tabs, signIn
}

func loadHelper(t *testing.T, tab context.Context) {
	t.Helper()
	const load = `new Promise((ok,no)=>{const ` +
		`s=document.createElement("script");s.src="/oauth2/assets/dinggate.js";s.onload=()=>ok(true);s.onerror=()=>no("not loaded");document.head.append(s)})`
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](load, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
}

// runs executes a script whose value is not used.
func runs(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](script + ";undefined")
}

// threeCalls are concurrent calls of an application; their results are in window.got.
const threeCalls = `window.got=[];for(const path of ` +
	`["/api/1","/api/2","/api/3"])dinggate.fetch(path,{headers:{Accept:"application/json"}}).then(async ` +
	`r=>{got.push(r.status+" "+await r.text())},e=>{got.push(String(e))})`

func gotAll(t *testing.T, tab context.Context) {
	t.Helper()
	if err := chromedp.Do(tab, until(`window.got.length===3`)); err != nil {
		t.Fatal(err)
	}
	if got, err := chromedp.Run(tab, chromedp.Evaluate[string](`got.sort().join("|")`)); err != nil ||
		strings.Count(got, "200 UPSTREAM-MARK GET /api/") != 3 {
		t.Errorf("the calls came to %q, %v, want the application's answers", got, err)
	}
}

// TestBrowserHelper: an application whose session has ended requests one new sign-in with
// dinggate.js, however many of its calls were refused. After the sign-in the calls are
// retried, and so are those of another tab that waited.
func TestBrowserHelper(t *testing.T) {
	_, tabs, signIn := helperTabs(t, 2, nil)
	const popup = `window.open=(url)=>{window.opened=(window.opened||[]).concat(url);return {closed:false,` +
		`focus(){},close(){window.shut=true}}}`
	if err := chromedp.Do(tabs[1],
		runs(
			`dinggate.onExpired=()=>{window.prompts=(window.prompts||0)+1;return new `+
				`Promise(()=>{})};dinggate.onSignIn(p=>{window.woken=p.username});`+threeCalls,
		), until(`window.prompts`)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tabs[0],
		runs(
			popup+`;dinggate.onExpired=(url)=>{window.prompts=(window.prompts||0)+1;return `+
				`dinggate.signIn(url).then(p=>{window.person=p.username})};`+threeCalls,
		), until(`window.opened`)); err != nil {
		t.Fatal(err)
	}
	signIn() // represents the popup
	gotAll(t, tabs[0])
	gotAll(t, tabs[1])
	if got, err := chromedp.Run(tabs[0],
		chromedp.Evaluate[string](
			`[prompts,opened.length,decodeURIComponent(new URL(opened[0]).search),person,shut].join(" ")`,
		)); err != nil || !strings.HasPrefix(got, "1 1 ?rd=http://127.0.0.1:") ||
		!strings.HasSuffix(got, "/oauth2/signed_in zhangsan true") {
		t.Errorf("the tab with the prompt says %q, %v", got, err)
	}
	if got, err := chromedp.Run(tabs[1], chromedp.Evaluate[string](`[prompts,woken].join(" ")`)); err != nil ||
		got != "1 zhangsan" {
		t.Errorf("the tab that waited says %q, %v", got, err)
	}
}

// TestBrowserHelperElsewhere checks that a waiting tab continues when the person signs in
// by opening the application again. In a browser without BroadcastChannel, storage events
// are used.
func TestBrowserHelperElsewhere(t *testing.T) {
	_, tabs, signIn := helperTabs(t, 1, nil)
	const waits = `dinggate.onExpired=()=>{window.prompts=true;return new Promise(()=>{})};`
	if err := chromedp.Do(tabs[0], runs(waits+threeCalls), until(`window.prompts`)); err != nil {
		t.Fatal(err)
	}
	loadHelper(t, signIn())
	gotAll(t, tabs[0])

	_, tabs, signIn = helperTabs(t, 1, nil)
	if err := chromedp.Do(tabs[0], runs(`delete window.BroadcastChannel`)); err != nil {
		t.Fatal(err)
	}
	loadHelper(t, tabs[0]) // replaces the tab that has a channel
	if err := chromedp.Do(tabs[0], runs(waits+threeCalls), until(`window.prompts`)); err != nil {
		t.Fatal(err)
	}
	again := signIn()
	if err := chromedp.Do(again, runs(`delete window.BroadcastChannel`)); err != nil {
		t.Fatal(err)
	}
	loadHelper(t, again)
	gotAll(t, tabs[0])
}

// TestBrowserHelperOtherHosts checks that a response of another host redirects no browser.
func TestBrowserHelperOtherHosts(t *testing.T) {
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"unauthenticated","login_url":"javascript:window.ran=1"}`)
	}))
	t.Cleanup(evil.Close)
	_, tabs, _ := helperTabs(t, 1, nil)
	if err := chromedp.Do(tabs[0],
		runs(
			fmt.Sprintf(
				`dinggate.fetch(%q).then(r=>{window.got=r.status});dinggate.signIn("javascript:window.ran=1").catch(e=>{window.no=String(e)})`,
				evil.URL,
			),
		), until(`window.got&&window.no`)); err != nil {
		t.Fatal(err)
	}
	if got, err := chromedp.Run(tabs[0],
		chromedp.Evaluate[string](
			`[got,no.includes("no address of a sign-in"),!!window.ran].join(" ")`,
		)); err != nil || got != "401 true false" {
		t.Errorf("another host's 401 came to %q, %v, want it handed on", got, err)
	}
}

// The scripts are served with their type, and nothing else is below assets/.
func TestAssets(t *testing.T) {
	h := servertest.New(t, nil)
	v := h.NewClient()
	if a := v.Get(h.URL + "/oauth2/assets/dinggate.js"); a.StatusCode != 200 ||
		a.Header.Get("Content-Type") != "text/javascript; charset=utf-8" ||
		a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Text, "BroadcastChannel") {
		t.Errorf("GET dinggate.js = %d %v", a.StatusCode, a.Header)
	}
	for _, path := range []string{"", "silent.js", "page.js", "../userinfo", "dinggate.js/", "silent/package.json",
		"%2e%2e/x"} {
		if a := v.Get(h.URL + "/oauth2/assets/" + path); a.StatusCode != 404 && a.StatusCode != 400 {
			t.Errorf("GET assets/%s = %d, want 404", path, a.StatusCode)
		}
	}
	if a := v.Do("POST", h.URL+"/oauth2/assets/dinggate.js", "x"); a.StatusCode != 405 {
		t.Errorf("POST dinggate.js = %d, want 405", a.StatusCode)
	}
}
