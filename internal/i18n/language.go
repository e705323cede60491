// Package i18n provides texts for the operator's terminal in Chinese and English.
//
//	Message ──► Language.Say ──► one text
//	conf.Problem ──► Language.Problem ──► one line, translated by its format
//
// Package internal/page has the texts for browsers.
package i18n

import (
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// Language is the language of the terminal's texts; the zero value is English.
type Language int

const (
	English Language = iota
	Chinese
)

// Message is one text in each language, indexed by language.
type Message [2]string

// FromEnviron reads LC_ALL, LC_MESSAGES and LANG, in the order of POSIX (XBD 8.2).
func FromEnviron(environ []string) Language {
	for _, name := range []string{"LC_ALL=", "LC_MESSAGES=", "LANG="} {
		for _, variable := range environ {
			if value, ok := strings.CutPrefix(variable, name); ok && value != "" {
				if strings.HasPrefix(strings.ToLower(value), "zh") {
					return Chinese
				}
				return English
			}
		}
	}
	return English
}

func (in Language) Say(m Message) string { return m[in] }

// Problem is a problem as one line: place, key, text.
func (in Language) Problem(p conf.Problem) string {
	if in == English {
		return p.String()
	}
	p.Text = conf.Text{Format: "%s", Args: []any{in.Text(p.Text)}}
	if p.Warning { // the word is between place and key, as in English
		p.Warning = false
		mark := "警告："
		if p.Key == "" {
			p.Text.Format = mark + p.Text.Format
		} else {
			p.Key = mark + p.Key
		}
	}
	return p.String()
}

// Text is a sentence in this language, including arguments that are texts or errors. One without a
// translation stays in English.
func (in Language) Text(t conf.Text) string {
	if in == English {
		return t.String()
	}
	out := conf.Text{Format: problems[t.Format], Args: slices.Clone(t.Args)}
	if out.Format == "" { // an error, unchanged
		out.Format = t.Format
	}
	for i, arg := range out.Args {
		switch arg := arg.(type) {
		case conf.Text:
			out.Args[i] = in.Text(arg)
		case error:
			out.Args[i] = in.cause(arg)
		}
	}
	return out.String()
}

// cause translates an error: ours by its format, one of the system or of the YAML parser by its
// text.
func (in Language) cause(err error) string {
	text := conf.TextOf(err)
	if text.Format != "%s" {
		return in.Text(text)
	}
	if known := causes[err.Error()]; known != "" {
		return known
	}
	return err.Error()
}
