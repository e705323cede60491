package session

import "errors"

// Absent reports whether an error of Load means that there is no session, so that the
// person may sign in. Any other error, an unknown one too, is a failure: the state of
// the session is unknown, so keep the cookie and deny the request (threats V14, F14).
func Absent(err error) bool { return errors.Is(err, ErrNone) || Stale(err) }

// Stale reports whether an error of Load means that the session cookie of the request
// is permanently invalid.
func Stale(err error) bool {
	return errors.Is(err, ErrForged) || errors.Is(err, ErrExpired) || errors.Is(err, ErrRevoked)
}
