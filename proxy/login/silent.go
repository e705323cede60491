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

// Silent is the sign-in inside the DingTalk client (免登): the person is signed
// in there already, and one of our pages asks the client for a code.
type Silent struct {
	CorpID   string
	ClientID string

	// Exchange redeems such a code, once; the errors are those of
	// Provider.Exchange. Codes of the two kinds are never mixed (threats K6).
	Exchange func(ctx context.Context, code string) (identity.User, error)

	// Queue has them wait for their turn; the code of one that waits too long is not
	// spent, and the page may send it again. Nil: none waits.
	Queue Queue
}

const (
	silentPurpose = "silent" // a state begun for the redirect is worth nothing to Silent, and the reverse (threats S8)
	maxSilent     = 4 << 10  // bytes of a code and a state
	maxFields     = 8
)

// silentFlow is the sign-in that Silent configures.
type silentFlow struct{ *Flow }

// wanted reports whether a page load should get the silent page. What the
// browser calls itself chooses a page and proves nothing (threats K13); who has
// just signed out is not signed in again by itself (K17).
func (f silentFlow) wanted(r *http.Request) bool {
	return f.Silent != nil && web.IsDingTalk(r) && !f.attempts().signedOutRecently(r)
}

// PageBefore reports whether one of our pages comes before DingTalk for this
// request, which then may sign in otherwise than by a redirect.
func (f *Flow) PageBefore(r *http.Request) bool {
	return f.PageFirst || f.Accounts != nil || silentFlow{f}.wanted(r)
}

// show begins an attempt and shows the page whose script asks the client
// for a code.
func (f silentFlow) show(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) error {
	state, err := starter{f.Flow}.begin(w, r, x, silentPurpose, target)
	if err != nil {
		return err
	}
	f.Pages.Silent(w, r, page.SilentData{CorpID: f.Silent.CorpID, ClientID: f.Silent.ClientID, State: state,
		PostURL: f.Prefix + "/silent", StartURL: f.Origins.Public() + f.Prefix + interactivePath + url.QueryEscape(target)})
	return nil
}

// interactivePath begins a sign-in without the silent page, and a target follows.
const interactivePath = "/start?silent=no&rd="

// SilentCode ends a silent sign-in: the page posts the client's code and the
// attempt's state, as a form or as JSON, and gets
//
//	200 {"location":"…"}   where the person wanted to go; the page adds the fragment.
//	                       For a person who has to bind an account first: the form
//	4xx, 5xx               like every error in JSON; its message is for the person
//
// Such a code needs no signature, so another page of the organisation may hold
// one. It counts only from one of our pages, in the browser that began the
// attempt, once; DingTalk is asked after all that (threats S19).
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
	case !web.SameOrigin(r, f.Origins.Ours):
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	s, _, target, err := completion{f.Flow}.complete(w, r, x, codeSource{purpose: silentPurpose, how: "silent", queue: f.Silent.Queue,
		read: func() (callbackQuery, error) { return readSilent(r) },
		exchange: func(ctx context.Context, code, _ string) (identity.User, identity.Token, error) {
			u, err := f.Silent.Exchange(ctx, code)
			return u, identity.Token{}, err
		}}, nil)
	if unbound, ok := errors.AsType[*notBound](err); ok {
		target = f.linkURL(unbound.token) // the form that binds them is the way on
	} else if err != nil {
		return err
	} else {
		target = f.afterSignIn(r.Context(), s, target)
	}
	return web.JSON(w, r, http.StatusOK, struct {
		Location string `json:"location"`
	}{escapeNonASCII(target)})
}

// readSilent reads the body. A field twice is an error, as in a callback's query.
func readSilent(r *http.Request) (q callbackQuery, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" && kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return q, &web.Error{Status: http.StatusUnsupportedMediaType, Code: "bad_request", Err: errors.New("login: the silent code comes in another form")}
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
			return q, badRequest("a field is there twice or unreadable")
		}
		q.code, q.attempt = fields.Get("code"), fields.Get("state")
	}
	if unprintable(q.code) {
		return callbackQuery{}, badRequest("the code is no code")
	}
	return q, nil
}

// signedOutFor is how long after a sign-out the DingTalk client is not asked again
// without a click.
const signedOutFor = 600 // seconds

// signedOutName names the cookie that marks a sign-out inside the DingTalk client.
func (j attemptJar) signedOutName() string { return j.slotName(slots) }

func (j attemptJar) signedOutRecently(r *http.Request) bool {
	return len(web.CookieValues(r.Header, j.signedOutName())) > 0
}

// markSignedOut notes that the person signed out; the next sign-in deletes the mark.
func (j attemptJar) markSignedOut(w http.ResponseWriter, seconds int) {
	c := j.cookie(slots, "1", seconds)
	if seconds < 0 {
		c.Value = ""
	}
	addCookie(w, c)
}
