package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// codeFor lets a browser that is signed in bring a code to the platform's door.
func (v *visitor) codeFor(p *thirdParty, more ...string) (code, state string) {
	v.t.Helper()
	a := v.get(p.authorize() + strings.Join(more, ""))
	q := mustURL(v.t, a.Header.Get("Location")).Query()
	if a.StatusCode != http.StatusFound || q.Get("code") == "" || q.Get("state") == "" {
		v.t.Fatalf("authorize of somebody signed in = %d to %q %s, want 302 with a code", a.StatusCode,
			a.Header.Get("Location"), a.body)
	}
	return q.Get("code"), q.Get("state")
}

// table counts its rows, so that a lost list is noticed.
type table struct {
	t    *testing.T
	h    *testEnv
	rows int
}

// quiet runs a row and checks that DingTalk was not called for it.
func (s *table) quiet(name string, run func() answer) answer {
	s.t.Helper()
	s.rows++
	before := maps.Clone(s.h.platform.AllCalls())
	a := run()
	for path, n := range s.h.platform.AllCalls() {
		if n != before[path] {
			s.t.Errorf("%s: %s at DingTalk was called %d times, want never", name, path, n-before[path])
		}
	}
	if a.StatusCode >= 500 {
		s.t.Errorf("%s = %d, want no 5xx (O3)", name, a.StatusCode)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
		a.Header.Get("Access-Control-Allow-Origin") != "" {
		s.t.Errorf("%s: headers %v, want no-store, nosniff and no CORS permission (W5, O6)", name, a.Header)
	}
	return a
}

// TestAuthorizeTable: T1, T2, R14, R15, T26; nobody is sent anywhere and no
// code is made, whether somebody is signed in or not.
func TestAuthorizeTable(t *testing.T) {
	h, p := ssoTestEnv(t)
	s := &table{t: t, h: h}
	signedIn := h.visitor()
	signedIn.signIn(h.base+"/", "zhangsan")
	good := url.QueryEscape(p.callback())
	loose := url.QueryEscape("https://other.test/callback?x=1")
	id := "client_id=platform&redirect_url="
	rows := []string{
		"", "client_id=platform", "redirect_url=" + good, "client_id=&redirect_url=" + good,
		"client_id=nobody&redirect_url=" + good, "client_id=Platform&redirect_url=" + good,
		"client_id=platform%00&redirect_url=" + good, "client_id=platform%0d%0aX:y&redirect_url=" + good,
		"client_id=platform&client_id=platform&redirect_url=" + good,
		"client_id=other&client_id=platform&redirect_url=" + good, "client_id[]=platform&redirect_url=" + good,
		"CLIENT_ID=platform&redirect_url=" + good, "client_id=%zz&redirect_url=" + good,
		"client_id=pl%D0%B0tform&redirect_url=" + good,
		"client_id=" + strings.Repeat("x", 30_000) + "&redirect_url=" + good,
		id, id + good + "&redirect_url=" + good, id + good + "&redirect_url=https://evil.test/",
		"client_id=platform&redirect_url[]=" + good, "client_id=platform&redirect_uri=" + good,
		"client_id=platform;redirect_url=" + good, id + loose, "client_id=other&redirect_url=" + good,
		id + url.QueryEscape(good), id + "https://evil.test/callback",
		id + good + "%3F", id + good + "%3Fa=b", id + good + "%23", id + good + "%23x", id + good + "%2F",
		id + good + "%2Fx", id + good + "%2F..%2Fcallback", id + good + "%252F", id + good + ";x", id + good + "%00",
		id + good + "%0d%0aSet-Cookie:x", id + good + "%20", id + "%20" + good, id + strings.ToUpper(good),
		id + url.QueryEscape(strings.Replace(p.callback(), "http:", "https:", 1)),
		id + url.QueryEscape(strings.Replace(p.callback(), "http:", "HTTP:", 1)),
		id + url.QueryEscape(strings.Replace(p.callback(), "127.0.0.1", "localhost", 1)),
		id + url.QueryEscape(strings.Replace(p.callback(), "//", "//user@", 1)),
		id + url.QueryEscape(strings.Replace(p.callback(), "/callback", "//callback", 1)),
		id + url.QueryEscape(strings.Replace(p.callback(), "/callback", `\callback`, 1)),
		id + url.QueryEscape(strings.Replace(p.callback(), "/callback", "/%63allback", 1)),
		id + "//evil.test/callback", id + "/callback", id + "javascript:alert(1)", id + good + "@evil.test",
		"client_id=other&redirect_url=" + url.QueryEscape("https://other.test/callback?x=1#y"),
		"client_id=other&redirect_url=" + url.QueryEscape("https://other.test/callback2?x=1"),
		"client_id=other&redirect_url=" + url.QueryEscape(`https://other.test/callback?\`),
		"client_id=other&redirect_url=" + url.QueryEscape("https://other.test/callback?"+strings.Repeat("x", 2000)),
		id + good + "&state=a&state=b", id + good + "&state=%zz", id + good + "&state=a%0ab",
		id + good + "&state=%ff", id + good + "&state=" + strings.Repeat("x", 513),
	}
	for _, query := range rows {
		for who, v := range map[string]*visitor{"nobody": h.visitor(), "zhangsan": signedIn} {
			name := fmt.Sprintf("%s: authorize?%.120s", who, query)
			a := s.quiet(name, func() answer { return v.get(h.base + "/dingtalk/authorize?" + query) })
			if a.StatusCode != 400 || a.Header.Get("Location") != "" || len(a.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s = %d to %q with %q, want a 400 page", name, a.StatusCode, a.Header.Get("Location"),
					a.Header["Set-Cookie"])
			}
			if !strings.Contains(a.Header.Get("Content-Type"), "text/html") ||
				!strings.Contains(a.body, "application") ||
				strings.Contains(strings.ReplaceAll(a.body, `="`+h.base+"/", ""), `="http`) ||
				strings.Contains(a.body, `="//`) || strings.Contains(a.body, `="javascript`) {
				t.Errorf("%s: the page does not tell the person about the application: %.300s", name, a.body)
			}
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
		a := s.quiet(method+" authorize", func() answer { return signedIn.do(method, p.authorize(), "") })
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET" {
			t.Errorf("%s authorize = %d with Allow %q, want 405", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
	if a := signedIn.get(p.authorize(), "Sec-Purpose: prefetch"); a.StatusCode != 400 {
		t.Errorf("a prefetch of authorize = %d, want 400", a.StatusCode)
	}
	// T2: handed back unchanged
	for _, state := range []string{"plain", "a+b/c=", "a b&c=d", "%25", "状态", strings.Repeat("x", 512)} {
		s.rows++
		if _, got := signedIn.codeFor(p, "&state="+url.QueryEscape(state)); got != state {
			t.Errorf("state %q came back as %q", state, got)
		}
	}
	_, one := signedIn.codeFor(p)
	if _, two := signedIn.codeFor(p); one == two || len(one) < 22 {
		t.Errorf("the states we make up are %q and %q", one, two)
	}
	a := signedIn.get(h.base + "/dingtalk/authorize?client_id=other&redirect_url=" +
		url.QueryEscape("https://other.test/callback?tenant=7&code=old&%73tate=old"))
	// R18
	if at := a.Header.Get("Location"); !strings.HasPrefix(at, "https://other.test/callback?tenant=7&code=") ||
		strings.Count(at, "code=") != 1 || strings.Contains(at, "old") {
		t.Errorf("a callback with a query of its own = %q", at)
	}
	if s.rows < 120 {
		t.Errorf("%d rows, want at least 120", s.rows)
	}
}

// TestSSOCallbackTable: T23, R16, R17, S8: what was sealed in this browser
// counts, and a refusal asks nobody and sends nobody anywhere.
func TestSSOCallbackTable(t *testing.T) {
	h, p := ssoTestEnv(t)
	s := &table{t: t, h: h}
	v := h.visitor()
	// …/dingtalk/callback?forward_url=…&authCode=…&state=…
	good := mustURL(t, v.choose(v.leaveSSO(p), "zhangsan")).String()
	page := mustURL(t, v.choose(v.leave(h.base+"/"), "zhangsan"))
	forward := "forward_url=" + url.QueryEscape(p.callback())
	w := h.visitor()
	noCode := strings.Replace(w.choose(w.leaveSSO(p), "zhangsan"), "authCode=", "x=", 1)
	if !strings.Contains(good, forward) {
		t.Fatalf("DingTalk sends the browser to %q, without forward_url", good)
	}
	other := "forward_url=" + url.QueryEscape(p.base+"/callback?tenant=1&code=old") // registered, but not the one
	for _, row := range []struct {
		name, address string
		status        int
	}{
		{"forward_url changed", strings.Replace(good, forward, "forward_url=https%3A%2F%2Fevil.test%2F", 1), 400},
		{"forward_url changed to another registered one", strings.Replace(good, forward, other, 1), 400},
		{"forward_url empty", strings.Replace(good, forward, "forward_url=", 1), 400},
		{"forward_url missing", strings.Replace(good, forward+"&", "", 1), 400},
		{"forward_url twice", good + "&" + forward, 400},
		{"forward_url and an evil one", good + "&forward_url=https://evil.test/", 400},
		{"forward_url with a fragment", strings.Replace(good, forward, forward+"%23x", 1), 400},
		{"state of a page's sign-in", strings.Replace(good, "state=", "state="+page.Query().Get("state")+"&x=", 1),
			403},
		{"the SSO's state at the page's callback", h.base + "/oauth2/callback?" + mustURL(t, good).RawQuery, 403},
		{"no state", strings.Replace(good, "state=", "x=", 1), 403},
		{"unknown state", h.base + "/dingtalk/callback?" + forward + "&authCode=x&state=" + strings.Repeat("A", 43),
			403},
		{"doubled state", good + "&state=x", 400},
		{"no code", noCode, 400}, // uses its attempt up
		{"nothing", h.base + "/dingtalk/callback", 403},
	} {
		a := s.quiet(row.name, func() answer {
			if row.address == noCode {
				return w.get(noCode)
			}
			return v.get(row.address)
		})
		if a.StatusCode != row.status || a.Header.Get("Location") != "" || sessionOf(a) != "" {
			t.Errorf("%s = %d to %q with session %q, want %d and nothing", row.name, a.StatusCode,
				a.Header.Get("Location"), sessionOf(a), row.status)
		}
	}
	for name, who := range map[string]*visitor{"another browser": h.visitor(),
		"one that began another sign-in": func() *visitor { w := h.visitor(); w.leaveSSO(p); return w }()} {
		a := s.quiet(name, func() answer { return who.get(good) })
		if a.StatusCode != 403 || a.Header.Get("Location") != "" || sessionOf(a) != "" {
			t.Errorf("%s = %d to %q, want 403", name, a.StatusCode, a.Header.Get("Location"))
		}
	}
	for _, method := range []string{"HEAD", "POST"} {
		if a := s.quiet(method, func() answer { return v.do(method, good, "") }); a.StatusCode != 405 {
			t.Errorf("%s callback = %d, want 405", method, a.StatusCode)
		}
	}
	if p.lastCallback != "" {
		t.Errorf("the platform heard of it: %s", p.lastCallback)
	}
	if a := v.get(good); a.StatusCode != 302 || !strings.HasPrefix(a.Header.Get("Location"), p.callback()+"?code=") {
		t.Errorf("the right browser after all that = %d to %q %s", a.StatusCode, a.Header.Get("Location"), a.body)
	}
	if a := v.get(good); a.StatusCode != 403 || a.Header.Get("Location") != "" {
		t.Errorf("the same callback twice = %d, want 403", a.StatusCode)
	}
	denied := w.get(w.leaveSSO(p) + "&person=-").Header.Get("Location")
	if a := w.get(denied); a.StatusCode != 403 || a.Header.Get("Location") != "" ||
		!strings.Contains(a.body, url.QueryEscape("/dingtalk/authorize?client_id=platform")) {
		t.Errorf("denied at DingTalk = %d, want a page that begins the third party's sign-in again:\n%s",
			a.StatusCode, a.body)
	}
}

func basicHeader(text string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

// TestTokenTable: T4, T11–T14, T26. Every row carries the right code and state,
// and after all of them the rightful client still gets its tokens.
func TestTokenTable(t *testing.T) {
	h, p := ssoTestEnv(t)
	s := &table{t: t, h: h}
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	code, state := v.codeFor(p, "&state=of-the-client")
	right := basicHeader(p.id + ":" + p.secret)
	body := "code=" + code + "&state=" + state
	const plain = "Content-Type: text/plain"
	type row struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}
	rows := []row{
		{"no credentials", "", "", body, []string{plain}, 401, "invalid_client"},
		{"empty", "", "", body, []string{plain, "Authorization: "}, 401, "invalid_client"},
		{"Bearer", "", "", body, []string{plain, strings.Replace(right, "Basic", "Bearer", 1)}, 401, "invalid_client"},
		{"no base64", "", "", body, []string{plain, "Authorization: Basic " + p.id + ":" + p.secret}, 401,
			"invalid_client"},
		{"no colon", "", "", body, []string{plain, basicHeader(p.id + p.secret)}, 401, "invalid_client"},
		{"no name", "", "", body, []string{plain, basicHeader(":" + p.secret)}, 401, "invalid_client"},
		{"no password", "", "", body, []string{plain, basicHeader(p.id + ":")}, 401, "invalid_client"},
		{"no padding", "", "", body, []string{plain, strings.TrimRight(basicHeader("ab:c"), "=")}, 401,
			"invalid_client"},
		{"two lines", "", "", body, []string{plain, right, right}, 401, "invalid_client"},
		{"two clients", "", "", body, []string{plain, right, basicHeader("other:other-secret-0123456789")}, 401,
			"invalid_client"},
		{"NUL", "", "", body, []string{plain, basicHeader(p.id + ":" + p.secret + "\x00")}, 401, "invalid_client"},
		{"line break", "", "", body, []string{plain, basicHeader(p.id + "\r\n:" + p.secret)}, 401, "invalid_client"},
		{"60 KiB", "", "", body, []string{plain, basicHeader(p.id + ":" + strings.Repeat("x", 40_000))}, 401,
			"invalid_client"},
		{"unknown client", "", "", body, []string{plain, basicHeader("nobody:" + p.secret)}, 401, "invalid_client"},
		{"client in capitals", "", "", body, []string{plain, basicHeader("PLATFORM:" + p.secret)}, 401,
			"invalid_client"},
		{"wrong first byte", "", "", body, []string{plain, basicHeader(p.id + ":X" + p.secret[1:])}, 401,
			"invalid_client"},
		{"wrong last byte", "", "", body, []string{plain, basicHeader(p.id + ":" + p.secret[:len(p.secret)-1] + "X")},
			401, "invalid_client"},
		{"a prefix", "", "", body, []string{plain, basicHeader(p.id + ":" + p.secret[:5])}, 401, "invalid_client"},
		{"another's secret", "", "", body, []string{plain, basicHeader(p.id + ":other-secret-0123456789")}, 401,
			"invalid_client"},
		{"credentials in the body", "", "", body + "&client_id=" + p.id + "&client_secret=" + p.secret,
			[]string{plain}, 401, "invalid_client"},
		{"credentials in the query", "", "?client_id=" + p.id + "&client_secret=" + p.secret, body, []string{plain},
			401, "invalid_client"},
		{"another client in the body", "", "", body + "&client_id=other", []string{plain, right}, 400,
			"invalid_request"},
		{"an odd client in the body", "", "", body + "&client_id=platform%00", []string{plain, right}, 400,
			"invalid_request"},

		{"JSON", "", "", `{"code":"` + code + `"}`, []string{"Content-Type: application/json", right}, 415,
			"invalid_request"},
		{"JSON type", "", "", body, []string{"Content-Type: application/json", right}, 415, "invalid_request"},
		{"multipart", "", "", body, []string{"Content-Type: multipart/form-data; boundary=x", right}, 415,
			"invalid_request"},
		{"html", "", "", body, []string{"Content-Type: text/html", right}, 415, "invalid_request"},
		{"two types", "", "", body, []string{plain, "Content-Type: application/x-www-form-urlencoded", right}, 415,
			"invalid_request"},
		{"no type at all", "", "", body, []string{"Content-Type: /", right}, 415, "invalid_request"},
		{"gzip", "", "", body, []string{plain, "Content-Encoding: gzip", right}, 415, "invalid_request"},
		{"identity", "", "", body, []string{plain, "Content-Encoding: identity", right}, 415, "invalid_request"},

		{"empty body", "", "", "", []string{plain, right}, 400, "invalid_request"},
		{"one byte", "", "", "c", []string{plain, right}, 400, "invalid_request"},
		{"no code", "", "", "state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"no state", "", "", "code=" + code, []string{plain, right}, 400, "invalid_request"},
		{"empty code", "", "", "code=&state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"empty state", "", "", "code=" + code + "&state=", []string{plain, right}, 400, "invalid_request"},
		{"code twice", "", "", body + "&code=" + code, []string{plain, right}, 400, "invalid_request"},
		{"state twice", "", "", body + "&state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"Code beside code", "", "", body + "&Code=x", []string{plain, right}, 400, "invalid_request"},
		{"capitals", "", "", "CODE=" + code + "&STATE=" + state, []string{plain, right}, 400, "invalid_request"},
		{"array", "", "", "code[]=" + code + "&state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"semicolon", "", "", "code=" + code + ";state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"BOM", "", "", "\xef\xbb\xbf" + body, []string{plain, right}, 400, "invalid_request"},
		{"leading blank", "", "", " " + body, []string{plain, right}, 400, "invalid_request"},
		{"trailing blank", "", "", body + " ", []string{plain, right}, 400, "invalid_request"},
		{"two line breaks", "", "", body + "\n\n", []string{plain, right}, 400, "invalid_request"},
		{"line break inside", "", "", "code=" + code + "\n&state=" + state, []string{plain, right}, 400,
			"invalid_request"},
		{"NUL inside", "", "", body + "\x00", []string{plain, right}, 400, "invalid_request"},
		{"bad percent", "", "", body + "&x=%", []string{plain, right}, 400, "invalid_request"},
		{"final ampersand", "", "", body + "&", []string{plain, right}, 400, "invalid_request"},
		{"in quotes", "", "", `"` + body + `"`, []string{plain, right}, 400, "invalid_request"},
		{"only in the query", "", "?" + body, "x=y", []string{plain, right}, 400, "invalid_request"},
		{"another grant", "", "", body + "&grant_type=password", []string{plain, right}, 400, "unsupported_grant_type"},
		{"refresh without a token", "", "", body + "&grant_type=refresh_token", []string{plain, right}, 400,
			"invalid_request"},
		{"8 KiB and 1", "", "", body + "&x=" + strings.Repeat("x", 8<<10+1-len(body)-3), []string{plain, right}, 413,
			"invalid_request"},
		{"1 MiB", "", "", body + "&x=" + strings.Repeat("x", 1<<20), []string{plain, right}, 413, "invalid_request"},

		{"wrong state", "", "", body + "x", []string{plain, right}, 400, "invalid_grant"},
		{"code as state", "", "", "code=" + code + "&state=" + code, []string{plain, right}, 400, "invalid_grant"},
		{"swapped", "", "", "code=" + state + "&state=" + code, []string{plain, right}, 400, "invalid_grant"},
		{"unknown code", "", "", "code=" + strings.Repeat("A", len(code)) + "&state=" + state, []string{plain, right},
			400, "invalid_grant"},
		{"cut code", "", "", "code=" + code[:len(code)-1] + "&state=" + state, []string{plain, right}, 400,
			"invalid_grant"},
		{"longer code", "", "", "code=" + code + "A&state=" + state, []string{plain, right}, 400, "invalid_grant"},
		{"code in capitals", "", "", "code=" + strings.ToUpper(code) + "&state=" + state, []string{plain, right}, 400,
			"invalid_grant"},
		{"a huge code", "", "", "code=" + strings.Repeat("A", 7000) + "&state=" + state, []string{plain, right}, 400,
			"invalid_grant"},
		{"code as a refresh token", "", "", "grant_type=refresh_token&refresh_token=" + code, []string{plain, right},
			400, "invalid_grant"},
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		rows = append(rows, row{method, method, "?" + body, "", []string{plain, right}, 405, "invalid_request"})
	}
	unauthorized := map[string]bool{}
	for _, r := range rows {
		if r.method == "" {
			r.method = "POST"
		}
		a := s.quiet(r.name, func() answer {
			c := h.visitor()
			c.header = http.Header{}
			return c.do(r.method, h.base+"/dingtalk/token"+r.path, r.body, r.headers...)
		})
		if a.StatusCode != r.status ||
			r.method != "HEAD" && !strings.HasPrefix(a.body, `{"error":"`+r.code+`","error_description":"`) ||
			a.Header.Get("Location") != "" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s = %d %s %v, want %d %s", r.name, a.StatusCode, a.body, a.Header, r.status, r.code)
		}
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: Content-Type %q, want JSON", r.name, a.Header.Get("Content-Type"))
		}
		if r.status == 401 {
			unauthorized[a.body] = true
			if !strings.HasPrefix(a.Header.Get("Www-Authenticate"), "Basic ") {
				t.Errorf("%s: WWW-Authenticate %q", r.name, a.Header.Get("Www-Authenticate"))
			}
		}
		if r.status == 405 && a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q, want POST", r.name, a.Header.Get("Allow"))
		}
	}
	if len(unauthorized) != 1 {
		t.Errorf("401 has %d bodies, want one: %v", len(unauthorized), unauthorized)
	}
	if s.rows < 60 {
		t.Errorf("%d rows, want at least 60", s.rows)
	}
	if status, text := p.token(code, state); status != 200 {
		t.Errorf("the rightful client after all that = %d %s, want its tokens", status, text)
	}
	// T11
	for _, kind := range []string{"text/plain; charset=utf-8", "TEXT/PLAIN", "application/x-www-form-urlencoded",
		"application/x-www-form-urlencoded; charset=UTF-8", ""} {
		code, state := v.codeFor(p)
		headers := []string{right}
		if kind != "" {
			headers = append(headers, "Content-Type: "+kind)
		}
		a := s.quiet(kind, func() answer {
			return h.visitor().do("POST", h.base+"/dingtalk/token", "code="+code+"&state="+state+"\n", headers...)
		})
		if a.StatusCode != 200 {
			t.Errorf("Content-Type %q = %d %s, want 200", kind, a.StatusCode, a.body)
		}
	}
	// an empty state, as public scripts send it
	for given, want := range map[string]int{"": 200, "&state=": 200, "&state=s": 400} {
		code, _ := v.codeFor(p, given)
		if status, text := p.token(code, ""); status != want {
			t.Errorf("an empty state after authorize%s = %d %s, want %d", given, status, text, want)
		}
		if status, text := p.token(code, ""); status != 400 || want == 200 && !strings.Contains(text, "invalid_grant") {
			t.Errorf("the same again = %d %s, want 400", status, text)
		}
		if status, _ := p.token(code, "s"); (status == 200) != (want == 400) {
			t.Errorf("the code of authorize%s with its state afterwards = %d", given, status)
		}
	}
	for _, odd := range []string{"a+b/c=", "a%26b", "x y"} { // back letter for letter, or as a form encodes it
		for _, form := range []bool{false, true} {
			code, state := v.codeFor(p, "&state="+url.QueryEscape(odd))
			if form || strings.ContainsAny(odd, " ") {
				state = url.QueryEscape(state)
			}
			if status, text := p.token(code, state); status != 200 {
				t.Errorf("state %q sent back as %q = %d %s", odd, state, status, text)
			}
		}
	}
}

