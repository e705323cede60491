package web

import (
	"strings"
	"testing"
)

func testOrigins(t testing.TB) *Origins {
	o, err := NewOrigins("https://app.test", []string{"https://other.test:8443", "http://plain.test"},
		[]string{"route.test"}, "corp.test")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestRouteHostPort: a route's host without a port has the port of public_url.
func TestRouteHostPort(t *testing.T) {
	o, err := NewOrigins("https://sso.test:8443", nil, []string{"route.test", "other.test:9443"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"sso.test:8443": true, "sso.test": false, "route.test": true,
		"route.test:8443": true, "route.test:9443": false, "other.test:9443": true, "other.test:8443": false,
		"other.test": false} {
		if got := o.HasHost(host); got != want {
			t.Errorf("HasHost(%q) = %v, want %v", host, got, want)
		}
		if _, got := o.Return("https://" + host + "/a"); got != want {
			t.Errorf("Return(https://%s/a) = %v, want %v", host, got, want)
		}
	}
}

// TestRouteHostWildcard: a wildcard's hosts are ours with exactly one label, on the port and
// scheme of public_url.
func TestRouteHostWildcard(t *testing.T) {
	o, err := NewOrigins("https://sso.test:8443", nil, []string{"*.Apps.test", "*.port.test:9443"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{"https://a.apps.test": true, "https://a.apps.test:8443": true,
		"https://A.APPS.test": true, "https://a.port.test:9443": true, "https://a.port.test": false,
		"http://a.apps.test": false, "https://a.apps.test:9443": false, "https://apps.test": false,
		"https://a.b.apps.test": false, "https://a.xapps.test": false, "https://a.apps.test.evil.test": false,
		"https://*.apps.test": false, "https://.apps.test": false, "https://a@x.apps.test": false} {
		if _, got := o.Return(origin + "/a"); got != want {
			t.Errorf("Return(%s/a) = %v, want %v", origin, got, want)
		}
		if got := o.Ours(origin); got != want {
			t.Errorf("Ours(%s) = %v, want %v", origin, got, want)
		}
	}
}

// TestSameHost: a form is accepted from a page of its own host (threats W13).
func TestSameHost(t *testing.T) {
	for _, c := range []struct {
		host, origin string
		want         bool
	}{
		{"app.test", "https://app.test", true},
		{"app.test", "https://APP.test:443", true},
		{"app.test", "https://route.test", false},
		{"app.test", "https://a.corp.test", false},
		{"app.test", "http://app.test", false},
		{"app.test", "https://evil.test", false},
		{"app.test", "null", false},
		{"app.test", "", false},
		{"route.test", "https://route.test", true},
		{"route.test", "https://app.test", false},
		{"a.corp.test", "https://a.corp.test", true},
		{"a.corp.test", "https://b.corp.test", false},
		{"dinggate:4180", "https://app.test", true}, // a gateway's name: the browser's host is unknown
		{"dinggate:4180", "https://dinggate:4180", false},
		{"", "https://app.test", true},
	} {
		if got := testOrigins(t).SameHost(c.host)(c.origin); got != c.want {
			t.Errorf("SameHost(%q)(%q) = %v, want %v", c.host, c.origin, got, c.want)
		}
	}
}

// TestTarget: the target of a request has the scheme under which its host is served.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		scheme, host, want string
	}{
		{"https", "app.test", "/a"},
		{"http", "app.test", "/a"},
		{"http", "app.test:8080", "/a"},
		{"https", "route.test", "https://route.test/a"},
		{"http", "route.test", "https://route.test/a"},
		{"http", "a.corp.test", "https://a.corp.test/a"},
		{"http", "plain.test", "http://plain.test/a"},
		{"https", "plain.test", ""},
		{"http", "route.test:8080", ""},
		{"http", "evil.test", ""},
	} {
		if got, ok := testOrigins(t).Target(c.scheme, c.host, "/a"); got != c.want || ok != (c.want != "") {
			t.Errorf("Target(%q, %q) = %q, %v, want %q", c.scheme, c.host, got, ok, c.want)
		}
	}
}

func TestReturn(t *testing.T) {
	o := testOrigins(t)
	for _, c := range []struct{ raw, want string }{
		{"/", "/"},
		{"/a/b?x=1&y=%2F#z", "/a/b?x=1&y=%2F#z"},
		{"/报表?q=销售", "/报表?q=销售"},
		{"/a//b", "/a//b"},
		{"/x?next=//evil.test/", "/x?next=//evil.test/"},
		{"/x?u=https://evil.test/", "/x?u=https://evil.test/"},
		{"https://app.test/a", "/a"},
		{"https://APP.test:443/a", "/a"},
		{"https://app.test", "/"},
		{"https://app.test?x=1", "/?x=1"},
		{"https://other.test:8443/a", "https://other.test:8443/a"},
		{"http://plain.test/a", "http://plain.test/a"},
		{"https://route.test/", "https://route.test/"},
		{"https://x.corp.test/a", "https://x.corp.test/a"},
		{"https://corp.test/a", "https://corp.test/a"},
	} {
		if got, ok := o.Return(c.raw); !ok || got != c.want {
			t.Errorf("Return(%q) = %q, %v, want %q", c.raw, got, ok, c.want)
		}
	}
	for _, raw := range []string{
		"", "a", "evil.test", "//evil.test", "///evil.test", "////evil.test", `/\evil.test`, `\/evil.test`,
		`\\evil.test`, "/\t/evil.test", "/ /evil.test", "/\n/evil.test",
		"/./" + "/evil.test", "/..//evil.test", "/%2e%2e//evil.test", "/.%2e/x", " //evil.test", "\t//evil.test",
		"/a b", "/a\x7f",
		"http:evil.test", "http:/evil.test", "https:evil.test", "https:/evil.test", "https:///evil.test",
		`https:\\evil.test`, `https:/\evil.test`, "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x",
		"vbscript:x", "file:///etc/passwd", "blob:https://app.test/x",
		"https://evil.test", "https://app.test@evil.test/", "https://app.test%40evil.test/", "https://user@app.test/",
		"https://user:pw@app.test/", "https://app.test:pw@evil.test", "https://app.test.evil.test/",
		"https://evilapp.test/", "https://evil.test/app.test", "https://evil.test#app.test",
		"https://evil.test?app.test", `https://evil.test\.app.test/`, `https://app.test\@evil.test/`,
		"http://app.test/", "https://app.test:8443/", "https://app.test:0/", "https://app.test:99999/",
		"https://app.test:/", "https://app.test:443:1/", "ftp://app.test/", "https://xcorp.test/",
		"https://corp.test.evil.test/", "https://.corp.test/", "https://x.corp.test:444/", "http://x.corp.test/",
		"https://аpp.test/", "https://app。test/", "https://app．test/", "https://ａpp.test/", "https://app.test\u200b/",
		"https://[::1]/", "https://app.test..//", "https://app%2etest/", "https://app.test%2f@evil.test/",
		"https://app.test//evil.test/", "https://app.test/../x", "https://app.test/%2e%2e/x",
		"/" + strings.Repeat("a", MaxReturn),
	} {
		if got, ok := o.Return(raw); ok {
			t.Errorf("Return(%q) = %q, want refused", raw, got)
		}
	}
}

// browser parses a Location as the URL standard does (WHATWG URL, basic URL parser) and returns
// the host of its destination, "" for our own.
func browser(target string) string {
	target = strings.TrimFunc(target, func(r rune) bool { return r <= ' ' })
	target = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(target)
	scheme, rest, found := strings.Cut(target, ":")
	if found && !strings.ContainsAny(scheme, "/?#") {
		rest = strings.TrimLeft(rest, "/")
		if s := strings.ToLower(scheme); s != "http" && s != "https" {
			return "scheme " + s
		}
	} else if strings.HasPrefix(target, "//") {
		rest = strings.TrimLeft(target, "/")
	} else {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return strings.ToLower(rest)
}

func FuzzReturn(f *testing.F) {
	for _, s := range []string{"/a", "//evil.test", `/\evil.test`, "https://app.test/", "https://app.test@evil.test",
		"/\t/evil.test", "https:evil.test", "/..//x"} {
		f.Add(s)
	}
	o := testOrigins(f)
	f.Fuzz(func(t *testing.T, raw string) {
		target, ok := o.Return(raw)
		if !ok {
			return
		}
		host := browser(target)
		switch {
		case host == "", host == "app.test", host == "app.test:443", host == "other.test:8443", host == "plain.test",
			host == "route.test", host == "corp.test", strings.HasSuffix(host, ".corp.test"):
		default:
			t.Errorf("Return(%q) = %q, where a browser goes to %q", raw, target, host)
		}
		if strings.ContainsAny(target, "\r\n\t\\ ") {
			t.Errorf("Return(%q) = %q holds a byte that browsers drop or turn around", raw, target)
		}
		if again, ok := o.Return(target); !ok || again != target {
			t.Errorf("Return(%q) = %q, and of that %q, %v", raw, target, again, ok)
		}
	})
}

// TestOurs: an allowed redirect target is not one of our pages (threats W3).
func TestOurs(t *testing.T) {
	o := testOrigins(t)
	for origin, want := range map[string]struct{ ours, has bool }{
		"https://app.test": {true, true}, "https://APP.TEST:443": {true, true}, "https://app.test.": {true, true},
		"https://x.corp.test": {true, true}, "https://route.test": {true, true},
		"http://plain.test": {false, true}, "https://other.test:8443": {false, true},
		"": {}, "null": {}, "http://app.test": {}, "https://evil.test": {}, "https://app.test.evil.test": {},
		"https://app.test:444": {}, "https://app.test/": {}, "app.test": {}, "http://x.corp.test": {},
	} {
		if got := o.Ours(origin); got != want.ours {
			t.Errorf("Ours(%q) = %v, want %v", origin, got, want.ours)
		}
		if got := o.has(origin); got != want.has {
			t.Errorf("has(%q) = %v, want %v", origin, got, want.has)
		}
	}
}
