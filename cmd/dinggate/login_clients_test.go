package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// loginClient builds a product that calls the login callback: a client that a
// real generator made of the description in docs, axios, and a few lines that
// use both. The generator's HTTP is fetch or axios.
func loginClient(t *testing.T, entry, by string) string {
	t.Helper()
	node, axios := realtool.Path(t, "node"), realtool.NPM(t, "axios@1.21.1")
	generator, esbuild := realtool.NPM(t, "openapi-typescript-codegen@0.31.0"), realtool.NPM(t, "esbuild@0.28.2")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "loginclient"))); err != nil {
		t.Fatal(err)
	}
	description, err := filepath.Abs(filepath.Join("..", "..", "docs", "login-callback.openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "out", entry+".mjs")
	platform := map[string]string{"page": "browser", "node": "node"}[entry]
	for _, args := range [][]string{
		{filepath.Join(generator, "bin", "index.js"), "--input", description, "--output",
			filepath.Join(dir, "generated"), "--client", by},
		{filepath.Join(esbuild, "bin", "esbuild"), filepath.Join(dir, entry+".ts"), "--bundle", "--format=esm",
			"--platform=" + platform, "--log-level=warning", "--outfile=" + bundle,
			"--banner:js=" +
				map[string]string{
					"node": `import{createRequire}from"node:module";const require=createRequire(import.meta.url)`,
				}[entry]},
	} {
		cmd := exec.Command(node, args...)
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Dir(axios))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", filepath.Base(args[0]), err, out)
		}
	}
	return bundle
}

// loginCall is one call of a product, and what it must get.
type loginCall struct {
	Name  string `json:"-"`
	As    string `json:"as"`    // who signs in with a password first
	Begin string `json:"begin"` // `type` of /oauth2/start; "-" as it is without one; "" asks for no state
	Who   string `json:"-"`     // who scans; "" nobody, so that the code is Code
	Code  string `json:"code"`
	State string `json:"state"`
	Type  any    `json:"type"`
	Twice bool   `json:"twice"`
	By    string `json:"by"`

	Status  int    `json:"-"`
	Success bool   `json:"-"`
	Says    int    `json:"-"` // the envelope's code
	Link    bool   `json:"-"` // data is a link token
	User    string `json:"-"` // who is signed in afterwards
}

// loginCalls is every row of the contract's table. The accounts are zs and ls; binding is required.
var loginCalls = []loginCall{
	{Name: "not bound", Begin: "-", Who: "zhangsan", Status: 200, Success: true, Says: 200, Link: true},
	{Name: "bound now", As: "zs", Begin: "1", Who: "zhangsan", Type: 1, Status: 200, Success: true, Says: 200,
		User: "zs"},
	{Name: "bound to this account already", As: "zs", Begin: "1", Who: "zhangsan", Type: 1, Status: 200,
		Success: true, Says: 200, User: "zs"},
	{Name: "signed in", Begin: "-", Who: "zhangsan", Status: 200, Success: true, Says: 200, User: "zs"},
	{Name: "type 0", Begin: "0", Who: "zhangsan", Type: 0, Status: 200, Success: true, Says: 200, User: "zs"},
	{Name: "type empty", Begin: "-", Who: "zhangsan", Type: "", Status: 200, Success: true, Says: 200, User: "zs"},
	{Name: "another number", Begin: "-", Who: "zhangsan", Type: 7, Status: 200, Success: true, Says: 200, User: "zs"},
	{Name: "no number", Begin: "-", Who: "zhangsan", Type: "scan", Status: 200, Says: 221},
	{Name: "no code", Begin: "-", Status: 200, Says: 221},
	{Name: "no state", Who: "zhangsan", Status: 200, Says: 221},
	{Name: "type 1, nobody is signed in", Begin: "-", Who: "zhangsan", Type: 1, Status: 200, Says: 201},
	{Name: "unknown state", Who: "zhangsan", State: strings.Repeat("A", 43), Status: 200, Says: 500},
	{Name: "the same call again", Begin: "-", Who: "zhangsan", Twice: true, Status: 200, Says: 500, User: "zs"},
	{Name: "begun without type 1", As: "ls", Begin: "-", Who: "lisi", Type: 1, Status: 200, Says: 500, User: "ls"},
	{Name: "begun with type 1", As: "ls", Begin: "1", Who: "lisi", Status: 200, Says: 500, User: "ls"},
	{Name: "no member", Begin: "-", Who: "sunqi", Status: 200, Says: 500},
	{Name: "bound to another account", As: "ls", Begin: "1", Who: "zhangsan", Type: 1, Status: 200, Says: 500,
		User: "ls"},
	{Name: "account bound to another", As: "zs", Begin: "1", Who: "lisi", Type: 1, Status: 200, Says: 500, User: "zs"},
	{Name: "a code that DingTalk refuses", Begin: "-", Code: "no-such-code", Status: 200, Says: 500},
	{Name: "DingTalk is away", Begin: "-", Who: "zhangsan", Status: 500, Says: 500},
}

