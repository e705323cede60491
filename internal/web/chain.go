package web

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Chain is the middleware before all handlers, in this order:
//
//	recover → peer → request id → record → Subrequest, or: method, host, path → Next
//
// All fields except Subrequest, Known, Hosts and Now are required.
type Chain struct {
	Peers  *Peers
	Scheme string // of public_url: the scheme of a request from an untrusted peer

	// Subrequest returns the handler of a gateway's authorization subrequest by its
	// raw path. A subrequest describes another request: its own host and path are not
	// checked here. If the func or its result is nil, the request is an ordinary one,
	// and also if the handler returns ErrNotSubrequest, which it may do only before it
	// has written anything.
	Subrequest func(rawPath string) HandlerFunc

	// Known reports whether the target of an absolute-form request may have this host.
	// If nil, no host is allowed.
	Known func(host string) bool

	// Hosts are the names that are served; a request for another is answered with 421.
	// If nil, all are served.
	Hosts *Hosts

	Next   HandlerFunc
	Answer func(w http.ResponseWriter, r *http.Request, err error) // turns an error into a page or JSON
	Record func(x *Exchange, r *http.Request)                      // called once, after the answer; must not retain x or r
	Now    func() time.Time                                        // nil means time.Now
}

// ErrNotSubrequest is what a handler of Subrequest returns for a request that is no
// authorization subrequest after all.
var ErrNotSubrequest = errors.New("web: not an authorization subrequest")

func (c *Chain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &Exchange{w: w, Start: c.now(), Method: r.Method, body: r.ContentLength != 0}
	defer c.record(x, r)
	x.Peer, x.Trusted, x.Client = c.Peers.Resolve(r)
	x.ID = requestID(r, x.Trusted)
	x.Target = rawPath(r.RequestURI)
	if agent := r.Header["User-Agent"]; len(agent) > 0 {
		x.UserAgent = agent[0]
	}
	if err := c.serve(x, r); err != nil {
		c.answerError(x, r, err)
	}
}

func (c *Chain) serve(x *Exchange, r *http.Request) error {
	if c.Subrequest != nil {
		if h := c.Subrequest(x.Target); h != nil {
			if err := h(x, r); err != ErrNotSubrequest {
				return err
			}
		}
	}
	if err := c.canonicalize(x, r); err != nil {
		return err
	}
	return c.Next(x, r)
}

// canonicalize makes host and path canonical, or refuses the request: an ambiguous one
// is never forwarded (threats P, M4, H13).
func (c *Chain) canonicalize(x *Exchange, r *http.Request) error {
	if !plainMethod(r.Method) {
		return &Error{
			Status: http.StatusMethodNotAllowed,
			Code:   "method_not_allowed",
			Allow:  "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
		}
	}
	var err error
	if x.Scheme, x.Host, err = c.Peers.origin(r, x.Trusted, c.Scheme); err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "bad_host", Err: err}
	}
	if r.URL.Host != "" || r.URL.Scheme != "" { // absolute-form: the target names a host of its own
		host, err := CleanHost(r.URL.Host, r.URL.Scheme)
		if err != nil || r.URL.Scheme != "http" && r.URL.Scheme != "https" || c.Known == nil || !c.Known(host) {
			return &Error{
				Status: http.StatusBadRequest,
				Code:   "bad_host",
				Err:    errors.New("web: absolute-form target of another host"),
			}
		}
	}
	if !c.Hosts.Serves(x.Host, r) {
		// A subrequest of a trusted proxy has the proxy's own name for us, unless
		// X-Forwarded-Host carries the browser's. Only names are checked: health
		// probes use an address.
		if !x.Trusted || r.Header.Get("X-Forwarded-Host") != "" && !IsAddress(x.Host) {
			return UnknownHost(http.StatusMisdirectedRequest, x.Host, x.Trusted)
		}
	}
	if r.ProtoMajor != 1 && !validLength(r) {
		return &Error{
			Status: http.StatusBadRequest,
			Code:   "bad_request",
			Err:    errors.New("web: a Content-Length that the frames do not keep"),
		}
	}
	if r.ProtoMajor != 1 && !forwardable(r.URL.RawQuery) {
		return &Error{
			Status: http.StatusBadRequest,
			Code:   "bad_request",
			Err:    errors.New("web: a query that HTTP/1.1 cannot carry"),
		}
	}
	if overfull(r.Header) { // the session cookie would not be found, and the sign-in would loop
		return &Error{
			Status: http.StatusRequestHeaderFieldsTooLarge,
			Code:   "cookie_too_large",
			Err:    errors.New("web: more cookies than are read"),
		}
	}
	if strings.IndexByte(r.RequestURI, '#') >= 0 { // would be forwarded as %23
		return &Error{
			Status: http.StatusBadRequest,
			Code:   "bad_path",
			Err:    errors.New("web: raw # in the request target"),
		}
	}
	if x.Path, err = CleanPath(x.Target); err != nil {
		return &Error{Status: http.StatusBadRequest, Code: "bad_path", Err: err}
	}
	return nil
}

