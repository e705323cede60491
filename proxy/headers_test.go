package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
)

// protectedNames are headers that only we may send to an upstream (threats H).
var protectedNames = []string{
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups",
	"X-Forwarded-Access-Token",
	"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"X-Forwarded-Uri", "X-Forwarded-Server",
	"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Original-Host", "X-Rewrite-Url", "X-Real-Ip",
	"X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
	"Forwarded", "Proxy", "Remote-User", "Remote-Addr", "Remote-Groups", "X-Client-Cert-Subject", "Ssl-Client-S-Dn",
	"X-Http-Method-Override", "X-Request-Id",
}

// spellings are ways to write a name that some server treats as that name.
func spellings(name string) []string {
	lower := strings.ToLower(name)
	mixed := strings.ReplaceAll(name, "-", "_")
	if i := strings.IndexByte(name, '-'); i >= 0 {
		mixed = name[:i] + "_" + name[i+1:]
	}
	return []string{name, lower, strings.ToUpper(name), mixed, strings.ReplaceAll(lower, "-", "_"),
		strings.ReplaceAll(strings.ToUpper(name), "-", "_"),
		strings.ReplaceAll(lower, "-", "."), strings.ReplaceAll(lower, "-", ""), strings.ReplaceAll(lower, "-", "--"),
		"_" + lower, lower + "_", "-" + lower}
}

// TestForged sends 34 names in 12 spellings to every kind of route (H1, H2, H3, H6, H7): an
// upstream receives our values, and nothing else in any spelling.
func TestForged(t *testing.T) {
	d := open(t, plan{app: echo})
	_, cookie := d.signIn("zhangsan")
	ours := map[string]string{
		"X-Forwarded-User": "zhangsan", "X-Forwarded-Email": "zhangsan@example.com",
		"X-Forwarded-Preferred-Username": "%E5%BC%A0%E4%B8%89", "X-Forwarded-Groups": "",
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Host": host,
		"X-Forwarded-Proto": "https",
	}
	protected := web.NewProtected()
	ran := 0
	for _, name := range protectedNames {
		for i, spelling := range spellings(name) {
			copies := []string{spelling + ": forged"}
			if i%2 == 0 { // several, one empty
				copies = append(copies, spelling+":", spelling+": forged, forged")
			}
			for _, c := range []struct {
				line, cookie string
				person       bool
			}{{"GET /public/", "", false}, {"GET /public/", cookie, true}, {"GET /", cookie, true},
				{"POST /plain/", cookie, true}} {
				ran++
				_, body := d.do(c.line, append(copies, "Cookie: "+c.cookie)...)
				if strings.Contains(body, "forged") {
					t.Errorf("%s, %s: the upstream saw %s", c.line, spelling, body)
				}
				saw := sawOf(t, body)
				for name, values := range saw.Header {
					want, ok := ours[name]
					if ok && (c.person ||
						!slices.ContainsFunc(requestRules, func(r identity.HeaderRule) bool {
							return r.Name == name
						})) {
						if len(values) != 1 || values[0] != want {
							t.Errorf("%s, %s: the upstream saw %s: %q, want %q", c.line, spelling, name, values, want)
						}
					} else if protected.Has(name) && name != "X-Request-Id" || len(saw.Header["X-Request-Id"]) != 1 {
						t.Errorf("%s, %s: the upstream saw %s: %q", c.line, spelling, name, values)
					}
				}
				if _, there := saw.Header["X-Forwarded-Groups"]; there != c.person { // empty, but present
					t.Errorf("%s, %s: X-Forwarded-Groups there %t, want %t", c.line, spelling, there, c.person)
				}
			}
		}
	}
	if ran < 34*12*4 {
		t.Errorf("ran %d, want %d", ran, 34*12*4)
	}
}

