package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"dinggate/internal/web"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestGRPC: a real grpc-go client and server: unary calls, streams in both directions, metadata,
// trailers, errors; the identity is ours.
func TestGRPC(t *testing.T) {
	for name, secure := range grpcUpstreams {
		t.Run(name, func(t *testing.T) { grpcCalls(t, secure) })
	}
}

func grpcCalls(t *testing.T, secure bool) {
	d, conn := grpcThrough(t, secure)
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
		fmt.Sprint(tail.Get("x-why"), tail.Get("x-forwarded-user")) != "[requested] []" {
		t.Errorf("a failing call = %v, trailer %v", err, tail)
	}
	if err := conn.Invoke(ctx, "/test.Words/Unary", text("x"), &out); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call without a session = %v, want Unauthenticated", err)
	}
	if err := conn.Invoke(signedIn, "/test.Words/None", text("x"), &out); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown call = %v, want Unimplemented", err)
	}
}

// TestGRPC_Stream: in a bidirectional stream each answer comes before the next word is sent.
func TestGRPC_Stream(t *testing.T) {
	for name, secure := range grpcUpstreams {
		t.Run(name, func(t *testing.T) { grpcStreams(t, secure) })
	}
}

func grpcStreams(t *testing.T, secure bool) {
	d, conn := grpcThrough(t, secure)
	s, cookie := d.signIn("zhangsan")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "cookie", cookie)
	stream, err := conn.NewStream(ctx, &wordsService.Streams[0], "/test.Words/Both")
	if err != nil {
		t.Fatal(err)
	}
	send := func(word string) error {
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
		if err := send(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) || fmt.Sprint(stream.Trailer().Get("x-count")) != "[100]" {
		t.Errorf("the end = %v, trailer %v, want EOF and 100", err, stream.Trailer())
	}
	// the server may end a stream that the client would continue
	if stream, err = conn.NewStream(ctx, &wordsService.Streams[0], "/test.Words/Both"); err != nil {
		t.Fatal(err)
	}
	if err := send("one"); err != nil {
		t.Fatal(err)
	}
	if err := send("enough"); status.Code(errors.Unwrap(err)) != codes.ResourceExhausted || fmt.Sprint(stream.Trailer().Get("x-count")) != "[2]" {
		t.Errorf("a stream that the server ends = %v, trailer %v, want ResourceExhausted and 2", err, stream.Trailer())
	}
	// an open stream ends with its session
	if stream, err = conn.NewStream(ctx, &wordsService.Streams[0], "/test.Words/Both"); err != nil {
		t.Fatal(err)
	}
	if err := send("before"); err != nil {
		t.Fatal(err)
	}
	if err := d.handler.Sessions.Revoke(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
		t.Errorf("after the sign-out = %v, want an error, and long before the deadline", err)
	}
}

// Streams in one direction.
func TestGRPC_OneWay(t *testing.T) {
	for name, secure := range grpcUpstreams {
		t.Run(name, func(t *testing.T) { grpcOneWay(t, secure) })
	}
}

func grpcOneWay(t *testing.T, secure bool) {
	d, conn := grpcThrough(t, secure)
	s, cookie := d.signIn("zhangsan")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "cookie", cookie)
	count, err := conn.NewStream(ctx, &wordsService.Streams[1], "/test.Words/Count")
	if err == nil {
		err = errors.Join(count.SendMsg(text("1000")), count.CloseSend())
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for out := new(wrapperspb.StringValue); ; n++ {
		if err = count.RecvMsg(out); err != nil {
			break
		}
		if out.Value != strconv.Itoa(n) {
			t.Fatalf("word %d is %q", n, out.Value)
		}
	}
	if !errors.Is(err, io.EOF) || n != 1000 || fmt.Sprint(count.Trailer().Get("x-count")) != "[1000]" {
		t.Errorf("server streaming ends after %d words with %v, trailer %v", n, err, count.Trailer())
	}
	sum, err := conn.NewStream(ctx, &wordsService.Streams[2], "/test.Words/Sum")
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := sum.SendMsg(text(strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
	out := new(wrapperspb.StringValue)
	if err := errors.Join(sum.CloseSend(), sum.RecvMsg(out)); err != nil || len(out.Value) != 100_000 {
		t.Errorf("client streaming answers with %d bytes, %v", len(out.Value), err)
	}
	if err := sum.RecvMsg(out); !errors.Is(err, io.EOF) || fmt.Sprint(sum.Trailer().Get("x-length")) != "[100000]" {
		t.Errorf("client streaming ends with %v, trailer %v", err, sum.Trailer())
	}
	// without an answer yet, it ends with its session too
	if sum, err = conn.NewStream(ctx, &wordsService.Streams[2], "/test.Words/Sum"); err == nil {
		err = errors.Join(sum.SendMsg(text("before")), d.handler.Sessions.Revoke(t.Context(), s.ID))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := sum.RecvMsg(out); err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
		t.Errorf("client streaming after the sign-out = %v, want an error, and long before the deadline", err)
	}
}

// The client's deadline reaches the server as one of its own, and a call that the client
// gives up ends there too.
func TestGRPC_Ends(t *testing.T) {
	for name, secure := range grpcUpstreams {
		t.Run(name, func(t *testing.T) { grpcEnds(t, secure) })
	}
}

func grpcEnds(t *testing.T, secure bool) {
	d, conn := grpcThrough(t, secure)
	_, cookie := d.signIn("zhangsan")
	signedIn := metadata.AppendToOutgoingContext(t.Context(), "cookie", cookie)
	for _, c := range []struct {
		name, first string
		context     func() (context.Context, context.CancelFunc)
		code        codes.Code
	}{
		{"deadline", "a deadline: true", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(signedIn, 3*time.Second)
		}, codes.DeadlineExceeded},
		{"cancellation", "a deadline: false", func() (context.Context, context.CancelFunc) {
			return context.WithCancel(signedIn)
		}, codes.Canceled},
	} {
		ctx, cancel := c.context()
		stream, err := conn.NewStream(ctx, &wordsService.Streams[3], "/test.Words/Wait")
		if err == nil {
			err = errors.Join(stream.SendMsg(text("x")), stream.CloseSend())
		}
		out := new(wrapperspb.StringValue)
		if err == nil {
			err = stream.RecvMsg(out)
		}
		if err != nil || out.Value != c.first {
			t.Fatalf("%s: the first answer is %q, %v, want %q", c.name, out.Value, err, c.first)
		}
		if c.code == codes.Canceled {
			cancel()
		}
		if err := stream.RecvMsg(out); status.Code(err) != c.code {
			t.Errorf("%s: the call ends with %v, want %v", c.name, err, c.code)
		}
		select {
		case err := <-wordsWaited:
			if err == nil {
				t.Errorf("%s: the server's context has no error", c.name)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: the call goes on at the server", c.name)
		}
		cancel()
	}
}

// TestH2C: over HTTP/2 without TLS an Upgrade is not forwarded, and a credential that would
// authenticate a connection uses a separate one.
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
