package web

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHosts(t *testing.T) {
	named, err := NewHosts("https://app.example.com:8443",
		[]string{"Wiki.example.org", "api.example.org:444", "*.Apps.example.org"}, ".example.net")
	if err != nil {
		t.Fatal(err)
	}
	loopback, err := NewHosts("http://127.0.0.1:4180", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	in := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 4180}
	in6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 4180}
	unix := &net.UnixAddr{Name: "/run/x.sock", Net: "unix"}
	for _, c := range []struct {
		hosts *Hosts
		host  string
		local net.Addr
		want  bool
	}{
		{named, "app.example.com", in, true},
		{named, "app.example.com:8443", in, true},
		{named, "app.example.com:4180", in, true},
		{named, "wiki.example.org", in, true},
		{named, "api.example.org", in, true},
		{named, "a.apps.example.org", in, true},
		{named, "a.apps.example.org:9443", in, true},
		{named, "apps.example.org", in, false},
		{named, "a.b.apps.example.org", in, false},
		{named, "a.example.org", in, false},
		{named, "xapps.example.org", in, false},
		{named, "example.net", in, true},
		{named, "a.b.example.net", in, true},
		{named, "10.0.0.7", in, true},
		{named, "10.0.0.7:4180", in, true},
		{named, "[2001:db8::7]:4180", in6, true},
		{named, "[::ffff:a00:7]", in, true},
		{named, "10.0.0.8", in, false},
		{named, "127.0.0.1", in, false},
		{named, "localhost", in, false},
		{named, "10.0.0.7", unix, false},
		{named, "10.0.0.7", nil, false},
		{named, "evil.test", in, false},
		{named, "evil.test", nil, false},
		{named, "app.example.com.evil.test", in, false},
		{named, "evilapp.example.com", in, false},
		{named, "evilexample.net", in, false},
		{named, "example.com", in, false},
		{named, "10.0.0.7.nip.io", in, false},
		{named, "0xa000007", in, false},
		{loopback, "127.0.0.1:4180", in, true},
		{loopback, "localhost:4180", in, true},
		{loopback, "[::1]", in, true},
		{loopback, "127.1.2.3", in, true},
		{loopback, "localhost.evil.test", in, false},
		{loopback, "evil.test", in, false},
		{nil, "evil.test", in, true},
	} {
		var r *http.Request
		if c.local != nil {
			r = httptest.NewRequest("GET", "/",
				nil).WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, c.local))
		}
		if got := c.hosts.Serves(c.host, r); got != c.want {
			t.Errorf("Serves(%q, %v) = %v, want %v", c.host, c.local, got, c.want)
		}
	}
	for _, bad := range []string{"", "ftp://x", "https://x y"} {
		if _, err := NewHosts(bad, nil, ""); err == nil {
			t.Errorf("NewHosts(%q) = nil, want an error", bad)
		}
	}
}

// TestChain_Hosts: an unconfigured name is 421, except from a trusted proxy whose subrequest has a
// name of its own; the browser's host that it reports is checked (W12).
func TestChain_Hosts(t *testing.T) {
	hosts, err := NewHosts("https://app.test", []string{"wiki.test"}, "")
	if err != nil {
		t.Fatal(err)
	}
	peers, err := ParsePeers([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	e := &Chain{Peers: peers, Scheme: "https", Hosts: hosts, Record: func(*Exchange, *http.Request) {},
		Next:   func(w http.ResponseWriter, r *http.Request) error { w.WriteHeader(204); return nil },
		Answer: func(w http.ResponseWriter, r *http.Request, err error) { w.WriteHeader(err.(*Error).Status) }}
	for _, c := range []struct {
		peer, host, forwarded string
		want                  int
	}{
		{"192.0.2.1:1", "app.test", "", 204},
		{"192.0.2.1:1", "APP.TEST.:443", "", 204},
		{"192.0.2.1:1", "Wiki.Test", "", 204},
		{"192.0.2.1:1", "evil.test", "", 421},
		{"192.0.2.1:1", "EVIL.test.", "", 421},
		{"192.0.2.1:1", "app.test.evil.test", "", 421},
		{"192.0.2.1:1", "evil.test", "app.test", 421},
		{"192.0.2.1:1", "app.test", "evil.test", 204},
		{"192.0.2.1:1", "192.0.2.9", "", 421},
		{"10.0.0.1:1", "gate.internal", "", 204},
		{"10.0.0.1:1", "gate.internal", "app.test", 204},
		{"10.0.0.1:1", "gate.internal", "evil.test", 421},
		{"10.0.0.1:1", "app.test", "evil.test", 421},
		{"10.0.0.1:1", "gate.internal", "192.0.2.9", 204},
		{"10.0.0.1:1", "gate.internal", "[2001:db8::9]:443", 204},
		{"10.0.0.1:1", "evil.test", "WIKI.test.:443", 204},
	} {
		r := httptest.NewRequest("GET", "/x", nil)
		r.RemoteAddr, r.Host = c.peer, c.host
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-Host", c.forwarded)
		}
		w := httptest.NewRecorder()
		if e.ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("from %s, Host: %s, X-Forwarded-Host: %q = %d, want %d", c.peer, c.host, c.forwarded, w.Code,
				c.want)
		}
	}
}
