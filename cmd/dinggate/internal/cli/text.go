package cli

import (
	"strconv"
	"strings"

	"dinggate/internal/i18n"
)

// Printable keeps what comes from a command line or a directory from moving the
// terminal's cursor.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, s)
}

// SaidError is an error with words for people: what went wrong, and its cure.
type SaidError struct {
	i18n.Message
	Err error
}

func (e SaidError) Error() string { return e.Message[i18n.English] }

func (e SaidError) Unwrap() error { return e.Err }
