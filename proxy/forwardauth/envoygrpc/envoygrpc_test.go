package envoygrpc

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// client returns a client of a Server over a real connection.
func client(t *testing.T, answer http.HandlerFunc) authv3.AuthorizationClient {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Server{Handler: answer, Prefix: "/oauth2"}).Serve(ctx, l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return authv3.NewAuthorizationClient(conn)
}

func checkRequest(method, host, path string, headers map[string]string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{
			Method:  method,
			Host:    host,
			Path:    path,
			Scheme:  "https",
			Headers: headers,
		}}}}
}

func TestCheck(t *testing.T) {
	var seen *http.Request
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		h := w.Header()
		h["X-Auth-Request-User"], h["X-Auth-Request-Email"] = []string{"zhangsan"}, []string{""}
		h["Cache-Control"], h["Set-Cookie"] = []string{"no-store"}, []string{"dinggate=renewed"}
		w.WriteHeader(http.StatusOK)
	})
	out, err := c.Check(t.Context(),
		checkRequest("POST", "app.test", "/a%2Fb?x=1&y=2",
			map[string]string{":path": "/forged", "cookie": "s=1", "x-forwarded-for": "192.0.2.1"}))
	if err != nil {
		t.Fatal(err)
	}
	if seen.RequestURI != "/oauth2/ext-authz/a%2Fb?x=1&y=2" || seen.Method != "POST" || seen.Host != "app.test" ||
		seen.Header.Get("Cookie") != "s=1" || seen.Header.Get("X-Forwarded-Proto") != "https" ||
		!strings.HasPrefix(seen.RemoteAddr, "127.0.0.1:") {
		t.Errorf("dinggate received %s %s of %s from %s with %v", seen.Method, seen.RequestURI, seen.Host,
			seen.RemoteAddr, seen.Header)
	}
	ok := out.GetOkResponse()
	if out.Status.Code != 0 || len(ok.GetHeaders()) != 1 || ok.Headers[0].Header.Key != "x-auth-request-user" ||
		ok.Headers[0].Header.Value != "zhangsan" {
		t.Errorf("allowed = %v, want the one known identity header", out)
	}
	if len(ok.GetHeadersToRemove()) != 1 || ok.HeadersToRemove[0] != "x-auth-request-email" {
		t.Errorf("removed %v, want the unknown identity header taken from the client's request",
			ok.GetHeadersToRemove())
	}
	if len(ok.GetResponseHeadersToAdd()) != 1 || ok.ResponseHeadersToAdd[0].Header.Value != "dinggate=renewed" {
		t.Errorf("the browser gets %v, want the renewed cookie", ok.GetResponseHeadersToAdd())
	}
}

// TestRawHeaders: with encode_raw_headers Envoy sends header_map in place of headers.
func TestRawHeaders(t *testing.T) {
	var seen http.Header
	c := client(t, func(w http.ResponseWriter, r *http.Request) { seen = r.Header })
	q := checkRequest("GET", "app.test", "/", nil)
	q.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{}
	for _, h := range [][2]string{{":path", "/forged"}, {"cookie", "a=1"}, {"cookie", "s=\xff"}, {"accept", "text/html"}} {
		q.Attributes.Request.Http.HeaderMap.Headers = append(q.Attributes.Request.Http.HeaderMap.Headers,
			&corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	if _, err := c.Check(t.Context(), q); err != nil || !slices.Equal(seen["Cookie"], []string{"a=1", "s=\xff"}) ||
		seen.Get("Accept") != "text/html" || len(seen) != 3 {
		t.Errorf("Check = %v, dinggate received %v, want the two cookies and Accept as sent", err, seen)
	}
}

func TestCheckDenies(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 503} {
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://app.test/oauth2/start")
			w.WriteHeader(status)
			w.Write([]byte("why"))
		})
		out, err := c.Check(t.Context(), checkRequest("GET", "app.test", "/", nil))
		if no := out.GetDeniedResponse(); err != nil || out.Status.Code == 0 ||
			int(no.GetStatus().GetCode()) != status || no.GetBody() != "why" || len(no.GetHeaders()) != 1 {
			t.Errorf("a dinggate's %d = %v, %v, want it relayed whole", status, out, err)
		}
	}
	reached := false
	c := client(t, func(http.ResponseWriter, *http.Request) { reached = true; panic("x") })
	for _, q := range []*authv3.CheckRequest{{}, checkRequest("GET", "app.test", "", nil),
		checkRequest("GET", "app.test", "relative", nil), checkRequest("", "app.test", "/", nil),
		checkRequest("GET", "", "/", nil), checkRequest("GET", "app.test", "/%zz", nil)} {
		if out, err := c.Check(t.Context(), q); err != nil || out.GetDeniedResponse() == nil || reached {
			t.Errorf("Check(%v) = %v, %v, want a denial without a call of the handler", q, out, err)
		}
	}
	if out, err := c.Check(t.Context(), checkRequest("GET", "app.test", "/", nil)); err != nil ||
		int(out.GetDeniedResponse().GetStatus().GetCode()) != 503 {
		t.Errorf("a panic = %v, %v, want 503", out, err)
	}
}
