package page

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"dinggate/internal/web"
)

// hostile are the values of threats W7.
var hostile = []string{
	`"><svg onload=1>`, `{{7*7}}`, `';alert(1)//`, `</style><script>alert(1)</script>`, "javascript:alert(1)",
	"data:text/html,<script>alert(1)</script>",
	"\u202egpj.exe\u2066\u2069\u200f\u061c", "a\x00b\r\nSet-Cookie: x=y", "\xff\xfe", `//evil.test/`,
	strings.Repeat("长<", 50<<10),
}

// TestHostile: every field of every page takes every hostile value and shows it as text.
func TestHostile(t *testing.T) {
	for _, bad := range hostile {
		p := pages(t, Config{Title: Both(bad), Contact: Both(bad)})
		all := map[string]web.HandlerFunc{
			"sign_in": shows(func(w http.ResponseWriter, r *http.Request) {
				p.SignIn(w, r, SignInData{StartURL: "/oauth2/start?rd=" + bad[:min(len(bad), 1000)]})
			}),
			"sign_in, qr": shows(func(w http.ResponseWriter, r *http.Request) {
				p.SignIn(w, r, SignInData{QR: &QR{bad, bad, bad, "https://login.dingtalk.com"}})
			}),
			"sign_in, whole": shows(func(w http.ResponseWriter, r *http.Request) {
				p.SignIn(w, r, SignInData{StartURL: bad})
			}),
			"account": shows(func(w http.ResponseWriter, r *http.Request) {
				p.Account(w, r, AccountData{bad, bad, &QR{bad, bad, bad, bad}, bad, bad, bad, bad, 401, bad})
			}),
			"signed_out": shows(func(w http.ResponseWriter, r *http.Request) { p.SignedOut(w, r, bad) }),
			"signed_in":  shows(func(w http.ResponseWriter, r *http.Request) { p.SignedIn(w, r, bad) }),
			"confirm":    shows(func(w http.ResponseWriter, r *http.Request) { p.ConfirmSignOut(w, r, bad, bad) }),
			"silent": shows(func(w http.ResponseWriter, r *http.Request) {
				p.Silent(w, r, SilentData{bad, bad, bad, bad, bad})
			}),
			"who": shows(func(w http.ResponseWriter, r *http.Request) {
				p.WhoAmI(w, r, WhoAmIData{bad, bad, bad, []string{bad, bad}, bad, bad})
			}),
			"bindings": shows(func(w http.ResponseWriter, r *http.Request) {
				p.Bindings(w, r,
					WhoAmIData{Name: bad}, BindingData{
						Person:  bad,
						Account: bad,
						ID:      bad,
						Action:  "/" + bad,
						News:    true,
						Next:    bad,
					})
			}),
			"sessions": shows(func(w http.ResponseWriter, r *http.Request) {
				p.Sessions(w, r, SessionsData{Action: "/" + bad, Back: bad, Sessions: []SessionData{{End: bad}}})
			}),
			"error":   fails(&web.Error{Status: 403, Code: bad, Retry: "/" + bad, Allow: "GET"}),
			"refused": fails(&web.Error{Status: 401, Code: "unauthenticated", LoginURL: bad}),
		}
		for name, serve := range all {
			for _, method := range []string{"GET", "POST"} {
				r := browser(method, "/oauth2/x", "Accept-Language", bad, "X-Request-Id", bad)
				r.URL.RawQuery = "rd=" + bad[:min(len(bad), 1500)]
				resp := through(t, p, r, serve)
				if text := body(t, resp); strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
					wantInert(t, name+" with "+bad[:min(len(bad), 40)], text)
				} else if name != "refused" || method != "POST" {
					t.Errorf("%s %s with %.40q is no page", method, name, bad)
				}
				if resp.StatusCode >= 500 {
					t.Errorf("%s with %.40q = %d", name, bad, resp.StatusCode)
				}
			}
		}
	}
}

