package page

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// SignInData is the data of the sign-in page. Further ways to sign in are further fields, whose
// zero values show none.
type SignInData struct {
	QR       *QR    // DingTalk's QR code on the page; nil shows none
	StartURL string // the URL at which the sign-in with DingTalk begins; a link, since form-action would apply to a form
}

type signInView struct {
	view
	QR       *qrView
	StartURL string
}

// SignIn shows the page with the button. On this and the other pages a link that is neither a path
// nor an absolute web URL shows no button.
func (p *Pages) SignIn(w http.ResponseWriter, r *http.Request, data SignInData) {
	v := signInView{view: p.view(w, r), StartURL: link(data.StartURL)}
	v.Heading, v.Bare = v.Words.SignIn, true
	var csp string
	v.QR, csp = p.qr(data.QR, p.csp)
	p.render(w, r, "sign_in", csp, http.StatusOK, v)
}

// SignedOut shows that the session has ended. It never signs in by itself: its button leads to
// signInURL (threats K17).
func (p *Pages) SignedOut(w http.ResponseWriter, r *http.Request, signInURL string) {
	v := signInView{view: p.view(w, r), StartURL: link(signInURL)}
	v.Heading = v.Words.SignedOut
	p.render(w, r, "signed_out", p.csp, http.StatusOK, v)
}

type signedInView struct {
	view
	Who, Script string
}

// SignedIn is the end of a sign-in in a separate window: its script notifies the waiting page and
// closes the window. who is the person and may be "".
func (p *Pages) SignedIn(w http.ResponseWriter, r *http.Request, who string) {
	v := signedInView{p.view(w, r), clean(who, 100), p.assetURL("", "signed_in.js")}
	v.Heading = v.Words.SignedIn
	p.render(w, r, "signed_in", p.csp+"; script-src 'self'", http.StatusOK, v)
}

type confirmView struct {
	view
	Action, Who, Cancel string
}

// ConfirmSignOut shows a confirmation before a sign-out, which a link alone must not cause
// (threats S15). Its form posts to action, on the same origin; who is the person and may be "".
func (p *Pages) ConfirmSignOut(w http.ResponseWriter, r *http.Request, action, who string) {
	p.confirm(w, r, p.view(w, r), p.formCSP, action, who, "/")
}

// ConfirmSwitch shows a confirmation before a sign-out that is followed by a sign-in with another
// account. Its form finally leads to next, an absolute URL, whose origin the page's policy has to
// name; "" leads to no other origin. Cancel leads to wanted, the page first requested.
func (p *Pages) ConfirmSwitch(w http.ResponseWriter, r *http.Request, action, who, next, wanted string) {
	v := p.view(w, r)
	v.Words.ConfirmSignOut, v.Words.ConfirmText, v.Words.SignOut = v.Words.ConfirmSwitch, v.Words.SwitchText,
		v.Words.OtherAccount
	p.confirm(w, r, v, p.formCSP+formTarget(next), action, who, wanted)
}

func (p *Pages) confirm(w http.ResponseWriter, r *http.Request, v view, csp, action, who, cancel string) {
	c := confirmView{v, "", clean(who, 100), link(cancel)}
	if c.Cancel == "" {
		c.Cancel = "/"
	}
	if ownPath(action) {
		c.Action = action
	}
	c.Heading, c.Posts = v.Words.ConfirmSignOut, true
	p.render(w, r, "confirm", csp, http.StatusOK, c)
}

// WhoAmIData describes the signed-in person; empty fields are omitted.
type WhoAmIData struct {
	Name, Username, Email string
	Groups                []string // the first 64 are shown
	SignOutURL            string   // "" shows no such button
	Sessions              string   // the URL of the person's sessions; "" shows no such button
}

type whoView struct {
	view
	Letter  string // shown in place of a photo
	Name    string
	Rows    []whoRow
	Groups  []string
	SignOut string
	Own     string // the URL of the person's sessions
	ToOwn   string

	Binding           []whoRow
	News              string
	Action, BindingID string
	Next              string
}

type whoRow struct{ Label, Value string }

// maxGroups bounds the groups that are shown.
const maxGroups = 64

// WhoAmI shows people what applications receive about them.
func (p *Pages) WhoAmI(w http.ResponseWriter, r *http.Request, data WhoAmIData) {
	p.render(w, r, "who", p.csp, http.StatusOK, p.who(w, r, data))
}

func (p *Pages) who(w http.ResponseWriter, r *http.Request, data WhoAmIData) whoView {
	v := whoView{view: p.view(w, r), Name: clean(data.Name, 100), SignOut: link(data.SignOutURL),
		Own: link(data.Sessions), ToOwn: sessionLabels(r).Heading}
	v.Heading = v.Words.WhoAmI
	if v.Name == "" {
		v.Name = clean(data.Username, 100)
	}
	v.Letter = firstLetter(v.Name)
	for _, row := range []whoRow{{v.Words.Username, clean(data.Username, 100)},
		{v.Words.Email, clean(data.Email, 254)}} {
		if row.Value != "" {
			v.Rows = append(v.Rows, row)
		}
	}
	for _, group := range data.Groups[:min(len(data.Groups), maxGroups)] {
		if group = clean(group, 60); group != "" {
			v.Groups = append(v.Groups, group)
		}
	}
	return v
}

func firstLetter(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:size])
}
