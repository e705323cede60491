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

// SessionStore is the sessions of the configuration that holds now, with a record of
// what an administrator ends. The record comes first, as for bindings.
type SessionStore struct {
	Sessions func() *session.Manager
	Note     func(level slog.Level, msg, kind string, attrs ...any) error
}

// SessionList is what GET /sessions answers.
type SessionList struct {
	Since    time.Time     `json:"since"` // the process has seen these sessions since then, and others not
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
	Local    bool      `json:"local,omitempty"` // a local account
}

// SessionsEnded is what DELETE /sessions answers.
type SessionsEnded struct {
	Sessions int  `json:"sessions"` // of those that this process has seen
	Person   bool `json:"person"`   // all of a person ended, elsewhere too; otherwise one session did
}

// named reports whether who names the person of a session.
func named(s *session.Seen, who string) bool { return s.User.Username == who || s.User.UserID == who }

// List lists all, or those of a person by username or userid.
func (st *SessionStore) List(user string) SessionList {
	m := st.Sessions()
	list := SessionList{Since: session.Since(m), Sessions: []SessionLine{}}
	for _, s := range session.List(m) {
		if user == "" || named(&s, user) {
			list.Sessions = append(list.Sessions, SessionLine{
				ID: s.ID, User: s.User.Username, UserID: s.User.UserID, Name: s.User.Name, SignedIn: s.SignedIn,
				LastSeen: s.LastSeen, Ends: s.Ends, Silent: s.Silent, Local: s.User.Local,
			})
		}
	}
	return list
}

// errNobody is a call that names neither a person nor a session.
var errNobody = errors.New("name a person or a session")

// End ends one session by its id, otherwise all of a person, on every replica: by
// username or userid for those that this process has seen, by userid for somebody
// whom it has not.
func (st *SessionStore) End(ctx context.Context, who, reason, by string) (SessionsEnded, error) {
	if who == "" {
		return SessionsEnded{}, errNobody
	}
	m := st.Sessions()
	var answer SessionsEnded
	people, byID := map[session.Person]bool{}, false
	for _, s := range session.List(m) {
		switch {
		case s.ID == who:
			answer.Sessions, byID = 1, true
		case named(&s, who):
			answer.Sessions++
			people[s.Person()] = true
		}
	}
	if raw, err := base64.RawURLEncoding.DecodeString(who); len(people) == 0 && err == nil && len(raw) == 16 {
		byID = true // perhaps of another replica
	}
	answer.Person = !byID
	if reason == "" {
		reason = "by_administrator"
	}
	attrs := []any{"by", by, "reason", reason, "who", who, "count", answer.Sessions}
	if err := st.Note(slog.LevelWarn, "sessions", "sessions_ended", attrs...); err != nil {
		return SessionsEnded{}, err
	}
	if byID {
		return answer, m.Revoke(ctx, who)
	}
	if len(people) == 0 {
		people[session.Person{UserID: who}] = true
	}
	var all error
	for person := range people {
		all = errors.Join(all, m.RevokeUser(ctx, person, "by_administrator"))
	}
	return answer, all
}

func (c *Control) serveSessions(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	switch r.Method {
	case http.MethodGet:
		return writeControl(w, c.Ends.List(q.Get("user")))
	case http.MethodDelete:
		answer, err := c.Ends.End(r.Context(), q.Get("who"), q.Get("reason"), "dinggate sessions")
		if err != nil {
			return err
		}
		return writeControl(w, answer)
	}
	w.Header().Set("Allow", "GET, DELETE")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return nil
}
