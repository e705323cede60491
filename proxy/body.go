package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
)

// requestBody is a request's body on its way to the upstream. It records errors of the
// client, which would otherwise look like the upstream's, and copies the trailers that
// may be forwarded: httputil announces them all and sends none.
type requestBody struct {
	io.ReadCloser
	from    *http.Request
	trailer http.Header // of the outgoing request: announced, less the protected ones (threats H5)
	failed  atomic.Pointer[error]
	over    atomic.Bool // the transport is done with it: later errors of Read are not the client's
}

// Close also unblocks a Read that waits for the client. An HTTP/2 transport does not
// release an answer that is complete or broken before that Read returns, and the
// client's half of a bidirectional stream may stay open for hours. httputil's own
// wrapper ignores Close. Over HTTP/1 a body's Close waits for its Read, which returns
// with the client's next bytes.
func (u *requestBody) Close() error {
	u.over.Store(true)
	if u.from.ProtoMajor > 1 {
		u.from.Body.Close()
	}
	return u.ReadCloser.Close()
}

func (u *requestBody) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		if !u.over.Load() {
			u.failed.Store(&err)
		}
		return n, err
	}
	for name := range u.trailer {
		u.trailer[name] = u.from.Trailer[name]
	}
	return n, io.EOF
}

// responseBody is a response's body on its way to the client. It distinguishes an
// upstream that broke off from a client that left.
type responseBody struct {
	io.ReadCloser
	up  *Upstream
	res *http.Response
	err error

	ended atomic.Bool // set by shutdown: an event stream then ends as if the upstream had ended it
}

func (a *responseBody) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	switch {
	case err == nil:
	case err != io.EOF && a.ended.Load():
		err = io.EOF
	case err != io.EOF:
		a.err = err
	case len(a.res.Trailer) > 0: // complete now, including those that were not announced
		a.up.scrubResponse(a.res.Trailer)
	}
	return n, err
}

func (a *responseBody) shutdown() {
	a.ended.Store(true)
	_ = a.ReadCloser.Close()
}
