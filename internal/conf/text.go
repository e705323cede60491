package conf

import (
	"errors"
	"fmt"
)

// Text is a sentence for the operator, stored as a format and its arguments: the format is the key
// of its translation (package i18n). An argument that is a Text or an error is translated too; any
// other one is data.
type Text struct {
	Format string
	Args   []any
}

// Textf makes a Text. The format must be a constant: a test checks its translation. It must not
// quote a secret.
func Textf(format string, args ...any) Text { return Text{format, args} }

// String is the English sentence.
func (t Text) String() string {
	if len(t.Args) == 0 {
		return t.Format
	}
	return fmt.Sprintf(t.Format, t.Args...)
}

// IsZero reports whether there is no sentence.
func (t Text) IsZero() bool { return t.Format == "" }

// Errorf is a Text as an error; it works like Textf. Two such errors are never equal.
func Errorf(format string, args ...any) error { return &textError{Text{format, args}} }

type textError struct{ text Text }

func (e *textError) Error() string { return e.text.String() }

// TextOf is the sentence of an error: the Text of Errorf in its chain, otherwise err.Error().
func TextOf(err error) Text {
	if e, ok := errors.AsType[*textError](err); ok {
		return e.text
	}
	return Text{"%s", []any{err}}
}
