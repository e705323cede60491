package login

import (
	"net/http"

	"dinggate/internal/web"
	"dinggate/session"
)

// person is the answer of userinfo. The first four names are those that pages
// written for oauth2-proxy read.
type person struct {
	User              string   `json:"user"`
	Email             string   `json:"email"`
	Groups            []string `json:"groups"` // names of roles
	PreferredUsername string   `json:"preferredUsername"`
	Username          string   `json:"username"`
	Name              string   `json:"name"`
	UserID            string   `json:"userid"`
	UnionID           string   `json:"unionid"`
	JobNumber         string   `json:"job_number"`
	Departments       []int64  `json:"departments"`
}

// UserInfo tells page scripts and API clients who they are: 200, or 401 with a
// login_url, or 503 when that cannot be said now. It sends no CORS header, so that only
// pages of the same origin can read it (threats W5).
func (f *Flow) UserInfo(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "userinfo"
	web.AsJSON(r) // scripts alone call this endpoint
	if err := pageOnly(r, "GET, HEAD"); err != nil {
		return err
	}
	s, credential, err := f.whoAsks(r, x)
	switch {
	case nobody(err) && credential:
		return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials", Err: err}
	case nobody(err):
		f.clearDead(w, r)
		return f.unauthenticated(r)
	case err != nil:
		return trouble(err)
	}
	u := &s.User
	x.User = u.Username
	return web.JSON(w, r, http.StatusOK, person{User: u.Username, Email: u.Email, Groups: u.RoleNames(), PreferredUsername: u.Name,
		Username: u.Username, Name: u.Name, UserID: u.UserID, UnionID: u.UnionID, JobNumber: u.JobNumber, Departments: append([]int64{}, u.Departments...)})
}

// whoAsks is the person behind a credential of theirs, else behind the cookie.
func (f *Flow) whoAsks(r *http.Request, x *web.Exchange) (s *session.Session, credential bool, err error) {
	if f.Behind != nil {
		return f.Behind(r.Context(), x.Client, r.Header, f.wait())
	}
	s, err = f.who(r, f.wait())
	return s, false, err
}
