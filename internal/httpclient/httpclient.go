// Package httpclient makes the HTTP clients for outbound calls that carry a secret.
//
//	call ─┬─ reads ───────────► Pooled ► pooled connections
//	      └─ a one-time code ─► Fresh ─► a new connection
//
// The caller sets the deadline and the limit of the body, which differ per call.
package httpclient

import (
	"net"
	"net/http"
	"time"
)

const (
	connectTimeout = 2 * time.Second
	idleTimeout    = 90 * time.Second // bounds how long a connection to an old address of a service is used

	// An HTTP/2 connection that leads nowhere (a firewall has forgotten it) would be used for every
	// call until the kernel gives it up, a quarter of an hour later.
	pingAfter   = 10 * time.Second // without a frame
	pingTimeout = 5 * time.Second
)

// Clients are the HTTP clients of one service. Neither follows redirects: a secret in a body or a
// query would be sent to the target (CVE-2024-45336, threats L8). Safe for concurrent use; the
// zero value has no clients.
type Clients struct {
	Pooled *http.Client

	// Fresh reuses no connection: a reused one may be dead already, and a one-time code that was
	// sent on it must not be sent again.
	Fresh *http.Client
}

// New returns Clients that both use t. If t is nil, each has a transport of its own.
func New(t http.RoundTripper) Clients {
	if t != nil {
		c := client(t)
		return Clients{c, c}
	}
	single := transport()
	single.DisableKeepAlives = true
	return Clients{client(transport()), client(single)}
}

// CloseIdleConnections closes the idle connections of both clients.
func (c Clients) CloseIdleConnections() {
	c.Pooled.CloseIdleConnections()
	c.Fresh.CloseIdleConnections()
}

func client(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport uses an HTTP proxy from the environment, compresses, and ends idle
// connections.
func transport() *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}
