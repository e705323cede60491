package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/internal/web"
)

var update = flag.Bool("update", false, "write the golden files anew")

func pages(t testing.TB, c Config) *Pages {
	t.Helper()
	if c.Prefix == "" {
		c.Prefix = "/oauth2"
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// through sends r through a real Chain that trusts its request id.
func through(t testing.TB, p *Pages, r *http.Request, next web.HandlerFunc) *http.Response {
	t.Helper()
	peers, err := web.ParsePeers([]string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("X-Request-Id") == "" {
		r.Header.Set("X-Request-Id", "7f3a09c2d41be8650a1c93ef")
	}
	rec := httptest.NewRecorder()
	(&web.Chain{
		Peers:  peers,
		Scheme: "https",
		Next:   next,
		Answer: p.Answer,
		Record: func(*web.Exchange, *http.Request) {},
	}).ServeHTTP(rec, r)
	return rec.Result()
}

// browser is a page load.
func browser(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "app.example.com"
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func fails(err error) web.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) error { return err }
}

func shows(f func(w http.ResponseWriter, r *http.Request)) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error { f(w, r); return nil }
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const dot = "\x89PNG\r\n\x1a\n" // enough of a picture to be recognised

// examples returns every page once, with its data.
func examples(p *Pages) []example {
	return []example{
		{"sign_in", "GET", "/oauth2/sign_in?rd=/wiki?a=1&b=2", shows(func(w http.ResponseWriter, r *http.Request) {
			p.SignIn(w, r, SignInData{StartURL: "/oauth2/start?rd=%2Fwiki%3Fa%3D1%26b%3D2"})
		})},
		{"account", "GET", "/oauth2/sign_in", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Account(w, r, AccountData{Action: "/oauth2/sign_in?rd=%2F", StartURL: "/oauth2/start?rd=%2F"})
		})},
		{"account_wrong", "POST", "/oauth2/sign_in", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Account(w,
				r, AccountData{
					Action:   "/oauth2/sign_in?rd=%2F",
					StartURL: "/oauth2/start?rd=%2F",
					Username: "zhangsan",
					Problem:  "wrong_password",
					Status:   401,
					Again:    "/oauth2/sign_in?rd=%2F&problem=wrong_password",
				})
		})},
		{"account_link", "GET", "/oauth2/sign_in?link=x", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Account(w,
				r, AccountData{Action: "/oauth2/sign_in?link=x", Person: "张三", Next: "https://other.example.com/x"})
		})},
		{"not_bound", "GET", "/oauth2/callback?authCode=CANARY&state=CANARY",
			fails(&web.Error{Status: 403, Code: "not_bound", Retry: "/oauth2/sign_in?link=x"})},
		{"signed_out", "GET", "/oauth2/sign_out",
			shows(func(w http.ResponseWriter, r *http.Request) { p.SignedOut(w, r, "/oauth2/sign_in") })},
		{"signed_in", "GET", "/oauth2/signed_in",
			shows(func(w http.ResponseWriter, r *http.Request) { p.SignedIn(w, r, "张三 (zhangsan)") })},
		{"confirm", "GET", "/oauth2/sign_out", shows(func(w http.ResponseWriter, r *http.Request) {
			p.ConfirmSignOut(w, r, "/oauth2/sign_out?rd=%2F", "张三 (zhangsan)")
		})},
		{"who", "GET", "/oauth2/userinfo", shows(func(w http.ResponseWriter, r *http.Request) {
			p.WhoAmI(w, r, WhoAmIData{
				Name:       "张三",
				Username:   "zhangsan",
				Email:      "zhangsan@example.com",
				Groups:     []string{"主管", "财务, 华东"},
				SignOutURL: "/oauth2/sign_out",
				Sessions:   "/oauth2/sessions",
			})
		})},
		{"sessions", "GET", "/oauth2/sessions", shows(func(w http.ResponseWriter, r *http.Request) {
			at := time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)
			p.Sessions(w, r, SessionsData{
				Since: at, More: 3, Action: "/oauth2/sessions", Back: "/oauth2/userinfo", Sessions: []SessionData{
					{SignedIn: at, LastSeen: at.Add(time.Hour), Ends: at.Add(12 * time.Hour), Own: true, End: "ONE",
						Address: "192.0.2.7", LastAddress: "198.51.100.1", Applications: []string{"grafana", "harbor"}},
					{SignedIn: at, LastSeen: at, Ends: at.Add(12 * time.Hour), Silent: true, End: "TWO="},
				}, ApplicationsIncomplete: true, Applications: []ApplicationData{
					{Name: "grafana", Kind: "oidc", Own: true, Since: at, Until: at.Add(12 * time.Hour), End: "THREE=="},
					{Name: "kubectl", Kind: "device", Until: at.Add(12 * time.Hour), End: "FOUR"},
					{Name: "reports", Kind: "sso", Device: "DingTalk · iPhone", Since: at, Until: at.Add(2 * time.Hour), End: "FIVE"},
				}})
		})},
		{"console", "GET", "/oauth2/console?q=zhang", shows(func(w http.ResponseWriter, r *http.Request) {
			at := time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)
			p.Console(w, r, ConsoleData{View: ConsoleSessions, Base: "/oauth2/console", Who: "张三 (zhangsan)", Requestable: true,
				Total: 120, Page: 2, Pages: 3, Query: "zhang", Scope: ScopeFleet, Incomplete: true, Done: ConsoleEndedSession,
				Sessions: []ConsoleSession{{ID: "ONE", Name: "张三", User: "zhangsan", Device: "DingTalk · iPhone",
					Address: "192.0.2.7", LastAddress: "198.51.100.1", SignedIn: at, LastSeen: at, Ends: at.Add(time.Hour),
					Silent: true, Own: true}}})
		})},
		{"console_wrong", "GET", "/oauth2/console", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Console(w, r, ConsoleData{View: ConsoleSessions, Base: "/oauth2/console", Who: "张三", Scope: ScopeFleet,
				Wrong: ConsoleWrongReason, Reason: "lost\tphone"})
		})},
		{"console_requests", "GET", "/oauth2/console/requests", shows(func(w http.ResponseWriter, r *http.Request) {
			at := time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)
			p.Console(w, r, ConsoleData{View: ConsoleRequests, Base: "/oauth2/console", Who: "张三", Requestable: true, Total: 2,
				Requests: []ConsoleRequest{{ID: "ONE", Name: "李四", User: "lisi", Route: "/admin/", Reason: "对账", For: "1h0m0s", Requested: at},
					{ID: "TWO", Name: "李四", User: "lisi", Route: "/admin/", For: "1h0m0s", By: "张三", Requested: at, Until: at.Add(time.Hour)}}})
		})},
		{"console_refusals", "GET", "/oauth2/console/refusals", shows(func(w http.ResponseWriter, r *http.Request) {
			at := time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC)
			p.Console(w, r, ConsoleData{View: ConsoleRefusals, Base: "/oauth2/console", Who: "张三", Total: 2,
				Scope: ScopeFleet, Incomplete: true, Refusals: []ConsoleRefusal{{At: at, Name: "孙七", User: "sunqi", Code: "not_member", Address: "192.0.2.7"},
					{At: at, Name: "李四", User: "lisi", Code: "not_allowed", Route: "app.example.com/admin/", Rule: "departments 42",
						Explain: "dinggate explain --user lisi --lookup --url 'https://app.example.com/admin/'"}}})
		})},
		{"console_status", "GET", "/oauth2/console/status", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Console(w, r, ConsoleData{View: ConsoleStatus, Base: "/oauth2/console", Who: "张三",
				Facts: []ConsoleFact{{Name: "Session store", Value: "redis · up"}, {Name: "Replica one", Value: "silent", Bad: true}}})
		})},
		{"who_bound", "GET", "/oauth2/userinfo", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Bindings(w, r, WhoAmIData{Name: "zs", Username: "zs", SignOutURL: "/oauth2/sign_out"},
				BindingData{
					Person: "张三 (zhangsan)",
					Since:  time.Date(2026, 11, 29, 9, 30, 0, 0, time.UTC),
					ID:     "ID",
					Action: "/oauth2/userinfo?rd=%2Fwiki",
					News:   true,
					Next:   "/wiki",
				})
		})},
		{"silent", "GET", "/wiki?a=1", shows(func(w http.ResponseWriter, r *http.Request) {
			p.Silent(w, r, SilentData{
				CorpID:   "dingcorp",
				ClientID: "dingapp",
				State:    "STATE",
				PostURL:  "/oauth2/silent",
				StartURL: "/oauth2/start?silent=no&rd=%2Fwiki",
			})
		})},
		{"not_allowed", "GET", "/admin/?tab=1",
			fails(&web.Error{Status: 403, Code: "not_allowed", Who: "赵六 (zhaoliu)", Wanted: "/admin/?tab=1"})},
		{"confirm_switch", "GET", "/oauth2/sign_out?then=sign_in", shows(func(w http.ResponseWriter, r *http.Request) {
			p.ConfirmSwitch(w, r, "/oauth2/sign_out?then=sign_in&rd=%2Fadmin%2F", "赵六 (zhaoliu)",
				"https://login.dingtalk.com/oauth2/auth?state=", "/admin/")
		})},
		{"not_member", "GET", "/oauth2/callback?authCode=CANARY&state=CANARY",
			fails(&web.Error{Status: 403, Code: "not_member"})},
		{"state_expired", "GET", "/oauth2/callback?code=CANARY&state=CANARY",
			fails(&web.Error{Status: 403, Code: "state_expired", Retry: "/oauth2/start?rd=%2Fwiki"})},
		{"unauthenticated", "GET", "/wiki",
			fails(&web.Error{
				Status:   401,
				Code:     "unauthenticated",
				LoginURL: "https://app.example.com/oauth2/start?rd=%2Fwiki",
			})},
		{"operator", "GET", "/oauth2/callback?code=CANARY&state=CANARY",
			fails(&web.Error{Status: 503, Code: "permission_missing", Retry: "/oauth2/start"})},
		{"unavailable", "GET", "/wiki",
			fails(&web.Error{Status: 503, Code: "unavailable", RetryAfter: 1500 * time.Millisecond})},
		{"upstream_timeout", "POST", "/wiki/save", fails(&web.Error{Status: 504, Code: "upstream_timeout"})},
		{"no_route", "GET", "/nowhere", fails(&web.Error{Status: 404, Code: "no_route"})},
		{"too_many_attempts", "GET", "/oauth2/start",
			fails(&web.Error{Status: 429, Code: "too_many_attempts", RetryAfter: time.Minute})},
		{"method_not_allowed", "POST", "/oauth2/start",
			fails(&web.Error{Status: 405, Code: "method_not_allowed", Allow: "GET"})},
		{"bad_path", "GET", "/a/%5C", fails(nil)}, // refused by the Chain itself
	}
}

