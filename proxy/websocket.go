package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
)

// ownOrigin reports whether a WebSocket handshake comes from one of our pages.
// Browsers send cookies with handshakes of any page and ask nobody, so Origin
// is all there is against foreign ones (threats W3). No Origin is no browser.
func (h *Handler) ownOrigin(r *http.Request) bool {
	origin := r.Header["Origin"]
	return len(origin) == 0 || len(origin) == 1 && h.Origins.Ours(origin[0])
}

var (
	errSwitched = errors.New("proxy: upstream switched protocols unasked")
	errEarly    = errors.New("proxy: bytes behind a WebSocket handshake before its answer")
)

// switched judges a 101. httputil lets one without an Upgrade header pass when
// none was asked for, and then tunnels (threats M9).
func (p *proxiedRequest) switched(res *http.Response) error {
	if up := res.Header["Upgrade"]; !p.websocket || len(up) != 1 || !strings.EqualFold(up[0], "websocket") {
		return errSwitched
	}
	p.watch(res.Body, 0)
	return nil
}

// Hijack takes the connection over for a WebSocket. Bytes that came before the
// 101 are refused: a client has no reason to send any, and httputil would lose
// them (threats M8).
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

// track lets a process that is to stop end one.
func (p *proxiedRequest) track(one stream) {
	if p.handler.Streams != nil {
		p.stream = one
		p.handler.Streams.add(one)
	}
}

// streamAge is when an answer without an announced end counts as a stream that
// outlives its request. Most end long before, and cost no watch.
const streamAge = time.Second

var (
	errSessionEnded = errors.New("proxy: the session ended under an open stream")
	errGrantEnded   = errors.New("proxy: the grant under an open stream ended")
	errRuleChanged  = errors.New("proxy: the new rules do not allow an open stream")
)

// watch ends what outlives its request together with the session, or when by new
// rules it could not come any more: closing the upstream's side makes httputil
// end the client's (threats W2). It begins after the given time.
func (p *proxiedRequest) watch(upstream io.Closer, after time.Duration) {
	finished := make(chan struct{})
	begin := time.AfterFunc(after, func() {
		var gone <-chan struct{} // nobody's does not end
		if p.session != nil {
			watched, stop := p.handler.Sessions.Watch(p.session)
			defer stop()
			gone = watched
		}
		var again <-chan time.Time
		if p.credential != nil {
			ticker := time.NewTicker(credentialRecheckEvery)
			defer ticker.Stop()
			again = ticker.C
		}
		var granted <-chan time.Time
		if p.grant != "" {
			ticker := time.NewTicker(grantRecheckEvery)
			defer ticker.Stop()
			granted = ticker.C
		}
		for seen := p.handler; ; {
			next, changed := p.handler.Streams.handler()
			if next != nil && next != seen {
				if seen = next; !next.stillAllowed(p) {
					p.end(upstream, &web.Error{Status: http.StatusForbidden, Code: "not_allowed", Err: errRuleChanged})
					return
				}
			}
			select {
			case <-changed:
				continue
			case <-granted:
				if seen.stillAllowed(p) {
					continue
				}
				p.end(upstream, &web.Error{Status: http.StatusForbidden, Code: "not_allowed", Err: errGrantEnded})
			case <-again:
				why := seen.recheckCredential(p)
				if why == nil {
					continue
				}
				p.end(upstream, why)
			case <-gone:
				p.end(upstream, &web.Error{
					Status: http.StatusUnauthorized,
					Code:   "unauthenticated",
					Err:    errSessionEnded,
				})
			case <-finished:
			}
			return
		}
	})
	p.release = func() {
		begin.Stop()
		close(finished)
	}
}

func (p *proxiedRequest) end(upstream io.Closer, why *web.Error) {
	p.ended.Store(why)
	upstream.Close()
}

// stillAllowed decides anew about a request of a Handler before this one.
func (h *Handler) stillAllowed(p *proxiedRequest) bool {
	var user *identity.User
	if p.session != nil {
		user = &p.session.User
	}
	t := target(p.x, p.in.Method)
	t.SignIn.Known = true // fresh asks who enters, and ends nothing that is open
	d, _, _ := h.decide(p.Context, t, user)
	route := h.Routes.of(d)
	return d.Verdict == access.Allow && route != nil && route.Upstream != nil && (!p.websocket || route.WebSocket)
}