// TestForgedHTTP2 does the same over HTTP/2, where names are in lower case.
func TestForgedHTTP2(t *testing.T) {
	d := open(t, plan{app: echo})
	_, cookie := d.signIn("zhangsan")
	server := httptest.NewUnstartedServer(d.server.Config.Handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, name := range []string{"x-forwarded-user", "x_forwarded_user", "x.forwarded.user", "remote-user",
		"x-forwarded-for"} {
		req, err := http.NewRequest("POST", server.URL+"/a?b", strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header = http.Header{name: {"forged"}, "Cookie": {cookie}}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if saw := sawOf(t, string(body)); res.ProtoMajor != 2 || strings.Contains(string(body), "forged") ||
			saw.Header.Get("X-Forwarded-User") != "zhangsan" || saw.Body != "abc" {
			t.Errorf("%s over %s: the upstream saw %s", name, res.Proto, body)
		}
	}
}

// TestConnectionNames: names listed in Connection are removed before dinggate's are set (H4).
func TestConnectionNames(t *testing.T) {
	d := open(t, plan{app: echo})
	_, cookie := d.signIn("zhangsan")
	for _, list := range []string{"X-Forwarded-User", "x-forwarded-user, X-FORWARDED-EMAIL",
		"X-Forwarded-For\r\nConnection: X-Forwarded-Host,X-Forwarded-User",
		"keep-alive, X-Forwarded-User, X-Request-Id"} {
		_, body := d.do("GET /", "Cookie: "+cookie, "Connection: "+list)
		h := sawOf(t, body).Header
		for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-For", "X-Forwarded-Host",
			"X-Request-Id"} {
			if len(h[name]) != 1 {
				t.Errorf("Connection: %q: the upstream saw %s: %q, want dinggate's", list, name, h[name])
			}
		}
	}
}

// TestRequestTrailers: a protected name arrives neither as an announced trailer nor as an
// unannounced one (H5); others do, with their values.
func TestRequestTrailers(t *testing.T) {
	d := open(t, plan{app: echo})
	_, cookie := d.signIn("zhangsan")
	conn := d.speak("POST / HTTP/1.1\r\nHost: " + host + "\r\nCookie: " + cookie +
		"\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X_Forwarded_User, X-Real-IP\r\n\r\n" +
		"3\r\nabc\r\n0\r\nX-Sum: 42\r\nX_Forwarded_User: forged\r\nX-Real-IP: forged\r\nX-Forwarded-Email: " +
		"forged\r\n\r\n")
	_, body := answered(t, conn, "POST")
	saw := sawOf(t, body)
	if saw.Body != "abc" || len(saw.Trailer) != 1 || saw.Trailer.Get("X-Sum") != "42" ||
		strings.Contains(body, "forged") {
		t.Errorf("the upstream saw %s, want the body and X-Sum alone", body)
	}
}

// TestAuthorization: Authorization is the client's, unless we set it (H8).
func TestAuthorization(t *testing.T) {
	for _, c := range []struct{ rule, line, want string }{
		{"X-Forwarded-User", "GET /", "Bearer client"},
		{"X-Forwarded-User", "GET /public/", "Bearer client"},
		{"Authorization", "GET /", "zhangsan"},
		{"Authorization", "GET /public/none", ""},
	} {
		d := open(t, plan{app: echo, rules: identity.HeaderRules{{Name: c.rule, Field: "username"}}})
		_, cookie := d.signIn("zhangsan")
		if strings.HasSuffix(c.line, "none") {
			cookie = ""
		}
		_, body := d.do(c.line, "Cookie: "+cookie, "Authorization: Bearer client")
		if got := sawOf(t, body).Header.Get("Authorization"); got != c.want {
			t.Errorf("%s with a rule for %s: the upstream saw %q, want %q", c.line, c.rule, got, c.want)
		}
	}
}

// TestHostileDirectory: no value from the directory can begin a second header (H9, H11).
func TestHostileDirectory(t *testing.T) {
	d := open(t, plan{app: echo, policy: []access.Route{{Name: "app", Path: "/", Rule: access.Rule{SignedIn: true}}}})
	for _, name := range []string{"a\r\nX-Forwarded-User: boss", "a\x00b", "\u202eboss", "张三",
		strings.Repeat("长", 300), " a ", "a%0d%0ab"} {
		_, c, err := d.handler.Sessions.Create(t.Context(),
			identity.User{UnionID: "u" + name[:1], Username: "zhangsan", Name: name,
				Roles: []identity.Role{{ID: 1, Name: name + ",boss"}}}, identity.Token{})
		if err != nil {
			t.Fatal(err)
		}
		res, body := d.do("GET /", "Cookie: "+c.Name+"="+c.Value)
		if res.StatusCode != 200 {
			t.Errorf("name %.20q: %d, want 200", name, res.StatusCode)
			continue
		}
		h := sawOf(t, body).Header
		if len(h["X-Forwarded-User"]) != 1 || h.Get("X-Forwarded-User") != "zhangsan" ||
			strings.Contains(h.Get("X-Forwarded-Groups"), ",") {
			t.Errorf("name %.20q: the upstream saw %q", name, h)
		}
	}
}

// TestForwarded: the client's address behind trusted and untrusted proxies (H6, H13).
func TestForwarded(t *testing.T) {
	for _, c := range []struct{ trusted, sent, want, real, proto, host string }{
		{"10.0.0.0/8", "", "127.0.0.1", "127.0.0.1", "https", "app.test"},
		{"10.0.0.0/8", "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.test",
			"127.0.0.1", "127.0.0.1", "https", "app.test"},
		{"127.0.0.0/8", "X-Forwarded-For: 192.0.2.9", "192.0.2.9, 127.0.0.1", "192.0.2.9", "https", "app.test"},
		{"127.0.0.0/8",
			"X-Forwarded-For: 198.51.100.1, 192.0.2.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: APP.test.:80",
			"192.0.2.9, 127.0.0.1", "192.0.2.9", "http", "app.test"},
		{"127.0.0.0/8", "X-Forwarded-For: nonsense", "", "", "https", "app.test"},
	} {
		d := open(t, plan{app: echo, trusted: []string{c.trusted}})
		_, body := d.do("GET /public/", c.sent+"\r\nX-Nothing: 1")
		saw := sawOf(t, body)
		got := [5]string{saw.Header.Get("X-Forwarded-For"), saw.Header.Get("X-Real-Ip"),
			saw.Header.Get("X-Forwarded-Proto"), saw.Header.Get("X-Forwarded-Host"), saw.Host}
		if want := [5]string{c.want, c.real, c.proto, c.host, c.host}; got != want {
			t.Errorf("trusting %s, sent %q: the upstream saw %q, want %q", c.trusted, c.sent, got, want)
		}
	}
}

// TestHostSpelling: one host has one spelling for the upstream too (H13).
func TestHostSpelling(t *testing.T) {
	d := open(t, plan{app: echo})
	for _, spelling := range []string{"app.test", "APP.test", "app.test.", "App.Test.:443"} {
		conn := d.speak("GET /public/ HTTP/1.1\r\nHost: " + spelling + "\r\nConnection: close\r\n\r\n")
		_, body := answered(t, conn, "GET")
		if saw := sawOf(t, body); saw.Host != host || saw.Header.Get("X-Forwarded-Host") != host {
			t.Errorf("Host: %s: the upstream saw %s, want %s", spelling, body, host)
		}
	}
}

// TestCookies: an upstream receives the application's cookies byte for byte, and none of dinggate's
// (C13).
func TestCookies(t *testing.T) {
	d := open(t, plan{app: echo})
	_, ours := d.signIn("zhangsan")
	for _, c := range []struct{ sent, want string }{
		{ours, ""},
		{`a=b; c="d e"; ` + ours, `a=b; c="d e"`},
		{ours + "; a=b;c = d;;e", "a=b;c = d;;e"},
		{"a=b; " + ours + "; __Host-dinggate-attempt-1=x; DINGGATE=y; dinggate =z; dinggate_0=p", "a=b"},
	} {
		_, body := d.do("GET /", "Cookie: "+c.sent)
		if got := strings.Join(sawOf(t, body).Header["Cookie"], "|"); got != c.want {
			t.Errorf("Cookie: %.40q: the upstream saw %q, want %q", c.sent, got, c.want)
		}
	}
}

// TestAnswerCleaned: an upstream can neither set our cookies nor send identity headers (C14, H12),
// in headers, in a 1xx or in trailers.
func TestAnswerCleaned(t *testing.T) {
	d := open(t, plan{app: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for range 2 {
			h["Set-Cookie"] = []string{"app=1", "__Host-dinggate=; Max-Age=0", "DingGate=x", "dinggate-attempt-1=y",
				"=dinggate=z", "other=2; Path=/"}
			h["Clear-Site-Data"] = []string{`"cache"`, `"cookies"`}
			for _, name := range []string{"X-Auth-Request-User", "X-Auth-Request-Groups", "X-Forwarded-User",
				"x_auth_request_email", "Remote-User"} {
				h[name] = []string{"boss"}
			}
			h.Set("Link", "</a.css>")
			if r.URL.Path == "/hints" {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}
		h.Set("X-Request-Id", r.Header.Get("X-Request-Id"))
		h.Set("Trailer", "X-Sum, X-Auth-Request-User")
		io.WriteString(w, "body")
		h.Set("X-Sum", "42")
		h.Set("X-Auth-Request-User", "boss")
		h.Set(http.TrailerPrefix+"X-Forwarded-Email", "boss")
		h.Set(http.TrailerPrefix+"X-Late", "late")
	})})
	_, cookie := d.signIn("zhangsan")
	for _, line := range []string{"GET /", "GET /hints"} {
		conn := d.speak(line + " HTTP/1.1\r\nHost: " + host + "\r\nTE: trailers\r\nCookie: " + cookie +
			"\r\nConnection: close\r\n\r\n")
		raw, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.ToLower(string(raw)); strings.Contains(text, "boss") ||
			strings.Contains(text, "dinggate") || strings.Contains(text, "clear-site-data") ||
			!strings.Contains(text, "x-sum: 42") || !strings.Contains(text, "x-late: late") ||
			!strings.Contains(text, "x-request-id") {
			t.Errorf("%s: the client saw %s", line, raw)
		}
		if n := strings.Count(string(raw), "other=2"); n != map[string]int{"GET /": 1, "GET /hints": 3}[line] {
			t.Errorf("%s: the client saw the application's cookie %d times", line, n)
		}
	}
}

