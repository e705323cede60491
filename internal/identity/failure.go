package identity

import (
	"cmp"
	"fmt"
)

// Class says what has to happen after a person could not be identified.
type Class int

const (
	Internal Class = iota // our request or their answer is wrong: 502, nobody is blamed
	Refused               // a definite no about this person: 403, a session ends at once
	Restart               // the code is used, old or of another kind: start again by a button, never by itself
	Operator              // somebody has to change a setting: 503 for people, a loud log line for the operator
	Later                 // throttled, down, unreadable: 503, sessions live on their grace
)

// Failure says why nobody could be identified. Code is the machine's word for
// it and picks the page (`not_member`, `external_contact`, `inactive`,
// `no_username`, `out_of_scope`, `code_rejected`, `permission_missing`,
// `unavailable` …); Hint is for the operator alone and names the place in
// DingTalk's console. Err carries the detail for the log, never for a page.
type Failure struct {
	Class Class
	Code  string
	Hint  string
	Err   error

	Subject Subject // whom it is about, as far as that is known
}

// Subject is who was refused: what DingTalk said before it, or we, refused. It is
// for the log and the audit alone and proves nothing. Empty fields are not known.
type Subject struct{ UserID, Name, UnionID string }

// About gives an error that is a Failure what is known of its subject; what the
// Failure knows already stays. Any other error stays as it is.
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
