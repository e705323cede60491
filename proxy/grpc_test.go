package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"dinggate/internal/web"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// words is a gRPC service with a call of each kind, without generated code.
type words struct{}

func text(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }

func (words) unary(ctx context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if in.Value == "fail" {
		grpc.SetTrailer(ctx, metadata.Pairs("x-why", "asked to", "x-forwarded-user", "forged"))
		return nil, status.Error(codes.FailedPrecondition, "不行: 50%")
	}
	grpc.SetHeader(ctx, metadata.Pairs("x-head", "h"))
	grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "t", "x-tail-bin", "\x00\xff"))
	return text(fmt.Sprint(in.Value, " for ", md.Get("x-forwarded-user"), md.Get("cookie"))), nil
}

// both is client, server and two-way streaming: it answers each word, and at the end
// with their number.
func (words) both(stream grpc.ServerStream) error {
	n := 0
	for {
		in := new(wrapperspb.StringValue)
		err := stream.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			stream.SetTrailer(metadata.Pairs("x-count", fmt.Sprint(n)))
			return nil
		}
		if err != nil {
			return err
		}
		n++
		if in.Value == "enough" { // while the client's half is open
			stream.SetTrailer(metadata.Pairs("x-count", fmt.Sprint(n)))
			return status.Error(codes.ResourceExhausted, "enough")
		}
		if err := stream.SendMsg(text("re " + in.Value)); err != nil {
			return err
		}
	}
}

var wordsService = grpc.ServiceDesc{
	ServiceName: "test.Words",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(srv any, ctx context.Context,
		decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		return srv.(words).unary(ctx, in)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Both", ServerStreams: true, ClientStreams: true,
		Handler: func(srv any, stream grpc.ServerStream) error { return srv.(words).both(stream) }}},
}

// grpcThrough starts the service as a real grpc-go server behind an h2c upstream, and
// a real grpc-go client in front, over TLS.
func grpcThrough(t *testing.T) (*env, *grpc.ClientConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&wordsService, words{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	d := open(t, plan{upstream: "h2c://" + l.Addr().String()})
	front := httptest.NewUnstartedServer(d.server.Config.Handler)
	ours := newAuthority(t)
	pair, err := tls.LoadX509KeyPair(ours.pair(host))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	front.EnableHTTP2, front.Config.ErrorLog = true, d.server.Config.ErrorLog
	front.StartTLS()
	t.Cleanup(front.Close)
	conn, err := grpc.NewClient(front.Listener.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: host})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return d, conn
}

// A real grpc-go client and server: unary calls, streams in both directions,
// metadata, trailers, errors; who calls is ours to say.
func TestGRPC(t *testing.T) {
	d, conn := grpcThrough(t)
	_, cookie := d.signIn("zhangsan")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	signedIn := metadata.AppendToOutgoingContext(ctx, "cookie", cookie, "x-forwarded-user", "boss")
	var out wrapperspb.StringValue
	var head, tail metadata.MD
	if err := conn.Invoke(signedIn, "/test.Words/Unary", text("hello"), &out, grpc.Header(&head), grpc.Trailer(&tail)); err != nil {
		t.Fatal(err)
	}
	if out.Value != "hello for [zhangsan] []" || fmt.Sprint(head.Get("x-head"), tail.Get("x-tail"), tail.Get("x-tail-bin")) != "[h] [t] [\x00\xff]" {
		t.Errorf("Unary = %q, header %v, trailer %v", out.Value, head, tail)
	}
	err := conn.Invoke(signedIn, "/test.Words/Unary", text("fail"), &out, grpc.Trailer(&tail))
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "不行: 50%" ||
		fmt.Sprint(tail.Get("x-why"), tail.Get("x-forwarded-user")) != "[asked to] []" {
		t.Errorf("a failing call = %v, trailer %v", err, tail)
	}
	if err := conn.Invoke(ctx, "/test.Words/Unary", text("x"), &out); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call of nobody = %v, want Unauthenticated", err)
	}
	if err := conn.Invoke(signedIn, "/test.Words/None", text("x"), &out); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown call = %v, want Unimplemented", err)
	}
}

