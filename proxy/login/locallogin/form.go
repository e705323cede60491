package locallogin

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/internal/web"
)

// retryAfter is the Retry-After of a form that could not be verified.
const retryAfter = 5 * time.Second

// MaxForm bounds the bytes of a form with a name and a password.
const MaxForm = 8 << 10

// ProblemParam names the problem of a failed attempt, for the page in the other language: one of
// the problems below.
const (
	ProblemParam    = "problem"
	WrongPassword   = "wrong_password"
	TooManyAttempts = "too_many_attempts"
	Unready         = "unready"
)

// WithProblem adds a problem to the form's URL, which has a query.
func WithProblem(form, problem string) string { return form + "&" + ProblemParam + "=" + problem }

// Problem is value if it is one of the problems, otherwise "": the form's URL may come from an
// attacker.
func Problem(value string) string {
	switch value {
	case WrongPassword, TooManyAttempts, Unready:
		return value
	}
	return ""
}

// Unverified is the answer if a password was not verified: too many attempts, or the file is not
// readable. again is the form's URL.
func Unverified(err error, again string) error {
	if wait, ok := errors.AsType[*account.WaitError](err); ok {
		return &web.Error{
			Status:     http.StatusTooManyRequests,
			Code:       TooManyAttempts,
			RetryAfter: wait.Wait,
			Retry:      again,
			Again:      WithProblem(again, TooManyAttempts),
		}
	}
	return &web.Error{
		Status:     http.StatusServiceUnavailable,
		Code:       Unready,
		RetryAfter: retryAfter,
		Retry:      again,
		Again:      WithProblem(again, Unready),
		Err:        err,
	}
}

// Credentials parses the form: each field once, in the body only.
func Credentials(r *http.Request) (username, password string, err error) {
	values, err := PostedForm(r)
	if err != nil {
		return "", "", err
	}
	if len(values["username"]) != 1 || len(values["password"]) != 1 {
		return "", "", badForm("the form does not hold one username and one password")
	}
	return strings.TrimSpace(values["username"][0]), values["password"][0], nil // phone keyboards append a blank
}

// PostedForm parses the fields of a small form.
func PostedForm(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || len(r.Header["Content-Encoding"]) > 0 {
		return nil, &web.Error{
			Status: http.StatusUnsupportedMediaType,
			Code:   "bad_request",
			Err:    errors.New("locallogin: the form is of another type"),
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxForm+1))
	if err != nil {
		return nil, &web.Error{
			Status: http.StatusBadRequest,
			Code:   "bad_request",
			Err:    fmt.Errorf("locallogin: reading the form: %w", err),
		}
	}
	if len(body) > MaxForm {
		return nil, &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large"}
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badForm("the form is unreadable")
	}
	return values, nil
}

func badForm(text string) error {
	return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: errors.New("locallogin: " + text)}
}
