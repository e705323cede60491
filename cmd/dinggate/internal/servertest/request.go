package servertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"dinggate/internal/realtool"
)

// WantRefusedAPI checks the response to a wrong credential: 401 in JSON, no redirect, no
// cookie, no request at the application.
func WantRefusedAPI(t *testing.T, what string, a Response) {
	t.Helper()
	if a.StatusCode != 401 || a.Header.Get("Location") != "" || len(a.Header["Set-Cookie"]) > 0 ||
		strings.Contains(a.Text, "UPSTREAM-MARK") || !strings.Contains(a.Text, `"error":"invalid_credentials"`) ||
		strings.Contains(a.Text, "login_url") {
		t.Errorf("%s = %d to %q %s, want 401 JSON", what, a.StatusCode, a.Header.Get("Location"), a.Text)
	}
}

// ClosedAddress returns an address without a listener.
func ClosedAddress(t *testing.T) string {
	t.Helper()
	return realtool.FreeAddr(t)
}

// Discard is a ResponseWriter that discards everything and allocates nothing.
type Discard struct{ H http.Header }

func (b Discard) Header() http.Header { return b.H }

func (b Discard) Write(p []byte) (int, error) { return len(p), nil }

func (b Discard) WriteHeader(int) {}

// OriginalRequest returns the headers by which a gateway reports a GET of path at an origin, of
// every kind.
func OriginalRequest(origin, path string) []string {
	return []string{"X-Original-URL: " + origin + path, "X-Original-Method: GET", "X-Forwarded-Uri: " + path,
		"X-Forwarded-Method: GET", "X-Forwarded-Proto: http", "X-Forwarded-Host: " + strings.TrimPrefix(origin, "http://")}
}

// NewAuthRequest returns the authorization subrequest of nginx for a signed-in browser.
func NewAuthRequest(t testing.TB, h *Env) *http.Request {
	v := h.NewClient()
	back := v.SignIn(h.URL+"/", "zhangsan")
	r := &http.Request{
		Method:     "GET",
		URL:        &url.URL{Path: "/oauth2/auth"},
		RequestURI: "/oauth2/auth",
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Host:       "127.0.0.1",
		RemoteAddr: "127.0.0.1:1",
		Body:       http.NoBody,
		Header: http.Header{
			"Cookie": {"theme=dark; dinggate=" + SessionOf(back)}, "User-Agent": {"Mozilla/5.0"},
			"Accept":         {"text/html"},
			"X-Original-Url": {h.URL + "/reports?q=1"}, "X-Original-Method": {"GET"}, "X-Forwarded-For": {"192.0.2.7"},
		},
	}
	h.Gateway.ServeHTTP(Discard{http.Header{}}, r.WithContext(t.Context())) // from now on the session is cached
	return r
}

// From sends one request to dinggate's handler as the client of a trusted proxy.
func (h *Env) From(client, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return h.FromWith(h.T.Context(), client, method, path, body, headers...)
}

// FromWith is From with a context.
func (h *Env) FromWith(ctx context.Context, client, method, path, body string,
	headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, h.URL+path, strings.NewReader(body))
	r.RemoteAddr, r.RequestURI = "127.0.0.1:1", path
	r.Header.Set("X-Forwarded-For", client)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.State.ServeHTTP(w, r)
	return w
}

// AddressOf returns a distinct address for each number.
func AddressOf(i int) string {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
}
