package forwardauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/access"
	"dinggate/session"
)

const (
	trusted   = "10.0.0.1:1"
	untrusted = "192.0.2.1:1"
)

// newHandler serves app.test: /public/ is public, /admin/ is for the user boss, the rest for
// members. The cookie `s` contains the user.
func newHandler(t testing.TB, change ...func(*Handler)) http.Handler {
	policy, err := access.New([]access.Route{
		{Name: "public", Path: "/public/", Rule: access.Rule{Public: true}},
		{Name: "read", Path: "/read/", Methods: []string{"GET"}, Rule: access.Rule{Public: true}},
		{Name: "net", Path: "/net/",
			Rule: access.Rule{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}},
		{Name: "admin", Path: "/admin/", Rule: access.Rule{Users: []string{"boss"}}},
		{Name: "rest", Host: "app.test", Path: "/", Rule: access.Rule{SignedIn: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	peers, err := web.ParsePeers([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	origins, err := web.NewOrigins("https://app.test", nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	rules := identity.HeaderRules{{Name: "X-Auth-Request-User", Field: "username"},
		{Name: "X-Auth-Request-Email", Field: "email"}}
	g := &Handler{Prefix: "/oauth2", Origins: origins,
		LoginURL: func(target string) string { return "https://app.test/oauth2/start?rd=" + url.QueryEscape(target) },
		Authorize: func(_ context.Context, target access.Target, h http.Header, _ time.Duration) (proxy.Decision, error) {
			var u *identity.User
			var s *session.Session
			switch who := strings.Join(web.CookieValues(h, "s"), ""); who {
			case "":
			case "failing":
				return proxy.Decision{},
					&web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: 5e9}
			case "panic":
				panic("deciding")
			default:
				s = &session.Session{User: identity.User{UnionID: who, Username: who}}
				u = &s.User
			}
			return proxy.Decision{
				Decision: policy.Decide(target, u),
				Session:  s,
				Headers:  rules.Render(u, identity.Token{}),
				Cookie:   &http.Cookie{Name: "dinggate", Value: "renewed"},
			}, nil
		}}
	for _, f := range change {
		f(g)
	}
	return &web.Chain{Peers: peers, Scheme: "https", Subrequest: g.Handlers(), Record: func(*web.Exchange, *http.Request) {},
		Next: func(http.ResponseWriter, *http.Request) error { return &web.Error{Status: 404, Code: "not_found"} },
		Answer: func(w http.ResponseWriter, r *http.Request, err error) {
			e, _ := errors.AsType[*web.Error](err)
			w.Header().Set("X-Code", e.Code)
			w.Header().Set("X-Login", e.LoginURL)
			w.Header().Set("X-Accept", r.Header.Get("Accept"))
			w.WriteHeader(e.Status)
		}}
}

// do sends header lines ("Name: value") and returns the answer.
func do(t testing.TB, h http.Handler, method, target, remote, headers string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr = "gate.internal", remote
	for line := range strings.SplitSeq(headers, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			value = strings.TrimSpace(value)
			if strings.EqualFold(name, "Host") {
				r.Host = value
				continue
			}
			r.Header[http.CanonicalHeaderKey(name)] = append(r.Header[http.CanonicalHeaderKey(name)], value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

const (
	page   = "\nAccept: text/html"
	signed = "\nCookie: s=zhangsan"
	boss   = "\nCookie: s=boss"
	ours   = "X-Forwarded-Host: app.test\nX-Forwarded-Proto: https\nX-Forwarded-Method: GET\nX-Forwarded-Uri: "
	nurl   = "X-Original-Method: GET\nX-Original-URL: https://app.test"
)
