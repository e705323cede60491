package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"dinggate/session"
)

// SessionStore manages the sessions of the current configuration. Like BindingStore, it
// writes the audit record before it ends a session.
type SessionStore struct {
	Sessions func() *session.Manager
	Note     func(level slog.Level, msg, kind string, attrs ...any) error
	Grants   *GrantStore // nil: there are no grants
}

// SessionList is the response to GET /sessions.
type SessionList struct {
	Scope    string        `json:"scope"`             // process | machine | fleet: the range of the list
	Since    time.Time     `json:"since"`             // with scope process: when the process began to list sessions; older ones may be missing
	Missing  string        `json:"missing,omitempty"` // why sessions of the scope may be missing
	Sessions []SessionLine `json:"sessions"`
}

// SessionLine is one session of the list.
type SessionLine struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	UserID   string    `json:"userid,omitempty"`
	Name     string    `json:"name,omitempty"`
	SignedIn time.Time `json:"signed_in"`
	LastSeen time.Time `json:"last_seen"`
	Ends     time.Time `json:"ends"`
	Silent   bool      `json:"silent,omitempty"`
	Local    bool      `json:"local,omitempty"`        // a local account
	Device   string    `json:"device,omitempty"`       // browser and system
	Address  string    `json:"address,omitempty"`      // the client address of the sign-in
	Last     string    `json:"last_address,omitempty"` // the client address of the last request
}

// SessionsEnded is the response to DELETE /sessions.
type SessionsEnded struct {
	Sessions int  `json:"sessions"`         // number of listed sessions that ended
	Person   bool `json:"person"`           // all sessions of a person ended, including unlisted ones; otherwise one session did
	Grants   int  `json:"grants,omitempty"` // grants and waiting requests that ended too
}

// named reports whether who is the username or userid of a session.
func named(s *session.Seen, who string) bool { return s.User.Username == who || s.User.UserID == who }

// List lists all sessions, or those of a person by username or userid.
func (st *SessionStore) List(ctx context.Context, user string) SessionList {
	known := session.List(ctx, st.Sessions())
	list := SessionList{Scope: string(known.Scope), Since: known.Since, Sessions: []SessionLine{}}
	if known.Missing != nil {
		list.Missing = known.Missing.Error()
	}
	for _, s := range known.Sessions {
		if user == "" || named(&s, user) {
			line := SessionLine{
				ID: s.ID, User: s.User.Username, UserID: s.User.UserID, Name: s.User.Name, SignedIn: s.SignedIn,
				LastSeen: s.LastSeen, Ends: s.Ends, Silent: s.Silent, Local: s.User.Local, Device: s.Device,
			}
			if s.Client.IsValid() {
				line.Address = s.Client.String()
			}
			if s.Last.IsValid() {
				line.Last = s.Last.String()
			}
			list.Sessions = append(list.Sessions, line)
		}
	}
	return list
}

// Errors of calls that name no session, or an ambiguous one.
var (
	errNobody       = errors.New("name a person or a session")
	errGrantsOfWhom = errors.New("grants are a person's: name a person, not a session")
)

// SessionsEnd selects what to end.
type SessionsEnd struct {
	Who    string // a session's id, otherwise a username or userid
	Reason string // for the audit record; "": by_administrator
	By     string
	Grants bool // also end the person's grants and requests
}

// End ends one session by its id, otherwise all sessions of a person, on every replica:
// by username or userid if listed, by userid if not.
func (st *SessionStore) End(ctx context.Context, end SessionsEnd) (SessionsEnded, error) {
	who := end.Who
	if who == "" {
		return SessionsEnded{}, errNobody
	}
	m := st.Sessions()
	var answer SessionsEnded
	people := map[session.Person]bool{}
	var one *session.Seen
	for _, s := range session.List(ctx, m).Sessions {
		switch {
		case s.ID == who:
			answer.Sessions, one = 1, &s
		case named(&s, who):
			answer.Sessions++
			people[s.Person()] = true
		}
	}
	byID := one != nil
	if raw, err := base64.RawURLEncoding.DecodeString(who); len(people) == 0 && err == nil && len(raw) == 16 {
		byID = true // perhaps of a person without a listed session
	}
	answer.Person = !byID
	if byID && end.Grants {
		return SessionsEnded{}, errGrantsOfWhom
	}
	if end.Reason == "" {
		end.Reason = "by_administrator"
	}
	attrs := []any{"by", end.By, "reason", end.Reason, "who", who, "count", answer.Sessions}
	if err := st.Note(slog.LevelWarn, "sessions", "sessions_ended", attrs...); err != nil {
		return SessionsEnded{}, err
	}
	switch {
	case one != nil:
		return answer, session.RevokeSeen(ctx, m, one)
	case byID:
		return answer, m.Revoke(ctx, who)
	}
	if len(people) == 0 {
		people[session.Person{UserID: who}] = true
	}
	var all error
	for person := range people {
		all = errors.Join(all, m.RevokeUser(ctx, person, "by_administrator"))
	}
	if end.Grants && st.Grants != nil {
		n, err := st.Grants.endAll(ctx, end)
		answer.Grants, all = n, errors.Join(all, err)
	}
	return answer, all
}

// EndPerson ends all sessions of the person of a listed session.
func (st *SessionStore) EndPerson(ctx context.Context, of *session.Seen, end SessionsEnd) error {
	m := st.Sessions()
	count := 0
	for _, s := range session.List(ctx, m).Sessions {
		if s.Same(of) {
			count++
		}
	}
	if end.Reason == "" {
		end.Reason = "by_administrator"
	}
	end.Who = of.User.Username
	attrs := []any{"by", end.By, "reason", end.Reason, "who", end.Who, "count", count}
	if err := st.Note(slog.LevelWarn, "sessions", "sessions_ended", attrs...); err != nil {
		return err
	}
	err := m.RevokeUser(ctx, of.Person(), "by_administrator")
	if end.Grants && st.Grants != nil {
		_, failed := st.Grants.endAll(ctx, end)
		err = errors.Join(err, failed)
	}
	return err
}

func (c *Control) serveSessions(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	switch r.Method {
	case http.MethodGet:
		return writeControl(w, c.Ends.List(r.Context(), q.Get("user")))
	case http.MethodDelete:
		answer, err := c.Ends.End(r.Context(), SessionsEnd{Who: q.Get("who"), Reason: q.Get("reason"), By: "dinggate sessions",
			Grants: q.Get("grants") == "yes"})
		if err != nil {
			return err
		}
		return writeControl(w, answer)
	}
	w.Header().Set("Allow", "GET, DELETE")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return nil
}
