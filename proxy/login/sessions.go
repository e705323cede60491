package login

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
)

const (
	sessionsPath = "/sessions"

	endPurpose = "end a session" // keys of its own (threats S8)
	endParam   = "session"

	// maxShown bounds the page; the last seen are shown.
	maxShown = 50
)

// ownSessions shows people their sessions and ends them.
type ownSessions struct{ *Flow }

// ownSession is one session in the JSON answer.
type ownSession struct {
	ID       string    `json:"id"`
	SignedIn time.Time `json:"signed_in"`
	LastSeen time.Time `json:"last_seen"`
	Ends     time.Time `json:"ends"`
	Current  bool      `json:"current,omitempty"`
	Silent   bool      `json:"silent,omitempty"`
	End      string    `json:"end"` // what a POST sends as `session` to end it
}

// OwnSessions shows a signed-in person the sessions of the same person that this process
// has seen; scripts get JSON. A POST from one of our pages ends one of them, or every
// one on every replica, also those that were not seen: `session` holds what the page
// or the JSON gave for it, which only its own person can use, at any replica, or
// `all` is `yes`. Errors are SignOut's. Without a session it is 401; an API credential is
// none.
func OwnSessions(f *Flow) web.HandlerFunc { return ownSessions{f}.serve }

func (f ownSessions) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "sessions"
	if r.Method == http.MethodPost {
		return f.end(w, r, x)
	}
	visit := isVisit(r)
	if !visit {
		web.AsJSON(r)
	}
	if err := pageOnly(r, "GET, HEAD, POST"); err != nil {
		return err
	}
	s, err := f.loadSession(r, f.maxWait())
	if err != nil {
		return f.refused(w, r, err, visit)
	}
	x.User = s.User.Username
	list, err := f.list(s)
	if err != nil {
		return err
	}
	since := session.Since(f.Sessions)
	if !visit {
		return web.JSON(w, r, http.StatusOK, struct {
			Since    time.Time    `json:"since"` // seen by this process since then
			Sessions []ownSession `json:"sessions"`
		}{since.UTC(), list})
	}
	data := page.SessionsData{Since: since.Local(), More: max(0, len(list)-maxShown), Action: f.Prefix + sessionsPath,
		Back: f.Prefix + "/userinfo"}
	for _, one := range list[:min(len(list), maxShown)] {
		data.Sessions = append(data.Sessions, page.SessionData{SignedIn: one.SignedIn.Local(), LastSeen: one.LastSeen.Local(),
			Ends: one.Ends.Local(), Own: one.Current, Silent: one.Silent, End: one.End})
	}
	f.Pages.Sessions(w, r, data)
	return nil
}

// refused is the answer to somebody whose session is not there or cannot be judged.
func (f ownSessions) refused(w http.ResponseWriter, r *http.Request, err error, visit bool) error {
	if !session.Absent(err) {
		return unavailable(err)
	}
	f.clearStaleCookie(w, r)
	if !visit {
		return f.unauthenticated(r)
	}
	return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated",
		LoginURL: f.LoginURL(f.Prefix + sessionsPath), Err: err}
}

// list is the sessions of the person of s, s first.
func (f ownSessions) list(s *session.Session) ([]ownSession, error) {
	current := ownSession{ID: s.ID, SignedIn: s.SignedIn, LastSeen: f.now().UTC(), Ends: session.Ends(f.Sessions, s.SignedIn),
		Current: true, Silent: s.Silent}
	list := []ownSession{current}
	for _, one := range session.ListOwn(f.Sessions, s) {
		if one.ID != s.ID {
			list = append(list, ownSession{ID: one.ID, SignedIn: one.SignedIn, LastSeen: one.LastSeen, Ends: one.Ends,
				Silent: one.Silent})
		}
	}
	for i := range list {
		text, err := f.Keyring.Seal(endPurpose, endParam, []byte(f.owner(s)+list[i].ID))
		if err != nil {
			return nil, err
		}
		list[i].End = text
	}
	return list, nil
}

// owner names the person of a session in what ends one; a session's id, of a fixed
// length, follows.
func (f ownSessions) owner(s *session.Session) string {
	key := identity.KeyOf(&s.User, f.Sessions.Service)
	return fmt.Sprintf("%s\x00%d\x00%s\x00", f.Sessions.Realm, key.Kind, key.Text)
}

// end ends what the form names.
func (f ownSessions) end(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if !web.SameOrigin(r, f.Origins.Ours) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	values, err := locallogin.PostedForm(r)
	if err != nil {
		return err
	}
	s, err := f.loadSession(r, f.maxWait())
	if err != nil {
		return f.refused(w, r, err, !web.WantsJSON(r.Header))
	}
	x.User = s.User.Username
	one, all := values[endParam], values["all"]
	id, every := "", len(one) == 0 && len(all) == 1 && all[0] == "yes"
	if !every {
		if len(one) != 1 || len(all) > 0 {
			return badRequest("name one session, or all")
		}
		if id, err = f.open(s, one[0]); err != nil {
			return err
		}
	}
	self := every || id == s.ID
	if self {
		addCookie(w, f.Sessions.At(placeOf(f.Flow, r)).Clear())
	}
	if err := f.revoke(r.Context(), x, s, id); err != nil {
		return unavailable(err)
	}
	if !self {
		redirect(w, http.StatusSeeOther, f.Prefix+sessionsPath)
		return nil
	}
	if f.Silent != nil && web.IsDingTalk(r) { // otherwise the next page signs in again by itself (threats K17)
		f.attempts().markSignedOut(w, signedOutFor)
	}
	redirect(w, http.StatusSeeOther, f.Prefix+"/sign_out")
	return nil
}

// open returns the id of the session that text was sealed for. One of another
// person, or one that somebody made up, is 404.
func (f ownSessions) open(s *session.Session, text string) (string, error) {
	plain, _, err := f.Keyring.Open(endPurpose, endParam, text)
	id, own := strings.CutPrefix(string(plain), f.owner(s))
	if err != nil || !own || id == "" {
		return "", &web.Error{Status: http.StatusNotFound, Code: "not_found", Err: err}
	}
	return id, nil
}

// revoke ends a session of the person of s, every one if id is "". Like a sign-out it
// happens also where it cannot be recorded.
func (f ownSessions) revoke(ctx context.Context, x *web.Exchange, s *session.Session, id string) error {
	e := Event{What: "sign_out", How: "sessions", User: s.User.Username, UserID: s.User.UserID, Session: id}
	if id == "" {
		e.What, e.Session = "sessions_ended", s.ID
		e.Err = f.Sessions.RevokeUser(ctx, session.PersonOf(f.Sessions, s), "sign_out")
	} else {
		e.Err = f.Sessions.Revoke(ctx, id)
	}
	f.audit(x, e)
	return e.Err
}
