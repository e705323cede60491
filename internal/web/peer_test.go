package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func peers(t testing.TB, list ...string) *Peers {
	p, err := ParsePeers(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestResolve(t *testing.T) {
	p := peers(t, "10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		remote  string
		xff     []string
		trusted bool
		client  string
	}{
		{"192.0.2.1:1", nil, false, "192.0.2.1"},
		{"192.0.2.1:1", []string{"127.0.0.1"}, false, "192.0.2.1"},
		{"10.0.0.1:1", nil, true, "10.0.0.1"},
		{"10.0.0.1:1", []string{"192.0.2.9"}, true, "192.0.2.9"},
		{"10.0.0.1:1", []string{"127.0.0.1, 192.0.2.9, 10.0.0.7"}, true, "192.0.2.9"},
		{"10.0.0.1:1", []string{"127.0.0.1", "192.0.2.9", "10.0.0.7"}, true, "192.0.2.9"},
		{"[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.9"}, true, "192.0.2.9"},
		{"10.0.0.1:1", []string{"192.0.2.9:8080"}, true, "192.0.2.9"},
		{"10.0.0.1:1", []string{"[2001:db8::1]:8080"}, true, "2001:db8::1"},
		{"10.0.0.1:1", []string{"[2001:db8::1]"}, true, "2001:db8::1"},
		{"10.0.0.1:1", []string{"127.0.0.1, junk"}, true, ""},
		{"10.0.0.1:1", []string{"192.0.2.9, unknown, 10.0.0.2"}, true, ""},
		{"10.0.0.1:1", []string{""}, true, ""},
		{"10.0.0.1:1", []string{"0177.0.0.1"}, true, ""},
		{"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, true, "10.0.0.3"},
		{"fd00::1", nil, false, ""},
		{"@", []string{"192.0.2.9"}, false, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.remote, c.xff
		_, trusted, client := p.Resolve(r)
		want := netip.Addr{}
		if c.client != "" {
			want = netip.MustParseAddr(c.client)
		}
		if trusted != c.trusted || client != want {
			t.Errorf("Resolve(%q, %q) = %v, %v, want %v, %v", c.remote, c.xff, trusted, client, c.trusted, want)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr, r.Header["X-Forwarded-For"] = "@", []string{"192.0.2.9"}
	if _, trusted, client := peers(t, "unix").Resolve(r); !trusted || client.String() != "192.0.2.9" {
		t.Errorf("Resolve on a trusted unix socket = %v, %v, want true, 192.0.2.9", trusted, client)
	}
}

func TestMappedPeers(t *testing.T) {
	p := peers(t, "::ffff:10.0.0.0/104")
	for remote, want := range map[string]bool{"10.1.2.3:1": true, "[::ffff:10.1.2.3]:1": true, "11.0.0.1:1": false,
		"[fd00::1]:1": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		if _, trusted, _ := p.Resolve(r); trusted != want {
			t.Errorf("Resolve(%q) is trusted: %v, want %v", remote, trusted, want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("192.0.2.9", "127.0.0.1")
	f.Add("junk", "10.0.0.2, 192.0.2.1:9")
	p := peers(f, "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, left, right string) {
		clientOf := func(lines ...string) netip.Addr {
			r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": lines}}
			_, _, client := p.Resolve(r)
			return client
		}
		if client := clientOf(right); client.IsValid() && !p.contains(client) {
			if with := clientOf(left, right); with != client {
				t.Errorf("Resolve(%q) = %v, with %q on its left %v", right, client, left, with)
			}
		}
	})
}
