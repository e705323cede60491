package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"dinggate/internal/web"
	"dinggate/session"
)

// proxiedRequest is one request being proxied: its context, its ResponseWriter and the
// state that the hooks of httputil.ReverseProxy share. One type for all of these saves
// an allocation for each.
type proxiedRequest struct {
	context.Context // the request's
	w               http.ResponseWriter
	in              *http.Request

	x          *web.Exchange
	handler    *Handler
	route      *Route
	session    *session.Session // nil if not signed in
	credential *CredentialQuery // the credential that the session belongs to; nil: a cookie
	grant      string           // the grant that allowed it; "" if the rule itself did
	websocket  bool             // requested and allowed
	upgrade    bool             // the request has an Upgrade header
	to         url.URL          // the upstream URL, without its query

	requestBody  requestBody
	responseBody responseBody
	release      func()                    // ends the watch; nil: none was started
	cancel       func()                    // of Context; nil: it is the request's own
	stream       stream                    // in the ConnTracker; nil: not there
	ended        atomic.Pointer[web.Error] // why we ended this while it was open; nil: we did not
	hijacked     bool
	err          error // why there is no answer from the upstream
}

type proxiedRequestKey struct{}

// Value finds the proxied request itself under proxiedRequestKey, everything else in the
// request's own context.
func (p *proxiedRequest) Value(key any) any {
	if key == (proxiedRequestKey{}) {
		return p
	}
	return p.Context.Value(key)
}

func (p *proxiedRequest) Header() http.Header         { return p.w.Header() }
func (p *proxiedRequest) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p *proxiedRequest) Unwrap() http.ResponseWriter { return p.w }

// WriteHeader cleans the headers of a 1xx, for which ModifyResponse is not called.
func (p *proxiedRequest) WriteHeader(status int) {
	if status < http.StatusOK {
		p.route.Upstream.scrubResponse(p.w.Header())
	}
	p.w.WriteHeader(status)
}

// forward proxies r and copies the upstream's answer, or returns why there is none. If
// an answer is truncated, it panics with http.ErrAbortHandler, so that the client sees
// an aborted transfer and never a clean end (threats V20).
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, p *proxiedRequest) (err error) {
	up := p.route.Upstream
	if p.to, err = up.address(p.x.Path); err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_path", Err: err}
	}
	p.w, p.Context, p.upgrade = w, r.Context(), len(r.Header["Upgrade"]) > 0
	if !p.websocket {
		delete(r.Header, "Upgrade") // never forwarded: nothing is checked inside a tunnel (threats M6)
	}
	defer p.finish()
	if r.ContentLength < 0 && p.session != nil {
		p.watchUpload()
	}
	p.in = r.WithContext(p)
	up.proxy.ServeHTTP(p, p.in)
	if p.err == nil {
		return nil
	}
	failure := p.failure()
	if p.hijacked { // no answer can be written any more
		p.x.Err = failure
		return nil
	}
	return failure
}

// finish runs when nothing more will be written, also after a panic.
func (p *proxiedRequest) finish() {
	if p.release != nil {
		p.release()
	}
	if p.cancel != nil {
		p.cancel()
	}
	if p.stream != nil {
		p.handler.Streams.remove(p.stream)
	}
	broken := p.responseBody.err
	switch {
	case broken == nil:
	case p.ended.Load() != nil:
		p.x.Err = p.ended.Load()
	case p.Context.Err() != nil:
	default:
		p.x.Err = p.failed(&web.Error{
			Status: http.StatusBadGateway,
			Code:   "upstream_aborted",
			Err:    describe("reading the answer", broken),
		})
	}
}

func (p *proxiedRequest) failed(e *web.Error) *web.Error {
	if p.handler.Failed != nil {
		p.handler.Failed(p.route.Name, e.Code)
	}
	return e
}

// statusGone is logged for a client that disconnected, as in nginx.
const statusGone = 499

// failure determines the cause of a missing answer.
func (p *proxiedRequest) failure() *web.Error {
	if why := p.ended.Load(); why != nil {
		return why
	}
	if err := p.requestBody.failed.Load(); err != nil { // the client's own body, not the upstream (threats M3)
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](*err); large {
			status = http.StatusRequestEntityTooLarge
		} else if errors.Is(*err, os.ErrDeadlineExceeded) {
			status = http.StatusRequestTimeout
		}
		return &web.Error{Status: status, Code: "bad_request", Err: describe("reading the request's body", *err)}
	}
	if p.Context.Err() != nil {
		return &web.Error{Status: statusGone, Code: "bad_request"}
	}
	if errors.Is(p.err, errEarly) {
		return &web.Error{Status: http.StatusBadRequest, Code: "websocket_handshake", Err: errEarly}
	}
	if e, ok := errors.AsType[net.Error](p.err); ok && e.Timeout() {
		return p.failed(&web.Error{
			Status: http.StatusGatewayTimeout,
			Code:   "upstream_timeout",
			Err:    describe("waiting for the upstream", p.err),
		})
	}
	if e, ok := errors.AsType[*net.OpError](p.err); ok && e.Op == "dial" {
		return p.failed(&web.Error{
			Status: http.StatusBadGateway,
			Code:   "upstream_unreachable",
			Err:    describe("reaching the upstream", p.err),
		})
	}
	return p.failed(&web.Error{
		Status: http.StatusBadGateway,
		Code:   "bad_gateway",
		Err:    describe("reading the upstream's answer", p.err),
	})
}

// describe returns an error without the bytes that it quotes: net/http quotes lines
// that it cannot parse, and those may hold a user's cookie.
func describe(doing string, err error) error {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return errors.New("proxy: " + doing + ": " + strings.TrimPrefix(text, "proxy: "))
}
