package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
)

// upload is a request's body on its way to the upstream. It notes the client's
// own faults, which would look like the upstream's otherwise, and hands on the
// trailers that may pass: httputil announces them all and sends none.
type upload struct {
	io.ReadCloser
	from    *http.Request
	trailer http.Header // of the outgoing request: announced, less the protected ones (threats H5)
	failed  atomic.Pointer[error]
	over    atomic.Bool // the transport gave up; what a Read says from here on is nobody's fault
}

func (u *upload) Close() error {
	u.over.Store(true)
	return u.ReadCloser.Close()
}

func (u *upload) Read(b []byte) (int, error) {
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

// answer is a response's body on its way to the client. It tells an upstream
// that broke off from a client that left.
type answer struct {
	io.ReadCloser
	up  *Upstream
	res *http.Response
	err error

	leaving atomic.Bool // the process is to stop: a stream of events ends as if the upstream had ended it
}

func (a *answer) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	switch {
	case err == nil:
	case err != io.EOF && a.leaving.Load():
		err = io.EOF
	case err != io.EOF:
		a.err = err
	case len(a.res.Trailer) > 0: // complete now, with those that were not announced
		a.up.scrubResponse(a.res.Trailer)
	}
	return n, err
}

func (a *answer) leave() {
	a.leaving.Store(true)
	_ = a.ReadCloser.Close()
}
