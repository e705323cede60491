package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/identity"
	"dinggate/proxy/forwardauth/envoygrpc"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// askFrom asks dinggate from an address of this machine, under a host.
func askFrom(t *testing.T, peer, address, host string, lines ...string) *http.Response {
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

// TestQuestionHeaders holds the exact headers of the answers to gateways'
// questions against testdata/questions.golden: an answer without a body carries
// what a program needs and no more, one with a body the whole block, and what
// proves a person to another application only a trusted peer gets (threats W14).
func TestQuestionHeaders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "ci")
	h := newTestEnv(t, func(c *config.Config) {
		c.Assertion.Enabled, c.APITokens, c.Accounts.HtpasswdFile = true, true, file
		c.TLS.HSTS = time.Hour
		c.Headers.Response = append(c.Headers.Response, identity.HeaderRule{
			Name:  "X-Auth-Request-Access-Token",
			Field: "access_token",
		})
	})
	cookies := func(person string) (line string) {
		v := h.visitor()
		v.signIn(h.base+"/oauth2/start", person)
		for _, c := range v.client.Jar.Cookies(mustURL(t, h.base)) {
			line += c.Name + "=" + c.Value + "; "
		}
		return "Cookie: " + line
	}
	member := cookies("zhangsan")
	host := strings.TrimPrefix(h.base, "http://")
	check := grpcClient(t, h)
	var golden strings.Builder
	for _, who := range []struct{ name, peer, path, header string }{
		{"a member", "127.0.0.1", "/x", member},
		{"a member, by a peer that is not trusted", "127.0.0.2", "/x", member},
		{"nobody, a public page", "127.0.0.1", "/public/x", "Accept: */*"},
		{"nobody", "127.0.0.1", "/x", "Accept: */*"},
		{"nobody, by a peer that is not trusted", "127.0.0.2", "/x", "Accept: */*"},
		{"a wrong password", "127.0.0.1", "/x", basic("ci", "wrong")},
		{"a wrong token", "127.0.0.1", "/x", "Authorization: Bearer wrong"},
		{"a member without the right", "127.0.0.1", "/admin/x", cookies("zhaoliu")},
		{"a member, about an unknown host", "127.0.0.1", "unknown", member},
	} {
		asked, path := host, who.path
		if path == "unknown" {
			asked, path = "evil.test", "/x"
		}
		told := []string{"X-Original-Url: http://" + asked + path, "X-Original-Method: GET",
			"X-Forwarded-Uri: " + path, "X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
			"X-Forwarded-Host: " + asked}
		for _, endpoint := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz"} {
			under := host
			lines := append(told[:len(told):len(told)], who.header)
			if endpoint == "/oauth2/ext-authz" {
				endpoint, under, lines = endpoint+path, asked, []string{who.header}
			}
			a := askFrom(t, who.peer, h.base+endpoint, under, lines...)
			fmt.Fprintf(&golden, "%s: %s = %d\n%s\n", endpoint, who.name, a.StatusCode, headerList(a.Header))
		}
		fmt.Fprintf(&golden, "gRPC: %s = %s\n", who.name, check(who.peer, asked, path, who.header))
	}
	name := filepath.Join("testdata", "questions.golden")
	if *update {
		if err := os.WriteFile(name, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := golden.String(); got != string(want) {
		t.Errorf("the headers are not those of %s (go test -run TestQuestionHeaders -update writes it):\n%s", name, got)
	}
}

// headerList is one header a line, sorted, with a word for what differs each time.
func headerList(h http.Header) string {
	var lines []string
	for name, values := range h {
		for _, v := range values {
			switch {
			case name == "Date" || name == "Content-Length": // net/http's own
				continue
			case name == "X-Request-Id" || strings.EqualFold(name, "X-Dinggate-Assertion") && v != "" ||
				strings.EqualFold(name, "X-Auth-Request-Access-Token") && v != "":
				v = "…"
			}
			lines = append(lines, fmt.Sprintf("  %s: %s\n", http.CanonicalHeaderKey(name), v))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// grpcClient asks the same gate as Envoy does over gRPC, from any address of this
// machine, and puts the answer into words.
func grpcClient(t *testing.T, h *testEnv) func(peer, host, path, header string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&envoygrpc.Server{Gate: h.state, Prefix: "/oauth2"}).Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return func(peer, host, path, header string) string {
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
				return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(peer)}}).DialContext(ctx, "tcp", address)
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		name, value, _ := strings.Cut(header, ": ")
		out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(),
			&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
				Http: &authv3.AttributeContext_HttpRequest{
					Method:  "GET",
					Host:    host,
					Path:    path,
					Scheme:  "http",
					Headers: map[string]string{strings.ToLower(name): value},
				}}}})
		if err != nil {
			t.Fatal(err)
		}
		headers := http.Header{}
		if no := out.GetDeniedResponse(); no != nil {
			for _, o := range no.Headers {
				headers.Add(o.Header.Key, o.Header.Value)
			}
			return fmt.Sprintf("denied %d\n%s", no.Status.Code, headerList(headers))
		}
		yes := out.GetOkResponse()
		for _, o := range slices.Concat(yes.Headers, yes.ResponseHeadersToAdd) {
			headers.Add(o.Header.Key, o.Header.Value)
		}
		removed := slices.Sorted(slices.Values(yes.HeadersToRemove))
		return fmt.Sprintf("ok\n%s  removed: %s\n", headerList(headers), strings.Join(removed, " "))
	}
}
