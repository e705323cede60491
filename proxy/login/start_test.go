package login

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStartJSON(t *testing.T) {
	b := build(t, plan{}).browser()
	a := b.send("GET", "/oauth2/start?rd=%2Fa", "Accept", "application/json")
	var got map[string]string
	if err := json.Unmarshal([]byte(a.text), &got); err != nil || a.StatusCode != 200 || len(got) != 4 {
		t.Fatalf("start = %d %s, %v", a.StatusCode, a.text, err)
	}
	if got["client_id"] != "ding-app" || got["redirect_uri"] != "https://app.test/oauth2/callback" ||
		!strings.Contains(got["authorize_url"], "state="+got["state"]) {
		t.Errorf("start = %v", got)
	}
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("start sends %s", name)
		}
	}
	if a := b.back("zhangsan", got["state"]); a.Header.Get("Location") != "/a" {
		t.Errorf("callback = %d to %q, want /a", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestStartAllows: a link on any page begins a sign-in, and so does a script of dinggate.
func TestStartAllows(t *testing.T) {
	for what, header := range map[string][]string{
		"a link of another site": {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
		"one of our scripts":     {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Accept", "application/json"},
		"a script that takes text too": {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept",
			"application/json, text/plain, */*"},
		"a script on plain http": {"Accept", "application/json", "Referer", "https://app.test/page"},
		"a link on plain http":   {"Accept", "text/html,*/*;q=0.8", "Referer", "http://portal.test/"},
		"no browser":             {"Accept", "application/json"},
		"curl":                   {"Accept", "*/*"},
		"no headers":             nil,
	} {
		b := build(t, plan{}).browser()
		if b.send("GET", "/oauth2/start", header...); len(b.attempts()) != 1 {
			t.Errorf("%s began %d attempts, want one", what, len(b.attempts()))
		}
	}
}

func TestStartRefuses(t *testing.T) {
	b := build(t, plan{}).browser()
	for _, c := range []struct {
		what, method, address string
		header                []string
		status                int
		code                  string
	}{
		{"prefetch", "GET", "/oauth2/start", []string{"Sec-Purpose", "prefetch;prerender"}, 400, "bad_request"},
		{"old prefetch", "GET", "/oauth2/start", []string{"Purpose", "prefetch"}, 400, "bad_request"},
		{"POST", "POST", "/oauth2/start", nil, 405, "method_not_allowed"},
		{"rd twice", "GET", "/oauth2/start?rd=%2Fa&rd=%2Fb", nil, 400, "bad_request"},
		{"a sibling's image", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403,
			"cross_site"},
		{"another site's frame", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 403, "cross_site"},
		{"one of our frames", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 403, "embedded"},
		{"an old frame", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "frame"}, 403,
			"embedded"},
		{"an object", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object"}, 403,
			"embedded"},
		{"an embed", "GET", "/oauth2/start", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "embed"}, 403,
			"cross_site"},
		{"an unknown destination", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "fencedframe"}, 403, "embedded"},
		{"two destinations", "GET", "/oauth2/start", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Dest", "iframe"}, 403,
			"embedded"},
		{"one of our images", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept",
				"image/avif,*/*;q=0.8"}, 403, "embedded"},
		{"one of our images that wants JSON", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "application/json"}, 403, "embedded"},
		{"one of our scripts that would be redirected", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}, 403, "embedded"},
		{"an image on plain http", "GET", "/oauth2/start", []string{"Accept", "image/webp,image/avif,*/*;q=0.8"}, 403, "embedded"},
		{"a style on plain http", "GET", "/oauth2/start", []string{"Accept", "text/css,*/*;q=0.1"}, 403, "embedded"},
		{"another site's script element on plain http", "GET", "/oauth2/start", []string{"Accept", "*/*", "Referer", "http://evil.test/"}, 403, "cross_site"},
		{"another site's request for JSON on plain http", "GET", "/oauth2/start", []string{"Accept", "application/json", "Referer", "http://evil.test/"}, 403,
			"cross_site"},
		{"a frame of a page", "GET", "/page",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 401, "unauthenticated"},
		{"one of our frames that loads a page", "GET", "/page",
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 401, "unauthenticated"},
		{"a purpose in a frame", "GET", "/elsewhere",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"}, 403, "cross_site"},
		{"a script of another site", "GET", "/oauth2/start",
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Accept", "application/json", "Origin", "https://evil.test"}, 403, "cross_site"},
		{"an old browser's script", "GET", "/oauth2/start", []string{"Accept", "application/json", "Origin", "https://evil.test"}, 403, "cross_site"},
	} {
		a := b.send(c.method, c.address, c.header...)
		b.refused(c.what, a, c.status, c.code, 0)
		if len(b.attempts()) > 0 {
			t.Errorf("%s left an attempt", c.what)
		}
	}
}
