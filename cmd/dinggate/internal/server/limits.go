package server

import (
	"net"
	"os"
	"sync"
	"sync/atomic"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/web"

	"github.com/pires/go-proxyproto"
)

// reservedFiles is what the process needs besides clients and upstreams.
const reservedFiles = 64

// mostConnections is max_connections, or, without it, as many as fit into memory,
// and at most half of the files that the process may open: each client may need a
// connection to an upstream, and with none left no request would be served
// (threats V30, V31).
func mostConnections(c config.ServerConfig) int {
	if c.MaxConnections > 0 {
		return c.MaxConnections
	}
	most := min(1<<20, connectionsIn(goMemory(), groupMemory(os.DirFS("/"))))
	if files := OpenFiles(); files != 0 {
		most = min(most, max(16, (files-reservedFiles)/2))
	}
	return most
}

// connLimiter accepts at most so many connections at a time. Further ones wait in
// the system's queue, and are neither refused nor served.
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
type limitedConn struct {
	net.Conn
	limiter  *connLimiter
	released atomic.Bool
}

func (l *limitedConn) Close() error {
	err := l.Conn.Close()
	if !l.released.Swap(true) {
		l.limiter.open.Add(-1)
		<-l.limiter.slots
	}
	return err
}

// CloseWrite ends one direction, as net.TCPConn's does.
func (l *limitedConn) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return l.Close()
}

// behindProxies reads the PROXY protocol (versions 1 and 2) from these networks,
// which must send it: whether a first line is meant so cannot be guessed. A header
// from elsewhere claims a false address, and ends the connection.
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
	most := mostConnections(cfg.Server)
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
