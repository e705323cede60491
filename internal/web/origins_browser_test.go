package web

import (
	"slices"
	"testing"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// FuzzReturnBrowser: a target that Return accepts stays on our origins as a browser parses it,
// which finds more hosts than url.Parse does (threats class R).
func FuzzReturnBrowser(f *testing.F) {
	for _, s := range []string{"/", "/a?b#c", "//evil.test", `/\evil.test`, "https://app.test/x",
		"https://app.test@evil.test/", "/\t/evil.test", "https://x.corp.test:443/", "https:evil.test",
		"/..//evil.test", "/a/..//evil.test", "/%2e%2e//evil.test", "https://friend.test\uff0fevil.test/"} {
		f.Add(s)
	}
	o, err := NewOrigins("https://app.test", []string{"https://friend.test:8443"}, nil, "corp.test")
	if err != nil {
		f.Fatal(err)
	}
	ours := []string{"https://app.test", "https://friend.test:8443", "https://corp.test"}
	f.Fuzz(func(t *testing.T, raw string) {
		target, ok := o.Return(raw)
		if !ok {
			return
		}
		for _, base := range []string{"https://app.test/", "https://app.test/some/page?q#f"} {
			u, err := whatwg.NewParser().ParseRef(base, target)
			if err != nil {
				continue // no browser goes there
			}
			host := u.Hostname()
			if origin := u.Protocol() + "//" + u.Host(); !slices.Contains(ours, origin) &&
				!(u.Protocol() == "https:" && len(host) > 10 && host[len(host)-10:] == ".corp.test") {
				t.Errorf("Return(%q) = %q, which leads a browser to %s", raw, target, origin)
			}
			if u.Username() != "" || u.Password() != "" {
				t.Errorf("Return(%q) = %q carries a user name", raw, target)
			}
		}
	})
}
