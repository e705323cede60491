package browser

import (
	"bytes"
	"context"
	"image"
	"image/draw"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// picture is one page: the steps to open it, and the sign that it is shown.
type picture struct {
	name          string // of the file, without the language
	wide, tall    int64
	dark          bool
	base          string
	steps         []chromedp.Action[chromedp.Void]
	inClient, bar string // the response of a DingTalk client in which it is opened, and the expected text
}

const phoneWide, phoneTall = 390, 780

// drawnQR replaces DingTalk's script, which draws a code in this place.
const drawnQR = `window.DTFrameLogin=(frame)=>{const c=document.createElement("canvas");c.width=c.height=300;
document.getElementById(frame.id).append(c);
const g=c.getContext("2d"),n=29,m=8;g.fillStyle="#fff";g.fillRect(0,0,300,300);g.fillStyle="#111";
let s=7;const o=(300-n*m)/2,box=(x,y,w)=>g.fillRect(o+x*m,o+y*m,w*m,w*m);
for(let y=0;y<n;y++)for(let x=0;x<n;x++){s=s*48271%2147483647;if(s%100<48)box(x,y,1)}
for(const [x,y] of [[0,0],[n-7,0],[0,n-7]]){g.fillStyle="#fff";box(x-1,y-1,9);g.fillStyle="#111";box(x,y,7);
g.fillStyle="#fff";box(x+1,y+1,5);g.fillStyle="#111";box(x+2,y+2,3)}}`

// TestScreenshots takes the pictures of README and docs; `make screenshots` requests it.
// SCREENSHOTS=1 takes all of them, any other value those whose names match it.
func TestScreenshots(t *testing.T) {
	if os.Getenv("SCREENSHOTS") == "" {
		t.Skip("SKIPPED: `make screenshots` takes the pictures")
	}
	wanted := regexp.MustCompile("")
	if text := os.Getenv("SCREENSHOTS"); text != "1" {
		wanted = regexp.MustCompile(text)
	}
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		t.Fatal(err)
	}
	cdn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, drawnQR)
	}))
	t.Cleanup(cdn.Close)
	for language, locale := range map[string]string{"zh": "zh-CN", "en": "en-US"} {
		for _, p := range append(pictures(t), accessPictures(t)...) {
			if !wanted.MatchString(p.name) {
				continue
			}
			options := []chromedp.ExecAllocatorOption{chromedp.Flag("ignore-certificate-errors", true),
				chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com:443 "+cdn.Listener.Addr().String())}
			var ctx context.Context
			if p.bar != "" {
				ctx = inClient(t, dingtalkClients[0], p.inClient)
			} else {
				ctx = browser(t, locale, options...)
			}
			scheme, name := "light", p.name+"-"+language
			if p.dark {
				scheme, name = "dark", name+"-dark"
			}
			if p.wide == phoneWide {
				name += "-phone"
			}
			before := []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(p.wide, p.tall), prefers(scheme)}
			if p.bar != "" {
				before = append(before, setLocale(dingtalkClients[0].agent, locale))
				p.steps = append(p.steps, until(p.bar))
			}
			p.steps = append(p.steps, until(`document.readyState==="complete"&&document.body.clientWidth>0`))
			if err := chromedp.Do(ctx, append(before, p.steps...)...); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			take(t, ctx, name)
		}
	}
	if wanted.MatchString("status") {
		statusPicture(t)
	}
}

// setLocale sets the browser's User-Agent and language.
func setLocale(agent, language string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target,
			emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
				UserAgent:      agent,
				AcceptLanguage: language,
			})
		return err
	})
}

