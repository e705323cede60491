package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dinggate/internal/web"
)

func TestAnswerJSON(t *testing.T) {
	p := pages(t, Config{})
	secret := errors.New("dial tcp 10.1.2.3:80: access_token=CANARY")
	for _, row := range []struct {
		name   string
		err    error
		lang   string
		status int
		want   map[string]string // the whole object
	}{
		{"no session",
			&web.Error{
				Status:   401,
				Code:     "unauthenticated",
				LoginURL: "https://app.example.com/oauth2/start?rd=%2Fa",
			}, "", 401,
			map[string]string{"error": "unauthenticated", "message": zhMessages["unauthenticated"].Text,
				"login_url": "https://app.example.com/oauth2/start?rd=%2Fa"}},
		{"english", &web.Error{Status: 403, Code: "not_allowed", Err: secret}, "en-GB", 403,
			map[string]string{"error": "not_allowed", "message": enMessages["not_allowed"].Text}},
		{"wrapped", fmt.Errorf("front: %w", &web.Error{Status: 503, Code: "store_unavailable", Err: secret}), "en",
			503, map[string]string{"error": "store_unavailable", "message": enMessages["store_unavailable"].Text}},
		{"any error", secret, "en", 500,
			map[string]string{"error": "internal", "message": enMessages["internal"].Text}},
		{"no status", &web.Error{Code: "operator"}, "en", 500,
			map[string]string{"error": "operator", "message": enMessages["operator"].Text}},
		{"no error status", &web.Error{Status: 200}, "en", 500,
			map[string]string{"error": "internal", "message": enMessages["internal"].Text}},
		{"unknown code", &web.Error{Status: 403, Code: "moon_phase"}, "en", 403,
			map[string]string{"error": "moon_phase", "message": enMessages["forbidden"].Text}},
		{"odd code", &web.Error{Status: 418, Code: "a\"<b>\u2028"}, "en", 418,
			map[string]string{"error": "a\"<b>\u2028", "message": enMessages["bad_request"].Text}},
		{"odd login", &web.Error{Status: 401, LoginURL: "/x?a=1&b=\"<\xff"}, "en", 401,
			map[string]string{"error": "internal", "message": enMessages["internal"].Text,
				"login_url": "/x?a=1&b=\"<\ufffd"}},
	} {
		r := httptest.NewRequest("GET", "/api", nil)
		r.Host = "app.example.com"
		if row.lang != "" {
			r.Header.Set("Accept-Language", row.lang)
		}
		resp := through(t, p, r, fails(row.err))
		text := body(t, resp)
		row.want["request_id"] = "7f3a09c2d41be8650a1c93ef"
		var got map[string]string
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: Answer wrote %s: %v", row.name, text, err)
		}
		if fmt.Sprint(got) != fmt.Sprint(row.want) || resp.StatusCode != row.status {
			t.Errorf("%s: Answer = %d %v, want %d %v", row.name, resp.StatusCode, got, row.status, row.want)
		}
		if strings.Contains(text, "CANARY") || strings.Contains(text, "<") {
			t.Errorf("%s: Answer wrote %s", row.name, text)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store",
			"Www-Authenticate": "", "Set-Cookie": "", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; " +
				"form-action 'none'", "Content-Length": fmt.Sprint(len(text))} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", row.name, name, got, want)
			}
		}
	}
}

// TestMissingField: if one field of the directory names people, the message to a person without it
// names the field.
func TestMissingField(t *testing.T) {
	for field, want := range map[string]string{"email": "no_email", "email_localpart": "no_email",
		"job_number": "no_job_number", "userid": "no_username", "": "no_username"} {
		p := pages(t, Config{Username: field})
		e := &web.Error{Status: 403, Code: "no_username", Retry: "/oauth2/start?silent=no&rd=%2F"}
		for accept, text := range map[string]string{"text/html": zhMessages[want].Title,
			"application/json": zhMessages[want].Text} {
			if got := body(t,
				through(t, p, browser("GET", "/oauth2/callback", "Accept", accept, "Accept-Language", "zh"),
					fails(e))); !strings.Contains(got, text) || !strings.Contains(got, "no_username") {
				t.Errorf("without %q a person reads %s, want %q and the code no_username", field, got, text)
			}
		}
	}
}