type example struct {
	name, method, target string
	serve                web.HandlerFunc
}

var hashed = regexp.MustCompile(`\.[0-9a-f]{12}\.js`)

var scriptTag = regexp.MustCompile(`(?s)<script(?: src="([^"]*)" defer)?>(.*?)</script>`)

var styleText = regexp.MustCompile(`(?s)<style>(.*)</style>`)

func TestGolden(t *testing.T) {
	defer func(local *time.Location) { time.Local = local }(time.Local)
	time.Local = time.UTC // as in testdata
	p := pages(t, Config{Title: Both("示例科技"), Contact: Both("it@example.com"), Logo: []byte(dot)})
	for _, x := range examples(p) {
		for _, lang := range []string{"zh", "en"} {
			got := body(t, through(t, p, browser(x.method, x.target, "Accept-Language", lang), x.serve))
			got = styleText.ReplaceAllString(got, "<style></style>")
			got = hashed.ReplaceAllString(got, ".js")
			file := filepath.Join("testdata", x.name+"."+lang+".html")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s in %s differs from %s (go test -update writes it anew):\n%s", x.name, lang, file, got)
			}
		}
	}
}

// TestEveryPage checks what applies to every page (threats O6, O7, W7, W8).
func TestEveryPage(t *testing.T) {
	p := pages(t, Config{Title: Both("示例科技"), Contact: Both("it@example.com"), Logo: []byte(dot)})
	for _, x := range examples(p) {
		resp := through(t, p, browser(x.method, x.target), x.serve)
		text := body(t, resp)
		csp := resp.Header.Get("Content-Security-Policy")
		style := styleText.FindStringSubmatch(text)
		if len(style) != 2 {
			t.Fatalf("%s has no style", x.name)
		}
		sum := sha256.Sum256([]byte(style[1]))
		form, referrer := "form-action 'none'", "no-referrer"
		if strings.Contains(text, "<form") {
			form, referrer = "form-action 'self'", "strict-origin" // W13
		}
		for _, want := range []string{"default-src 'none'",
			"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", "img-src data:",
			"base-uri 'none'", "frame-ancestors 'none'", form} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: CSP = %s, want %s in it", x.name, csp, want)
			}
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": referrer,
			"X-Request-Id":    "7f3a09c2d41be8650a1c93ef", "Content-Type": "text/html; charset=utf-8",
			"Www-Authenticate": ""} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", x.name, name, got, want)
			}
		}
		if meta := `<meta name="referrer" content="strict-origin">`; strings.Contains(text,
			meta) != (referrer == "strict-origin") {
			// a gateway may set a policy of its own
			t.Errorf("%s: %s is there: %v", x.name, meta, strings.Contains(text, meta))
		}
		if resp.ContentLength != int64(len(text)) {
			t.Errorf("%s: Content-Length = %d, want %d", x.name, resp.ContentLength, len(text))
		}
		lower := strings.ToLower(text)
		for _, never := range []string{"javascript:", " style=", "canary", "zgotmplz", "http://",
			"<link rel=\"stylesheet", "user-scalable"} {
			if strings.Contains(lower, never) {
				t.Errorf("%s contains %q", x.name, never)
			}
		}
		for _, script := range scriptTag.FindAllStringSubmatch(text, -1) {
			if source := script[1]; source == "" || script[2] != "" ||
				!strings.Contains(csp, "script-src 'self'") && !strings.Contains(csp, source) {
				t.Errorf("%s: the script %q is inline, or not named in the CSP %s", x.name, script[0], csp)
			}
		}
		if strings.Contains(csp, "script-src") != strings.Contains(text, "<script") {
			t.Errorf("%s: CSP = %s, which does not fit its scripts", x.name, csp)
		}
		if n := strings.Count(text, "<h1 "); n != 1 {
			t.Errorf("%s has %d headings, want 1", x.name, n)
		}
	}
}

