package proxy

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strings"
)

// ownOrigin reports whether a WebSocket handshake comes from one of our pages.
// Browsers send cookies with handshakes of any page, and the same-origin policy does
// not apply, so Origin is the only defence against foreign ones (threats W3). A client
// without Origin is no browser.
func (h *Handler) ownOrigin(r *http.Request) bool {
	origin := r.Header["Origin"]
	return len(origin) == 0 || len(origin) == 1 && h.Origins.Ours(origin[0])
}

var (
	errSwitched = errors.New("proxy: upstream switched protocols unasked")
	errEarly    = errors.New("proxy: bytes behind a WebSocket handshake before its answer")
)

// switched checks a 101. httputil accepts one without an Upgrade header if none was
// requested, and then opens a tunnel (threats M9).
func (p *proxiedRequest) switched(res *http.Response) error {
	if up := res.Header["Upgrade"]; !p.websocket || len(up) != 1 || !strings.EqualFold(up[0], "websocket") {
		return errSwitched
	}
	upstream := res.Body // httputil takes it out of res
	p.watch(func() { _ = upstream.Close() }, 0)
	return nil
}

// Hijack takes the connection over for a WebSocket. Bytes that arrived before the 101
// are refused: a client has no reason to send any, and httputil would lose them
// (threats M8).
func (p *proxiedRequest) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	p.x.Status, p.x.Streamed, p.hijacked = http.StatusSwitchingProtocols, true, true
	if brw.Reader.Buffered() > 0 {
		conn.Close()
		return nil, nil, errEarly
	}
	if p.handler.Streams != nil {
		s := &socket{Conn: conn}
		p.track(s)
		conn = s
	}
	return conn, brw, nil
}
