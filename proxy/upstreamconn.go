package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"sync/atomic"
	"time"
)

// A pooled connection carries requests of different users one after another. An
// application that sends more than its answer (a split response, a body after a 204)
// leaves bytes in the connection's read buffer that would become the answer to the
// next request (threats M10). http.Transport closes an idle connection on which data
// arrives, but only once its read loop has run; a request that takes the connection
// before that gets those bytes as its answer.
//
// Hence a pooled connection is reused only while its read loop blocks in Read, which
// shows that its buffers are empty, and bytes that arrive before the request is
// written are an error.

// upstreamConn is a connection that records whether its reader is blocked in Read.
type upstreamConn struct {
	net.Conn
	reading atomic.Bool // a call of Read is under way
	quiet   atomic.Bool // taken for a request that is not written yet
	closed  atomic.Bool
}

var errUnsolicited = errors.New("proxy: the upstream answered before the request was written")

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
	c.written()
	return c.Conn.Write(b)
}

// ReadFrom preserves sendfile and splice for request bodies.
func (c *upstreamConn) ReadFrom(r io.Reader) (int64, error) {
	c.written()
	return io.Copy(c.Conn, r)
}

func (c *upstreamConn) written() {
	if c.quiet.Load() {
		c.quiet.Store(false)
	}
}

func (c *upstreamConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

const (
	yields = 64                     // scheduler yields before the first sleep
	nap    = 100 * time.Microsecond // the sleep between two checks after them
)

// claim makes sure that no bytes are left of the previous answer: it returns when the
// read loop blocks in Read, or has closed the connection because bytes are left; the
// transport then uses another connection, as for one that broke while it was idle. The
// wait has no limit of its own because it cannot last: the read loop's next step is
// Read or Close. A limit would let a request overtake a read loop that is merely slow.
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
			under.claim(true) // HTTP/2 assigns each answer to its request
		}
	}
}

// roundTrip sends r over t with claimReused and a limit of 1xx in the trace that
// httputil.ReverseProxy adds to every request: a second trace would cost allocations on
// each.
func roundTrip(t *http.Transport, r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	if trace == nil {
		trace = new(httptrace.ClientTrace)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
	trace.GotConn = claimReused
	if forward := trace.Got1xxResponse; forward != nil {
		n := 0
		trace.Got1xxResponse = func(status int, header textproto.MIMEHeader) error {
			if n++; n > maxInterim {
				return errInterim
			}
			return forward(status, header)
		}
	}
	return t.RoundTrip(r)
}

// maxInterim bounds the 1xx responses to one request. The transport starts its limit of
// the response header again with each 1xx that ReverseProxy forwards, so that an
// upstream could send them without end (threats M10).
const maxInterim = 64

var errInterim = errors.New("proxy: the upstream sent too many 1xx responses")

// dialPooled is dial for connections that are pooled.
func dialPooled(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &upstreamConn{Conn: conn}, nil
	}
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)
