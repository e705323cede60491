package page

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
	"dinggate/internal/web"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	devpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// watch records, from the first byte of every page on, what a page must not do.
const watch = `window.__wrong=[];
document.addEventListener("securitypolicyviolation",e=>__wrong.push("CSP: "+e.violatedDirective+" "+e.blockedURI));
addEventListener("error",e=>__wrong.push("error: "+(e.message||e.target&&e.target.src)),true);
for(const m of ["error","warn"]){const f=console[m];
  console[m]=(...a)=>{__wrong.push(m+": "+a.join(" "));f.apply(console,a)}}`

// audit checks what is known only after a browser has laid out a page; its result is a list of
// complaints.
const audit = `(()=>{const wrong=[...window.__wrong];
const rgb=s=>{const m=s.match(/[\d.]+/g).map(Number);return m.length<4?[...m,1]:m};
const light=c=>{const v=c.slice(0,3).map(x=>{x/=255;return x<=.04045?x/12.92:((x+.055)/1.055)**2.4});
  return .2126*v[0]+.7152*v[1]+.0722*v[2]};
const ground=e=>{for(;e;e=e.parentElement){const c=rgb(getComputedStyle(e).backgroundColor);if(c[3]===1)return c}
  return rgb("rgb(255,255,255)")};
const shown=e=>e.getClientRects().length>0&&getComputedStyle(e).visibility==="visible";
const texts=document.createTreeWalker(document.body,NodeFilter.SHOW_TEXT);
for(let n=texts.nextNode();n;n=texts.nextNode()){const e=n.parentElement;
  if(!n.textContent.trim()||!shown(e)||["SCRIPT","STYLE","NOSCRIPT"].includes(e.tagName))continue;
  const a=light(rgb(getComputedStyle(e).color)),b=light(ground(e)),c=(Math.max(a,b)+.05)/(Math.min(a,b)+.05);
  if(c<4.5)wrong.push("contrast "+c.toFixed(2)+": "+n.textContent.trim().slice(0,30));
  for(const m of n.textContent.matchAll(/[^-\s，。；：、！？…“”]+/gu)){ // a run of words stands on one line
    const r=document.createRange();r.setStart(n,m.index);r.setEnd(n,m.index+m[0].length);
    if(e.closest("h1,main p,.id,.button,dt")&&!e.closest("bdi")&&
      new Set([...r.getClientRects()].map(x=>Math.round(x.top))).size>1)wrong.push("broken inside: "+m[0]);
  }
  const own=e.closest("bdi,code,[aria-hidden],[dir=auto],[lang]:not(html)");
  if(document.documentElement.lang==="en"&&!own&&/\p{Script=Han}/u.test(n.textContent))
    wrong.push("not English: "+n.textContent.trim());
  if(document.documentElement.lang==="zh-CN"&&!own&&
    /[A-Za-z]{4,}/.test(n.textContent.replace(/Cookie|English|Authorization|type=1/g,"")))
    wrong.push("not Chinese: "+n.textContent.trim());
}
for(const e of document.querySelectorAll("a,button,input,summary,[tabindex]")){if(!shown(e))continue;
  const label=e.labels&&e.labels.length?e.labels[0].textContent:e.textContent||e.getAttribute("aria-label")||"";
  if(!label.trim())wrong.push("no label: "+e.outerHTML.slice(0,60));
  if(e.tagName==="INPUT"&&!(e.labels&&e.labels.length))wrong.push("no label: "+e.outerHTML.slice(0,60));
  if((e.classList.contains("button")||e.tagName==="INPUT")&&e.getBoundingClientRect().height<44)
    wrong.push("too small to touch: "+e.outerHTML.slice(0,60));
}
if(document.documentElement.scrollWidth>innerWidth)
  wrong.push("wider than the screen: "+document.documentElement.scrollWidth+" > "+innerWidth);
if(document.querySelectorAll("main").length!==1)wrong.push("no main, or several");
if([...document.querySelectorAll("h1")].filter(shown).length!==1)wrong.push("not one heading that is seen");
if(!document.title.trim())wrong.push("no title");
return JSON.stringify(wrong)})()`

// everyMessage puts each message into an error page and audits that.
const everyMessage = `((messages)=>{const all=[];
const [h1,text,next]=document.querySelectorAll("main h1,main h1~p");
for(const [key,m] of Object.entries(messages)){h1.textContent=m.Title;text.textContent=m.Text;next.textContent=m.Next;
  for(const wrong of JSON.parse(AUDIT))all.push(key+": "+wrong)}
return JSON.stringify(all)})(MESSAGES)`

// theirQR replaces DingTalk's script.
const theirQR = `window.DTFrameLogin=(frame)=>{const ` +
	`f=document.createElement("iframe");f.title="QR";f.width=300;f.height=300;f.srcdoc="QR";` +
	`document.getElementById(frame.id).append(f)}`

