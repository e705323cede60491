package server

import (
	"net/http"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/web"
)

// TestEndpointsMatch checks that everything below a root is ours, in any letter case, and
// that a path that only some programs would interpret as ours is refused (threats P14). A
// family of public_url's host does not apply to other hosts, whose paths belong to the
// routes.
func TestEndpointsMatch(t *testing.T) {
	origins, err := web.NewOrigins("https://app.test", nil, []string{"other.test"}, "")
	if err != nil {
		t.Fatal(err)
	}
	h := func(http.ResponseWriter, *http.Request) error { return nil }
	e := newEndpoints(settings{Config: &config.Config{Addresses: config.Addresses{Prefix: "/oauth2"}}, origins: origins},
		family{},
		family{root: "/oauth2", paths: map[string]web.HandlerFunc{"/oauth2/start": h, "/oauth2/assets/": h}},
		family{root: "/oauth2", paths: map[string]web.HandlerFunc{"/oauth2/jwks.json": h}},
		family{root: "/oidc", paths: map[string]web.HandlerFunc{"/oidc/token": h}, publicHost: true},
	)
	for _, tt := range []struct {
		host, path    string
		ours, refused bool
	}{
		{"app.test", "/oauth2/start", true, false},
		{"other.test", "/oauth2/start", true, false},
		{"app.test", "/oauth2/jwks.json", true, false},
		{"app.test", "/oauth2/assets/a.css", true, false},
		{"app.test", "/oauth2/unknown", true, false},
		{"app.test", "/OAuth2/start", true, false},
		{"app.test", "/%6fauth2/start", false, true},
		{"app.test", "/oauth2x", false, false},
		{"app.test", "/", false, false},
		{"app.test", "/oidc/token", true, false},
		{"app.test:8443", "/oidc/token", true, false},
		{"other.test", "/oidc/token", false, false},
		{"other.test", "/%6fidc/token", false, false},
	} {
		p, err := web.CleanPath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := e.match(p, tt.host)
		if ours != tt.ours || (err != nil) != tt.refused {
			t.Errorf("match(%s%s) = %v, %v, want %v, refused %v", tt.host, tt.path, ours, err, tt.ours, tt.refused)
		}
	}
}
