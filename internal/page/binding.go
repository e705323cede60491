package page

import (
	"net/http"
	"strings"
	"time"
)

// BindingData is the binding between an account and a DingTalk person, as a part of WhoAmIData's
// page. The zero value shows none.
type BindingData struct {
	Person, Account string    // the other side of the reader's binding; the reader's own is ""
	Since           time.Time // zero if unknown
	// the value in the form that removes the binding, in URL base64; "" shows no such form
	ID     string
	Action string // the URL that the form posts to: one of our paths
	News   bool   // it was made since the reader's last sign-in, and has not been shown yet
	Next   string // a button that continues; "" shows none
}

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Bindings is WhoAmI with the reader's binding and a form that removes it
// (threats T33).
func (p *Pages) Bindings(w http.ResponseWriter, r *http.Request, data WhoAmIData, binding BindingData) {
	v := p.who(w, r, data)
	v.Next = link(binding.Next)
	row := func(label, value string) {
		if value = clean(value, 200); value != "" {
			v.Binding = append(v.Binding, whoRow{label, value})
		}
	}
	row(v.Words.BindingPerson, binding.Person)
	row(v.Words.BindingAccount, binding.Account)
	if !binding.Since.IsZero() {
		row(v.Words.BindingSince, binding.Since.Format("2006-01-02 15:04 MST"))
	}
	if binding.News {
		v.News = v.Words.NewsAccount
		if binding.Account != "" {
			v.News = v.Words.NewsPerson
		}
	}
	csp := p.csp
	if plain := strings.Trim(binding.ID, base64Letters) == ""; binding.ID != "" && plain && ownPath(binding.Action) {
		v.Action, v.BindingID, v.Posts, csp = binding.Action, binding.ID, true, p.formCSP
	}
	p.render(w, r, "who", csp, http.StatusOK, v)
}
