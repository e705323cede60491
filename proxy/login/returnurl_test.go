package login

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/internal/web"

	"dinggate/internal/ratelimit"
)

// Every row is a raw query of /start and the target that the sign-in leads to.
var targets = []struct{ query, want string }{
	// the three forms
	{"", "/"},
	{"rd=", "/"},
	{"rd", "/"},
	{"rd=/", "/"},
	{"rd=%2F", "/"},
	{"rd=%2f", "/"},
	{"rd=/a", "/a"},
	{"rd=%2Fa%3Fb%3D1%26c%3D2%23d", "/a?b=1&c=2#d"},
	{"rd=%2Fa&lang=zh", "/a"},
	{"lang=zh&rd=%2Fa", "/a"},
	{"lang=zh&rd=/a?b&c", "/a?b&c"},
	{"rd=/a?b=1&c=2", "/a?b=1&c=2"},
	{"rd=/a&lang=zh", "/a&lang=zh"},
	{"rd=/a%20b?c=%26", "/a%20b?c=%26"},
	{"rd=%2Fa%2520b", "/a%20b"},
	{"rd=/a?b=1+2", "/a?b=1+2"},
	{"rd=%2Fa%3Fb%3D1%2B2", "/a?b=1+2"},
	{"rd=%2Fa+b", "/a+b"},
	{"rd=https%3A%2F%2Fapp.test%2Fa%3Fb", "/a?b"},
	{"rd=HTTPS%3a%2f%2fAPP.test%2fa", "/a"},
	{"rd=https://app.test%2Fa%3Fb%3D1%26c", "/a?b=1&c"},
	{"rd=https://app.test%2Fa&x=1", "/a"},
	{"rd=https://app.test/a?b=1&c=2", "/a?b=1&c=2"},
	{"rd=https://route.test/a?b=1&c=2", "https://route.test/a?b=1&c=2"},
	{"rd=https%3A%2F%2Froute.test%2F", "https://route.test/"},
	{"rd=https%3A%2F%2Fother.test%3A8443%2Fa", "https://other.test:8443/a"},
	{"rd=https://x.corp.test/a", "https://x.corp.test/a"},
	{"rd=https%3A%2F%2Fcorp.test", "https://corp.test/"},
	{"rd=https://app.test", "/"},
	{"rd=https://app.test?a=1", "/?a=1"},
	{"rd=%2F%E6%8A%A5%E8%A1%A8", "/%E6%8A%A5%E8%A1%A8"},
	{"rd=/报表", "/%E6%8A%A5%E8%A1%A8"},
	{"RD=/a", "/"},
	{"Rd=/a", "/"},
	{"%72d=/a", "/"},
	{"xrd=/a", "/"},
	{";rd=/a", "/"},
	// R1: two slashes in disguise
	{"rd=//evil.test/", "/"},
	{"rd=///evil.test/", "/"},
	{"rd=////evil.test/", "/"},
	{"rd=%2F%2Fevil.test%2F", "/"},
	{"rd=%2F/evil.test/", "/"},
	{"rd=/%2Fevil.test/", "/%2Fevil.test/"}, // raw: a path with an escaped slash, which no browser undoes
	{`rd=/\evil.test/`, "/"},
	{`rd=\/evil.test/`, "/"},
	{`rd=\\evil.test/`, "/"},
	{"rd=%2F%5Cevil.test", "/"},
	{"rd=%5C%2Fevil.test", "/"},
	{"rd=%5C%5Cevil.test", "/"},
	{"rd=/a\\b", "/"},
	{"rd=%2Fa%5Cb", "/"},
	{"rd=/..//evil.test/", "/"},
	{"rd=/.//evil.test/", "/"},
	{"rd=%2F..%2F%2Fevil.test", "/"},
	{"rd=/%2e%2e//evil.test", "/"},
	{"rd=/%2E//evil.test", "/"},
	{"rd=%2F%252e%252e%2F%2Fevil.test", "/"},
	{"rd=/a/../b", "/"},
	{"rd=https://app.test//evil.test/", "/"},
	{`rd=https://app.test/\evil.test/`, "/"},
	{"rd=https://app.test/..//evil.test", "/"},
	// R2: white space and control bytes
	{"rd=%20//evil.test/", "/"},
	{"rd=%2F%20/evil.test/", "/"},
	{"rd=%2F%09%2Fevil.test", "/"},
	{"rd=%2F%09/evil.test", "/"},
	{"rd=%2F%0A%2Fevil.test", "/"},
	{"rd=%2F%0D%2Fevil.test", "/"},
	{"rd=%2F%0B%2Fevil.test", "/"},
	{"rd=%2F%0C%2Fevil.test", "/"},
	{"rd=%2F%00%2Fevil.test", "/"},
	{"rd=%2F%1F%2Fevil.test", "/"},
	{"rd=%2F%7F%2Fevil.test", "/"},
	{"rd=%09%2F%2Fevil.test", "/"},
	{"rd=ht%09tps%3A%2F%2Fevil.test", "/"},
	{"rd=https%3A%2F%09%2Fevil.test", "/"},
	{"rd=https%3A%2F%2Fevil.test%09", "/"},
	{"rd=https%3A%2F%2Fapp.test%20", "/"},
	{"rd=https%3A%2F%2F%20app.test%2F", "/"},
	// R3: schemes
	{"rd=https:evil.test", "/"},
	{"rd=https:/evil.test", "/"},
	{"rd=https%3Aevil.test", "/"},
	{"rd=https%3A%2Fevil.test", "/"},
	{"rd=https%3A%2F%2F%2Fevil.test", "/"},
	{"rd=https:///evil.test", "/"},
	{"rd=https:app.test/", "/"},
	{"rd=javascript:alert(1)", "/"},
	{"rd=JaVaScRiPt%3Aalert(1)", "/"},
	{"rd=javascript://app.test/%0aalert(1)", "/"},
	{"rd=data:text/html,x", "/"},
	{"rd=ftp://app.test/", "/"},
	{"rd=file:///etc/passwd", "/"},
	{"rd=vbscript:x", "/"},
	{"rd=evil.test", "/"},
	{"rd=evil.test/", "/"},
	{"rd=://evil.test", "/"},
	{"rd=?x=1", "/"},
	{"rd=%23x", "/"},
	// R4: user names
	{"rd=https://app.test@evil.test/", "/"},
	{"rd=https%3A%2F%2Fapp.test%40evil.test%2F", "/"},
	{"rd=https://app.test:443@evil.test/", "/"},
	{"rd=https://app.test%40evil.test/", "/"},
	{"rd=https://user@app.test/", "/"},
	{"rd=https://user:pw@app.test/", "/"},
	{"rd=https://@app.test/", "/"},
	{`rd=https://evil.test\@app.test/`, "/"},
	{`rd=https://app.test\@evil.test/`, "/"},
	// R5: look-alikes
	{"rd=https://evil.test/", "/"},
	{"rd=https%3A%2F%2Fevil.test%2F", "/"},
	{"rd=https://evil.test%2F", "/"},
	{"rd=https://app.test.evil.test/", "/"},
	{"rd=https://evilapp.test/", "/"},
	{"rd=https://xcorp.test/", "/"},
	{"rd=https://corp.test.evil.test/", "/"},
	{"rd=https://.corp.test/", "/"},
	{"rd=https://evil.test/.corp.test", "/"},
	{"rd=https://evil.test?.corp.test", "/"},
	{"rd=https://evil.test#.corp.test", "/"},
	{"rd=https://evil.test%23.corp.test", "/"},
	{"rd=https://evil.test%3F.corp.test", "/"},
	{"rd=https://APP.TEST/a", "/a"},
	{"rd=https://app.test./a", "/a"},
	{"rd=https://app.test../a", "/"},
	{"rd=https://аpp.test/", "/"},
	{"rd=https://app。test/", "/"},
	{"rd=https://ａpp.test/", "/"},
	{"rd=https%3A%2F%2Fapp%E3%80%82test%2F", "/"},
	{"rd=https%3A%2F%2Fapp.test%E2%80%8B%2F", "/"},
	{"rd=https://xn--pp-8cd.test/", "/"},
	{"rd=https://[::1]/", "/"},
	{"rd=https://127.0.0.1/", "/"},
	{"rd=https://2130706433/", "/"},
	{"rd=https%3A%2F%2Fapp%252etest%2F", "/"},
	// R6: ports and downgrades
	{"rd=https://app.test:443/a", "/a"},
	{"rd=https://app.test:8443/", "/"},
	{"rd=https://app.test:80/", "/"},
	{"rd=https://app.test:/", "/"},
	{"rd=https://app.test:0/", "/"},
	{"rd=https://app.test:99999/", "/"},
	{"rd=https://app.test:443:443/", "/"},
	{"rd=http://app.test/", "/"},
	{"rd=http://app.test:443/", "/"},
	{"rd=http%3A%2F%2Froute.test%2F", "/"},
	{"rd=https://x.corp.test:8443/", "/"},
	{"rd=http://x.corp.test/", "/"},
	// R7: line breaks and what looks like them
	{"rd=%2Fa%0D%0ASet-Cookie%3A%20x%3Dy", "/"},
	{"rd=%2Fa%0aLocation%3A%20https%3A%2F%2Fevil.test", "/"},
	{"rd=/a%0d%0aSet-Cookie:x=y", "/a%0d%0aSet-Cookie:x=y"}, // raw: stays escaped
	{"rd=%2F%E5%98%8A%E5%98%8DSet-Cookie%3Ax", "/%E5%98%8A%E5%98%8DSet-Cookie:x"},
	{"rd=%2F%C0%8A", "/%C0%8A"},
	// R8: double encoding stays one path
	{"rd=%252F%252Fevil.test", "/"},
	{"rd=%2F%252Fevil.test", "/%2Fevil.test"},
	{"rd=%2F%255Cevil.test", "/%5Cevil.test"},
	{"rd=%2F%2525", "/%25"},
	{"rd=https%253A%252F%252Fevil.test", "/"},
	// R9: twice
	{"rd=%2Fa&rd=%2Fb", "400"},
	{"rd=%2Fa&x=1&rd=//evil.test", "400"},
	{"rd=x&rd=%2Fa", "400"},
	{"rd=https://app.test%2Fa&rd=/b", "400"},
	{"rd=/a&rd=//evil.test", "/a&rd=//evil.test"},
	{"rd=%2Fa;rd=//evil.test", "/a;rd=//evil.test"},
	{"rd=%2Fa&RD=//evil.test", "/a"},
	{"rd[]=%2Fa", "/"},
	// R10: a foreign one in the query
	{"rd=/go?to=https://evil.test/", "/go?to=https://evil.test/"},
	{"rd=%2Fgo%3Fto%3D%2F%2Fevil.test", "/go?to=//evil.test"},
	{"rd=/https://evil.test/", "/https://evil.test/"},
	// R12: too long
	{"rd=/" + strings.Repeat("a", web.MaxReturn), "/"},
	{"rd=%2F" + strings.Repeat("%61", web.MaxReturn), "/"},
	{"rd=/" + strings.Repeat("a", web.MaxReturn-1), "/" + strings.Repeat("a", web.MaxReturn-1)},
	{"rd=%2F%zz", "/"},
	{"rd=%2F%4", "/"},
	// our own endpoints are no places to return to
	{"rd=/oauth2/start", "/"},
	{"rd=/oauth2/start?rd=/oauth2/start", "/"},
	{"rd=%2Foauth2%2Fcallback%3Fcode%3Dx", "/"},
	{"rd=/oauth2/sign_out?x", "/"},
	{"rd=/%6fauth2/start", "/"},
	{"rd=https://route.test/oauth2/start", "/"},
	{"rd=/oauth2/sign_in", "/"},
	{"rd=/oauth2/signed_in/x", "/"},
	{"rd=/oauth2/userinfo", "/oauth2/userinfo"},
	{"rd=/oauth2/sessions", "/oauth2/sessions"},
	{"rd=/oauth2/signed_in", "/oauth2/signed_in"},
	{"rd=https%3A%2F%2Froute.test%2Foauth2%2Fsigned_in", "https://route.test/oauth2/signed_in"},
	{"rd=/oauth2x", "/oauth2x"},
	{"rd=/OAuth2/start", "/OAuth2/start"},
}

