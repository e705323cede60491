package web

import (
	"strings"
	"testing"
)

func TestCleanHost(t *testing.T) {
	for _, c := range []struct{ raw, scheme, want string }{
		{"app.test", "https", "app.test"}, {"APP.Test", "https", "app.test"}, {"app.test.", "https", "app.test"},
		{"app.test:443", "https", "app.test"}, {"app.test:80", "http", "app.test"},
		{"app.test:80", "https", "app.test:80"}, {"app.test:0443", "https", "app.test"},
		{"127.0.0.1:4180", "http", "127.0.0.1:4180"}, {"[::1]:80", "http", "[::1]"}, {"[0:0::1]", "http", "[::1]"},
		{"a_b.test", "http", "a_b.test"},
	} {
		if got, err := CleanHost(c.raw, c.scheme); err != nil || got != c.want {
			t.Errorf("CleanHost(%q, %q) = %q, %v, want %q", c.raw, c.scheme, got, err, c.want)
		}
	}
	for _, raw := range []string{"", ".", "..", ".app.test", "app..test", "app.test..", "a b", "a@b", "a/b",
		"app.test:", "app.test:x", "app.test:0", "app.test:-1", "app.test:+1", "app.test:65536", "[::1", "::1",
		"[fe80::1%25eth0]", "[1.2.3.4]", "аpp.test", "app。test", "a\x00b", "a,b", "a%2eb"} {
		if got, err := CleanHost(raw, "https"); err == nil {
			t.Errorf("CleanHost(%q) = %q, want an error", raw, got)
		}
	}
}

func FuzzCleanHost(f *testing.F) {
	for _, s := range []string{"app.test", "APP.TEST.:443", "[::1]:80", "a..b", ""} {
		f.Add(s, "https")
	}
	f.Fuzz(func(t *testing.T, raw, scheme string) {
		host, err := CleanHost(raw, scheme)
		if err != nil {
			return
		}
		if again, err := CleanHost(host, scheme); err != nil || again != host {
			t.Errorf("CleanHost(%q) = %q, and of that %q, %v", raw, host, again, err)
		}
		name := HostName(host)
		if strings.ContainsFunc(host, func(r rune) bool { return r >= 'A' && r <= 'Z' }) ||
			strings.HasSuffix(name, ".") || scheme == "https" && strings.HasSuffix(host, ":443") && name != host {
			t.Errorf("CleanHost(%q) = %q: letter case, final dot and default port are no part of it", raw, host)
		}
		for _, spelled := range []string{strings.ToUpper(raw), strings.ToLower(raw)} {
			if other, err := CleanHost(spelled, scheme); len(spelled) == len(raw) && (err != nil || other != host) {
				t.Errorf("CleanHost(%q) = %q, and of %q it is %q, %v", raw, host, spelled, other, err)
			}
		}
		if name == raw && name[0] != '[' {
			if other, err := CleanHost(name+".", scheme); len(name) < 253 && (err != nil || other != host) {
				t.Errorf("CleanHost(%q) = %q, %v, want %q", name+".", other, err, host)
			}
		}
	})
}