// TestAnswerWhole: the script of the silent page gets all texts of a page, other clients do not.
func TestAnswerWhole(t *testing.T) {
	p := pages(t, Config{})
	for _, row := range []struct {
		e      web.Error
		button string
	}{
		{web.Error{Status: 403, Code: "external_contact"}, "换个账号"}, {web.Error{Status: 403, Code: "inactive"}, "用钉钉登录"},
		{web.Error{Status: 503, Code: "unavailable"}, "再试一次"},
		{web.Error{Status: 429, Code: "too_many_attempts"}, "再试一次"},
	} {
		for _, endpoint := range []string{"silent", "callback"} {
			var got map[string]string
			text := body(t,
				through(t, p,
					browser("POST", "/oauth2/silent", "Accept", "application/json", "Accept-Language",
						"zh"), func(w http.ResponseWriter, r *http.Request) error {
						web.From(w).Endpoint = endpoint
						return &row.e
					}))
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"error": row.e.Code, "message": zhMessages[row.e.Code].Text,
				"request_id": "7f3a09c2d41be8650a1c93ef"}
			if endpoint == "silent" {
				want["title"], want["next"], want["button"] = zhMessages[row.e.Code].Title,
					zhMessages[row.e.Code].Next, row.button
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s at %s = %v, want %v", row.e.Code, endpoint, got, want)
			}
		}
	}
}

// TestAnswerForWhom: which requests get a page, and which JSON.
func TestAnswerForWhom(t *testing.T) {
	p := pages(t, Config{})
	refused := &web.Error{Status: 403, Code: "not_allowed"}
	unauthenticated := &web.Error{Status: 401, Code: "unauthenticated", LoginURL: "https://app.example.com/oauth2/start"}
	const html = "text/html,*/*;q=0.8"
	for _, row := range []struct {
		method string
		err    error
		header string
		page   bool
	}{
		{"GET", refused, "Accept: " + html, true},
		{"GET", refused, "Sec-Fetch-Mode: navigate", true},
		{"GET", refused, "", false},
		{"GET", refused, "Accept: */*", false},
		{"GET", refused, "Accept: application/json", false},
		{"GET", refused, "Accept: " + html + "|Sec-Fetch-Mode: cors", false},
		{"GET", refused, "Accept: " + html + "|X-Requested-With: XMLHttpRequest", false},
		{"GET", refused, "Accept: " + html + "|Upgrade: websocket", false},
		{"GET", refused, "Accept: " + html + "|Sec-WebSocket-Key: x", false},
		{"POST", refused, "Accept: " + html, true},
		{"POST", refused, "Sec-Fetch-Mode: navigate", true},
		{"POST", refused, "Accept: application/json", false},
		{"GET", unauthenticated, "Accept: " + html, true},
		{"POST", unauthenticated, "Accept: " + html, false},
		{"POST", unauthenticated, "Accept: " + html + "|Sec-Fetch-Mode: navigate", true},
	} {
		r := httptest.NewRequest(row.method, "/", nil)
		for line := range strings.SplitSeq(row.header, "|") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				r.Header.Set(name, value)
			}
		}
		resp := through(t, p, r, fails(row.err))
		if got := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html"); got != row.page {
			t.Errorf("%s with %q and %v: page = %v, want %v", row.method, row.header, row.err, got, row.page)
		}
	}
}

func TestAnswerHeaders(t *testing.T) {
	p := pages(t, Config{})
	resp := through(t, p, browser("GET", "/"), func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Set-Cookie", "__Host-dinggate=; Max-Age=0")
		w.Header().Set("Etag", `"of the file"`)
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", "3")
		return &web.Error{Status: 503, Code: "unavailable", RetryAfter: 1500 * time.Millisecond, Allow: "GET, HEAD"}
	})
	for name, want := range map[string]string{"Retry-After": "2", "Allow": "GET, HEAD",
		"Set-Cookie": "__Host-dinggate=; Max-Age=0", "Etag": "", "Content-Encoding": ""} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestHead(t *testing.T) {
	p := pages(t, Config{})
	for _, accept := range []string{"text/html", "*/*"} {
		for _, serve := range []web.HandlerFunc{fails(&web.Error{Status: 403, Code: "not_allowed"}),
			shows(func(w http.ResponseWriter, r *http.Request) { p.SignedOut(w, r, "/") })} {
			get := through(t, p, browser("GET", "/", "Accept", accept), serve)
			head := through(t, p, browser("HEAD", "/", "Accept", accept), serve)
			if text := body(t, head); text != "" || head.ContentLength != get.ContentLength ||
				head.StatusCode != get.StatusCode || get.ContentLength == 0 {
				t.Errorf("HEAD for %s = %d, %d bytes announced, %d sent, want %d, %d, 0", accept, head.StatusCode,
					head.ContentLength, len(text), get.StatusCode, get.ContentLength)
			}
		}
	}
}

