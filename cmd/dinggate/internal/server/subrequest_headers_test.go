package server_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/identity"
)

// sendFrom sends a request to dinggate from an address of this machine, for a host.
func sendFrom(t *testing.T, peer, address, host string, lines ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	res, err := (&http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(peer)}}).DialContext,
	}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// TestSubrequestHeaders compares the exact headers of the responses to authorization
// subrequests with testdata/subrequests.golden. A response without a body has only the
// headers that a program needs, one with a body all of them. Only a trusted peer receives
// headers that prove a person's identity to another application (threats W14).
func TestSubrequestHeaders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "ci")
	h := servertest.New(t, func(c *config.Config) {
		c.Assertion.Enabled, c.APITokens, c.Accounts.HtpasswdFile = true, true, file
		c.TLS.HSTS = time.Hour
		c.Headers.Response = append(c.Headers.Response, identity.HeaderRule{
			Name:  "X-Auth-Request-Access-Token",
			Field: "access_token",
		})
	})
	cookies := func(person string) (line string) {
		v := h.NewClient()
		v.SignIn(h.URL+"/oauth2/start", person)
		for _, c := range v.HTTP.Jar.Cookies(servertest.ParseURL(t, h.URL)) {
			line += c.Name + "=" + c.Value + "; "
		}
		return "Cookie: " + line
	}
	member := cookies("zhangsan")
	host := strings.TrimPrefix(h.URL, "http://")
	check := servertest.NewEnvoyClient(t, h)
	var golden strings.Builder
	for _, who := range []struct{ name, peer, path, header string }{
		{"a member", "127.0.0.1", "/x", member},
		{"a member, by a peer that is not trusted", "127.0.0.2", "/x", member},
		{"no session, a public page", "127.0.0.1", "/public/x", "Accept: */*"},
		{"no session", "127.0.0.1", "/x", "Accept: */*"},
		{"no session, by a peer that is not trusted", "127.0.0.2", "/x", "Accept: */*"},
		{"a wrong password", "127.0.0.1", "/x", servertest.BasicAuth("ci", "wrong")},
		{"a wrong token", "127.0.0.1", "/x", "Authorization: Bearer wrong"},
		{"a member without the right", "127.0.0.1", "/admin/x", cookies("zhaoliu")},
		{"a member, about an unknown host", "127.0.0.1", "unknown", member},
	} {
		origin, path := host, who.path
		if path == "unknown" {
			origin, path = "evil.test", "/x"
		}
		original := servertest.OriginalRequest("http://"+origin, path)
		for _, endpoint := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz"} {
			under := host
			lines := append(original, who.header)
			if endpoint == "/oauth2/ext-authz" {
				endpoint, under, lines = endpoint+path, origin, []string{who.header}
			}
			a := sendFrom(t, who.peer, h.URL+endpoint, under, lines...)
			fmt.Fprintf(&golden, "%s: %s = %d\n%s\n", endpoint, who.name, a.StatusCode, servertest.HeaderList(a.Header))
		}
		fmt.Fprintf(&golden, "gRPC: %s = %s\n", who.name, check(who.peer, origin, path, who.header))
	}
	servertest.Golden(t, filepath.Join("testdata", "subrequests.golden"), golden.String())
}
