package identity

import (
	"cmp"
	"fmt"
)

// Class is what has to happen after a person could not be identified.
type Class int

const (
	Internal Class = iota // our request or their answer is wrong: 502
	Refused               // the person is refused: 403, their sessions end at once
	Restart               // the code is used, expired or of another kind: a button begins a new sign-in
	Operator              // a setting has to change: 503 for people, an error in the log for the operator
	Later                 // throttled, unreachable, malformed answer: 503, sessions continue during their grace
)

// Failure is the reason for which a person could not be identified. Code is for programs and
// selects the page (`not_member`, `external_contact`, `inactive`, `no_username`, `out_of_scope`,
// `code_rejected`, `permission_missing`, `unavailable` …). Hint is for the operator only and
// names the page in DingTalk's console. Err has the details for the log, and is never shown on a
// page.
type Failure struct {
	Class Class
	Code  string
	Hint  string
	Err   error

	Subject Subject // the person, as far as known
}

// Subject is the person who was refused, as far as DingTalk or we had identified them. It is only
// for the log and the audit, and proves nothing. Empty fields are unknown.
type Subject struct{ UserID, Name, UnionID string }

// About adds a subject to an error that is a Failure; fields that are known already stay. Any
// other error is returned unchanged.
func About(err error, s Subject) error {
	f, ok := err.(*Failure)
	if !ok || f == nil {
		return err
	}
	about := *f // it may be shared
	about.Subject = Subject{cmp.Or(f.Subject.UserID, s.UserID), cmp.Or(f.Subject.Name, s.Name),
		cmp.Or(f.Subject.UnionID, s.UnionID)}
	return &about
}

func (f *Failure) Error() string {
	switch {
	case f.Err != nil && f.Hint != "":
		return fmt.Sprintf("%s: %v (%s)", f.Code, f.Err, f.Hint)
	case f.Err != nil:
		return fmt.Sprintf("%s: %v", f.Code, f.Err)
	case f.Hint != "":
		return fmt.Sprintf("%s (%s)", f.Code, f.Hint)
	}
	return f.Code
}

func (f *Failure) Unwrap() error { return f.Err }
