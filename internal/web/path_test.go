package web

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	for _, c := range []struct {
		raw, plain string
		readings   []string
		odd        bool
	}{
		{"/", "/", nil, false},
		{"/admin/x.html", "/admin/x.html", nil, false},
		{"/.well-known/x", "/.well-known/x", nil, false},
		{"/a...b/..c", "/a...b/..c", nil, false},
		{"/%61dmin", "/admin", nil, false},
		{"/%E6%8A%A5%E8%A1%A8", "/报表", nil, false},
		{"/报表", "/报表", nil, false},
		{"/a%20b", "/a b", nil, false},
		{"//admin", "//admin", []string{"/", "/admin"}, false}, // /admin may be a host
		{"/a///b", "/a///b", []string{"/a/b"}, false},
		{"/a%2Fb", "/a/b", []string{"/a%2Fb"}, true},
		{"/a%2fb", "/a/b", []string{"/a%2Fb"}, true},
		{"/admin;x=1/y", "/admin;x=1/y", []string{"/admin/y", "/admin"}, true},
		{"/%2561dmin", "/%61dmin", []string{"/admin"}, true},
		{"/100%25", "/100%", nil, true},
		{"/admin.", "/admin.", []string{"/admin"}, false},
		{"/admin./x", "/admin./x", []string{"/admin/x"}, false},
		{"/admin%20/x", "/admin /x", []string{"/admin/x"}, false},
		{"/...", "/...", []string{"/"}, false},
		{"/ａｄｍｉｎ／x", "/ａｄｍｉｎ／x", []string{"/admin/x"}, false},
		{"/如何？.md", "/如何？.md", nil, false},
	} {
		p, err := CleanPath(c.raw)
		if err != nil || p.Plain != c.plain || !slices.Equal(p.Readings, c.readings) || p.Odd != c.odd ||
			p.Raw != c.raw {
			t.Errorf("CleanPath(%q) = %+v, %v, want %q %q odd %v", c.raw, p, err, c.plain, c.readings, c.odd)
		}
	}
}

// TestReadings: each row is a path, and how some server behind us reads it.
func TestReadings(t *testing.T) {
	for _, c := range []struct{ raw, reading string }{
		{"/;%2Fx/admin/x", "/admin/x"}, // Tomcat cuts parameters before it decodes (threats P17)
		{"/;%2fx;y%2Fz/admin/x", "/admin/x"},
		{"/admin;%2Fz/x/y", "/admin/x/y"},
		{"/a%3b/x/admin", "/a/x/admin"},
		{"/admin%3bx/y", "/admin/y"},
		{"/admin;x/y", "/admin"},
		{"/x/%3bz%2f/admin", "/x/admin"},
		{"/;x%2f%2e/admin;%2F%2e/y", ""},     // a dot segment if it is decoded first
		{"/%253b%252fx/admin", "/admin"},     // a second decoding, then the parameters
		{"/;%252Fx/admin", "/admin"},         // the reverse
		{"/a;%2525252Fb/c", "/a/c"},          // whatever it contains
		{"/admin%3Fx", "/admin"},             // P18
		{"/admin%23x/y", "/admin"},           // P18
		{"/admin%253Fx", "/admin"},           // decoded twice
		{"/admin/%3f/x", "/admin/"},          // P18
		{"/%25252561dmin", "/admin"},         // P20
		{"/%2561dmin/100%25", "/admin/100%"}, // a `%` that begins no escape does not stop decoding
		{"/x%2f/admin", "/x/admin"},
		{"//x/admin/y", "/admin/y"}, // a host to a URL parser
		{"///x//admin/y", "/admin/y"},
		{"/%2fx/admin/y", "/admin/y"},
		{"//x%2f/admin/y", "/admin/y"},
		{"//x", "/"},
		{"/admin::$DATA", "/admin"},
		{"/admin:$I30:$INDEX_ALLOCATION/x", "/admin/x"},
		{"/ad%E2%80%8Bmin/x", "/admin/x"}, // an invisible letter
		{"/ｐublic./%3bx", "/public/"},
		{"/\u212aey/\u017fecret", "/key/secret"},
	} {
		p, err := CleanPath(c.raw)
		if c.reading == "" {
			if err == nil {
				t.Errorf("CleanPath(%q) = %+v, want an error", c.raw, p)
			}
			continue
		}
		if err != nil || !slices.Contains(p.Readings, c.reading) {
			t.Errorf("CleanPath(%q) reads %q, %v, want %q among them", c.raw, p.Readings, err, c.reading)
		}
		if strings.ContainsAny(c.raw, ";") || strings.Contains(c.raw, "%3") || strings.Contains(c.raw, "%2") {
			if !p.Odd {
				t.Errorf("CleanPath(%q).Odd = false, want true", c.raw)
			}
		}
	}
}

// TestVariants: each row is a path, and a reading of it that many clients intend.
func TestVariants(t *testing.T) {
	for _, c := range []struct {
		raw      string
		variants []string
	}{
		{"/index.php/admin/x", []string{"/admin/x"}},
		{"/wiki/index.php/Main", []string{"/wiki/Main"}},
		{"/index.php", nil},
		{"/index.php/", nil},
		{"/a.PHP/b.cgi/c", []string{"/b.cgi/c", "/c"}},
		{"/x.phpx/y", nil},
		{"/v1.2/y", nil},
		{"/(S(abc))/admin/x", []string{"/admin/x"}},
		{"/ad/(A(x)F(y))min/x", []string{"/admin/x"}},
		{"/(a)/b", nil},
		{"/a(1)/b", nil},
		{"/%70ublic/x", []string{"/%70ublic/x"}},
		{"/%7Ejoe/%40x", []string{"/%7Ejoe/%40x"}},
		{"/a%20b/%E5%BC%A0", nil},
	} {
		p, err := CleanPath(c.raw)
		if err != nil || !slices.Equal(p.Variants, c.variants) {
			t.Errorf("CleanPath(%q).Variants = %q, %v, want %q", c.raw, p.Variants, err, c.variants)
		}
	}
}

