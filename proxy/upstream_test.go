package proxy

import (
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/web"
)

func TestStripPrefix(t *testing.T) {
	for _, c := range []struct{ upstream, prefix, raw, want string }{ // "" is refused
		{"http://a", "/app", "/app", "/"},
		{"http://a", "/app", "/app/", "/"},
		{"http://a", "/app/", "/app/", "/"},
		{"http://a", "/app", "/app/x/y", "/x/y"},
		{"http://a", "/app", "/%61pp/x", "/x"},
		{"http://a", "/app", "/app/a%20b", "/a%20b"},
		{"http://a", "/a/b", "/a/b/c", "/c"},
		{"http://a", "/管理", "/%e7%ae%a1%E7%90%86/x", "/x"},
		{"http://a", "/管理", "/管理/x", "/x"},
		{"http://a/base", "/app", "/app/x", "/base/x"},
		{"http://a/base/", "/app", "/app", "/base/"},
		{"http://a", "/app", "/application", ""}, // only a textual prefix (P13)
		{"http://a", "/app", "/app.evil/x", ""},
		{"http://a", "/app", "/App/x", ""},
		{"http://a", "/app", "/", ""},
		{"http://a", "/app", "/ap", ""},
		{"http://a", "/app", "/app%2fx", ""}, // some servers decode it to a slash
		{"http://a", "/a/b", "/a%2fb/c", ""},
		{"http://a", "/app", "/app//evil.test/", ""}, // browsers read it as a host (CVE-2026-40912)
		{"http://a", "/app", "/app/%2fevil.test/", ""},
		{"http://a", "/app", "/app;x/y", ""},
		{"http://a", "/app", "/app%", ""},
		{"http://a", "/app", "//app/x", ""},
	} {
		p, err := web.CleanPath(c.raw)
		got := ""
		if err == nil {
			to, err := newUpstream(t, UpstreamConfig{Upstream: c.upstream, StripPrefix: c.prefix}).address(p)
			if got = to.RequestURI(); err != nil {
				got = ""
			}
		}
		if got != c.want {
			t.Errorf("%q without %q before %q = %q, want %q", c.raw, c.prefix, c.upstream, got, c.want)
		}
	}
}

// FuzzAddress: the path that is sent is the authorized one, without the prefix.
func FuzzAddress(f *testing.F) {
	for _, raw := range []string{"/app/x", "/%61pp/../x", "//app//x", "/app/%2e%2e/x", "/app/é\"<>", "/app%2f/x",
		"/app/%25%32%65", "//a%20\"b"} {
		f.Add(raw, "/app", "")
		f.Add(raw, "", "/base")
	}
	f.Fuzz(func(t *testing.T, raw, strip, base string) {
		p, err := web.CleanPath(raw)
		if err != nil {
			return
		}
		u, err := NewUpstream(UpstreamConfig{Upstream: "http://a" + base, StripPrefix: strip}, web.NewProtected())
		if err != nil {
			return
		}
		to, err := u.address(p)
		if err != nil {
			return
		}
		sent := to.RequestURI()
		if u.strip == "" && sent != u.base+raw {
			t.Errorf("address(%q) = %q, want the same bytes behind %q", raw, sent, u.base)
		}
		rest, ok := strings.CutPrefix(sent, u.base)
		again, err := web.CleanPath(rest)
		if !ok || err != nil || u.strip+again.Plain != p.Plain && !(again.Plain == "/" && p.Plain == u.strip) {
			t.Errorf("address(%q) less %q = %q, read as %q, %v; decided on %q", raw, u.strip, sent, again.Plain, err,
				p.Plain)
		}
	})
}

