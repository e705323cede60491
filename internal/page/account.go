package page

import (
	"net/http"
	"net/url"

	"dinggate/internal/web"
)

// AccountData is the data of the page with a name and a password.
type AccountData struct {
	Action   string // the URL that the form posts to: one of our paths
	StartURL string // the sign-in with DingTalk beside it; "" shows none
	QR       *QR    // DingTalk's QR code on the page; nil shows none
	Person   string // the DingTalk person whom this sign-in binds to the account; "" binds no one
	Username string // as typed
	Problem  string // the code of a message about the last attempt; "" for the first
	// one of our paths, with a query, that shows the page with Problem, for the other language if
	// r is a form
	Again  string
	Status int    // 0 is 200
	Next   string // the destination after the form: the page's policy has to name another origin
}

type accountView struct {
	view
	QR                                          *qrView
	StartURL, Action, Person, Username, Problem string
}

// Account shows the form for local accounts. It needs no script.
func (p *Pages) Account(w http.ResponseWriter, r *http.Request, data AccountData) {
	v := accountView{
		view:     p.view(w, r),
		StartURL: link(data.StartURL),
		Person:   clean(data.Person, 100),
		Username: clean(data.Username, 100),
	}
	if ownPath(data.Action) {
		v.Action = data.Action
	}
	if v.Switch == "" && ownPath(data.Again) {
		v.Switch = otherLanguage(data.Again, v.OtherLang)
	}
	if data.Problem != "" {
		v.Problem = p.Message(r, &web.Error{Status: data.Status, Code: data.Problem})
	}
	if v.Heading = v.Words.SignIn; v.Person != "" {
		v.Heading = v.Words.Link
	}
	v.Bare, v.Posts = true, true
	status := data.Status
	if status == 0 {
		status = http.StatusOK
	}
	csp := p.formCSP + formTarget(data.Next)
	v.QR, csp = p.qr(data.QR, csp)
	p.render(w, r, "account", csp, status, v)
}

// formTarget is the source for form-action that allows the answer to a form to redirect to next:
// Chromium applies form-action to a form's redirects too. It is "" if next is on our own origin,
// or is no URL.
func formTarget(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || link(next) == "" {
		return ""
	}
	return " " + u.Scheme + "://" + u.Host
}

// Message is the text of an error for people, in their language.
func (p *Pages) Message(r *http.Request, e *web.Error) string {
	if web.Language(r) == "en" {
		return enMessages[p.messageKey(e)].Text
	}
	return zhMessages[p.messageKey(e)].Text
}