// TestRenewal: a renewed session cookie is sent once, with a page load, and enters no shared cache
// (C6, W6).
func TestRenewal(t *testing.T) {
	cache := ""
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, value, ok := strings.Cut(cache, ": "); ok {
			w.Header().Set(name, value)
		}
		json.NewEncoder(w).Encode(nil)
	}))
	defer app.Close()
	for _, c := range []struct {
		line, header, cache string
		renewed             bool
	}{
		{"GET /", page, "", true},
		{"GET /", page, "Cache-Control: no-cache", true},
		{"GET /", page, "Cache-Control: max-age=60, public", false},
		{"GET /", page, "Cache-Control: S-Maxage=60", false},
		{"GET /", page, "CDN-Cache-Control: max-age=60", false},
		{"GET /", page, "Example-CDN-Cache-Control: max-age=60", false},
		{"GET /", page, "Surrogate-Control: max-age=60", false},
		{"GET /", page, "X-Accel-Expires: 60", false},
		{"GET /", page, "Expires: Thu, 01 Dec 2050 16:00:00 GMT", true},
		{"GET /", "Accept: */*", "", false},
		{"POST /", page, "", false},
		{"GET /", "Sec-Fetch-Mode: cors", "", false},
	} {
		d := open(t, plan{upstream: app.URL})
		s, cookie := d.signIn("zhangsan")
		d.skip.Store(int64(time.Second))
		// The manager re-seals a session whose facts about the person have changed.
		if _, _, err := d.handler.Sessions.Create(t.Context(), later(s.User), identity.Token{}); err != nil {
			t.Fatal(err)
		}
		cache = c.cache
		got := 0
		for range 3 {
			res, _ := d.do(c.line, c.header, "Cookie: "+cookie)
			got += len(res.Header["Set-Cookie"])
			if len(res.Header["Set-Cookie"]) > 0 &&
				!strings.Contains(strings.Join(res.Header["Cache-Control"], ","), "private") {
				t.Errorf("%s %s: renewed with Cache-Control %q, want private", c.line, c.header,
					res.Header["Cache-Control"])
			}
		}
		if want := map[bool]int{true: 1}[c.renewed]; got != want {
			t.Errorf("%s %s, %q: %d cookies in three answers, want %d", c.line, c.header, c.cache, got,
				want)
		}
	}
}

func later(u identity.User) identity.User {
	u.JobNumber = "2"
	return u
}
