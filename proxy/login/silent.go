package login

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
)

// Silent is the sign-in inside the DingTalk client (免登): the person is signed in to the
// client, and a page of dinggate requests a code from it.
type Silent struct {
	CorpID   string
	ClientID string

	// Exchange redeems such a code, once; the errors are those of Provider.Exchange. The two kinds
	// of codes are never mixed (threats K6).
	Exchange func(ctx context.Context, code string) (identity.User, error)

	// Queue makes sign-ins wait for their turn; if one waits too long, its code is not spent, and
	// the page may send it again. If nil, none waits.
	Queue Queue
}

const (
	silentPurpose = "silent" // a state of the redirect is not accepted by Silent, nor the reverse (threats S8)
	maxSilent     = 4 << 10  // bytes of a code and a state
	maxFields     = 8
)

// silentFlow is the sign-in that Silent configures.
type silentFlow struct{ *Flow }

// wanted reports whether a page load should get the silent page. The User-Agent only chooses a
// page and proves nothing (threats K13); a person who has just signed out is not signed in again
// silently (K17).
func (f silentFlow) wanted(r *http.Request) bool {
	return f.Silent != nil && web.IsDingTalk(r) && !f.attempts().signedOutRecently(r)
}

// PageBefore reports whether one of our pages precedes DingTalk for this request, and may sign in
// by other means than a redirect.
func (f *Flow) PageBefore(r *http.Request) bool {
	return f.PageFirst || f.Accounts != nil || silentFlow{f}.wanted(r)
}

// show begins an attempt and shows the page whose script requests a code from the client.
func (f silentFlow) show(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) error {
	state, err := starter{f.Flow}.begin(w, r, x, silentPurpose, target)
	if err != nil {
		return err
	}
	f.Pages.Silent(w, r, page.SilentData{CorpID: f.Silent.CorpID, ClientID: f.Silent.ClientID, State: state,
		PostURL: f.Prefix + "/silent", StartURL: f.Origins.Public() + f.Prefix + interactivePath + url.QueryEscape(target)})
	return nil
}

// interactivePath begins a sign-in without the silent page; a target is appended.
const interactivePath = "/start?silent=no&rd="

// SilentCode completes a silent sign-in: the page posts the client's code and the attempt's state,
// as a form or as JSON, and gets
//
//	200 {"location":"…"}   where the person wanted to go; the page adds the fragment.
//	                       For a person who has to bind an account first: the form
//	4xx, 5xx               like every error in JSON; its message is for the person
//
// Such a code needs no signature, so that another page of the organisation may obtain one. It is
// accepted only from one of our pages, in the browser that began the attempt, once; DingTalk is
// called after all these checks (threats S19).
func (f *Flow) SilentCode(w http.ResponseWriter, r *http.Request) error {
	return silentFlow{f}.serve(w, r)
}

func (f silentFlow) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "silent"
	web.AsJSON(r)
	switch {
	case f.Silent == nil:
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	case r.Method != http.MethodPost:
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "POST"}
	case !web.SameOrigin(r, f.Origins.SameHost(x.Host)):
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	s, _, target, err := completion{f.Flow}.complete(w, r, x, codeSource{purpose: silentPurpose, how: "silent", queue: f.Silent.Queue,
		read: func() (callbackQuery, error) { return readSilent(r) },
		exchange: func(ctx context.Context, code, _ string) (identity.User, identity.Token, error) {
			u, err := f.Silent.Exchange(ctx, code)
			return u, identity.Token{}, err
		}}, nil)
	if unbound, ok := errors.AsType[*notBound](err); ok {
		target = f.linkURL(unbound.token) // the form that binds them is the next step
	} else if err != nil {
		return err
	} else {
		target = f.afterSignIn(r.Context(), s, target)
	}
	return web.JSON(w, r, http.StatusOK, struct {
		Location string `json:"location"`
	}{web.EscapeNonASCII(target)})
}

// readSilent parses the body. A repeated field of a form is an error, as in a callback's query.
func readSilent(r *http.Request) (q callbackQuery, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" && kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return q, &web.Error{
			Status: http.StatusUnsupportedMediaType,
			Code:   "bad_request",
			Err:    errors.New("login: the silent code is neither a form nor JSON"),
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSilent+1))
	switch {
	case err != nil:
		return q, badRequest("the body cannot be read")
	case len(body) > maxSilent:
		return q, &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large"}
	}
	if kind == "application/json" {
		var fields struct{ Code, State string }
		if err := json.Unmarshal(body, &fields); err != nil {
			return q, badRequest("the body is no JSON")
		}
		q.code, q.attempt = fields.Code, fields.State
	} else {
		fields, err := url.ParseQuery(string(body))
		if err != nil || len(fields["code"]) > 1 || len(fields["state"]) > 1 || len(fields) > maxFields {
			return q, badRequest("a field is repeated or unreadable")
		}
		q.code, q.attempt = fields.Get("code"), fields.Get("state")
	}
	if unprintable(q.code) {
		return callbackQuery{}, badRequest("the code is no code")
	}
	return q, nil
}

// signedOutFor is how long after a sign-out no silent sign-in is made without a click.
const signedOutFor = 600 // seconds

// signedOutName is the name of the cookie that marks a sign-out inside the DingTalk client.
func (j attemptJar) signedOutName() string { return j.slotName(slots) }

func (j attemptJar) signedOutRecently(r *http.Request) bool {
	return len(web.CookieValues(r.Header, j.signedOutName())) > 0
}

// markSignedOut records that the person signed out; the next sign-in deletes the mark.
func (j attemptJar) markSignedOut(w http.ResponseWriter, seconds int) {
	c := j.cookie(slots, "1", seconds)
	if seconds < 0 {
		c.Value = ""
	}
	addCookie(w, c)
}
