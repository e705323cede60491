package login

import (
	"net/http"

	"dinggate/internal/web"
	"dinggate/session"
)

// Purpose is a sign-in that ends elsewhere than at a page of ours: somebody else
// asked for it, and gets to know who the person is.
type Purpose struct {
	Kind        string // sealed with the attempt, so that one begun for another purpose ends nothing here; not ""
	RedirectURI string // where the provider sends the browser back to
	Target      string // what Arrive gives back; sealed, and judged by the caller alone
}

// maxPurposeTarget bounds Errand.Target, so that the attempt's cookie stays below the
// 3.5 KB that browsers and gateways take (threats R12).
const maxPurposeTarget = 1400

// RedirectToProvider begins a sign-in for e and sends the browser to the provider. It
// calls nobody.
func (f *Flow) RedirectToProvider(w http.ResponseWriter, r *http.Request, e Purpose) error {
	if err := getOnly(r); err != nil {
		return err
	}
	if len(e.Target) > maxPurposeTarget {
		return badRequest("the errand is too long")
	}
	return f.beginAndRedirect(w, r, web.From(w), e)
}

// Complete ends a sign-in that Depart began in this browser for an errand of
// that kind, with the same order of checks as Callback. The session cookie is
// on w and is returned; the answer is the caller's to write.
//
// judge may refuse the target before the attempt is used up and the provider
// is asked; nil refuses none. An error takes people to an address without
// the code where that is worth something (web.Error.Leave). With an error the target is known once the
// attempt was found, else "".
func (f *Flow) Complete(w http.ResponseWriter, r *http.Request, kind string, judge func(target string) error) (s *session.Session, cookie *http.Cookie, target string, err error) {
	if err := getOnly(r); err != nil {
		return nil, nil, "", err
	}
	x := web.From(w)
	query, err := f.callback(r, x)
	if err != nil {
		return nil, nil, "", err
	}
	by := f.byBrowser(query, kind)
	if s, cookie, target, err = f.complete(w, r, x, by, judge); err != nil {
		err = f.shownAgain(r, x, err, *by.spent)
	}
	return s, cookie, target, err
}

// CurrentSession is the person behind a request, as every endpoint here sees them; the
// errors are session.Manager's.
func (f *Flow) CurrentSession(r *http.Request) (*session.Session, error) {
	return f.loadSession(r, f.maxWait())
}
