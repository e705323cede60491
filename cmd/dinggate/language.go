package main

import (
	"fmt"
	"strings"

	"dinggate/internal/conf"
)

// language is that of the terminal's texts; the zero value is English.
type language int

const (
	english language = iota
	chinese
)

// message is one text in each language, indexed by language.
type message [2]string

// languageOf asks LC_ALL, LC_MESSAGES and LANG, as POSIX (XBD 8.2) orders them.
func languageOf(environ []string) language {
	for _, name := range []string{"LC_ALL=", "LC_MESSAGES=", "LANG="} {
		for _, variable := range environ {
			if value, ok := strings.CutPrefix(variable, name); ok && value != "" {
				if strings.HasPrefix(strings.ToLower(value), "zh") {
					return chinese
				}
				return english
			}
		}
	}
	return english
}

func (in language) say(m message) string { return m[in] }

// problem is a finding as one line: place, key, text.
func (in language) problem(p conf.Problem) string {
	if in == english {
		return p.String()
	}
	p.Text, _ = translate(p.Text)
	if p.File == commandLine {
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

// translate finds the Chinese for a text of a problem. Findings carry whole
// texts, so what varies is read out of them. A text without a row stays English.
func translate(text string) (translated string, ok bool) { return translateBy(problemWords, text) }

func translateBy(rows []message, text string) (translated string, ok bool) {
	for _, row := range rows {
		if holes, ok := fill(row[english], text); ok {
			args := make([]any, len(holes))
			for i, hole := range holes {
				args[i], _ = translateBy(rows, hole)
			}
			return fmt.Sprintf(row[chinese], args...), true
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

// commandLine is the place of what belongs to no flag.
const commandLine = "command line"
