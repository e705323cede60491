package login

import (
	"net/http"

	"dinggate/internal/web"
)

// EndSessions ends every session that the browser carries and clears its cookie, as
// SignOut does; the caller has made sure that the person wants it, and writes the
// answer. Errors are SignOut's.
func (f *Flow) EndSessions(w http.ResponseWriter, r *http.Request) error {
	if err := (signOut{f}).end(w, r, web.From(w)); err != nil {
		return err
	}
	if f.Silent != nil && web.IsDingTalk(r) { // otherwise the next page signs in again by itself (threats K17)
		f.attempts().markSignedOut(w, signedOutFor)
	}
	return nil
}
