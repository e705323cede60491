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
		{"//admin", "//admin", []string{"/admin"}, false},
		{"/a///b", "/a///b", []string{"/a/b"}, false},
		{"/a%2Fb", "/a/b", []string{"/a%2Fb"}, true},
		{"/a%2fb", "/a/b", []string{"/a%2Fb"}, true},
		{"/admin;x=1/y", "/admin;x=1/y", []string{"/admin/y"}, true},
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
		if err != nil || p.Plain != c.plain || !slices.Equal(p.Readings, c.readings) || p.Odd != c.odd || p.Raw != c.raw {
			t.Errorf("CleanPath(%q) = %+v, %v, want %q %q odd %v", c.raw, p, err, c.plain, c.readings, c.odd)
		}
	}
}

func TestCleanPathRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "*", "admin", "http://x/", "/a b", "/a\tb", "/a\x00b", "/a\x7fb", `/a\b`, "/a%5cb", "/a%5Cb", "/a%00b", "/a%0d%0ab", "/a%7fb",
		"/%", "/%4", "/%zz", "/a%2", "/%ff", "/%c0%ae", "/a#b", "/a?b",
		"/..", "/../a", "/a/..", "/a/../b", "/a/./b", "/.", "/a/.", "/%2e%2e/a", "/%2E./a", "/.%2e/a", "/a/%2e", "//../a",
		"/public/..%2fadmin", "/public%2f..%2fadmin", "/public/..;/admin", "/public/..;x=1/admin", "/public/%252e%252e/admin", "/public/%252e%252e%252fadmin", "/a%255cb/..%255c",
		"/public/..%20/admin", "/public/..%20", "/public/..%20%20/a", "/public/．．/admin", "/public/%ef%bc%8e%ef%bc%8e", "/public/․․/admin", "/public/‥/admin", "/public/．．;/admin", "/public/..%20;/admin",
	} {
		if p, err := CleanPath(raw); err == nil {
			t.Errorf("CleanPath(%q) = %+v, want an error", raw, p)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/", "/a%2fb;c//d", "/%2561", "/a./%20", "/．．/ａ／‥", "/报表", `/\`, "/a;../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := CleanPath(raw)
		if err != nil {
			return
		}
		for _, s := range append([]string{p.Plain}, p.Readings...) {
			for seg := range strings.SplitSeq(s, "/") {
				if seg == "." || seg == ".." {
					t.Errorf("CleanPath(%q) reads %q with a dot segment", raw, s)
				}
			}
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) && !strings.Contains(p.Plain, "%") {
				t.Errorf("CleanPath(%q) reads %q with a control byte or a back slash", raw, s)
			}
			if !strings.HasPrefix(s, "/") {
				t.Errorf("CleanPath(%q) reads %q", raw, s)
			}
		}
		// Idempotent: the plain form, written out again, is itself.
		again, err := CleanPath((&url.URL{Path: p.Plain}).EscapedPath())
		if err != nil || again.Plain != p.Plain {
			t.Errorf("CleanPath(%q) = %q, and of that %q, %v", raw, p.Plain, again.Plain, err)
		}
		// What is forwarded is what was decided on.
		if u, err := url.ParseRequestURI(raw); err == nil && u.Path != p.Plain {
			t.Errorf("CleanPath(%q) = %q, net/url forwards %q", raw, p.Plain, u.Path)
		}
	})
}