func TestButtons(t *testing.T) {
	p := pages(t, Config{PublicURL: "https://app.example.com"})
	const start, out, other, callback = "/oauth2/start?rd=%2Fa",
		"https://app.example.com/oauth2/sign_out?then=sign_in", "https://app.example.com/oauth2/start?silent=no",
		"/oauth2/callback?code=x&state=y"
	for _, row := range []struct {
		method, target string
		e              web.Error
		want           string
	}{
		{"GET", callback, web.Error{Status: 403, Code: "state_used", Retry: start}, "Sign in again>" + start},
		{"GET", callback, web.Error{Status: 503, Code: "unavailable", Retry: start}, "Try again>" + start},
		{"GET", callback, web.Error{Status: 503, Code: "unavailable"}, ""},
		{"GET", callback, web.Error{Status: 403, Code: "not_member"}, "Use another account>" + other},
		{"GET", callback, web.Error{Status: 403, Code: "not_member", Retry: start}, "Use another account>" + start},
		{"GET", callback, web.Error{Status: 403, Code: "not_bound", Retry: "/oauth2/sign_in?link=x"},
			"Link your account>/oauth2/sign_in?link=x Use another account>" + other},
		{"GET", callback, web.Error{Status: 403, Code: "inactive", Retry: start}, "Sign in again>" + start},
		{"GET", "/a", web.Error{Status: 403, Code: "not_allowed"}, "Use another account>" + out},
		{"GET", "/a", web.Error{Status: 403, Code: "not_allowed", Wanted: "/a?b=1&c=张"},
			"Use another account>" + out + "&rd=%2Fa%3Fb%3D1%26c%3D%E5%BC%A0"},
		{"GET", "/a", web.Error{Status: 403, Code: "not_allowed", Wanted: "https://other.example.com/a"},
			"Use another account>" + out + "&rd=https%3A%2F%2Fother.example.com%2Fa"},
		{"GET", "/a", web.Error{Status: 403, Code: "not_allowed", Wanted: "//evil.test"}, "Use another account>" + out},
		{"GET", "/a", web.Error{Status: 403, Code: "cross_site"}, ""},
		{"GET", "/a",
			web.Error{Status: 401, Code: "unauthenticated", LoginURL: "https://app.example.com/oauth2/start"},
			"Sign in>https://app.example.com/oauth2/start"},
		{"GET", "/a", web.Error{Status: 502, Code: "bad_gateway"}, "Try again>"},
		{"GET", "/a", web.Error{Status: 429, Code: "too_many_attempts"}, "Try again>"},
		{"POST", "/a", web.Error{Status: 502, Code: "bad_gateway"}, ""},
		{"GET", "/a", web.Error{Status: 404, Code: "no_route"}, "Home page>/"},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path"}, ""},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path", Retry: "//evil.test"}, ""},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path", Retry: `/\evil.test`}, ""},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path", Retry: "/\t/evil.test"}, ""},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path", Retry: "https://evil.test/"}, ""},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path", Retry: "javascript:alert(1)"}, ""},
		{"GET", "/a", web.Error{Status: 400, Code: "bad_path", Retry: "/" + strings.Repeat("a", 100<<10)}, ""},
	} {
		first, second := p.buttons(httptest.NewRequest(row.method, row.target, nil), &row.e, enTexts)
		got := ""
		for _, b := range []button{first, second} {
			if b.Label != "" {
				got += " " + b.Label + ">" + b.Href
			}
		}
		if got = strings.TrimPrefix(got, " "); got != row.want {
			t.Errorf("buttons(%s %s, %+v) = %q, want %q", row.method, row.target, row.e, got, row.want)
		}
	}
}

// discard is a ResponseWriter without cost.
type discard struct{ h http.Header }

func (n discard) Header() http.Header         { return n.h }
func (n discard) Write(b []byte) (int, error) { return len(b), nil }
func (n discard) WriteHeader(int)             {}

func BenchmarkAnswerJSON(b *testing.B) {
	p := pages(b, Config{})
	r := httptest.NewRequest("GET", "/api/items", nil)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")
	var err error = &web.Error{
		Status:   401,
		Code:     "unauthenticated",
		LoginURL: "https://app.example.com/oauth2/start?rd=%2F",
	}
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		p.Answer(w, r, err)
	}
}

func BenchmarkAnswerPage(b *testing.B) {
	p := pages(b, Config{Title: Both("示例科技")})
	r := browser("GET", "/admin/")
	var err error = &web.Error{Status: 403, Code: "not_allowed"}
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		p.Answer(w, r, err)
	}
}