// pictures are the pages of the README and the docs, each with its own organisation if it
// needs one.
func pictures(t *testing.T) []picture {
	h := servertest.New(t, nil)
	byEmail := servertest.New(t, func(c *config.Config) { c.DingTalk.Username = "email" })
	out := servertest.New(t, nil)
	out.Platform.Fault(simulator.Fault{On: "/v1.0/oauth2/userAccessToken", Do: simulator.Status(503)})
	down := servertest.New(t, func(c *config.Config) {
		for i := range c.Routes {
			c.Routes[i].Upstream = "http://127.0.0.1:9"
		}
	})
	local, _ := servertest.NewWithAccounts(t, account.Optional)
	scan := servertest.New(t, func(c *config.Config) { c.SignIn.EmbedQR = true })
	own := servertest.New(t, func(c *config.Config) {
		c.SignIn.Page, c.SignIn.Title, c.SignIn.Accent, c.SignIn.TemplatesDir = true,
			config.Text{Zh: "云帆科技", En: "Yunfan"}, "#0b7a53", ownTemplates(t)
	})
	busy := servertest.New(t, nil)
	// uses every sign-in that the limit allows, for the duration of a picture
	manySessions := chromedp.Func(func(context.Context, *chromedp.Target) error {
		v := busy.NewClient()
		for v.Get(busy.URL+"/oauth2/start").StatusCode != http.StatusTooManyRequests {
		}
		go func() {
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && t.Context().Err() == nil; {
				if resp, err := v.HTTP.Get(busy.URL + "/oauth2/start"); err == nil {
					resp.Body.Close()
				}
			}
		}()
		return nil
	})
	as := func(base, path, person string) []chromedp.Action[chromedp.Void] {
		return []chromedp.Action[chromedp.Void]{chromedp.Navigate(base + path),
			chromedp.Click(chromedp.CSS("#person-" + person)),
			until(`document.querySelector("#heading,#who")||document.body.textContent.includes("UPSTREAM-MARK")`)}
	}
	to := func(base, path string) []chromedp.Action[chromedp.Void] {
		return []chromedp.Action[chromedp.Void]{chromedp.Navigate(base + path),
			chromedp.WaitVisible(chromedp.CSS("h1"))}
	}
	then := func(first []chromedp.Action[chromedp.Void],
		more ...chromedp.Action[chromedp.Void]) []chromedp.Action[chromedp.Void] {
		return append(first, more...)
	}
	const failed = `document.getElementById("failed")&&!document.getElementById("failed").hidden`
	return []picture{
		{name: "sign-in", wide: 900, tall: 640, steps: to(h.URL, "/oauth2/sign_in?rd=/")},
		{name: "sign-in", wide: 900, tall: 640, dark: true, steps: to(h.URL, "/oauth2/sign_in?rd=/")},
		{name: "sign-in-account", wide: phoneWide, tall: phoneTall, steps: to(local.URL, "/oauth2/sign_in?rd=/")},
		{name: "sign-in-qr", wide: 900, tall: 860,
			steps: then(to(scan.URL, "/oauth2/sign_in?rd=/"), until(`document.querySelector("#qr canvas")`))},
		{name: "sign-in-own", wide: 900, tall: 640, steps: to(own.URL, "/oauth2/sign_in?rd=/")},
		{name: "not-a-member", wide: 900, tall: 720, steps: as(h.URL, "/", "sunqi")},
		{name: "not-allowed", wide: phoneWide, tall: phoneTall, steps: as(h.URL, "/admin/", "zhaoliu")},
		{name: "missing-email", wide: phoneWide, tall: phoneTall, steps: as(byEmail.URL, "/", "wangwu")},
		{name: "outage", wide: 900, tall: 720, dark: true,
			steps: then(as(out.URL, "/", "zhangsan"), until(`location.search.includes("refused=")`))},
		{name: "application-down", wide: phoneWide, tall: phoneTall, steps: as(down.URL, "/", "zhangsan")},
		{name: "too-many", wide: phoneWide, tall: phoneTall,
			steps: append([]chromedp.Action[chromedp.Void]{manySessions},
				then(to(busy.URL, "/oauth2/start"),
					until(`document.body.innerText.includes("too_many_attempts")`))...)},
		{name: "who", wide: phoneWide, tall: phoneTall,
			steps: then(as(h.URL, "/", "zhangsan"), to(h.URL, "/oauth2/sign_in")...)},
		{name: "signed-in", wide: phoneWide, tall: phoneTall,
			steps: then(as(h.URL, "/", "zhangsan"), to(h.URL, "/oauth2/signed_in")...)},
		{name: "confirm", wide: phoneWide, tall: phoneTall,
			steps: then(as(h.URL, "/", "zhangsan"), to(h.URL, "/oauth2/sign_out")...)},
		{name: "signed-out", wide: phoneWide, tall: phoneTall, steps: to(h.URL, "/oauth2/sign_out")},
		{name: "silent", wide: phoneWide, tall: phoneTall, inClient: ";", bar: `document.getElementById("silent")`,
			steps: []chromedp.Action[chromedp.Void]{chromedp.Navigate(h.URL + "/")}},
		{name: "silent-way-out", wide: phoneWide, tall: phoneTall, inClient: "fail()", bar: failed,
			steps: []chromedp.Action[chromedp.Void]{chromedp.Navigate(h.URL + "/")}},
	}
}

// ownTemplates returns a folder of templates with square corners.
func ownTemplates(t *testing.T) string {
	dir := t.TempDir()
	style, err := os.ReadFile("../../../../internal/page/pages/style.css")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"style.css": string(style) +
			"main{border-radius:0;border-top:8px solid " +
			"var(--button);text-align:start;max-width:560px}.button{border-radius:0;justify-content:flex-start}h1{font-size:30px}",
		"sign_in.html": `{{define "main"}}<h1 id="heading" dir="auto">{{.Title}}</h1>
<p class="lead">{{.Words.SignInLead}}</p>
<p class="actions"><a class="button" href="{{.StartURL}}">{{.Words.SignInDingTalk}} →</a></p>
<p class="note">{{.Words.SignInNote}}</p>{{end}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// statusPicture is the page of the admin listener on a day with a problem.
func statusPicture(t *testing.T) {
	h := servertest.New(t, nil)
	ctx := browser(t, "zh-CN")
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/"), chromedp.Click(chromedp.CSS("#person-zhangsan")),
		untilMark()); err != nil {
		t.Fatal(err)
	}
	h.Kit.UntrustedForwarders.Note(netip.MustParseAddr("10.244.3.7"), time.Now())
	h.Reload = admin.ReloadResult{
		Taken:   time.Now().Add(-26 * time.Hour),
		Refused: time.Now(),
		Problems: config.Problems{{File: "/etc/dinggate/config.yaml", Line: 12, Key: "log.level",
			Text: conf.Textf("is not debug, info, warn or error")}},
	}
	admin := httptest.NewServer(h.AdminHandler())
	t.Cleanup(admin.Close)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1100, 860), chromedp.Navigate(admin.URL+"/status"),
		chromedp.WaitVisible(chromedp.CSS("h1"))); err != nil {
		t.Fatal(err)
	}
	take(t, ctx, "status-zh")
}

const screenshots = "../../../../docs/screenshots"

// take saves a picture of the browser's content.
func take(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	data, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	plain := image.NewRGBA(picture.Bounds())
	draw.Draw(plain, plain.Bounds(), picture, picture.Bounds().Min, draw.Src)
	for i, v := range plain.Pix { // half of the shades: the difference is invisible, and the repository is smaller
		plain.Pix[i] = v&^1 | v>>7
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, plain); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), small.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
