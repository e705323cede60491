package login

import (
	"net/http"

	"dinggate/internal/web"
	"dinggate/session"
)

// Purpose is a sign-in that does not end at one of our pages: a third party requested it, and
// receives the identity.
type Purpose struct {
	Kind        string // sealed with the attempt, so that an attempt with another purpose is refused; not ""
	RedirectURI string // the URL that the provider redirects to
	Target      string // returned by Complete; sealed, and checked by the caller only
}

// maxPurposeTarget bounds Purpose.Target, so that the attempt's cookie stays below the 3.5 KB that
// browsers and gateways accept (threats R12).
const maxPurposeTarget = 1400

// RedirectToProvider begins a sign-in for p and redirects the browser to the provider. It makes no
// call.
func (f *Flow) RedirectToProvider(w http.ResponseWriter, r *http.Request, p Purpose) error {
	if err := getOnly(r); err != nil {
		return err
	}
	if len(p.Target) > maxPurposeTarget {
		return badRequest("the target is too long")
	}
	return starter{f}.beginAndRedirect(w, r, web.From(w), p)
}

// Complete completes a sign-in that RedirectToProvider began in this browser for a purpose of that
// kind, with the checks of Callback in the same order. It sets the session cookie on w and returns
// it; the caller writes the answer.
//
// check may refuse the target before the attempt is used up and the provider is called; nil
// refuses none. If the code in the URL is still valid, an error redirects people to a URL without
// it (web.Error.Leave). With an error, target is set if the attempt was found, otherwise "".
func (f *Flow) Complete(w http.ResponseWriter, r *http.Request, kind string,
	check func(target string) error) (s *session.Session, cookie *http.Cookie, target string, err error) {
	if err := getOnly(r); err != nil {
		return nil, nil, "", err
	}
	x := web.From(w)
	query, err := refusedCallback{f}.query(r, x)
	if err != nil {
		return nil, nil, "", err
	}
	by := completion{f}.byBrowser(query, kind)
	if s, cookie, target, err = (completion{f}).complete(w, r, x, by, check); err != nil {
		err = refusedCallback{f}.shownAgain(r, x, err, *by.spent)
	}
	return s, cookie, target, err
}

// CurrentSession is the session of a request, as every endpoint here sees it; the errors are those
// of session.Manager.Load.
func (f *Flow) CurrentSession(r *http.Request) (*session.Session, error) {
	return f.loadSession(r, f.maxWait())
}
