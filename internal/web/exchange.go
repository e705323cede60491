package web

import (
	"net/http"
	"net/netip"
	"time"
)

// Exchange is one request and its outcome: the ResponseWriter of every handler behind
// a Chain, and the record that is logged afterwards. One allocation serves both. It
// belongs to the request's goroutine.
type Exchange struct {
	ID      string     // the request id; on each of our answers and in the log
	Peer    netip.Addr // the address of the connection's other end; zero on a unix socket
	Trusted bool       // the peer is one of trusted_proxies
	Client  netip.Addr // the real client; zero when unknown or unreadable, and then it matches no network
	Scheme  string     // http or https, as the browser sees it
	Host    string     // canonical, without a default port
	Path    Path       // canonical
	Start   time.Time

	// Set by handlers, for the record.
	Method, Target string // as sent; Target without its query
	UserAgent      string // as sent
	Route, Rule    string // names from the configuration
	Verdict        string // allow, deny, sign_in, unavailable; "" when nothing was decided
	User           string // username; "" when not signed in
	Err            error  // why it was refused or failed
	Status         int
	Bytes          int64
	Duration       time.Duration
	Endpoint       string // own endpoint's name, or "" for a routed request
	Streamed       bool   // a WebSocket or an event stream: Duration is how long it was open
	headersSent    bool
	body           bool      // the request has a body
	id             [1]string // ID as the value of a header

	w http.ResponseWriter
}

// From returns the Exchange behind w. Without a Chain it is an empty one, with an
// untrusted peer and an unknown client.
func From(w http.ResponseWriter) *Exchange {
	for {
		switch v := w.(type) {
		case *Exchange:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return &Exchange{w: w}
		}
	}
}

func (x *Exchange) Header() http.Header { return x.w.Header() }

func (x *Exchange) WriteHeader(status int) {
	if !x.headersSent && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.Status, x.headersSent = status, true
	}
	x.w.WriteHeader(status)
}

func (x *Exchange) Write(p []byte) (int, error) {
	if !x.headersSent {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.w.Write(p)
	x.Bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach Flush, Hijack and the deadlines.
func (x *Exchange) Unwrap() http.ResponseWriter { return x.w }

// HeadersSent reports whether the status line has gone out.
func (x *Exchange) HeadersSent() bool { return x.headersSent }