// TestTokenBodies: T13: a body without end is cut off, one that drips ends
// after ten seconds, and neither holds the answer.
func TestTokenBodies(t *testing.T) {
	h, p := ssoTestEnv(t)
	ask := func(head, body string, slow bool) (string, time.Duration) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(40 * time.Second))
		began := time.Now()
		fmt.Fprintf(conn, "POST /dingtalk/token HTTP/1.1\r\nHost: %s\r\n%s\r\n%s\r\n\r\n%s",
			strings.TrimPrefix(h.base, "http://"), basicHeader(p.id+":"+p.secret), head, body)
		if slow {
			go func() {
				for range 30 {
					time.Sleep(500 * time.Millisecond)
					if _, err := io.WriteString(conn, "c"); err != nil {
						return
					}
				}
			}()
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", head, err)
		}
		return strings.TrimSpace(line), time.Since(began)
	}
	if line, _ := ask("Content-Length: 104857600", "code=", false); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("100 MiB announced = %s, want 413", line)
	}
	if line, _ := ask("Transfer-Encoding: chunked", "4000\r\n"+strings.Repeat("x", 0x4000)+"\r\n",
		false); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("16 KiB of a body without end = %s, want 413", line)
	}
	if line, took := ask("Content-Length: 100", "code=", true); line != "HTTP/1.1 408 Request Timeout" ||
		took < 9*time.Second {
		t.Errorf("a byte now and then = %s after %v, want 408 after 10 s", line, took)
	}
}
