package login

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
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

	// maxShown bounds the page, which shows those seen last.
	maxShown = 50
)

// ownSessions shows people their sessions and ends them.
type ownSessions struct {
	*Flow
	apps Applications // nil: there are none
}

// ownSession is one session in the JSON answer.
type ownSession struct {
	ID       string    `json:"id"`
	SignedIn time.Time `json:"signed_in"`
	LastSeen time.Time `json:"last_seen"`
	Ends     time.Time `json:"ends"`
	Current  bool      `json:"current,omitempty"`
	Silent   bool      `json:"silent,omitempty"`
	Device   string    `json:"device,omitempty"`
	Address  string    `json:"address,omitempty"`      // of the sign-in
	Last     string    `json:"last_address,omitempty"` // of the last request
	End      string    `json:"end"`                    // what a POST sends as `session` to end it
}

// OwnSessions shows signed-in people their own sessions, see session.List, and what their
// applications hold; scripts get JSON. A POST from one of our pages ends one of them, or all on
// every replica, also those that are not listed: `session` or `application` contains the value
// from the page or the JSON, which only the same person can use, at any replica, or `all` is
// `yes`. Errors are those of SignOut. Without a session the answer is 401; an API credential is
// no session. If apps is nil, no application holds anything.
func OwnSessions(f *Flow, apps Applications) web.HandlerFunc { return ownSessions{f, apps}.serve }

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
	s.SeenFrom(x.Client)
	known := session.ListOwn(r.Context(), f.Sessions, s)
	list, err := f.list(s, known)
	if err != nil {
		return err
	}
	apps, complete, err := f.applications(r.Context(), s)
	if err != nil {
		return err
	}
	if !visit {
		return web.JSON(w, r, http.StatusOK, struct {
			Scope        session.Scope    `json:"scope"` // process | machine | fleet
			Since        time.Time        `json:"since"` // of the scope process: seen by this process since then
			Incomplete   bool             `json:"incomplete,omitempty"`
			Sessions     []ownSession     `json:"sessions"`
			Applications []ownApplication `json:"applications,omitempty"`
		}{known.Scope, known.Since.UTC(), known.Missing != nil || !complete, list, apps})
	}
	data := page.SessionsData{Scope: string(known.Scope), Since: known.Since.Local(), Incomplete: known.Missing != nil,
		More: max(0, len(list)-maxShown), Action: f.Prefix + sessionsPath, Back: f.Prefix + "/userinfo"}
	for _, one := range list[:min(len(list), maxShown)] {
		data.Sessions = append(data.Sessions, page.SessionData{SignedIn: one.SignedIn.Local(), LastSeen: one.LastSeen.Local(),
			Ends: one.Ends.Local(), Own: one.Current, Silent: one.Silent, Device: one.Device, Address: one.Address,
			LastAddress: one.Last, Applications: ofSession(apps, one.ID), End: one.End})
	}
	data.Applications, data.ApplicationsIncomplete = shownApplications(apps, list), !complete
	f.Pages.Sessions(w, r, data)
	return nil
}

// refused is the answer if there is no session, or its state is unknown.
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
func (f ownSessions) list(s *session.Session, known session.Listing) ([]ownSession, error) {
	current := ownSession{ID: s.ID, SignedIn: s.SignedIn, LastSeen: f.now().UTC(), Ends: session.Ends(f.Sessions, s.SignedIn),
		Current: true, Silent: s.Silent}
	list := []ownSession{current}
	for _, one := range known.Sessions {
		address, last := addressText(one.Client), addressText(one.Last)
		if one.ID == s.ID {
			list[0].Device, list[0].Address, list[0].Last = one.Device, address, last
			continue
		}
		list = append(list, ownSession{ID: one.ID, SignedIn: one.SignedIn, LastSeen: one.LastSeen, Ends: one.Ends,
			Silent: one.Silent, Device: one.Device, Address: address, Last: last})
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

// addressText is "" for an address that is not known.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// owner identifies the person of a session in the value that ends a session; a session id of fixed
// length follows.
func (f ownSessions) owner(s *session.Session) string {
	key := identity.KeyOf(&s.User, f.Sessions.Service)
	return fmt.Sprintf("%s\x00%d\x00%s\x00", f.Sessions.Realm, key.Kind, key.Text)
}

// end ends the sessions that the form names.
func (f ownSessions) end(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if !web.SameOrigin(r, f.Origins.SameHost(x.Host)) {
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
	one, all, app := values[endParam], values["all"], values[endApplicationParam]
	if len(app) == 1 && len(one)+len(all) == 0 {
		return f.endApplication(w, r, x, s, app[0])
	}
	id, every := "", len(one)+len(app) == 0 && len(all) == 1 && all[0] == "yes"
	if !every {
		if len(one) != 1 || len(all)+len(app) > 0 {
			return badRequest("name one session, one application, or all")
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
	if f.Silent != nil && web.IsDingTalk(r) { // otherwise the next page would sign in again silently (threats K17)
		f.attempts().markSignedOut(w, signedOutFor)
	}
	redirect(w, http.StatusSeeOther, f.Prefix+"/sign_out")
	return nil
}

// open returns the id of the session that text was sealed for. A text of another person, or a
// forged one, is 404.
func (f ownSessions) open(s *session.Session, text string) (string, error) {
	plain, _, err := f.Keyring.Open(endPurpose, endParam, text)
	id, own := strings.CutPrefix(string(plain), f.owner(s))
	if err != nil || !own || id == "" {
		return "", &web.Error{Status: http.StatusNotFound, Code: "not_found", Err: err}
	}
	return id, nil
}

// revoke ends a session of the person of s, all of them if id is "". Like a sign-out it is
// performed even if it cannot be recorded.
func (f ownSessions) revoke(ctx context.Context, x *web.Exchange, s *session.Session, id string) error {
	e := Event{What: "sign_out", How: "sessions", User: s.User.Username, UserID: s.User.UserID, Session: id}
	if id == "" {
		e.What, e.Session = "sessions_ended", s.ID
		e.Err = f.Sessions.RevokeUser(ctx, session.PersonOf(f.Sessions, s), "sign_out")
	} else {
		e.Err = session.RevokeOwn(ctx, f.Sessions, s, id)
	}
	f.audit(x, e)
	return e.Err
}