// allowed matches what no browser follows or runs by itself (a text field's value, a data
// attribute), and our own scripts.
var allowed = regexp.MustCompile(
	` name="username" value="[^"]*"| data-[a-z]+="[^"]*"|<script src="/oauth2/assets/[a-z_]+\.[0-9a-f]{12}\.js" ` +
		`defer></script>|<script src="https://g\.alicdn\.com/dingding/h5-dingtalk-login/0\.21\.0/ddlogin\.js" ` +
		`defer></script>`,
)

// wantInert fails if a page contains anything but our own elements and our own kinds of links.
func wantInert(t *testing.T, name, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: the page is not UTF-8", name)
	}
	if len(text) > 32<<10 {
		t.Errorf("%s: the page has %d bytes, want it cut", name, len(text))
	}
	if strings.ContainsAny(text, "\x00\r\u202e\u2066\u2069\u200f\u061c") {
		t.Errorf("%s: control characters reached the page", name)
	}
	lower := allowed.ReplaceAllString(strings.ToLower(text), "")
	for _, never := range []string{"<script", "<svg onload", `="javascript:`, `="data:text`, `="//`, ">49<"} {
		if strings.Contains(lower, never) {
			t.Errorf("%s: the page contains %q", name, never)
		}
	}
	if n := strings.Count(lower, "</style>"); n != 1 {
		t.Errorf("%s: the page closes its style %d times, want once", name, n)
	}
}

func TestParseContact(t *testing.T) {
	for _, row := range []struct{ in, text, link string }{
		{"", "", ""},
		{"行政部 8 楼", "行政部 8 楼", ""},
		{"张三 zhangsan@example.com", "张三 zhangsan@example.com", ""},
		{"it@example.com", "it@example.com", "mailto:it@example.com"},
		{"mailto:it@example.com?subject=x", "it@example.com", "mailto:it@example.com?subject=x"},
		{"https://help.example.com/", "help.example.com", "https://help.example.com/"},
		{"dingtalk://dingtalkclient/action/sendmsg?dingtalk_id=abc",
			"dingtalk://dingtalkclient/action/sendmsg?dingtalk_id=abc",
			"dingtalk://dingtalkclient/action/sendmsg?dingtalk_id=abc"},
		{"http://help.example.com/", "http://help.example.com/", ""},
		{"https://user:pass@evil.test/", "https://user:pass@evil.test/", ""},
		{"https:evil", "https:evil", ""},
		{"javascript:alert(1)", "javascript:alert(1)", ""},
		{"JavaScript://https://x/%0aalert(1)", "JavaScript://https://x/%0aalert(1)", ""},
		{"data:text/html,x", "data:text/html,x", ""},
		{"java\u200bscript:alert(1)", "javascript:alert(1)", ""},
		{"\u202etset.live\u202c", "tset.live", ""},
	} {
		got := parseContact(row.in)
		if got.Text != row.text || string(got.Link) != row.link {
			t.Errorf("parseContact(%q) = %q, want {%q %q}", row.in, got, row.text, row.link)
		}
	}
}

// FuzzParseContact: for any configuration, a link has one of three schemes.
func FuzzParseContact(f *testing.F) {
	for _, s := range append(hostile, "it@example.com", "https://help.example.com/?a=b", "dingtalk://x/y",
		"mailto:a@b.c") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := parseContact(s)
		if utf8.RuneCountInString(c.Text) > 201 || !utf8.ValidString(c.Text) ||
			strings.ContainsAny(c.Text, "\r\n\u202e") {
			t.Errorf("parseContact(%q).Text = %q", s, c.Text)
		}
		if c.Link == "" {
			return
		}
		u, err := url.Parse(string(c.Link))
		if err != nil || u.Scheme != "https" && u.Scheme != "mailto" && u.Scheme != "dingtalk" {
			t.Errorf("parseContact(%q).Link = %q", s, c.Link)
		}
	})
}
