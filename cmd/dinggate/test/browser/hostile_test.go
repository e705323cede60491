package browser

import (
	"context"
	"encoding/json"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// hostileText is text of an attacker for every input; it is short enough for a title.
const hostileText = `"><svg onload=ran=1><img src=x onerror=ran=1>'{{7*7}}`

var hostileValues = []string{hostileText, `';ran=1//`, "javascript:ran=1", "data:text/html,<script>ran=1</script>",
	"\u202egpj.exe\x00\r\nSet-Cookie: x=y", "//evil.test/"}

// ourParameters are all parameters of all our endpoints that a browser may open. The part
// before   is sent each time, so that the parameters after it are evaluated.
var ourParameters = map[string]string{
	"/oauth2/start":    "| rd silent page type lang",
	"/oauth2/callback": "| state code authCode error error_description refused lang",
	"/oauth2/sign_in":  "| rd link lang", "/oauth2/signed_in": "| rd lang", "/oauth2/sign_out": "| rd lang",
	"/oauth2/userinfo": "| rd lang", "/oauth2/sessions": "| lang",
	"/oauth2/leave": "| hop rd lang", "/oauth2/arrive": "| ticket lang",
	"/oauth2/silent": "| code state", "/oauth2/assets/": "| lang",
	"/oauth2/auth": "| rd", "/oauth2/forward-auth": "| rd", "/oauth2/ext-authz/x": "| rd",
	"/dingtalk/authorize": "response_type=code&client_id=other&redirect_uri=https%3A%2F%2Fother.test%2Fcallback " +
		"| client_id redirect_uri response_type scope state lang",
	"/dingtalk/callback":       "| state code authCode forward_url error refused lang",
	"/dingtalk/login/callback": "| code authCode state type lang", "/dingtalk/token": "| code grant_type",
	"/dingtalk/userinfo": "| access_token",
}

// watched opens Chromium and reports effects that none of our pages may have.
func watched(t *testing.T) context.Context {
	t.Helper()
	ctx := browserFor(t, 6*time.Minute, "en-US") // hundreds of pages
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{Source: `window.wrong=[];
document.addEventListener("securitypolicyviolation",e=>wrong.push("CSP: "+e.violatedDirective+" "+e.blockedURI));
addEventListener("error",e=>wrong.push("error: "+(e.message||e.target&&e.target.src)),true);
for(const m of ["error","warn"])console[m]=(...a)=>wrong.push(m+": "+a.join(" "))`})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// harmless checks the page that ctx shows: it ran no injected script, contains no injected
// element, violated no policy, and a page of dinggate has the title as text.
func harmless(t *testing.T, ctx context.Context, base, what string) {
	t.Helper()
	result, err := chromedp.Run(ctx,
		chromedp.Evaluate[string](
			`JSON.stringify([window.ran||0,wrong.join("; "),document.body.innerText,`+
				`document.querySelectorAll("img,main svg:not(.icon),[onload],`+
				`[onerror]").length+`+
				`[...document.links].map(a=>a.href).concat([...document.forms].map(f=>f.action)).filter(to=>new URL(to).origin!==location.origin).length,`+
				`location.origin,document.contentType])`,
		))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var ran, elements int
	var wrong, text, origin, kind string
	if err := json.Unmarshal([]byte(result), &[]any{&ran, &wrong, &text, &elements, &origin, &kind}); err != nil {
		t.Fatal(err)
	}
	if ran != 0 || strings.Contains(origin, "evil") {
		t.Errorf("%s: a foreign script ran, or the browser is at %s", what, origin)
	}
	if origin != base || kind != "text/html" { // DingTalk's page, or JSON, which executes nothing
		return
	}
	if wrong != "" || elements > 0 || !strings.Contains(text, hostileText) || strings.Contains(text, "'49") {
		t.Errorf("%s: %d elements of theirs, %q:\n%s", what, elements, wrong, text)
	}
}

// TestBrowserHostile checks that text in a parameter, in the configuration, in a form
// field or in the directory is shown as text on our pages, runs no script and violates no
// policy (threats W7).
func TestBrowserHostile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "zs")
	h, _ := servertest.NewSSO(t, func(c *config.Config) {
		c.SignIn = config.SignInConfig{
			Title:   config.BothLanguages(hostileText),
			Lead:    config.BothLanguages(hostileText),
			Note:    config.BothLanguages(hostileText),
			Contact: config.BothLanguages(hostileText),
		}
		c.Accounts.HtpasswdFile = file
	})
	everyEndpoint(t, h)
	ctx := watched(t)
	visit := func(address string) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.Navigate(address),
			until(`document.readyState==="complete"`)); err != nil &&
			strings.Contains(err.Error(), "ERR_HTTP_RESPONSE_CODE_FAILURE") {
			return // a gateway's 401 has no body and shows nothing
		} else if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		harmless(t, ctx, h.URL, strings.TrimPrefix(address, h.URL))
	}
	for path, parameters := range ourParameters {
		always, names, _ := strings.Cut(parameters, "|")
		for _, name := range strings.Fields(names) {
			values := hostileValues
			if !slices.Contains([]string{"rd", "page", "link", "redirect_uri", "forward_url"}, name) {
				values = values[:2] // texts for parameters that may become an address
			}
			for _, bad := range values {
				q, _ := url.ParseQuery(strings.TrimSpace(always))
				q.Set(name, bad)
				visit(h.URL + path + "?" + q.Encode())
			}
			visit(h.URL + path + "?" + name + "=" + url.QueryEscape(hostileText) + "&" + name + "=x")
		}
	}
	for _, bad := range hostileValues[:4] {
		for _, path := range []string{"/oauth2/assets/", "/oauth2/", "/dingtalk/", "/nowhere/", "/%5C"} {
			visit(h.URL + path + url.PathEscape(bad))
		}
		if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/oauth2/sign_in?rd=/"),
			chromedp.SendKeys(chromedp.CSS("#username"), bad), chromedp.SendKeys(chromedp.CSS("#password"), bad),
			chromedp.Click(chromedp.CSS("form button")), chromedp.WaitVisible(chromedp.CSS("#wrong"))); err != nil {
			t.Fatal(err)
		}
		harmless(t, ctx, h.URL, "the form with "+bad)
	}

	// A person whose name in the directory is hostile, also in the DingTalk client.
	if err := h.Platform.Add(simulator.Person{
		Account: simulator.Account{Nick: hostileText},
		Record: simulator.Record{
			UserID:      "mallory",
			Name:        hostileText,
			OrgEmail:    hostileText,
			Departments: []int64{1},
		},
	}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.URL+"/oauth2/start?rd=/oauth2/signed_in"),
		chromedp.Click(chromedp.CSS("#person-mallory")), until(`location.pathname==="/oauth2/signed_in"`)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/oauth2/signed_in", "/oauth2/sign_in", "/oauth2/sign_out",
		"/admin/" + url.PathEscape(hostileText)} {
		visit(h.URL + path)
		if text := onPage(t, ctx, "main"); path != "/oauth2/sign_in" && !strings.HasPrefix(path, "/admin") &&
			!strings.Contains(text, hostileText+" (mallory)") {
			t.Errorf("GET %s does not show the person's name as text:\n%s", path, text)
		}
	}
	if err := h.Gateway.Sessions.RevokeAll(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range hostileValues[:4] {
		visit(h.URL + "/oauth2/sign_out?rd=/" + url.QueryEscape(bad))
	}
}

// everyEndpoint fails if one of our endpoints is missing in ourParameters.
func everyEndpoint(t *testing.T, h *servertest.Env) {
	t.Helper()
	paths := h.Gateway.Endpoints()
	if len(paths) < 12 {
		t.Errorf("only %d endpoints are known: %q", len(paths), paths)
	}
	slices.Sort(paths)
	for _, path := range paths {
		if _, ok := ourParameters[path]; !ok {
			t.Errorf("%s is not in ourParameters: what could an attacker write into its parameters?", path)
		}
	}
}
