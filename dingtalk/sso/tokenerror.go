package sso

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/web"
)

// refusal is an error in the terms of RFC 6749 §5.2.
type refusal struct {
	status     int
	code, text string
	retry      bool  // temporary
	err        error // for the operator
}

func (e *refusal) Error() string {
	if e.err != nil {
		return "sso: " + e.code + ": " + e.err.Error()
	}
	return "sso: " + e.code + ": " + e.text
}

func (e *refusal) Unwrap() error { return e.err }

func badRequest(text string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: text}
}

// invalidGrant is the same answer for every code and refresh token that is not
// valid; why is for the log.
func invalidGrant(why string) *refusal {
	return &refusal{
		status: http.StatusBadRequest,
		code:   "invalid_grant",
		text:   "the code or refresh token is unknown, used, expired or of another client or state",
		err:    errors.New(why),
	}
}

func unavailable(err error) *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable,
		code:   "temporarily_unavailable",
		text:   "try again in a moment",
		retry:  true,
		err:    err,
	}
}

func tooLarge() *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge,
		code:   "invalid_request",
		text:   "the body is larger than 8 KiB",
	}
}

// refuse writes an error and notes it for the access record.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, e *refusal) error {
	web.From(w).Err = &web.Error{Status: e.status, Code: e.code, Err: e}
	h := w.Header()
	if e.status == http.StatusUnauthorized {
		h["Www-Authenticate"] = []string{challenges[e.code]}
	}
	if e.retry {
		h["Retry-After"] = []string{strconv.Itoa(int(retryAfter / time.Second))}
	}
	return web.JSON(w, r, e.status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{e.code, strings.ReplaceAll(e.text, "…", "...")})
}
