package identity

import "fmt"

// Class tells what has to happen after a person could not be identified.
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