func TestNew(t *testing.T) {
	svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)
	for _, row := range []struct {
		c    Config
		want string // in the error, or in the sign-in page
		bad  bool
	}{
		{Config{}, `<h1 id="heading" dir="auto">统一登录</h1>`, false},
		{Config{Title: Both("acme")}, `>A</span>`, false},
		{Config{Logo: []byte(dot)}, `src="data:image/png;base64,`, false},
		{Config{Logo: svg}, `src="data:image/svg+xml;base64,`, false},
		{Config{Logo: []byte("x"), LogoType: "image/webp"}, `src="data:image/webp;base64,`, false},
		{Config{Logo: []byte("hello")}, "text/plain", true},
		{Config{Logo: []byte("x"), LogoType: `image/png" onload="x`}, "use one of", true},
		{Config{Logo: make([]byte, MaxLogo+1), LogoType: "image/png"}, "make it smaller", true},
	} {
		p, err := New(row.c)
		if row.bad {
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("New(%.40v) = %v, want an error with %q", row.c, err, row.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("New(%.40v) = %v", row.c, err)
			continue
		}
		rec := httptest.NewRecorder()
		p.SignIn(rec, browser("GET", "/oauth2/sign_in"), SignInData{StartURL: "/oauth2/start"})
		if !strings.Contains(rec.Body.String(), row.want) {
			t.Errorf("New(%.40v): sign-in page lacks %q", row.c, row.want)
		}
	}
}