// TestChromium lays out every page in both languages, light and dark, on a phone and on a desktop,
// and reports what a person would complain about.
func TestChromium(t *testing.T) {
	cdn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, theirQR)
	}))
	t.Cleanup(cdn.Close)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(realtool.Path(t, "chromium")),
		chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com:443 "+cdn.Listener.Addr().String()))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, devpage.AddScriptToEvaluateOnNewDocument,
			devpage.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 8*time.Minute)
	t.Cleanup(cancel)

	p := pages(t, Config{Title: Both("示例科技"), Contact: Both("it@example.com"), Accent: "#e60012"})
	show := append(examples(p), moreExamples(p)...)
	for i, bad := range []string{`"><svg onload=__wrong.push("ran")>`, `';__wrong.push("ran")//`, "{{7*7}}",
		"\u202egpj.exe"} {
		show = append(show,
			example{fmt.Sprintf("hostile %d", i), "GET", "/oauth2/sign_in?rd=" + url.QueryEscape(bad),
				shows(func(w http.ResponseWriter, r *http.Request) {
					p.WhoAmI(w, r, WhoAmIData{bad, bad, bad, []string{bad}, bad, bad})
				})})
	}
	base := serveExamples(t, p, show)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1200} {
			for _, lang := range []string{"zh-CN", "en"} {
				for i, x := range show {
					name := fmt.Sprintf("%s %s %d %s", x.name, lang, width, scheme)
					err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 740),
						chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
							_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia,
								emulation.SetEmulatedMediaParams{
									Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
								})
							return err
						}), chromedp.Navigate(fmt.Sprintf("%s/%d/%s", base, i, lang)))
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					text, err := chromedp.Run(ctx, chromedp.Evaluate[string](audit))
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					reportAudit(t, name, text)
					if x.name == "not_member" && scheme == "light" {
						messages := zhMessages
						if lang == "en" {
							messages = enMessages
						}
						list, err := json.Marshal(messages)
						if err != nil {
							t.Fatal(err)
						}
						text, err := chromedp.Run(ctx,
							chromedp.Evaluate[string](strings.NewReplacer("AUDIT", audit, "MESSAGES",
								string(list)).Replace(everyMessage)))
						if err != nil {
							t.Fatalf("%s, every message: %v", name, err)
						}
						reportAudit(t, name+", every message", text)
					}
				}
			}
		}
	}
}

// reportAudit fails the test with the result of an audit, a JSON list.
func reportAudit(t *testing.T, name, text string) {
	t.Helper()
	var wrong []string
	if err := json.Unmarshal([]byte(text), &wrong); err != nil {
		t.Fatal(err)
	}
	if len(wrong) > 0 {
		t.Errorf("%s: %s", name, strings.Join(wrong, "; "))
	}
}

// moreExamples are states of pages that examples does not return: the QR code, the silent page
// before its result, a person with many roles.
func moreExamples(p *Pages) []example {
	return []example{
		{"qr", "GET", "/oauth2/sign_in", shows(func(w http.ResponseWriter, r *http.Request) {
			p.SignIn(w, r, SignInData{
				QR: &QR{"http://" + r.Host + "/oauth2/callback", "dingapp", "STATE",
					"https://login.dingtalk.com"},
				StartURL: "/oauth2/start?rd=%2F",
			})
		})},
		{"account_qr", "GET", "/oauth2/sign_in", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Account(w,
				r, AccountData{
					Action:   "/oauth2/sign_in",
					StartURL: "/oauth2/start",
					QR: &QR{"http://" + r.Host + "/oauth2/callback", "dingapp", "STATE",
						"https://login.dingtalk.com"},
				})
		})},
		{"silent, under way", "GET", "/wiki", shows(func(w http.ResponseWriter, r *http.Request) {
			still := httptest.NewRecorder()
			p.Silent(still,
				r, SilentData{
					CorpID:   "dingcorp",
					ClientID: "dingapp",
					State:    "STATE",
					PostURL:  "/oauth2/silent",
					StartURL: "/oauth2/start",
				})
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", still.Header().Get("Content-Security-Policy"))
			io.WriteString(w, scriptTag.ReplaceAllString(still.Body.String(), ""))
		})},
		{"who, much", "GET", "/oauth2/sign_in", shows(func(w http.ResponseWriter, r *http.Request) {
			p.WhoAmI(w, r, WhoAmIData{
				Name:       "阿卜杜热合曼·买买提依明江",
				Username:   strings.Repeat("x", 64),
				Email:      "a.very.long.address.of.a.person@mail.department.example.com",
				Groups:     slices.Repeat([]string{"主管", "财务, 华东"}, 9),
				SignOutURL: "/oauth2/sign_out",
			})
		})},
	}
}

// serveExamples serves show[i] at /i/language, as if its own URL had been requested.
func serveExamples(t *testing.T, p *Pages, show []example) string {
	t.Helper()
	peers, err := web.ParsePeers([]string{"127.0.0.1/32"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := web.HandlerFunc(p.Asset)
		var i int
		var lang string
		if n, _ := fmt.Sscanf(r.URL.Path, "/%d/%s", &i, &lang); n == 2 && i < len(show) {
			own := httptest.NewRequest(show[i].method, show[i].target, nil).WithContext(r.Context())
			own.Header = r.Header.Clone()
			own.Header.Set("Accept-Language", lang)
			own.Header.Set("X-Request-Id", "7f3a09c2d41be8650a1c93ef")
			own.Host, own.RemoteAddr = r.Host, r.RemoteAddr
			r, next = own, show[i].serve
		}
		(&web.Chain{
			Peers:  peers,
			Scheme: "http",
			Next:   next,
			Answer: p.Answer,
			Record: func(*web.Exchange, *http.Request) {},
		}).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
