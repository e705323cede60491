package web

import (
	"net/http"
	"strconv"
	"time"
)

// Reauthentication is a request with a valid session whose sign-in is too old for the
// requested page.
type Reauthentication struct {
	Fresh     time.Duration // how recent; above 0
	Silent    bool          // a silent sign-in will do
	APIClient bool          // the request carried a credential, which no redirect can renew
}

// reauthenticationRequired is the error code of a 401 that requires a more recent
// sign-in.
const reauthenticationRequired = "reauthentication_required"

// Error is the 401 of such a request; loginURL is the result of ReauthURL.
func (q Reauthentication) Error(loginURL string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: reauthenticationRequired, LoginURL: loginURL}
}

// Challenge is the value of WWW-Authenticate (RFC 9470 §3).
func (q Reauthentication) Challenge() string {
	seconds := max(1, int64(q.Fresh/time.Second))
	return `Bearer error="insufficient_user_authentication", max_age=` + strconv.FormatInt(seconds, 10)
}
