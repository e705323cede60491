package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strconv"
	"testing"

	"dinggate/internal/tlstest"

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
		grpc.SetTrailer(ctx, metadata.Pairs("x-why", "requested", "x-forwarded-user", "forged"))
		return nil, status.Error(codes.FailedPrecondition, "不行: 50%")
	}
	grpc.SetHeader(ctx, metadata.Pairs("x-head", "h"))
	grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "t", "x-tail-bin", "\x00\xff"))
	return text(fmt.Sprint(in.Value, " for ", md.Get("x-forwarded-user"), md.Get("cookie"))), nil
}

// both is client, server and bidirectional streaming: it answers each word, and at the end with
// their number.
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

// count is server streaming: as many words as are requested.
func (words) count(stream grpc.ServerStream) error {
	in := new(wrapperspb.StringValue)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	n, err := strconv.Atoi(in.Value)
	if err != nil {
		return status.Error(codes.InvalidArgument, "no number")
	}
	for i := range n {
		if err := stream.SendMsg(text(strconv.Itoa(i))); err != nil {
			return err
		}
	}
	stream.SetTrailer(metadata.Pairs("x-count", in.Value))
	return nil
}

// sum is client streaming: one answer after all words.
func (words) sum(stream grpc.ServerStream) error {
	all := ""
	for {
		in := new(wrapperspb.StringValue)
		err := stream.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			stream.SetTrailer(metadata.Pairs("x-length", strconv.Itoa(len(all))))
			return stream.SendMsg(text(all))
		}
		if err != nil {
			return err
		}
		all += in.Value
	}
}

// wait never completes by itself; it sends its deadline, and reports how it ended.
func (words) wait(stream grpc.ServerStream) error {
	_, limited := stream.Context().Deadline()
	if err := stream.SendMsg(text(fmt.Sprint("a deadline: ", limited))); err != nil {
		return err
	}
	<-stream.Context().Done()
	wordsWaited <- stream.Context().Err()
	return stream.Context().Err()
}

var wordsWaited = make(chan error, 16)

func wordsStream(name string, server, client bool, f func(words, grpc.ServerStream) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ServerStreams: server, ClientStreams: client,
		Handler: func(srv any, stream grpc.ServerStream) error { return f(srv.(words), stream) }}
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
	Streams: []grpc.StreamDesc{wordsStream("Both", true, true, words.both), wordsStream("Count", true, false, words.count),
		wordsStream("Sum", false, true, words.sum), wordsStream("Wait", true, false, words.wait)},
}

// grpcUpstreams are the two ways to a gRPC service.
var grpcUpstreams = map[string]bool{"h2c": false, "TLS": true}

// grpcThrough starts the service as a real grpc-go server behind an h2c upstream, or an
// https one, and a real grpc-go client in front, over TLS.
func grpcThrough(t *testing.T, secure bool) (*env, *grpc.ClientConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ours := tlstest.NewAuthority()
	server, p := grpc.NewServer(), plan{upstream: "h2c://" + l.Addr().String()}
	if secure {
		own := ours.Pair(tlstest.Leaf{Names: []string{"words.internal"}})
		server = grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&own)))
		p.upstream = "https://" + l.Addr().String()
		p.config.TLS = UpstreamTLS{CAFile: ours.File(t), ServerName: "words.internal"}
	}
	server.RegisterService(&wordsService, words{})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	d := open(t, p)
	front := httptest.NewUnstartedServer(d.server.Config.Handler)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{ours.Pair(tlstest.Leaf{Names: []string{host}})}}
	front.EnableHTTP2, front.Config.ErrorLog = true, d.server.Config.ErrorLog
	front.StartTLS()
	t.Cleanup(front.Close)
	conn, err := grpc.NewClient(front.Listener.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: ours.Pool(), ServerName: host})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return d, conn
}
