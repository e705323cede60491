package login

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/internal/web"

	"dinggate/internal/ratelimit"
)

func TestTargets(t *testing.T) { // class R
	if len(targets) < 100 {
		t.Fatalf("%d targets, want at least 100", len(targets))
	}
	h := build(t, plan{domain: "corp.test", change: func(f *Flow) {
		f.Starts = ratelimit.Rate{Every: 1, Burst: 1 << 20}
		f.Exchanges = ratelimit.Rate{Every: 1, Burst: 1 << 20}
		f.Origins = must(web.NewOrigins("https://app.test", []string{"https://other.test:8443"}, []string{"route.test"}, "corp.test"))
	}})
	h.Sessions.Cookie.Domain = "" // cookiejar refuses a cookie for corp.test from app.test
	for _, c := range targets {
		b := h.browser()
		if strings.ContainsAny(c.query, " \\") || !ascii(c.query) { // Go's client would not send it unchanged
			x := &web.Exchange{Host: "app.test"}
			got, err := h.urls().returnTarget(x, &http.Request{URL: must(http.NewRequest("GET", "/", nil)).URL, Header: http.Header{}})
			raw, rerr := returnParameter(c.query)
			if target, _ := h.urls().target(x, raw); err != nil || rerr != nil || got != "/" || web.EscapeNonASCII(target) != c.want {
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
		if strings.HasPrefix(c.want, "https://route.test/") { // where our cookie does not reach, the sign-in begins
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
		if c.want == "302" { // a route's host: to public_url, whatever the header is
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

// whatwg parses a Location on https://app.test/oauth2/callback as the URL standard's basic parser
// does, and returns scheme and host of the browser's destination. It is independent of the code
// under test.
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
	for slash(0) { // any number of slashes, also none, precedes a host
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

// FuzzReturnParameter: for any query a browser stays on one of our origins and receives one valid
// header, and the target passes the check again unchanged.
func FuzzReturnParameter(f *testing.F) {
	for _, c := range targets {
		if len(c.query) < 200 {
			f.Add(c.query, "app.test")
			f.Add(c.query, "route.test")
		}
	}
	h := flow(f, plan{domain: "corp.test"})
	f.Fuzz(func(t *testing.T, query, host string) {
		twice := "rd=%2Fa&" + query + "&rd=%2Fb" // two parsers would see two targets (threats R9)
		if raw, err := returnParameter(twice); err == nil {
			t.Errorf("start?%q is taken for %q", twice, raw)
		}
		raw, err := returnParameter(query)
		if err != nil {
			return
		}
		target, ok := h.urls().target(&web.Exchange{Host: host}, raw)
		location := web.EscapeNonASCII(target)
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
