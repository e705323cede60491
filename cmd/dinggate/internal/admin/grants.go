package admin

import (
	"context"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"dinggate/proxy/accessrequest"
)

// GrantStore manages the requests for access and grants of all replicas. The Book
// audits what ends.
type GrantStore struct {
	Book *accessrequest.Book
}

// GrantList is the response to GET /grants.
type GrantList struct {
	Grants []GrantLine `json:"grants"` // the newest first
}

// GrantLine is one waiting request, or one grant.
type GrantLine struct {
	ID     string    `json:"id"`
	State  string    `json:"state"` // waiting | granted
	User   string    `json:"user"`
	UserID string    `json:"userid,omitempty"`
	Name   string    `json:"name,omitempty"`
	Local  bool      `json:"local,omitempty"` // a local account
	Route  string    `json:"route"`           // host, where the route has one, and path
	Reason string    `json:"reason,omitempty"`
	Asked  time.Time `json:"asked"`
	For    string    `json:"for"`
	By     string    `json:"by,omitempty"` // who granted it

	Approvers  []string `json:"approvers"`            // who may answer
	Unnotified bool     `json:"unnotified,omitempty"` // an approver may not have been notified

	Answered time.Time `json:"answered,omitzero"`
	Until    time.Time `json:"until,omitzero"`
}

// GrantEnded is the response to DELETE /grants.
type GrantEnded struct {
	Result string    `json:"result"`         // ended | over | none
	Grant  GrantLine `json:"grant,omitzero"` // as it was; zero if there is none
}

// Results of DELETE /grants.
const (
	GrantHasEnded = "ended"
	GrantWasOver  = "over" // it had ended or had been denied before
	NoGrant       = "none"
)

func grantLine(q accessrequest.Request) GrantLine {
	approvers := []string{}
	for _, a := range q.Approvers {
		approvers = append(approvers, a.Full())
	}
	return GrantLine{
		ID: q.ID, State: string(q.State), User: q.Person.Username, UserID: q.Person.UserID, Name: q.Person.Name,
		Local: q.Person.Local, Route: q.Route.Host + q.Route.Name, Reason: q.Why, Asked: q.Requested, For: q.For.String(),
		By: q.By.Full(), Answered: q.Answered, Until: q.Until, Approvers: approvers, Unnotified: q.Unnotified,
	}
}

// List lists waiting requests and grants, of all people or of one by username or
// userid.
func (st *GrantStore) List(ctx context.Context, user string) (GrantList, error) {
	all, err := st.Book.List(ctx, false)
	if err != nil {
		return GrantList{}, err
	}
	list := GrantList{Grants: []GrantLine{}}
	for _, q := range all {
		if user == "" || q.Person.Username == user || q.Person.UserID == user {
			list.Grants = append(list.Grants, grantLine(q))
		}
	}
	return list, nil
}

var errLongReason = errors.New("the reason has more than 200 characters")

// End ends a grant or a waiting request, on every replica.
func (st *GrantStore) End(ctx context.Context, id, reason, by string) (GrantEnded, error) {
	if utf8.RuneCountInString(reason) > accessrequest.MaxWord { // it is stored in the person's record, which is bounded
		return GrantEnded{}, errLongReason
	}
	if reason == "" {
		reason = accessrequest.EndTaken
	}
	q, err := st.Book.End(ctx, id, reason, by, nil)
	switch {
	case errors.Is(err, accessrequest.ErrNone):
		return GrantEnded{Result: NoGrant}, nil
	case errors.Is(err, accessrequest.ErrAnswered):
		return GrantEnded{Result: GrantWasOver, Grant: grantLine(q)}, nil
	case err != nil:
		return GrantEnded{}, err
	}
	return GrantEnded{Result: GrantHasEnded, Grant: grantLine(q)}, nil
}

// endAll ends a person's grants and requests, by username or userid.
func (st *GrantStore) endAll(ctx context.Context, end SessionsEnd) (n int, err error) {
	list, err := st.List(ctx, end.Who)
	if err != nil {
		return 0, err
	}
	reason := end.Reason
	if utf8.RuneCountInString(reason) > accessrequest.MaxWord {
		reason = accessrequest.EndTaken
	}
	for _, g := range list.Grants {
		ended, one := st.End(ctx, g.ID, reason, end.By)
		if err = errors.Join(err, one); one == nil && ended.Result == GrantHasEnded {
			n++
		}
	}
	return n, err
}

func (c *Control) serveGrants(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	switch r.Method {
	case http.MethodGet:
		list, err := c.Grants.List(r.Context(), q.Get("user"))
		if err != nil {
			return err
		}
		return writeControl(w, list)
	case http.MethodDelete:
		answer, err := c.Grants.End(r.Context(), q.Get("id"), q.Get("reason"), "dinggate grants")
		if err != nil {
			return err
		}
		return writeControl(w, answer)
	}
	w.Header().Set("Allow", "GET, DELETE")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return nil
}
