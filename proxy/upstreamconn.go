package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"sync/atomic"
	"time"
)

// A shared connection carries one person's request after another's. An
// application that sends more than its answer (a split response, a body behind a
// 204) leaves bytes in the connection's read buffer that would answer the next
// request (threats M10). http.Transport closes an idle connection on which
// something arrives, but only once its read loop has come to look; a request
// that takes the connection before that gets those bytes as its answer.
//
// Hence a kept connection is used again only while its read loop waits in Read,
// which shows that its buffers are empty, and bytes that arrive before the
// request is written are an error.

// upstreamConn is a connection that knows whether its reader waits.
type upstreamConn struct {
	net.Conn
	reading atomic.Bool // a call of Read is under way
	quiet   atomic.Bool // taken for a request of which nothing is written yet
	closed  atomic.Bool
}

var errUnsolicited = errors.New("proxy: the upstream answered before it was asked")

func (c *upstreamConn) Read(b []byte) (int, error) {
	c.reading.Store(true)
	n, err := c.Conn.Read(b)
	c.reading.Store(false)
	if n > 0 && c.quiet.Load() {
		return 0, errUnsolicited
	}
	return n, err
}

func (c *upstreamConn) Write(b []byte) (int, error) {
	c.asked()
	return c.Conn.Write(b)
}

// ReadFrom keeps the kernel's short cut for request bodies.
func (c *upstreamConn) ReadFrom(r io.Reader) (int64, error) {
	c.asked()
	return io.Copy(c.Conn, r)
}

func (c *upstreamConn) asked() {
	if c.quiet.Load() {
		c.quiet.Store(false)
	}
}

func (c *upstreamConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

const (
	yields = 64                     // turns that a read loop gets before anybody sleeps
	nap    = 100 * time.Microsecond // between two looks after them
)

// claim makes sure that nothing is left of the request before: it returns once
// the read loop waits for more, or has closed the connection on which something
// is left; the transport then sends the request on another one, as for a
// connection that died while it was idle. The wait has no limit of its own
// because it cannot last: the read loop has nothing to do but to come to Read or
// to close. A limit would let a request pass a read loop that is merely slow.
func (c *upstreamConn) claim(encrypted bool) {
	if !encrypted { // otherwise TLS's own records, session tickets among them, may arrive at any time
		c.quiet.Store(true)
	}
	for looks := 0; !c.reading.Load() && !c.closed.Load(); looks++ {
		if looks < yields {
			runtime.Gosched()
		} else {
			time.Sleep(nap)
		}
	}
}

// claimReused is a httptrace.ClientTrace's GotConn.
func claimReused(info httptrace.GotConnInfo) {
	if !info.Reused {
		return
	}
	switch conn := info.Conn.(type) {
	case *upstreamConn:
		conn.claim(false)
	case *tls.Conn:
		if under, ok := conn.NetConn().(*upstreamConn); ok && conn.ConnectionState().NegotiatedProtocol != "h2" {
			under.claim(true) // HTTP/2 gives each answer the number of its request
		}
	}
}

// roundTrip sends r over t with claimReused in the trace that
// httputil.ReverseProxy puts into every request: adding our own would cost
// allocations for each.
func roundTrip(t *http.Transport, r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	if trace == nil {
		trace = new(httptrace.ClientTrace)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
	trace.GotConn = claimReused
	return t.RoundTrip(r)
}

// dialKept is dial for connections that are kept.
func dialKept(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &upstreamConn{Conn: conn}, nil
	}
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)
