package server

import (
	"net"
	"sync"
	"sync/atomic"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/web"

	"github.com/pires/go-proxyproto"
)

// reservedFiles is what the process needs besides clients and upstreams.
const reservedFiles = 64

// mostConnections is max_connections, or, without it, half of the files that
// the process may open: each client may need a connection to an upstream, and
// with none left nobody would be served (threats V30).
func mostConnections(c config.ServerConfig) int {
	if c.MaxConnections > 0 {
		return c.MaxConnections
	}
	files := OpenFiles()
	if files == 0 {
		return 1 << 20
	}
	return max(16, (files-reservedFiles)/2)
}

// crowd takes at most so many connections at a time. Further ones wait in the
// system's queue, and are neither refused nor served.
type crowd struct {
	net.Listener
	places chan struct{}
	gone   chan struct{}
	closed sync.Once
	inside atomic.Int64
}

func newCrowd(l net.Listener, most int) *crowd {
	return &crowd{Listener: l, places: make(chan struct{}, most), gone: make(chan struct{})}
}

func (c *crowd) Accept() (net.Conn, error) {
	select {
	case c.places <- struct{}{}:
	case <-c.gone:
		return nil, net.ErrClosed
	}
	conn, err := c.Listener.Accept()
	if err != nil {
		<-c.places
		return nil, err
	}
	c.inside.Add(1)
	return &visitorConn{Conn: conn, from: c}, nil
}

func (c *crowd) Close() error {
	c.closed.Do(func() { close(c.gone) })
	return c.Listener.Close()
}

// visitorConn gives its place back once.
type visitorConn struct {
	net.Conn
	from *crowd
	left atomic.Bool
}

func (v *visitorConn) Close() error {
	err := v.Conn.Close()
	if !v.left.Swap(true) {
		v.from.inside.Add(-1)
		<-v.from.places
	}
	return err
}

// CloseWrite ends one direction, as net.TCPConn's does.
func (v *visitorConn) CloseWrite() error {
	if half, ok := v.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return v.Close()
}

// behindProxies reads the PROXY protocol (versions 1 and 2) from these networks,
// who must send it: whether a first line is meant so cannot be guessed. A header
// of anybody else is a claim to be somebody else, and ends the connection.
func behindProxies(l net.Listener, from *web.Peers) net.Listener {
	return &proxyproto.Listener{Listener: l, ReadHeaderTimeout: readHeaderWithin,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if from.Has(o.Upstream) {
				return proxyproto.REQUIRE, nil
			}
			return proxyproto.REJECT, nil
		}}
}

// Guarded is what stands between the network and the gate.
func Guarded(l net.Listener, cfg *config.Config, t Observability) (net.Listener, error) {
	most := mostConnections(cfg.Server)
	c := newCrowd(l, most)
	t.Metrics.Gauge("connections_open", "Connections of clients to the gate.", func() float64 { return float64(c.inside.Load()) })
	t.Metrics.Gauge("connections_max", "How many connections are taken at a time; more wait in the system's queue.", func() float64 { return float64(most) })
	if len(cfg.ProxyProtocol) == 0 {
		return c, nil
	}
	from, err := web.ParsePeers(cfg.ProxyProtocol)
	if err != nil {
		return nil, err
	}
	return behindProxies(c, from), nil
}