// A stream in both directions: each answer comes before the next word is sent.
func TestGRPC_Stream(t *testing.T) {
	d, conn := grpcThrough(t)
	s, cookie := d.signIn("zhangsan")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "cookie", cookie)
	stream, err := conn.NewStream(ctx, &wordsService.Streams[0], "/test.Words/Both")
	if err != nil {
		t.Fatal(err)
	}
	say := func(word string) error {
		if err := stream.SendMsg(text(word)); err != nil {
			return err
		}
		var out wrapperspb.StringValue
		if err := stream.RecvMsg(&out); err != nil || out.Value != "re "+word {
			return fmt.Errorf("%q answered with %q, %w", word, out.Value, err)
		}
		return nil
	}
	for i := range 100 {
		if err := say(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) || fmt.Sprint(stream.Trailer().Get("x-count")) != "[100]" {
		t.Errorf("the end = %v, trailer %v, want EOF and 100", err, stream.Trailer())
	}
	// the server may end one that the client would go on with
	if stream, err = conn.NewStream(ctx, &wordsService.Streams[0], "/test.Words/Both"); err != nil {
		t.Fatal(err)
	}
	if err := say("one"); err != nil {
		t.Fatal(err)
	}
	if err := say("enough"); status.Code(errors.Unwrap(err)) != codes.ResourceExhausted || fmt.Sprint(stream.Trailer().Get("x-count")) != "[2]" {
		t.Errorf("a stream that the server ends = %v, trailer %v, want ResourceExhausted and 2", err, stream.Trailer())
	}
	// one that is open when its session ends, ends
	if stream, err = conn.NewStream(ctx, &wordsService.Streams[0], "/test.Words/Both"); err != nil {
		t.Fatal(err)
	}
	if err := say("before"); err != nil {
		t.Fatal(err)
	}
	if err := d.handler.Sessions.Revoke(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
		t.Errorf("after the sign-out = %v, want an error, and long before the deadline", err)
	}
}

// What cannot go over HTTP/2 in clear: an Upgrade does not travel on; a credential that
// would belong to a connection has one of its own.
func TestH2C(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-From", r.RemoteAddr)
		echo(w, r)
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	d := open(t, plan{upstream: "h2c" + app.URL[len("http"):]})
	conns := map[string]bool{}
	for range 3 {
		res, body := d.do("POST /public/a%20b?c;d", "Content-Length: 3", "", "abc")
		if saw := sawOf(t, body); res.Header.Get("X-Proto") != "HTTP/2.0" || saw.URI != "/public/a%20b?c;d" || saw.Host != host {
			t.Errorf("POST over %s: the upstream saw %s", res.Header.Get("X-Proto"), body)
		}
		conns[res.Header.Get("X-From")] = true
	}
	if len(conns) != 1 {
		t.Errorf("three requests came from %v, want one connection", conns)
	}
	for range 2 {
		res, _ := d.do("GET /public/", "Authorization: Negotiate abc")
		if from := res.Header.Get("X-From"); res.StatusCode != 200 || conns[from] {
			t.Errorf("with Negotiate = %d from %s, want a connection of its own", res.StatusCode, from)
		}
		conns[res.Header.Get("X-From")] = true
	}
	_, cookie := d.signIn("zhangsan")
	res, body := d.do("GET /x", "Cookie: "+cookie, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Origin: https://"+host)
	if saw := sawOf(t, body); res.StatusCode != 200 || saw.Header.Get("Upgrade") != "" {
		t.Errorf("an Upgrade = %d %s, want it served without", res.StatusCode, body)
	}
	if _, err := NewUpstream(UpstreamConfig{Upstream: "h2c://" + app.Listener.Addr().String()}, web.NewProtected()); err != nil {
		t.Error(err)
	}
}
