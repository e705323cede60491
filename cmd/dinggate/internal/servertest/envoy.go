package servertest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"dinggate/proxy/forwardauth/envoygrpc"

	"github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// HeaderList returns the headers, one per line and sorted, with a placeholder for values
// that differ each time.
func HeaderList(h http.Header) string {
	var lines []string
	for name, values := range h {
		for _, v := range values {
			switch {
			case name == "Date" || name == "Content-Length": // set by net/http
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

// NewEnvoyClient returns a func that sends an authorization request to dinggate over gRPC
// as Envoy does, from any address of this machine. The func returns the response as text.
func NewEnvoyClient(t *testing.T, h *Env) func(peer, host, path, header string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&envoygrpc.Server{Handler: h.State, Prefix: "/oauth2"}).Serve(ctx, l) }()
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
			return fmt.Sprintf("denied %d\n%s", no.Status.Code, HeaderList(headers))
		}
		yes := out.GetOkResponse()
		for _, o := range slices.Concat(yes.Headers, yes.ResponseHeadersToAdd) {
			headers.Add(o.Header.Key, o.Header.Value)
		}
		removed := slices.Sorted(slices.Values(yes.HeadersToRemove))
		return fmt.Sprintf("ok\n%s  removed: %s\n", HeaderList(headers), strings.Join(removed, " "))
	}
}
