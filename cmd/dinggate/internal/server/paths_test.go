package server_test

import (
	"net/http"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// A member without permission for /admin/ is refused under every spelling of the path
// (threats P17–P20).
func TestPathSpellings(t *testing.T) {
	h := servertest.New(t, nil)
	member := h.NewClient()
	member.SignIn(h.URL+"/page", "zhaoliu")
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/admin/x", 403}, {"/page/X", 200}, {"/page%3Fx", 200},
		{"/;%2Fx/admin/x", 400}, {"/admin;%2Fz/x/y", 400}, {"/;%252Fx/admin/x", 400}, {"/x;y/..;/admin", 400},
		{"/admin%3Fx", 400}, {"/admin%2523x", 400}, {"/page/..%3F/admin/", 400},
		{"/ADMIN/x", 400}, {"/aDmin", 400}, {"/;x/Admin/", 400}, {"/adm%49n/", 400},
		{"/page/%25252e%25252e/admin/x", 400}, {"/%25252561dmin/x", 400},
		{"//x/admin/y", 400}, {"/index.php/admin/x", 403}, {"/(S(x))/admin/x", 403}, {"/admin::$DATA", 400},
	} {
		h.Upstream.Reset()
		if a := member.Get(h.URL + c.path); a.StatusCode != c.status || c.status != 200 && h.Upstream.Count() > 0 {
			t.Errorf("GET %s = %d, the application got %d requests, want %d", c.path, a.StatusCode, h.Upstream.Count(),
				c.status)
		}
		want := map[int]int{200: 200}[c.status]
		if want == 0 {
			want = 403
		}
		a := member.Get(h.URL+"/oauth2/auth", "X-Original-URL: "+h.URL+c.path)
		if a.StatusCode != want || want == 403 && a.Header.Get("X-Dinggate-Reason") == "" {
			t.Errorf("/oauth2/auth about %s = %d, reason %q, want %d", c.path, a.StatusCode,
				a.Header.Get("X-Dinggate-Reason"), want)
		}
	}
	if a := member.Get(h.URL+"/oauth2/auth",
		"X-Original-URL: "+h.URL+"/ADMIN/x"); a.Header.Get("X-Dinggate-Reason") != "ambiguous_path" {
		t.Errorf("/oauth2/auth about /ADMIN/x gives the reason %q, want ambiguous_path",
			a.Header.Get("X-Dinggate-Reason"))
	}
}

func TestPathCase(t *testing.T) {
	for _, c := range []struct {
		word   string
		status map[string]int
	}{
		{config.PathCaseInsensitive,
			map[string]int{"/public/x": 200, "/PUBLIC/x": 400, "/admin/X": 200, "/ADMIN/x": 400, "/Page": 200}},
		{config.PathCaseSensitive,
			map[string]int{"/public/x": 200, "/PUBLIC/x": 200, "/admin/X": 200, "/ADMIN/x": 200, "/Page": 200,
				"/;%2Fx/ADMIN/": 200, "/;%2Fx/admin/": 400}},
	} {
		h := servertest.New(t, func(cfg *config.Config) { cfg.PathCase = c.word })
		boss := h.NewClient()
		boss.SignIn(h.URL+"/admin/", "zhangsan")
		for path, want := range c.status {
			if a := boss.Get(h.URL + path); a.StatusCode != want {
				t.Errorf("path_case %s: GET %s = %d, want %d", c.word, path, a.StatusCode, want)
			}
		}
		if a := h.NewClient().Get(h.URL + "/PUBLIC/x"); a.StatusCode == http.StatusOK {
			t.Errorf("path_case %s: /PUBLIC/x is public", c.word)
		}
	}
}