// validLength reports whether the Content-Length of an HTTP/2 request is one number, equal to the
// one that net/http parsed. net/http takes an unreadable one for 0, and ignores it if there is no
// body: the upstream would then receive a complete request that differs from what the client sent
// (threats M11).
func validLength(r *http.Request) bool {
	v := r.Header["Content-Length"]
	if len(v) == 0 {
		return true
	}
	n, err := strconv.ParseUint(v[0], 10, 63)
	return len(v) == 1 && err == nil && int64(n) == r.ContentLength
}

// forwardable reports whether a query can be written into the request line of an upstream that
// speaks HTTP/1.1. HTTP/2 frames a path by its length, so that a query with a space, which ends
// the target in HTTP/1.1, is accepted on our side; the same applies to DEL and the C1 control
// characters, as single bytes or as UTF-8 (threats M18).
func forwardable(query string) bool {
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c <= ' ' || c == 0x7f:
			return false
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(query[i:])
			if r >= 0x80 && r < 0xa0 || n == 1 && c < 0xa0 {
				return false
			}
			i += n - 1
		}
	}
	return true
}

// plainMethod refuses methods that tunnel (CONNECT), echo (TRACE, TRACK) or evade a
// rule by letter case (CVE-2020-14359).
func plainMethod(m string) bool {
	switch m {
	case "GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS":
		return true
	}
	if m == "" || NeverForwarded(m) {
		return false
	}
	for i := 0; i < len(m); i++ {
		if c := m[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// NeverForwarded reports a method that opens a tunnel, whose requests are not authorized, or that
// returns the headers of the request (threats P11).
func NeverForwarded(m string) bool {
	switch m {
	case "CONNECT", "TRACE", "TRACK", "PRI":
		return true
	}
	return false
}

func (c *Chain) answerError(x *Exchange, r *http.Request, err error) {
	if x.Err == nil {
		x.Err = err
	}
	if !x.headersSent {
		c.Answer(x, r, err)
	}
}

// record runs after every request. A panic is handled as an error, except
// http.ErrAbortHandler, which cuts a proxied answer off on purpose.
func (c *Chain) record(x *Exchange, r *http.Request) {
	v := recover()
	if v != nil && v != http.ErrAbortHandler {
		c.answerError(x, r, Panicked(v))
		if x.Status < http.StatusInternalServerError { // a truncated answer must not look complete
			v = http.ErrAbortHandler
		} else {
			v = nil
		}
	}
	if c.Now == nil {
		x.Duration = time.Since(x.Start) // reads one clock where time.Now reads two
	} else {
		x.Duration = c.Now().Sub(x.Start)
	}
	c.Record(x, r)
	if v != nil {
		panic(http.ErrAbortHandler)
	}
}

// Panicked makes an error of a recovered value, with the stack for the log.
func Panicked(v any) *Error {
	return &Error{
		Status: http.StatusInternalServerError,
		Code:   "internal",
		Err:    fmt.Errorf("web: panic: %v\n%s", v, debug.Stack()),
	}
}

func (c *Chain) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// rawPath is the path of a request target exactly as it was sent.
func rawPath(target string) string {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	if strings.HasPrefix(target, "/") {
		return target
	}
	if i := strings.Index(target, "://"); i >= 0 { // absolute-form
		if rest := target[i+3:]; strings.IndexByte(rest, '/') >= 0 {
			return rest[strings.IndexByte(rest, '/'):]
		}
		return "/"
	}
	return target
}
