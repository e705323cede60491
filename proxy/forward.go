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

// proxiedRequest is one request on its way through: its context, its ResponseWriter
// and what the steps of httputil.ReverseProxy have to know of each other. That
// it is all of these at once saves an allocation for each.
type proxiedRequest struct {
	context.Context // the request's
	w               http.ResponseWriter
	in              *http.Request

	x          *web.Exchange
	handler    *Handler
	route      *Route
	session    *session.Session // nil for nobody
	credential *CredentialQuery // the session is this credential's; nil: a cookie's
	grant      string           // that let it in; "" where the rule itself does
	websocket  bool             // asked for and allowed
	upgrade    bool             // some Upgrade was asked for
	to         url.URL          // where it goes, without its query

	requestBody  requestBody
	responseBody responseBody
	release      func()                    // ends the watch; nil: none began
	stream       stream                    // in the ConnTracker; nil: not there
	ended        atomic.Pointer[web.Error] // why we ended this while it was open; nil: we did not
	hijacked     bool
	err          error // why there is no answer of the upstream
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

// WriteHeader cleans what ModifyResponse never sees: the headers of a 1xx.
func (p *proxiedRequest) WriteHeader(status int) {
	if status < http.StatusOK {
		p.route.Upstream.scrubResponse(p.w.Header())
	}
	p.w.WriteHeader(status)
}

// forward sends r on and answers with what comes back, or returns why nothing
// did. When an answer breaks off in the middle it panics with
// http.ErrAbortHandler, so that the client sees an aborted transfer and never a
// clean end (threats V20).
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, p *proxiedRequest) (err error) {
	up := p.route.Upstream
	if p.to, err = up.address(p.x.Path); err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_path", Err: err}
	}
	p.w, p.Context, p.upgrade = w, r.Context(), len(r.Header["Upgrade"]) > 0
	if !p.websocket {
		delete(r.Header, "Upgrade") // never travels on: behind a tunnel nobody checks anything (threats M6)
	}
	p.in = r.WithContext(p)
	defer p.finish()
	up.proxy.ServeHTTP(p, p.in)
	if p.err == nil {
		return nil
	}
	failure := p.failure()
	if p.hijacked { // there is nobody left to answer
		p.x.Err = failure
		return nil
	}
	return failure
}

// finish runs when nothing more will be written, panic or not.
func (p *proxiedRequest) finish() {
	if p.release != nil {
		p.release()
	}
	if p.stream != nil {
		p.handler.Streams.remove(p.stream)
	}
	broken := p.responseBody.err
	switch {
	case broken == nil || p.Context.Err() != nil:
	case p.ended.Load() != nil:
		p.x.Err = p.ended.Load()
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

// statusGone is logged for a client that did not wait, as in nginx.
const statusGone = 499

// failure says whose fault it is that there is no answer.
func (p *proxiedRequest) failure() *web.Error {
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

// describe gives an error without the bytes that it quotes: net/http quotes
// lines that it cannot read, and those may hold somebody's cookie.
func describe(doing string, err error) error {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return errors.New("proxy: " + doing + ": " + strings.TrimPrefix(text, "proxy: "))
}
