// Package conf is what all parts of the configuration share: secrets that do
// not print, and a list of mistakes that come out together.
//
// Each package owns its part of the configuration and a pure Check; the command
// composes them and alone knows YAML.
package conf

import "log/slog"

// Secret is text that will not print: fmt, slog, JSON and YAML all show
// "[secret]" (or "" when it is empty). The text sits behind a pointer because
// fmt calls no method on an unexported field and would print what it finds.
//
// The zero value is the empty secret. Safe for concurrent use.
type Secret struct{ text *string }

const hidden = "[secret]"

// NewSecret keeps text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal gives the text; call it only where the text goes over the wire or into a key.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
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

// UnmarshalText keeps a copy of text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
