package main

import (
	"fmt"
	"strings"

	"dinggate/internal/conf"
)

// language is the one that the terminal speaks; the zero value is English.
type language int

const (
	english language = iota
	chinese
)

// words say one thing in both.
type words struct{ en, zh string }

// languageVariable is --lang in the environment.
const languageVariable = envPrefix + "LANG"

// takeLanguage takes --lang out of the arguments, wherever it stands before a --,
// and what DINGGATE_LANG says where it is not given. An unknown language is told.
func (c *call) takeLanguage(args []string) (rest []string, ok bool) {
	name, value := languageVariable, ""
	for _, variable := range c.environ {
		if text, ours := strings.CutPrefix(variable, languageVariable+"="); ours {
			value = text
		}
	}
	for i := 0; i < len(args); i++ {
		text, has := strings.CutPrefix(args[i], "--lang=")
		switch {
		case args[i] == "--":
			rest, i = append(rest, args[i:]...), len(args)
			continue
		case !has && args[i] != "--lang":
			rest = append(rest, args[i])
			continue
		case !has && i+1 < len(args):
			i++
			text = args[i]
		}
		if name, value = "--lang", text; value == "" {
			value = "?" // given, and no language
		}
	}
	switch tag := strings.ToLower(value); {
	case tag == "":
	case tag == "zh" || strings.HasPrefix(tag, "zh-") || strings.HasPrefix(tag, "zh_"):
		c.language = chinese
	case tag == "en" || strings.HasPrefix(tag, "en-") || strings.HasPrefix(tag, "en_"):
		c.language = english
	default:
		fmt.Fprintf(c.trouble, c.say(words{"dinggate: %s is zh or en\n", "dinggate：%s 应为 zh 或 en\n"}), name)
		return nil, false
	}
	return rest, true
}

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

func (in language) say(w words) string {
	if in == chinese {
		return w.zh
	}
	return w.en
}

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
func translate(text string) (chinese string, ok bool) { return translateBy(problemWords, text) }

func translateBy(rows []words, text string) (chinese string, ok bool) {
	for _, row := range rows {
		if holes, ok := fill(row.en, text); ok {
			args := make([]any, len(holes))
			for i, hole := range holes {
				args[i], _ = translateBy(rows, hole)
			}
			return fmt.Sprintf(row.zh, args...), true
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
