package page

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"dinggate/internal/web"
)

// Answer answers with an error; it is the only func that does. A *web.Error anywhere in err
// determines status and code, any other error is 500 `internal`. People get a page, other clients
//
//	{"error":code,"message":text,"request_id":id,"login_url":where, if known}
//
// With web.Error.Leave people are redirected: by status 303, or by the page if the error is
// temporary. At the endpoint of the silent page, whose script shows the texts of a page, the JSON
// also has "title", "next" and "button".
//
// Headers that were set before, such as a cleared cookie, are sent with it (threats C2).
// web.Error.Err is not shown.
func (p *Pages) Answer(w http.ResponseWriter, r *http.Request, err error) {
	e := web.Error{}
	if found, ok := errors.AsType[*web.Error](err); ok && found != nil {
		e = *found
	}
	if e.Status < 400 || e.Status > 599 {
		e.Status = http.StatusInternalServerError
	}
	if e.Code == "" {
		e.Code = "internal"
	}
	h := w.Header()
	delete(h, "Etag") // these described the answer that was replaced
	delete(h, "Last-Modified")
	delete(h, "Content-Encoding")
	if e.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10)}
	}
	if e.Allow != "" {
		h["Allow"] = []string{e.Allow}
	}
	if !forPeople(r, &e) {
		p.answerJSON(w, r, &e)
		return
	}
	if e.Leave && ownPath(e.Again) {
		if !passing(&e) {
			web.SecurityHeaders(w, "")
			h["Location"] = []string{e.Again}
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		h["Refresh"] = []string{"0; url=" + e.Again} // a failure keeps its status, by which it is counted and retried
	}
	p.answerPage(w, r, &e)
}

// forPeople reports whether the answer is a page. A POST without a session gets JSON with the
// login URL, unless a browser sends it as a navigation.
func forPeople(r *http.Request, e *web.Error) bool {
	if web.IsPageLoad(r.Method, r.Header) {
		return true
	}
	if len(r.Header["Upgrade"]) > 0 || len(r.Header["Sec-Websocket-Key"]) > 0 {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0] == "navigate"
	}
	return e.LoginURL == "" && len(r.Header["X-Requested-With"]) == 0 &&
		strings.Contains(strings.Join(r.Header["Accept"], ","), "text/html")
}

// answerJSON is on the hot path of every request without a session: no template, one buffer.
func (p *Pages) answerJSON(w http.ResponseWriter, r *http.Request, e *web.Error) {
	web.SecurityHeaders(w, "")
	texts := p.replies[p.messageKey(e)]
	text := texts[0]
	if web.Language(r) == "en" {
		text = texts[1]
	}
	body := make([]byte, 0, 512)
	body = appendString(append(body, `{"error":`...), e.Code)
	body = append(append(body, `,"message":`...), text...)
	body = appendString(append(body, `,"request_id":`...), web.From(w).ID)
	if e.LoginURL != "" {
		body = appendString(append(body, `,"login_url":`...), e.LoginURL)
	}
	if web.From(w).Endpoint == "silent" {
		body = p.appendWhole(body, r, e)
	}
	send(w, r, e.Status, jsonType, append(body, "}\n"...))
}

// appendWhole adds the texts of a page besides the message.
func (p *Pages) appendWhole(body []byte, r *http.Request, e *web.Error) []byte {
	what, texts := zhMessages[p.messageKey(e)], zhTexts
	if web.Language(r) == "en" {
		what, texts = enMessages[p.messageKey(e)], enTexts
	}
	label := texts.SignInDingTalk
	switch {
	case passing(e):
		label = texts.TryAgain
	case otherAccount[e.Code]:
		label = texts.OtherAccount
	}
	body = appendString(append(body, `,"title":`...), what.Title)
	body = appendString(append(body, `,"next":`...), what.Next)
	return appendString(append(body, `,"button":`...), label)
}

