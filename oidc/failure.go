package oidc

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"dinggate/internal/web"
)

// failure is an error as the specifications define it: code and text are for the client, why is
// for the operator and says what to change.
type failure struct {
	status     int
	code, text string
	why        error
	challenge  string // of WWW-Authenticate
	retry      bool   // temporary
}

func (f *failure) Error() string {
	if f.why != nil {
		return "oidc: " + f.code + ": " + f.why.Error()
	}
	return "oidc: " + f.code + ": " + f.text
}

func (f *failure) Unwrap() error { return f.why }

func fail(code, text, why string, args ...any) *failure {
	f := &failure{status: http.StatusBadRequest, code: code, text: text}
	if why != "" {
		f.why = fmt.Errorf(why, args...)
	}
	return f
}

func invalidRequest(text string) *failure {
	return fail("invalid_request", text, "%s; the application's library builds the request wrongly", text)
}

func tooLarge() *failure {
	f := invalidRequest("the body is longer than 16 KiB")
	f.status = http.StatusRequestEntityTooLarge
	return f
}

// invalidGrant is the answer to every code and token that is not valid; why is for the log.
func invalidGrant(why string, args ...any) *failure {
	return fail(
		"invalid_grant",
		"the code or token is unknown, used, expired, ended, or was given to another request",
		why,
		args...)
}

func unavailable(why error) *failure {
	return &failure{
		status: http.StatusServiceUnavailable,
		code:   "temporarily_unavailable",
		text:   "try again in a moment",
		why:    why,
		retry:  true,
	}
}

func tooMany(text string) *failure {
	return &failure{
		status: http.StatusTooManyRequests,
		code:   "temporarily_unavailable",
		text:   text,
		retry:  true,
		why:    errors.New(text),
	}
}

const basicChallenge = `Basic realm="dinggate", charset="UTF-8"`

func invalidClient(why string, args ...any) *failure {
	f := fail("invalid_client", "the client is unknown or did not prove who it is", why, args...)
	f.status, f.challenge = http.StatusUnauthorized, basicChallenge
	return f
}

func invalidToken(why error) *failure {
	return &failure{
		status:    http.StatusUnauthorized,
		code:      "invalid_token",
		text:      "the access token is unknown, expired or ended",
		why:       why,
		challenge: `Bearer realm="dinggate", error="invalid_token"`,
	}
}

// refuse answers with an error as JSON and adds it to the audit record.
func (p *Provider) refuse(w http.ResponseWriter, r *http.Request, endpoint string, c *client, f *failure) error {
	x := web.From(w)
	id := ""
	if c != nil {
		id = c.ClientID
		f = &failure{f.status, f.code, f.text, fmt.Errorf("client %q: %w", id, errors.Join(f.why)), f.challenge, f.retry}
		if f.why == nil {
			f.why = fmt.Errorf("client %q: %s", id, f.text)
		}
	}
	x.Err = &web.Error{Status: f.status, Code: f.code, Err: f}
	p.measure(id, endpoint, f.code)
	h := w.Header()
	if f.challenge != "" {
		h["Www-Authenticate"] = []string{f.challenge}
	}
	if f.retry {
		h["Retry-After"] = []string{strconv.Itoa(int(retryAfter / time.Second))}
	}
	h["Pragma"] = []string{"no-cache"}
	return web.JSON(w, r, f.status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{f.code, f.text})
}

// pageError is a mistake that is shown to a person on one of our pages.
func pageError(status int, code string, why string, args ...any) error {
	return &web.Error{Status: status, Code: code, Err: fmt.Errorf("oidc: "+why, args...)}
}

// bodyError shows an error of formBody on a page.
func bodyError(err error) error {
	if errors.Is(err, errTooLarge) {
		return pageError(http.StatusRequestEntityTooLarge, "too_large", "%w", err)
	}
	return pageError(http.StatusBadRequest, "oidc_request", "%w", err)
}

// asPage shows a temporary failure on a page.
func asPage(f *failure) error {
	e := &web.Error{Status: f.status, Code: "store_unavailable", Err: f}
	if f.retry {
		e.RetryAfter = retryAfter
	}
	if f.status < 500 {
		e.Code = "oidc_request"
	}
	return e
}

func methodNotAllowed(allow string) error {
	return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: allow}
}
