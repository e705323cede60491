// Package conf provides what all parts of the configuration share: secrets that do not print, and
// a list of all mistakes.
//
// Each package owns its part of the configuration and a pure Check; the command composes them, and
// only it knows YAML.
package conf

import "log/slog"

// Secret is a text that does not print: fmt, slog, JSON and YAML all show "[secret]" (or "" if it
// is empty). The text is stored behind a pointer because fmt calls no method on an unexported
// field and prints its contents.
//
// The zero value is the empty secret. Safe for concurrent use.
type Secret struct{ text *string }

const hidden = "[secret]"

// NewSecret returns a Secret with this text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text; call it only to send the text over the network or to make a key.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

func (s Secret) GoString() string             { return s.String() }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText stores a copy of text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