func TestTargets(t *testing.T) { // class R
	if len(targets) < 100 {
		t.Fatalf("%d targets, want at least 100", len(targets))
	}
	h := build(t, plan{domain: "corp.test", change: func(f *Flow) {
		f.Starts = ratelimit.Rate{Every: 1, Burst: 1 << 20}
		f.Exchanges = ratelimit.Rate{Every: 1, Burst: 1 << 20}
		f.Origins = must(web.NewOrigins("https://app.test", []string{"https://other.test:8443"}, []string{"route.test"}, "corp.test"))
	}})
	h.Sessions.Cookie.Domain = "" // cookiejar would not take a cookie for corp.test from app.test
	for _, c := range targets {
		b := h.browser()
		if strings.ContainsAny(c.query, " \\") || !ascii(c.query) { // what Go's client would not send as it is
			x := &web.Exchange{Host: "app.test"}
			got, err := h.urls().asked(x, &http.Request{URL: must(http.NewRequest("GET", "/", nil)).URL, Header: http.Header{}})
			raw, rerr := returnParameter(c.query)
			if target, _ := h.urls().target(x, raw); err != nil || rerr != nil || got != "/" || escapeNonASCII(target) != c.want {
				t.Errorf("target(%q) = %q, %v, want %q", c.query, target, rerr, c.want)
			}
			continue
		}
		a := b.visit("/oauth2/start?" + c.query)
		if c.want == "400" {
			if a.StatusCode != 400 || a.Header.Get("Location") != "" {
				t.Errorf("start?%s = %d to %q, want 400", c.query, a.StatusCode, a.Header.Get("Location"))
			}
			continue
		}
		if strings.HasPrefix(c.want, "https://route.test/") { // where our cookie does not reach it begins
			if want := "https://route.test/oauth2/start?rd=" + url.QueryEscape(c.want); a.StatusCode != 302 || a.Header.Get("Location") != want {
				t.Errorf("start?%s = %d to %q, want %q", c.query, a.StatusCode, a.Header.Get("Location"), want)
			}
			continue
		}
		if got := b.back("zhangsan", b.stateOf(a)); got.StatusCode != 302 || got.Header.Get("Location") != c.want || len(got.Header["Location"]) != 1 {
			t.Errorf("start?%s leads to %d %q, want %q", c.query, got.StatusCode, got.Header["Location"], c.want)
		}
	}
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

func TestTargetsFromHeaders(t *testing.T) { // R8 of the gateways, R11
	for _, c := range []struct {
		trusted bool
		query   string
		header  []string
		want    string
	}{
		{true, "", []string{"X-Auth-Request-Redirect", "/a?b=1,2&c"}, "/a?b=1,2&c"},
		{true, "", []string{"X-Auth-Request-Redirect", "https://app.test/a"}, "/a"},
		{true, "", []string{"X-Auth-Request-Redirect", "http://app.test/a"}, "/a"}, // behind a TLS balancer
		{true, "", []string{"X-Auth-Request-Redirect", "http://app.test:8080/a"}, "/a"},
		{true, "", []string{"X-Auth-Request-Redirect", "http://route.test/a"}, "/"},
		{true, "", []string{"X-Auth-Request-Redirect", "http://app.test@evil.test/a"}, "/"},
		{true, "", []string{"X-Auth-Request-Redirect", "http://app.test//evil.test"}, "/"},
		{true, "", []string{"X-Auth-Request-Redirect", "https://evil.test/a"}, "/"},
		{true, "", []string{"X-Auth-Request-Redirect", "//evil.test/a"}, "/"},
		{true, "", []string{"X-Auth-Request-Redirect", "/a", "X-Auth-Request-Redirect", "/b"}, "/"},
		{true, "rd=/q", []string{"X-Auth-Request-Redirect", "/a"}, "/q"},
		{true, "rd=//evil.test", []string{"X-Auth-Request-Redirect", "/a"}, "/"},
		{true, "", []string{"X-Forwarded-Uri", "/a?b"}, "/a?b"},
		{true, "", []string{"X-Forwarded-Uri", "/a", "X-Auth-Request-Redirect", "/b"}, "/b"},
		{true, "", []string{"X-Forwarded-Uri", "/oauth2/start"}, "/"},
		{true, "", []string{"X-Forwarded-Uri", "https://app.test/a"}, "/"},
		{true, "", []string{"X-Forwarded-Host", "route.test"}, "302"},
		{false, "", []string{"X-Auth-Request-Redirect", "/a"}, "/"},
		{false, "", []string{"X-Forwarded-Uri", "/a"}, "/"},
		{false, "rd=/q", []string{"X-Auth-Request-Redirect", "/a"}, "/q"},
		{false, "", []string{"X-Forwarded-Host", "evil.test", "X-Forwarded-Prefix", "//evil.test"}, "/"},
	} {
		p := plan{}
		if c.trusted {
			p.trusted = []string{"127.0.0.0/8", "::1/128"}
		}
		b := build(t, p).browser()
		a := b.visit("/oauth2/start?"+c.query, c.header...)
		if c.want == "302" { // a route's host: to public_url, whatever the header says
			if got := a.Header.Get("Location"); !strings.HasPrefix(got, "https://app.test/oauth2/leave?hop=") || !strings.HasSuffix(got, "&rd=https://route.test/") {
				t.Errorf("start with %q goes to %q", c.header, got)
			}
			continue
		}
		if got := b.back("zhangsan", b.stateOf(a)).Header.Get("Location"); got != c.want {
			t.Errorf("start?%s with %q, trusted %v, leads to %q, want %q", c.query, c.header, c.trusted, got, c.want)
		}
	}
}

// whatwg reads a Location on https://app.test/oauth2/callback as the URL
// standard's basic parser does, and gives scheme and host of where a browser
// goes. It is written apart from the code it judges.
func whatwg(location string) (origin string) {
	s := strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, s)
	scheme := ""
	for i, r := range s {
		letter := 'a' <= r|0x20 && r|0x20 <= 'z'
		if r == ':' && i > 0 {
			scheme, s = strings.ToLower(s[:i]), s[i+1:]
			break
		}
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			break
		}
	}
	slash := func(i int) bool { return i < len(s) && (s[i] == '/' || s[i] == '\\') }
	switch {
	case scheme != "" && scheme != "http" && scheme != "https":
		return scheme + ":"
	case scheme == "" && !(slash(0) && slash(1)), scheme == "https" && !slash(0): // relative to the page
		return "https://app.test"
	case scheme == "":
		scheme = "https"
	}
	for slash(0) { // any number of slashes, and none, begins a host
		s = s[1:]
	}
	if i := strings.IndexAny(s, `/\?#`); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	s = strings.TrimSuffix(strings.ToLower(s), map[string]string{"http": ":80", "https": ":443"}[scheme])
	return scheme + "://" + s
}

