package login

import (
	"net/http"

	"dinggate/internal/web"
	"dinggate/session"
)

// Purpose is a sign-in that does not end at one of our pages: a third party asked
// for it, and learns who the person is.
type Purpose struct {
	Kind        string // sealed with the attempt, so that one begun for another purpose ends nothing here; not ""
	RedirectURI string // where the provider sends the browser back to
	Target      string // what Complete returns; sealed, and judged by the caller alone
}

// maxPurposeTarget bounds Purpose.Target, so that the attempt's cookie stays
// below the 3.5 KB that browsers and gateways take (threats R12).
const maxPurposeTarget = 1400

// RedirectToProvider begins a sign-in for p and sends the browser to the
// provider. It makes no call.
func (f *Flow) RedirectToProvider(w http.ResponseWriter, r *http.Request, p Purpose) error {
	if err := getOnly(r); err != nil {
		return err
	}
	if len(p.Target) > maxPurposeTarget {
		return badRequest("the target is too long")
	}
	return starter{f}.beginAndRedirect(w, r, web.From(w), p)
}

// Complete ends a sign-in that RedirectToProvider began in this browser for a
// purpose of that kind, with the same order of checks as Callback. The session
// cookie is on w and is returned; the answer is the caller's to write.
//
// judge may refuse the target before the attempt is used up and the provider is
// asked; nil refuses none. An error takes people to an address without the code
// where that is worth something (web.Error.Leave). With an error the target is
// known once the attempt was found, otherwise "".
func (f *Flow) Complete(w http.ResponseWriter, r *http.Request, kind string,
	judge func(target string) error) (s *session.Session, cookie *http.Cookie, target string, err error) {
	if err := getOnly(r); err != nil {
		return nil, nil, "", err
	}
	x := web.From(w)
	query, err := refusedCallback{f}.query(r, x)
	if err != nil {
		return nil, nil, "", err
	}
	by := completion{f}.byBrowser(query, kind)
	if s, cookie, target, err = (completion{f}).complete(w, r, x, by, judge); err != nil {
		err = refusedCallback{f}.shownAgain(r, x, err, *by.spent)
	}
	return s, cookie, target, err
}

// CurrentSession is the session of a request, as every endpoint here sees it; the
// errors are those of session.Manager.Load.
func (f *Flow) CurrentSession(r *http.Request) (*session.Session, error) {
	return f.loadSession(r, f.maxWait())
}
