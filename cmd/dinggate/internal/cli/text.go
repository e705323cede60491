package cli

import (
	"errors"
	"strconv"
	"strings"

	"dinggate/internal/i18n"
)

// Printable removes control characters, which could move the terminal's cursor, from
// text of a command line or a directory.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, s)
}

// Count is a number with an English noun: 1 session, 2 sessions.
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// UserError is an error with a localized message: what failed, and how to correct it.
type UserError struct {
	i18n.Message
	Err error
}

func (e UserError) Error() string { return e.Message[i18n.English] }

func (e UserError) Unwrap() error { return e.Err }

// Localized returns the message of a UserError in err's chain, otherwise err's text in
// both languages.
func Localized(err error) i18n.Message {
	if e, ok := errors.AsType[UserError](err); ok {
		return e.Message
	}
	return i18n.Message{err.Error(), err.Error()}
}
