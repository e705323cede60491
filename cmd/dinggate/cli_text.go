package main

import (
	"strconv"
	"strings"
)

// printable keeps what comes from a command line or a directory from moving the
// terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, s)
}

// saidError is an error with words for people: what went wrong, and its cure.
type saidError struct {
	message
	err error
}

func (e saidError) Error() string { return e.message[english] }

func (e saidError) Unwrap() error { return e.err }
