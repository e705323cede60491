package login

import (
	"net/http"

	"dinggate/internal/web"
)

// EndSessions ends every session of the browser and clears its cookie, as SignOut does. The caller
// has confirmed that the person wants it, and writes the answer. Errors are those of SignOut.
func (f *Flow) EndSessions(w http.ResponseWriter, r *http.Request) error {
	if err := (signOut{f}).end(w, r, web.From(w)); err != nil {
		return err
	}
	if f.Silent != nil && web.IsDingTalk(r) { // otherwise the next page would sign in again silently (threats K17)
		f.attempts().markSignedOut(w, signedOutFor)
	}
	return nil
}