// TestReadingsAreBounded: a path with more readings than the bounds allow is refused: checking it
// must not cost more than a request.
func TestReadingsAreBounded(t *testing.T) {
	for _, raw := range []string{"/%" + strings.Repeat("25", 4000) + "41", "/" + strings.Repeat("a;b%252f/", 4000),
		strings.Repeat("/x%253b%253fy.", 50)} {
		if p, err := CleanPath(raw); err == nil && len(p.Readings) > maxReadings {
			t.Errorf("CleanPath(%.30q…) has %d readings, want at most %d, or an error", raw, len(p.Readings),
				maxReadings)
		}
	}
	if _, err := CleanPath("/%" + strings.Repeat("25", 4000) + "41"); err == nil {
		t.Error("CleanPath(a letter encoded 4,000 times) = nil, want an error")
	}
}

// TestPlainPathsCostNothing: a path with one reading costs no allocation.
func TestPlainPathsCostNothing(t *testing.T) {
	for _, raw := range []string{"/", "/reports/2026/Q1/index.html", "/api/v1.2/x:y/z", "/a(1).pdf", "/.well-known/x",
		"/static/app.min.js"} {
		if n := testing.AllocsPerRun(100, func() { CleanPath(raw) }); n != 0 {
			t.Errorf("CleanPath(%q) allocates %v times, want 0", raw, n)
		}
	}
}

func TestCleanPathRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "*", "admin", "http://x/", "/a b", "/a\tb", "/a\x00b", "/a\x7fb", `/a\b`, "/a%5cb", "/a%5Cb", "/a%00b",
		"/a%0d%0ab", "/a%7fb",
		"/%", "/%4", "/%zz", "/a%2", "/%ff", "/%c0%ae", "/a#b", "/a?b",
		"/..", "/../a", "/a/..", "/a/../b", "/a/./b", "/.", "/a/.", "/%2e%2e/a", "/%2E./a", "/.%2e/a", "/a/%2e",
		"//../a",
		"/public/..%2fadmin", "/public%2f..%2fadmin", "/public/..;/admin", "/public/..;x=1/admin",
		"/public/%252e%252e/admin", "/public/%252e%252e%252fadmin", "/a%255cb/..%255c",
		"/public/..%20/admin", "/public/..%20", "/public/..%20%20/a", "/public/．．/admin",
		"/public/%ef%bc%8e%ef%bc%8e", "/public/․․/admin", "/public/‥/admin", "/public/．．;/admin",
		"/public/..%20;/admin",
		// P17, P18, P20
		"/public/%25252e%25252e/admin", "/public/%2525252525252e%2e/admin", "/a/public/..%3F", "/a/public/..%23x",
		"/public/..%253fx/admin", "/public/%25252f..%25252fadmin", "/public/..;%2Fx/admin", "/public/..%253bx/admin",
		"/100%25/%252e%252e/x",
		"/a%c2%85b", "/a\u0085b", "/%c2%9b31m", "/a%25c2%2585",
	} {
		if p, err := CleanPath(raw); err == nil {
			t.Errorf("CleanPath(%q) = %+v, want an error", raw, p)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/", "/a%2fb;c//d", "/%2561", "/a./%20", "/．．/ａ／‥", "/报表", `/\`,
		"/a;../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := CleanPath(raw)
		if err != nil {
			return
		}
		for _, s := range slices.Concat([]string{p.Plain}, p.Readings, p.Variants) {
			for seg := range strings.SplitSeq(s, "/") {
				if seg == "." || seg == ".." {
					t.Errorf("CleanPath(%q) reads %q with a dot segment", raw, s)
				}
			}
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\\' }) {
				t.Errorf("CleanPath(%q) reads %q with a control byte or a back slash", raw, s)
			}
			if !strings.HasPrefix(s, "/") {
				t.Errorf("CleanPath(%q) reads %q", raw, s)
			}
		}
		// A reading has no further readings than the path itself.
		for _, s := range p.Readings {
			again, err := CleanPath((&url.URL{Path: s}).EscapedPath())
			if err != nil && len(p.Readings) < maxReadings/2 {
				t.Errorf("CleanPath(%q) reads %q, and that is refused: %v", raw, s, err)
			}
			for _, s := range again.Readings {
				if s != p.Plain && !slices.Contains(p.Readings, s) && !encodesSlash(s) {
					t.Errorf("CleanPath(%q) lacks %q, a reading of its reading %q", raw, s, again.Plain)
				}
			}
		}
		// Idempotent: the plain form, escaped again, is itself.
		again, err := CleanPath((&url.URL{Path: p.Plain}).EscapedPath())
		if err != nil || again.Plain != p.Plain {
			t.Errorf("CleanPath(%q) = %q, and of that %q, %v", raw, p.Plain, again.Plain, err)
		}
		// The forwarded path is the authorized one.
		if u, err := url.ParseRequestURI(raw); err == nil && u.Path != p.Plain {
			t.Errorf("CleanPath(%q) = %q, net/url forwards %q", raw, p.Plain, u.Path)
		}
	})
}
