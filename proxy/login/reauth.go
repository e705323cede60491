package login

import (
	"net/http"
	"net/url"
	"strings"

	"dinggate/internal/web"
)

// Reauthenticate answers a request of somebody who is signed in, for a page
// that wants a more recent sign-in: a page load goes to sign in again and comes
// back to target, anything else gets 401 with a login_url and the challenge of
// RFC 9470. It sets no cookie then.
func (f *Flow) Reauthenticate(w http.ResponseWriter, r *http.Request, target string, q web.Reauthentication) error {
	if !q.APIClient && web.IsTopLevel(r.Method, r.Header) {
		if x := web.From(w); f.Origins.Place(x.Host) != "" {
			target, _ = f.urls().target(x, target)
			return handOver{f}.redirectToPublic(w, r, x, target, f.now())
		}
		return f.RequireSignIn(w, r, target)
	}
	back := ""
	if referer := r.Header["Referer"]; len(referer) == 1 {
		back = referer[0]
	}
	if q.APIClient {
		web.AsJSON(r)
	}
	w.Header()["Www-Authenticate"] = []string{q.Challenge()}
	return q.Error(f.ReauthURL(back, q.Silent))
}

// ReauthURL is LoginURL for a sign-in that has to be recent: unless silent is set,
// the DingTalk client is not asked for one without a click, whatever page follows.
func (f *Flow) ReauthURL(target string, silent bool) string {
	if silent {
		return f.LoginURL(target)
	}
	target, _ = f.urls().allowed(target)
	at := f.Origins.Public()
	if place, origin := f.Origins.PlaceOf(target); place != "" {
		at = origin
	}
	return at + f.Prefix + interactivePath + url.QueryEscape(target)
}

// wantsClick reports whether a silent sign-in is of no use for target, or for the page
// that a hand-over leads to.
func (f *Flow) wantsClick(target string) bool {
	if query, ok := strings.CutPrefix(target, f.Prefix+leavePath+"?"); ok {
		target, _ = returnParameter(query)
	}
	return f.Interactive != nil && f.Interactive(target)
}
