package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"dinggate/internal/realtool"
)

// TestOIDCClientTS is oidc-client-ts in Chromium: an application of one page, on
// another origin than the provider, without a secret.
func TestOIDCClientTS(t *testing.T) {
	library := filepath.Join(realtool.NPM(t, "oidc-client-ts@3.5.0"), "dist", "browser", "oidc-client-ts.js")
	page, err := os.ReadFile("testdata/oidc-client-ts.html")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://127.0.0.1:" + freePort(t)
	e, seen := open(t, base+"/callback"), row(t, "oidc-client-ts 3.5.0, Chromium")
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oidc-client-ts.js" {
			http.ServeFile(w, r, library)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, strings.NewReplacer("%ISSUER%", e.issuer, "%CLIENT%", publicID).Replace(string(page)))
	}))
	listen(t, app, base)
	s := &spa{t: t, ctx: chromium(t), base: base}

	s.open("/")
	s.signIn(`{}`)
	var in struct {
		Profile person `json:"profile"`
		Refresh bool   `json:"refresh"`
	}
	s.wanted("callback", "", &in)
	in.Profile.check(t, "ID token and userinfo")
	if !in.Refresh {
		t.Error("no refresh token")
	}
	seen.ok("discovery", "pkce", "userinfo", "groups") // it sends a challenge always, and a public client has to
	var again struct {
		Profile person `json:"profile"`
		Rotated bool   `json:"rotated"`
	}
	s.wanted("refresh", "", &again)
	if again.Profile.check(t, "refreshed"); !again.Rotated {
		t.Error("the refresh token is the old one")
	}
	seen.ok("refresh")

	s.open("/")
	s.signIn(`{}, "another"`)
	var wrong struct {
		Error string `json:"error"`
	}
	if s.wanted("callback", "", &wrong); !strings.Contains(wrong.Error, "nonce") {
		t.Errorf("another nonce: %q", wrong.Error)
	}
	seen.ok("nonce")

	s.open("/")
	s.signIn(`{}`)
	s.wanted("callback", "", &in)
	s.do(`wanted("signOut")`)
	s.until(`location.pathname === "/callback" && document.readyState === "complete" && !window.out.callback`)
	var out struct {
		Status   int  `json:"status"`
		SignedIn bool `json:"signedIn"`
	}
	if s.wanted("userinfo", "", &out); out.Status != http.StatusUnauthorized || out.SignedIn {
		t.Errorf("after the sign-out: %+v", out)
	}
	seen.ok("logout")

	s.open("/")
	s.do(`wanted("signIn", {client_id: "unknown"})`)
	s.until(`document.body && document.body.textContent.includes("oidc_client")`)
	s.open("/")
	s.do(`wanted("signIn", {scope: "openid", disablePKCE: true})`)
	s.until(`location.pathname === "/callback" && location.search.includes("invalid_request")`)
	seen.ok("wrong")
}

func listen(t *testing.T, server *httptest.Server, base string) {
	t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
}

func chromium(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(realtool.Path(t, "chromium")),
		chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true))
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

// spa is the page in Chromium.
type spa struct {
	t    *testing.T
	ctx  context.Context
	base string
}

func (s *spa) open(path string) {
	s.t.Helper()
	if err := chromedp.Do(s.ctx, chromedp.Navigate(s.base+path)); err != nil {
		s.t.Fatal(err)
	}
	s.until(`document.readyState === "complete" && !!window.wanted`)
}

// signIn goes to the provider, clicks the person on the page of DingTalk, and comes back.
func (s *spa) signIn(args string) {
	s.t.Helper()
	s.do(`wanted("signIn", ` + args + `)`)
	s.until(`location.pathname === "/callback" || !!document.querySelector("[name=person][id$=zhangsan]")`)
	s.do(`document.querySelector("[name=person][id$=zhangsan]")?.click()`)
	s.until(`location.pathname === "/callback" && document.readyState === "complete" && !!window.wanted`)
}

// wanted has the page do a step, and reads what came of it.
func (s *spa) wanted(step, args string, into any) {
	s.t.Helper()
	s.do(fmt.Sprintf("wanted(%q%s)", step, args))
	s.until(fmt.Sprintf("!!window.out[%q]", step))
	text, err := chromedp.Run(s.ctx, chromedp.Evaluate[string](fmt.Sprintf("JSON.stringify(window.out[%q])", step)))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	s.t.Logf("%s: %s", step, text)
}

func (s *spa) do(expression string) {
	s.t.Helper()
	if _, err := chromedp.Run(s.ctx, chromedp.Evaluate[bool](`(()=>{`+expression+`; return true})()`)); err != nil {
		s.t.Fatalf("%s: %v", expression, err)
	}
}

// until evaluates an expression in the page until it holds, also across navigations.
func (s *spa) until(expression string) {
	s.t.Helper()
	for limit := time.Now().Add(patience / 4); ; {
		if ok, err := chromedp.Run(s.ctx, chromedp.Evaluate[bool](`!!(`+expression+`)`)); err == nil && ok {
			return
		}
		if time.Now().After(limit) {
			at, _ := chromedp.Run(s.ctx, chromedp.Evaluate[string](
				`location.href + " " + JSON.stringify(window.out ?? "") + document.body.textContent.slice(0, 500)`))
			s.t.Fatalf("the page never came to %s; it is at %s", expression, at)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
