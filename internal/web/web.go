// Package web provides HTTP handlers that return errors, and the checks of a request.
//
//	request ─► Chain: recover, peer, id, record ─┬─► Subrequest (of a gateway)
//	                                             └─► method, host, path ─┬─► Next
//	                                                                     └─ error ─► Answer (page or JSON)
//
// What a request claims is checked here, once: its client (peer.go), its host
// (host.go), its path (path.go), whether it is a page load (browser.go), where a
// browser may be redirected (origins.go), which headers and cookies may be forwarded
// (header.go, cookie.go), whether it may become a WebSocket (upgrade.go). Pages are in
// internal/page; authorization is in proxy/access.
package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// HandlerFunc answers a request or returns an error, never both. The
// ResponseWriter it gets is an *Exchange when it runs behind a Chain.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Error is an error with a message for people and one for the operator: Code selects the text that
// people read and is the `error` of the JSON answer; Err is only for the log.
type Error struct {
	Status     int           // the status of the answer; 0 is 500
	Code       string        // `unauthenticated`, `not_member` …; "" is `internal`
	Err        error         // for the operator; may be nil
	LoginURL   string        // where the client of a 401 can sign in
	RetryAfter time.Duration // 0 sends no Retry-After
	Allow      string        // the Allow header of a 405
	Retry      string        // a path on our own origin that a page offers as the next step; "" offers none
	Who        string        // the signed-in person, for the page; "" shows none
	// path on our own origin, or our absolute URL, of the page first requested: where
	// the user returns after switching accounts; "" is /
	Wanted string
	// path on our own origin where this user can request access; "" if they cannot
	Request string
	// path on our own origin, with a query, that shows this error again; "" is the
	// requested URL
	Again string
	// the browser is redirected to Again, since the requested URL holds something that
	// must not stay in its history
	Leave bool
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return fmt.Sprintf("%s: %v", e.Code, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// FormError is the answer to a form that http.Request.ParseForm refuses.
func FormError(err error) *Error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Err: err}
	}
	return &Error{Status: http.StatusBadRequest, Code: "bad_request", Err: err}
}

// ToPage adds to the error of a form the page of the form, where people go on: after a sign-in
// (401), or when the failure is over (5xx). Other errors are returned unchanged. A page of ours
// that answers a POST can offer no reload.
func ToPage(err error, page string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusUnauthorized && e.Status < 500 {
		return err
	}
	with := *e
	with.Retry = page
	return &with
}

// Unavailable is the answer while it is unknown whether there is a session: the
// store fails, or the membership cannot be confirmed.
func Unavailable(err error, unconfirmed bool, retryAfter time.Duration) *Error {
	e := &Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", Err: err, RetryAfter: retryAfter}
	if unconfirmed {
		e = &Error{Status: http.StatusServiceUnavailable, Code: "unconfirmed", Err: err, RetryAfter: retryAfter}
	}
	return e
}
