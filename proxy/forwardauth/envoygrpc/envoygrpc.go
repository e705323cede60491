// Package envoygrpc answers Envoy's authorization requests over gRPC.
//
//	Envoy ── Check(attributes) ──► http.Request to /ext-authz/<path> ──► dinggate
//	      ◄─ OK or Denied ◄─────── its answer ◄───────────────────────────┘
//
// It makes no decision of its own: the handler of the HTTP check answers, so that both protocols
// give the same verdict.
package envoygrpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
)

// Server implements envoy.service.auth.v3.Authorization. Both fields are
// required; safe for concurrent use.
type Server struct {
	authv3.UnimplementedAuthorizationServer

	Handler http.Handler // the whole stack, as on the public listener
	Prefix  string       // of dinggate's endpoints, such as /oauth2
}

// maxCheck bounds one CheckRequest: all headers of a request, without its body.
const maxCheck = 256 << 10

// finishWithin is how long Serve waits for running checks after its context ends.
const finishWithin = 10 * time.Second

// Serve serves on l until ctx ends, then waits for the running checks.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxCheck), grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Minute}))
	authv3.RegisterAuthorizationServer(server, s)
	stop := context.AfterFunc(ctx, func() {
		late := time.AfterFunc(finishWithin, server.Stop) // a peer that never completes its call
		defer late.Stop()
		server.GracefulStop()
	})
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Check never returns an error: a request that cannot be parsed is denied with 400, a panic with
// 503.
func (s *Server) Check(ctx context.Context, in *authv3.CheckRequest) (out *authv3.CheckResponse, err error) {
	defer func() {
		if recover() != nil { // a panic in one check must not end the process; dinggate has logged it
			out, err = denied(http.StatusServiceUnavailable, nil, nil), nil
		}
	}()
	original := in.GetAttributes().GetRequest().GetHttp()
	r, ok := s.request(ctx, original)
	if !ok {
		return denied(http.StatusBadRequest, nil, nil), nil
	}
	w := &answer{header: http.Header{}}
	s.Handler.ServeHTTP(w, r)
	if w.status == http.StatusOK {
		return allowed(w.header), nil
	}
	return denied(w.status, w.header, w.body.Bytes()), nil
}

// request builds the request that Envoy would send over HTTP. Envoy sends header names in lower
// case. It joins a repeated header with commas, so that dinggate does not accept a Cookie with a
// comma outside its pairs; with encode_raw_headers it does not.
func (s *Server) request(ctx context.Context, original *authv3.AttributeContext_HttpRequest) (*http.Request, bool) {
	path := original.GetPath()
	if !strings.HasPrefix(path, "/") || original.GetHost() == "" || original.GetMethod() == "" {
		return nil, false
	}
	target := s.Prefix + "/ext-authz" + path
	u, err := url.ParseRequestURI(target)
	if err != nil { // dinggate would parse a URL other than the target
		return nil, false
	}
	r := (&http.Request{
		Method:     original.GetMethod(),
		URL:        u,
		RequestURI: target,
		Host:       original.GetHost(),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{},
		Body:       http.NoBody,
	}).WithContext(ctx)
	for name, value := range original.GetHeaders() {
		addHeader(r.Header, name, value)
	}
	for _, one := range original.GetHeaderMap().GetHeaders() { // with encode_raw_headers, instead
		addHeader(r.Header, one.GetKey(), string(one.GetRawValue()))
	}
	if scheme := original.GetScheme(); scheme != "" && r.Header["X-Forwarded-Proto"] == nil {
		r.Header["X-Forwarded-Proto"] = []string{scheme}
	}
	if p, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = p.Addr.String()
	}
	return r, true
}

func addHeader(h http.Header, name, value string) {
	if !strings.HasPrefix(name, ":") {
		h.Add(name, value)
	}
}

// allowed maps the headers of a 200 as the HTTP protocol does: identity headers override the
// client's, unknown ones are removed, a renewed cookie is sent to the browser.
func allowed(h http.Header) *authv3.CheckResponse {
	ok := &authv3.OkHttpResponse{}
	for name, values := range h {
		switch {
		case name == "Set-Cookie":
			ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, options(name, values)...)
		case !identity(name):
		case values[0] == "":
			ok.HeadersToRemove = append(ok.HeadersToRemove, strings.ToLower(name))
		default:
			ok.Headers = append(ok.Headers, options(name, values)...)
		}
	}
	return &authv3.CheckResponse{
		Status:       &status.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok},
	}
}

// ours are the headers of a 200 that describe our answer and not a person.
var ours = map[string]bool{"Cache-Control": true, "Content-Security-Policy": true, "Referrer-Policy": true,
	"X-Content-Type-Options": true, "X-Request-Id": true, "Content-Length": true, "Content-Type": true, "Date": true,
	"Connection": true}

func identity(name string) bool { return !ours[name] }

func denied(code int, h http.Header, body []byte) *authv3.CheckResponse {
	grpcCode := codes.PermissionDenied
	if code == http.StatusUnauthorized || code == http.StatusFound {
		grpcCode = codes.Unauthenticated
	}
	no := &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(code)}, Body: string(body)}
	for name, values := range h {
		if name != "Content-Length" && name != "Connection" { // Envoy sets these itself
			no.Headers = append(no.Headers, options(name, values)...)
		}
	}
	return &authv3.CheckResponse{
		Status:       &status.Status{Code: int32(grpcCode)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: no},
	}
}

func options(name string, values []string) []*corev3.HeaderValueOption {
	var list []*corev3.HeaderValueOption
	for i, v := range values {
		action := corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		if i > 0 || name == "Set-Cookie" {
			action = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		}
		list = append(list, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: strings.ToLower(name), Value: v},
			AppendAction: action,
		})
	}
	return list
}

// answer is a http.ResponseWriter that records the answer.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
