package login

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/session"
)

// Applications is what the applications and API clients of people were given here.
// It is safe for concurrent use.
type Applications interface {
	// List gives what the applications of the person of s have now.
	List(ctx context.Context, s *session.Session) ([]Application, error)

	// End takes back what List named by id. False: the person has no such thing.
	End(ctx context.Context, s *session.Session, id string) (found bool, err error)
}

// Application is what one application, or API client, of a person was given.
type Application struct {
	Name    string // its client id
	Kind    string // one of the constants below
	Session string // the session that it was given for; "" belongs to the person
	Since   time.Time
	Until   time.Time
	ID      string // for End; never shown
}

// Kinds of an Application.
const (
	ApplicationOIDC   = "oidc"   // signed in by OpenID Connect
	ApplicationDevice = "device" // a program without a browser, by the device flow
	ApplicationSSO    = "sso"    // holds tokens of our SSO service, as API clients do
)

const (
	endApplicationPurpose = "end an application" // keys of its own (threats S8)
	endApplicationParam   = "application"

	maxApplications = 100 // shown; the newest
)

// ownApplication is one application in the JSON answer.
type ownApplication struct {
	Name    string    `json:"application"`
	Kind    string    `json:"kind"`
	Session string    `json:"session,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	End     string    `json:"end"` // what a POST sends as `application` to end it
}

// applications lists what the person's applications have. complete is false where
// that cannot be read now: the sessions are shown all the same.
func (f ownSessions) applications(ctx context.Context, s *session.Session) (list []ownApplication, complete bool, err error) {
	if f.apps == nil {
		return nil, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.maxWait())
	defer cancel()
	found, failed := f.apps.List(ctx, s)
	if complete = failed == nil && len(found) <= maxApplications; len(found) > maxApplications {
		found = found[:maxApplications]
	}
	for _, one := range found {
		end, err := f.Keyring.Seal(endApplicationPurpose, endApplicationParam, []byte(f.owner(s)+one.Name+"\x00"+one.ID))
		if err != nil {
			return nil, false, err
		}
		since := one.Since
		if since.Unix() <= 0 {
			since = time.Time{}
		}
		list = append(list, ownApplication{one.Name, one.Kind, one.Session, since.UTC(), one.Until.UTC(), end})
	}
	return list, complete, nil
}

// shownApplications are the applications for the page, each with the device of its
// session.
func shownApplications(list []ownApplication, sessions []ownSession) (shown []page.ApplicationData) {
	for _, one := range list {
		line := page.ApplicationData{Name: one.Name, Kind: one.Kind, Since: one.Since.Local(), Until: one.Until.Local(), End: one.End}
		if one.Since.IsZero() {
			line.Since = time.Time{}
		}
		for _, s := range sessions {
			if s.ID == one.Session && one.Session != "" {
				line.Device, line.Own = s.Device, s.Current
			}
		}
		shown = append(shown, line)
	}
	return shown
}

// ofSession names the applications that were given something for a session.
func ofSession(list []ownApplication, id string) (names []string) {
	for _, one := range list {
		if one.Session == id && !slices.Contains(names, one.Name) {
			names = append(names, one.Name)
		}
	}
	return names
}

// endApplication takes back what one application was given. One of another person, or
// one that was made up, is 404.
func (f ownSessions) endApplication(w http.ResponseWriter, r *http.Request, x *web.Exchange, s *session.Session, text string) error {
	plain, _, err := f.Keyring.Open(endApplicationPurpose, endApplicationParam, text)
	what, own := strings.CutPrefix(string(plain), f.owner(s))
	name, id, _ := strings.Cut(what, "\x00")
	if err != nil || !own || id == "" || f.apps == nil {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found", Err: err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.maxWait())
	defer cancel()
	found, err := f.apps.End(ctx, s, id)
	if err != nil {
		return unavailable(err)
	}
	if found { // otherwise it ended meanwhile, which the page shows
		f.audit(x, Event{What: "application_ended", How: "sessions", App: name, User: s.User.Username, UserID: s.User.UserID,
			Session: s.ID})
	}
	redirect(w, http.StatusSeeOther, f.Prefix+sessionsPath)
	return nil
}
