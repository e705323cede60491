package session

import "errors"

// Absent reports whether an error of Load means that there is no session, so that
// the person may sign in. Any other error, an unknown one too, is a failure:
// nothing is known about the session now, so keep the cookie and let nobody in
// (threats V14, F14).
func Absent(err error) bool { return errors.Is(err, ErrNone) || Stale(err) }

// Stale reports whether an error of Load means that what the request sent as a
// session is of no use any more.
func Stale(err error) bool {
	return errors.Is(err, ErrForged) || errors.Is(err, ErrExpired) || errors.Is(err, ErrRevoked)
}