func TestBrowserReading(t *testing.T) {
	for location, want := range map[string]string{
		"/a": "https://app.test", "//evil.test/a": "https://evil.test", `/\evil.test`: "https://evil.test",
		"/\t/evil.test": "https://evil.test", "https:evil.test": "https://app.test",
		"http:evil.test": "http://evil.test", "https:/evil.test": "https://evil.test",
		"https:////evil.test": "https://evil.test", " https://u@evil.test:443?x": "https://evil.test", "javascript:x": "javascript:",
		"HTTPS://Route.test/": "https://route.test", "a/b": "https://app.test", "?x=//evil.test": "https://app.test",
	} {
		if got := whatwg(location); got != want {
			t.Errorf("whatwg(%q) = %q, want %q", location, got, want)
		}
	}
}

// Law: whatever query arrives, a browser stays on one of our origins, reads one
// clean header, and the target passes the check again unchanged.
func FuzzReturnParameter(f *testing.F) {
	for _, c := range targets {
		if len(c.query) < 200 {
			f.Add(c.query, "app.test")
			f.Add(c.query, "route.test")
		}
	}
	h := flow(f, plan{domain: "corp.test"})
	f.Fuzz(func(t *testing.T, query, host string) {
		twice := "rd=%2Fa&" + query + "&rd=%2Fb" // two readers would see two targets (threats R9)
		if raw, err := returnParameter(twice); err == nil {
			t.Errorf("start?%q is taken for %q", twice, raw)
		}
		raw, err := returnParameter(query)
		if err != nil {
			return
		}
		target, ok := h.urls().target(&web.Exchange{Host: host}, raw)
		location := escapeNonASCII(target)
		switch origin := whatwg(location); {
		case origin == "https://app.test", origin == "https://other.test:8443", origin == "https://route.test", origin == "https://corp.test":
		case strings.HasPrefix(origin, "https://") && strings.HasSuffix(origin, ".corp.test") && !strings.ContainsAny(origin[8:], "/:@"):
		default:
			t.Errorf("start?%q on %q leads to %q, where a browser goes to %s", query, host, target, origin)
		}
		if strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
			t.Errorf("start?%q leads to %q, which is no clean header", query, location)
		}
		if again, fine := h.urls().allowed(target); again != target || ok != fine && target != "/" {
			t.Errorf("start?%q leads to %q, and that to %q", query, target, again)
		}
	})
}
