package server

import (
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/web"

	"github.com/pires/go-proxyproto"
)

// reservedFiles is what the process needs besides the connections of clients and to upstreams.
const reservedFiles = 64

// mostConnections returns max_connections. If it is not set, it is as many as fit into
// memory, and at most half of the files that the process may open: each client may need
// a connection to an upstream, and without free ones no request could be served
// (threats V30, V31).
func mostConnections(c config.ServerConfig, root fs.FS) int {
	if c.MaxConnections > 0 {
		return c.MaxConnections
	}
	most := min(1<<20, connectionsIn(goMemory(), groupMemory(root)))
	if files := OpenFiles(); files != 0 {
		most = min(most, max(16, (files-reservedFiles)/2))
	}
	return most
}

// connLimiter limits the number of concurrent connections. Further ones wait in the
// kernel's queue.
type connLimiter struct {
	net.Listener
	slots  chan struct{} // one for each open connection
	closed chan struct{}
	once   sync.Once
	open   atomic.Int64
}

func newConnLimiter(l net.Listener, most int) *connLimiter {
	return &connLimiter{Listener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
}

func (c *connLimiter) Accept() (net.Conn, error) {
	select {
	case c.slots <- struct{}{}:
	case <-c.closed:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.slots
		return nil, err
	}
	c.open.Add(1)
	return &limitedConn{Conn: conn, limiter: c}, nil
}

func (c *connLimiter) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Listener.Close()
}

// limitedConn releases its slot once.
//
// It passes a read deadline on only when a Read begins or is blocked. net/http sets six
// per request, of which two affect a Read; each of the others would cost a clock reading
// and an access to the runtime's timers.
type limitedConn struct {
	net.Conn
	limiter  *connLimiter
	released atomic.Bool

	mu       sync.Mutex
	deadline time.Time // of Read
	handed   time.Time // the deadline that Conn has
	reads    int       // in progress
}

func (l *limitedConn) Read(p []byte) (int, error) {
	l.mu.Lock()
	err := l.handOn()
	l.reads++
	l.mu.Unlock()
	n := 0
	if err == nil {
		n, err = l.Conn.Read(p)
	}
	l.mu.Lock()
	l.reads--
	l.mu.Unlock()
	return n, err
}

func (l *limitedConn) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadline = t; l.reads == 0 {
		return nil
	}
	return l.handOn()
}

func (l *limitedConn) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline, l.handed = t, t
	return l.Conn.SetDeadline(t)
}

// handOn requires mu.
func (l *limitedConn) handOn() error {
	if l.deadline.Equal(l.handed) {
		return nil
	}
	l.handed = l.deadline
	return l.Conn.SetReadDeadline(l.deadline)
}

func (l *limitedConn) Close() error {
	err := l.Conn.Close()
	if !l.released.Swap(true) {
		l.limiter.open.Add(-1)
		<-l.limiter.slots
	}
	return err
}

// CloseWrite shuts down the writing side, like net.TCPConn's.
func (l *limitedConn) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return l.Close()
}

// behindProxies reads the PROXY protocol (versions 1 and 2) from these networks, which
// must send it: it cannot be detected reliably. A header from another address would
// forge the client address, so it ends the connection.
func behindProxies(l net.Listener, from *web.Peers) net.Listener {
	return &proxyproto.Listener{
		Listener:          l,
		ReadHeaderTimeout: readHeaderTimeout,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if from.Has(o.Upstream) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.REJECT, nil
		},
	}
}

// LimitConnections applies server.max_connections and proxy_protocol to a listener.
func LimitConnections(l net.Listener, cfg *config.Config, t Observability) (net.Listener, error) {
	most := mostConnections(cfg.Server, os.DirFS("/"))
	c := newConnLimiter(l, most)
	t.Metrics.Gauge("connections_open",
		"Connections of clients to dinggate.", func() float64 { return float64(c.open.Load()) })
	t.Metrics.Gauge("connections_max", "How many connections are taken at a time; more wait in the system's queue.",
		func() float64 { return float64(most) })
	if len(cfg.ProxyProtocol) == 0 {
		return c, nil
	}
	from, err := web.ParsePeers(cfg.ProxyProtocol)
	if err != nil {
		return nil, err
	}
	return behindProxies(c, from), nil
}