func TestConfigCheck(t *testing.T) {
	ok := Defaults()
	ok.Upstream = "http://127.0.0.1:8080"
	for _, c := range []struct {
		change func(*UpstreamConfig)
		want   string
	}{
		{func(c *UpstreamConfig) {}, ""},
		{func(c *UpstreamConfig) { c.Upstream = "" }, ""},
		{func(c *UpstreamConfig) { c.Upstream = "https://app.example.com/base/" }, ""},
		{func(c *UpstreamConfig) { c.Upstream = "http://[::1]:80" }, ""},
		{func(c *UpstreamConfig) { c.Upstream = "unix:/run/app.sock" }, ""},
		{func(c *UpstreamConfig) { c.Upstream = "unix:///run/app.sock" }, ""},
		{func(c *UpstreamConfig) { c.StripPrefix = "/管理/" }, ""},
		{func(c *UpstreamConfig) { c.Upstream = "127.0.0.1:8080" },
			"is not a URL; write http://host:port, https://host, h2c://host:port or unix:/path"},
		{func(c *UpstreamConfig) { c.Upstream = "localhost:8080" },
			`has the scheme "localhost"; write http://host:port, https://host, h2c://host:port or unix:/path`},
		{func(c *UpstreamConfig) { c.Upstream = "file:///etc" },
			`has the scheme "file"; write http://host:port, https://host, h2c://host:port or unix:/path`},
		{func(c *UpstreamConfig) { c.Upstream = "/app" },
			`has the scheme ""; write http://host:port, https://host, h2c://host:port or unix:/path`},
		{func(c *UpstreamConfig) { c.Upstream = "http://" },
			"has an invalid host; write http://host:port, https://host, h2c://host:port or unix:/path"},
		{func(c *UpstreamConfig) { c.Upstream = "http://u:canary@a" },
			"contains a user name; the client's Authorization header is forwarded unchanged"},
		{func(c *UpstreamConfig) { c.Upstream = "http://u:canary@a b" },
			"is not a URL; write http://host:port, https://host, h2c://host:port or unix:/path"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a?b" },
			"has a query or a fragment; only a path may follow the host"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a?" },
			"has a query or a fragment; only a path may follow the host"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a/#" },
			"has a query or a fragment; only a path may follow the host"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a/x/../y" },
			"has a path that servers interpret in different ways"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a//x" }, "has a path that servers interpret in different ways"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a/x//" }, "has a path that servers interpret in different ways"},
		{func(c *UpstreamConfig) { c.Upstream = "http://a/x%2fy" }, "has a path that servers interpret in different ways"},
		{func(c *UpstreamConfig) { c.Upstream = "unix:run/app.sock" },
			"has no socket; write unix: and its absolute path, as in unix:/run/app.sock"},
		{func(c *UpstreamConfig) { c.Upstream = "unix://run/app.sock" },
			"has no socket; write unix: and its absolute path, as in unix:/run/app.sock"},
		{func(c *UpstreamConfig) { c.StripPrefix = "app" },
			`is "app"; it must begin with a slash and be in decoded form, as in /app`},
		{func(c *UpstreamConfig) { c.StripPrefix = "/a/../b" },
			`is "/a/../b"; it must begin with a slash and be in decoded form, as in /app`},
		{func(c *UpstreamConfig) { c.StripPrefix = "/" }, "is only a slash, which removes nothing; remove it"},
		{func(c *UpstreamConfig) { c.Upstream, c.StripPrefix = "", "/app" }, "has no effect: the route has no upstream"},
		{func(c *UpstreamConfig) { c.Upstream = "h2c://app:50051/base" }, ""},
		{func(c *UpstreamConfig) { c.PassHost = "False" }, ""},
		{func(c *UpstreamConfig) { c.PassHost = "app.internal:8443" }, ""},
		{func(c *UpstreamConfig) { c.PassHost = "http://app" }, "is not true, false or a host name"},
		{func(c *UpstreamConfig) { c.PassHost = "a b" }, "is not true, false or a host name"},
		{func(c *UpstreamConfig) { c.Timeout = 0 }, "must be longer than 0s"},
		{func(c *UpstreamConfig) { c.Timeout = -time.Second }, "must be longer than 0s"},
	} {
		config := ok
		c.change(&config)
		var p conf.Problems
		config.Check(&p, "routes[2]")
		got := ""
		for _, problem := range p.All() {
			got += problem.Text.String()
		}
		if got != c.want {
			t.Errorf("%+v: Check says %q, want %q", config, got, c.want)
		}
		if _, err := NewUpstream(config, web.NewProtected()); config.Upstream != "" && config.Timeout > 0 &&
			(err == nil) != (c.want == "") {
			t.Errorf("NewUpstream(%+v) = %v, Check says %q", config, err, got)
		}
	}
	var p conf.Problems
	UpstreamConfig{Upstream: "x"}.Check(&p, "")
	if all := p.All(); len(all) != 2 || all[1].Key != "upstream" {
		t.Errorf("Check at the top of the file = %v, want timeout and upstream", all)
	}
	if _, err := NewUpstream(ok, nil); err == nil {
		t.Error("NewUpstream without protected names succeeded")
	}
}