// appendString writes s as a JSON string, without an allocation if nothing in it needs escaping.
func appendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string always has a JSON form
			return append(dst, text...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// errorView is the data of error.html.
type errorView struct {
	view
	What   message
	Other  message // the same in the other language, if the page cannot be loaded again
	Status int
	Code   string
	Icon   string
	Script string // adds the copy button
	Main   button
	More   button
	Who    string // the signed-in person
}

// button is a link in the form of a button; Label "" shows none. An empty Href loads the page
// again.
type button struct{ Label, Href string }

func (p *Pages) answerPage(w http.ResponseWriter, r *http.Request, e *web.Error) {
	v := errorView{view: p.view(w, r), Status: e.Status, Code: clean(e.Code, 64), Icon: icon(e)}
	key := p.messageKey(e)
	v.What, v.Other = zhMessages[key], enMessages[key]
	if v.Lang == "en" {
		v.What, v.Other = v.Other, v.What
	}
	v.Heading, v.Who = v.What.Title, clean(e.Who, 200)
	if v.Switch == "" && ownPath(e.Again) {
		v.Switch = otherLanguage(e.Again, v.OtherLang)
	}
	v.Main, v.More = p.buttons(r, e, v.Words)
	v.Script = p.assetURL(p.public, "page.js")
	p.render(w, r, "error", p.errorCSP, e.Status, v)
}

// passing reports whether the same request may succeed later.
func passing(e *web.Error) bool { return e.Status >= 500 || e.Status == http.StatusTooManyRequests }

// buttons are the next steps that an error offers.
func (p *Pages) buttons(r *http.Request, e *web.Error, texts texts) (first, second button) {
	temporary := passing(e)
	switch {
	case ownPath(e.Retry) && e.Code == "not_bound":
		first = button{texts.Link, e.Retry}
	case ownPath(e.Retry) && temporary:
		first = button{texts.TryAgain, e.Retry}
	case ownPath(e.Retry) && e.Status == http.StatusForbidden && otherAccount[e.Code]:
		first = button{texts.OtherAccount, e.Retry}
	case ownPath(e.Retry):
		first = button{texts.SignInAgain, e.Retry}
	case link(e.LoginURL) != "":
		first = button{texts.SignIn, e.LoginURL}
	case temporary && repeatable(r):
		first = button{texts.TryAgain, ""}
	case e.Status == http.StatusNotFound:
		first = button{texts.Home, "/"}
	}
	switch {
	case p.prefix == "" || e.Status != http.StatusForbidden || first.Label == texts.OtherAccount:
	case signedIn[e.Code]:
		second = button{texts.OtherAccount, p.public + p.prefix + "/sign_out?then=sign_in"}
		if e.Wanted != "" && link(e.Wanted) != "" {
			second.Href += "&rd=" + url.QueryEscape(e.Wanted)
		}
	case otherAccount[e.Code]: // there is no session to sign out of
		second = button{texts.OtherAccount, p.public + p.prefix + "/start?silent=no"}
	}
	if ownPath(e.Request) && e.Status == http.StatusForbidden {
		label := zhAccess.headings[AccessForm]
		if web.Language(r) == "en" {
			label = enAccess.headings[AccessForm]
		}
		first = button{label, p.public + e.Request}
	}
	if first.Label == "" {
		first, second = second, button{}
	}
	return first, second
}

const maxLink = 4096

// ownPath reports whether browsers read a link as one to our own origin: `//host` and `/\host` are
// not.
func ownPath(s string) bool {
	if len(s) == 0 || len(s) > maxLink || s[0] != '/' || len(s) > 1 && (s[1] == '/' || s[1] == '\\') {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f { // a browser removes a tab: "/\t/host" is "//host"
			return false
		}
	}
	return true
}

// link is s if it is one of our paths or an absolute web URL, otherwise "": a button with any
// other link is omitted.
func link(s string) string {
	if ownPath(s) {
		return s
	}
	u, err := url.Parse(s) // refuses control characters
	if err != nil || len(s) > maxLink || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return s
}

// otherAccount lists the refusals at a sign-in that may not apply to another account, signedIn
// those of a person with a session.
var (
	otherAccount = map[string]bool{"not_member": true, "external_contact": true, "disabled": true, "not_bound": true,
		"out_of_scope": true}
	signedIn = map[string]bool{"not_allowed": true, "forbidden": true}
)

func icon(e *web.Error) string {
	switch {
	case e.Code == "state_expired" || e.Status == http.StatusTooManyRequests || e.Status == http.StatusGatewayTimeout:
		return "clock"
	case e.Status >= 500:
		return "cloud"
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return "lock"
	case e.Status == http.StatusNotFound:
		return "search"
	}
	return "alert"
}
