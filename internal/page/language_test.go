package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/internal/web"
)

func TestLanguageLink(t *testing.T) {
	for _, row := range []struct{ method, target, want string }{
		{"GET", "/a", "?lang=en"},
		{"HEAD", "/a", "?lang=en"},
		{"GET", "/a?b=1&c=%2F", "?lang=en&b=1&c=%2F"},
		{"GET", "/a?lang=zh", "?lang=en"},
		{"GET", "/a?lang=zh&b=1", "?lang=en&b=1"},
		{"GET", "/a?lang=zhou", "?lang=en&lang=zhou"},
		// the text after a raw rd belongs to it
		{"GET", "/oauth2/sign_in?rd=/wiki?x=1&lang=zh", "?lang=en&rd=/wiki?x=1&lang=zh"},
		{"POST", "/a", ""},
		{"GET", "/oauth2/callback?code=1&state=2", ""},
		{"GET", "/oauth2/callback?x=y&authCode=1", ""},
		{"GET", "/a?" + strings.Repeat("b", maxQuery+1), ""},
	} {
		r := httptest.NewRequest(row.method, row.target, nil)
		if got := string(languageLink(httptest.NewRecorder(), r, "en")); got != row.want {
			t.Errorf("languageLink(%s %.60s) = %q, want %q", row.method, row.target, got, row.want)
		}
	}
}

func TestKeepLanguage(t *testing.T) {
	p := pages(t, Config{})
	const stored = "dinggate-lang=en; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure"
	for _, row := range []struct{ method, target, cookie, want string }{
		{"GET", "/oauth2/sign_in?lang=en", "", stored},
		{"GET", "/oauth2/sign_in?lang=fr", "", ""},
		{"GET", "/oauth2/sign_in", "", ""},
		{"GET", "/wiki?lang=en", "", ""}, // the application's own parameter
		{"GET", "/oauth2x/?lang=en", "", ""},
		{"POST", "/oauth2/sign_out?lang=en", "", ""},
		{"GET", "/oauth2/callback?lang=en&state=x", "", ""},
		{"GET", "/oauth2/sign_in?lang=en", "dinggate=; Max-Age=0", "dinggate=; Max-Age=0"}, // one Set-Cookie per answer
	} {
		resp := through(t, p, browser(row.method, row.target), func(w http.ResponseWriter, r *http.Request) error {
			if row.cookie != "" {
				w.Header().Set("Set-Cookie", row.cookie)
			}
			p.SignIn(w, r, SignInData{StartURL: "/"})
			return nil
		})
		if got := strings.Join(resp.Header["Set-Cookie"], "|"); got != row.want {
			t.Errorf("%s %s after %q: Set-Cookie = %q, want %q", row.method, row.target, row.cookie, got, row.want)
		}
	}
}

// TestRelayed: a page that a gateway relays is shown at an unknown URL: it contains both languages
// and neither link nor cookie.
func TestRelayed(t *testing.T) {
	p := pages(t, Config{})
	resp := through(t, p,
		browser("GET", "/oauth2/forward-auth?lang=en"), func(w http.ResponseWriter, r *http.Request) error {
			x := web.From(w)
			x.Path = web.Path{Raw: "/wiki", Plain: "/wiki"}
			return &web.Error{Status: 403, Code: "not_allowed"}
		})
	text := body(t, resp)
	if strings.Contains(text, "?lang=") || !strings.Contains(text, zhMessages["not_allowed"].Next) ||
		!strings.Contains(text, enMessages["not_allowed"].Text) {
		t.Errorf("relayed page = %s", text)
	}
	if got := resp.Header["Set-Cookie"]; got != nil {
		t.Errorf("relayed page sets %q", got)
	}
}