// run makes a call as one kind of client and checks what it got: the whole
// envelope where the status is 200, and otherwise an exception.
func (c loginCall) run(t *testing.T, h *testEnv, by string, call func(loginCall) string) {
	t.Helper()
	c.By = by
	if c.Who != "" {
		var err error
		if c.Code, err = h.platform.Code(simulator.Browser, "", c.Who); err != nil {
			t.Fatal(err)
		}
	}
	if c.Status == 500 {
		h.platform.Fault(simulator.Fault{On: "/v1.0/oauth2/userAccessToken", Do: simulator.Status(503)})
		defer h.platform.ClearFaults()
	}
	var got struct {
		Thrown any
		User   string
		Answer struct {
			Success bool
			Code    int
			Message string
			Data    *string
		}
	}
	text := call(c)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%s by %s: %v: %s", c.Name, by, err, text)
	}
	a := got.Answer
	if thrown := got.Thrown != nil; thrown != (c.Status != 200) ||
		thrown && fmt.Sprint(got.Thrown) != fmt.Sprint(c.Status) {
		t.Errorf("%s by %s: thrown is %v with %+v, want the status %d", c.Name, by, got.Thrown, a, c.Status)
	}
	if a.Success != c.Success || a.Code != c.Says || (a.Data != nil) != c.Link || a.Message == "" ||
		got.User != c.User {
		t.Errorf("%s by %s = %s, want success %v, code %d, a link %v, user %q", c.Name, by, text, c.Success, c.Says,
			c.Link, c.User)
	}
}

// TestLoginClientsInNode: a generated client and axios outside of a browser, with
// the base path that they have built in, get through every row of the table; with
// login_api_status strict they throw where they threw before.
func TestLoginClientsInNode(t *testing.T) {
	bundle := loginClient(t, "node", "axios")
	start := func(h *testEnv) func(loginCall) string {
		cmd := exec.Command(realtool.Path(t, "node"), bundle, h.base)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); cmd.Wait() })
		lines := bufio.NewScanner(out)
		return func(c loginCall) string {
			if err := json.NewEncoder(in).Encode(c); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() {
				t.Fatalf("%s: the client ended", c.Name)
			}
			return lines.Text()
		}
	}
	for _, by := range []string{"generated", "axios"} {
		h, _ := accountEnv(t, account.Required)
		call := start(h)
		for _, c := range loginCalls {
			c.run(t, h, by, call)
		}
	}
	strict := newTestEnv(t, func(c *config.Config) { c.LoginAPI, c.LoginAPIStatus = true, config.LoginAPIStrict })
	call := start(strict)
	for _, by := range []string{"generated", "axios"} {
		loginCall{Name: "strict", Who: "zhangsan", State: "x", Status: 500, Says: 500}.run(t, strict, by, call)
	}
}

// TestLoginClientsInChromium: the same in pages of the application, and the page
// whose person has to bind an account first goes on to where that is done.
func TestLoginClientsInChromium(t *testing.T) {
	bundle := loginClient(t, "page", "fetch")
	product := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".mjs") {
			w.Header().Set("Content-Type", "text/javascript")
			http.ServeFile(w, r, bundle)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><script type="module" src="/public/page.mjs"></script>`)
	}))
	t.Cleanup(product.Close)
	tab := browser(t, "en-US")
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "zs", "ls")
	for _, by := range []string{"generated", "axios"} {
		h := newTestEnv(t, func(c *config.Config) {
			c.Accounts.HtpasswdFile, c.Accounts.Binding, c.LoginAPI = file, account.Required, true
			c.Routes[0].Upstream = product.URL
		})
		var last string
		for _, c := range loginCalls {
			clear := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, network.ClearBrowserCookies, cdp.Empty{})
				return err
			})
			if err := chromedp.Do(tab, clear, chromedp.Navigate(h.base+"/public/"), until(`window.run`)); err != nil {
				t.Fatal(err)
			}
			c.run(t, h, by, func(c loginCall) string {
				row, err := json.Marshal(c)
				if err != nil {
					t.Fatal(err)
				}
				text, err := chromedp.Run(tab,
					chromedp.Evaluate[string](fmt.Sprintf("run(%s).then(JSON.stringify)", row),
						chromedp.EvalAwaitPromise))
				if err != nil {
					t.Fatalf("%s by %s: %v", c.Name, by, err)
				}
				last = text
				return text
			})
			if c.Link {
				goesOn(t, tab, h, last)
			}
		}
	}
}

// goesOn takes the link token to the binding step, binds ls there and unbinds it.
func goesOn(t *testing.T, tab context.Context, h *testEnv, text string) {
	t.Helper()
	var got struct{ Answer struct{ Data string } }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tab,
		runs(fmt.Sprintf("location.href='/oauth2/sign_in?link='+encodeURIComponent(%q)", got.Answer.Data)),
		chromedp.WaitVisible(chromedp.CSS("#password")),
		chromedp.SendKeys(chromedp.CSS("#username"), "ls"), chromedp.SendKeys(chromedp.CSS("#password"), "pw-ls"),
		chromedp.Click(chromedp.CSS("form button")), untilMark()); err != nil {
		t.Fatal(err)
	}
	if user := h.app.last(t).Header.Get("X-Forwarded-User"); user != "ls" {
		t.Errorf("after the binding step the application sees %q, want ls", user)
	}
	if b, err := h.stores.Bindings.Remove(t.Context(), "ls"); err != nil || b.UnionID == "" {
		t.Errorf("bound to ls: %v, %v", b, err)
	}
}
