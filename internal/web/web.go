// Package web is the small HTTP toolkit: handlers that return errors.
//
//	request ─► Chain: recover ─ id ─ peer ─ record ─┬─► Asked (questions of outer proxies)
//	                                                   └─► host, path, method or 400 ─► Next
//	                                                            error ─► Answer (page or JSON)
//
// What a request says about itself is judged here, once: its client (peer.go),
// its host (host.go), its path (path.go), whether a person is looking at it
// (browser.go), where a browser may be sent (origins.go), which headers and
// cookies may travel on (header.go, cookie.go), whether it may become a
// WebSocket (upgrade.go). Pages live in internal/page; who may enter is
// decided in proxy/access.
package web

import (
	"fmt"
	"net/http"
	"time"
)

// HandlerFunc answers a request or returns an error, never both. The
// ResponseWriter it gets is an *Exchange when it runs behind a Chain.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Error has two faces: Code picks the message people read and is the `error`
// of the JSON answer; Err is for the log alone.
type Error struct {
	Status     int           // what the caller gets; 0 is 500
	Code       string        // `unauthenticated`, `not_member` …; "" is `internal`
	Err        error         // for the operator; may be nil
	LoginURL   string        // where a 401's reader can sign in
	RetryAfter time.Duration // 0 sends no Retry-After
	Allow      string        // the Allow header of a 405
	Retry      string        // a path on our own origin that a page offers as the way forward; "" offers none
	Who        string        // who is signed in, for the page; "" says nothing
	// the page first asked for, by its path or our own absolute address, to come back to as
	// another person; "" is /
	Wanted string
	// a path on our own origin where this person can ask for access; "" where they cannot
	Request string
	// a path on our own origin, with a query, that shows this error again; "" is the address asked
	// for
	Again string
	// people are sent to Again: something in the address asked for must not stay in the browser
	Leave bool
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return fmt.Sprintf("%s: %v", e.Code, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Unavailable is the answer while it is unknown whether there is a session: the
// store fails, or the membership cannot be confirmed.
func Unavailable(err error, unconfirmed bool, retryAfter time.Duration) *Error {
	e := &Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", Err: err, RetryAfter: retryAfter}
	if unconfirmed {
		e = &Error{Status: http.StatusServiceUnavailable, Code: "unconfirmed", Err: err, RetryAfter: retryAfter}
	}
	return e
}
