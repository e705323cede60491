package login

import (
	"net/http"
	"net/url"
	"strings"

	"dinggate/internal/web"
)

// Reauthenticate answers a request with a session for a page that requires a more recent sign-in:
// a page load is redirected to sign in again and returns to target; any other request gets 401
// with a login_url and the challenge of RFC 9470, and no cookie.
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

// ReauthURL is LoginURL for a sign-in that has to be recent: unless silent is set, no silent
// sign-in is made in the DingTalk client.
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

// wantsClick reports whether a silent sign-in is not accepted for target, or for the page that a
// hand-over leads to.
func (f *Flow) wantsClick(target string) bool {
	return f.Interactive != nil && f.Interactive(f.urls().finalPage(target))
}

// finalPage is target, or the page that a hand-over leads to.
func (u returnURLs) finalPage(target string) string {
	if query, ok := strings.CutPrefix(target, u.prefix+leavePath+"?"); ok {
		raw, _ := returnParameter(query)
		target, _ = u.allowed(raw)
	}
	return target
}
