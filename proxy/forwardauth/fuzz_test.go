package forwardauth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzEndpoints: one path has one verdict at every endpoint (threats P16), an unauthenticated
// request is allowed only on a path that is plainly public, and no subrequest causes a panic.
func FuzzEndpoints(f *testing.F) {
	for _, s := range []string{"/", "/public/", "/public/../admin/", "/public/%2e%2e/admin", "/public;x/",
		"//public/a", "/oauth2/auth", "/OAuth2/auth", "/admin/.", "/net/", "/\xff", "/public/．．/admin/"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	h := newHandler(f)
	f.Fuzz(func(t *testing.T, uri string, signedIn bool) {
		// a path alone; a raw # is 400 if it is sent in a request line
		if len(uri) == 0 || uri[0] != '/' || strings.ContainsAny(uri, "?#") {
			return
		}
		put := func(target string, headers map[string]string) int {
			r := httptest.NewRequest("GET", "/", nil)
			r.URL, _ = url.Parse("http://app.test/oauth2/x")
			r.RequestURI, r.Host, r.RemoteAddr = target, "app.test", trusted
			for name, value := range headers {
				r.Header.Set(name, value)
			}
			if signedIn {
				r.Header.Set("Cookie", "s=zhangsan")
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		nginx := put("/oauth2/auth",
			map[string]string{"X-Original-Url": "https://app.test" + uri, "X-Original-Method": "GET"})
		forwarded := put("/oauth2/forward-auth",
			map[string]string{"X-Forwarded-Uri": uri, "X-Forwarded-Method": "GET", "X-Forwarded-Host": "app.test",
				"X-Forwarded-Proto": "https"})
		if (nginx == http.StatusOK) != (forwarded == http.StatusOK) {
			t.Errorf("%q: auth %d, forward-auth %d", uri, nginx, forwarded)
		}
		if ext := put("/oauth2/ext-authz"+uri, nil); (nginx == http.StatusOK) != (ext == http.StatusOK) {
			t.Errorf("%q: auth %d, ext-authz %d", uri, nginx, ext)
		}
		if nginx != 200 && nginx != 401 && nginx != 403 {
			t.Errorf("%q: auth %d", uri, nginx)
		}
	})
}
