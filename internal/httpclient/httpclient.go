// Package httpclient makes the HTTP clients of calls that carry a secret out of
// the process.
//
//	call ─┬─ reads ───────────► Kept ──► connections that wait for another call
//	      └─ a one-time code ─► Fresh ─► a new connection
//
// A deadline and the body's cap are the caller's: they differ from call to call.
package httpclient

import (
	"net"
	"net/http"
	"time"
)

const (
	connectTimeout = 2 * time.Second
	idleTimeout    = 90 * time.Second // a connection to an address that a service left does not live on
)

// Clients are those of one service. Both follow no redirect: a secret in a body
// or a query would go along to wherever it points (CVE-2024-45336, threats L8).
// Safe for concurrent use; the zero value has none.
type Clients struct {
	Kept *http.Client

	// Fresh keeps no connection: a kept one may be dead already, and a one-time
	// code that went into it must not be sent again.
	Fresh *http.Client
}

// New makes them over t, which then serves both; nil is connections of our own.
func New(t http.RoundTripper) Clients {
	if t != nil {
		c := client(t)
		return Clients{c, c}
	}
	single := transport()
	single.DisableKeepAlives = true
	return Clients{client(transport()), client(single)}
}

// CloseIdleConnections closes the connections that wait for another call.
func (c Clients) CloseIdleConnections() {
	c.Kept.CloseIdleConnections()
	c.Fresh.CloseIdleConnections()
}

func client(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
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
	}
}
