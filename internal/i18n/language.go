// Package i18n holds texts for the operator's terminal in Chinese and English.
//
//	Message ──► Language.Say ──► one text
//	conf.Problem ──► Language.Problem ──► one line, translated by ProblemMessages
//
// What a browser shows is in internal/page.
package i18n

import (
	"fmt"
	"strings"

	"dinggate/internal/conf"
)

// Language is that of the terminal's texts; the zero value is English.
type Language int

const (
	English Language = iota
	Chinese
)

// Message is one text in each language, indexed by language.
type Message [2]string

// FromEnviron asks LC_ALL, LC_MESSAGES and LANG, as POSIX (XBD 8.2) orders them.
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

// Problem is a finding as one line: place, key, text.
func (in Language) Problem(p conf.Problem) string {
	if in == English {
		return p.String()
	}
	p.Text, _ = Translate(p.Text)
	if p.File == CommandLine {
		p.File = "命令行"
	}
	if p.Warning { // the word stands between place and key, as in English
		p.Warning = false
		mark := "警告："
		if p.Key == "" {
			p.Text = mark + p.Text
		} else {
			p.Key = mark + p.Key
		}
	}
	return p.String()
}

// Translate finds the Chinese for a text of a problem. Findings carry whole
// texts, so what varies is read out of them. A text without a row stays English.
func Translate(text string) (translated string, ok bool) { return TranslateWith(ProblemMessages, text) }

func TranslateWith(rows []Message, text string) (translated string, ok bool) {
	for _, row := range rows {
		if holes, ok := fill(row[English], text); ok {
			args := make([]any, len(holes))
			for i, hole := range holes {
				args[i], _ = TranslateWith(rows, hole)
			}
			return fmt.Sprintf(row[Chinese], args...), true
		}
	}
	return text, false
}

// fill reports what stands for each %s of pattern in text, the shortest that fits.
func fill(pattern, text string) (holes []string, ok bool) {
	parts := strings.Split(pattern, "%s")
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return nil, false
	}
	for i, part := range parts[1:] {
		at := strings.Index(rest, part)
		if i == len(parts)-2 { // the last one reaches to the end
			at = len(rest) - len(part)
			if !strings.HasSuffix(rest, part) {
				at = -1
			}
		}
		if at < 0 {
			return nil, false
		}
		holes = append(holes, rest[:at])
		rest = rest[at+len(part):]
	}
	return holes, rest == ""
}

// CommandLine is the place of what belongs to no flag.
const CommandLine = "command line"
