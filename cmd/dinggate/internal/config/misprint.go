package config

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"dinggate/internal/conf"

	"go.yaml.in/yaml/v3"
)

// Characters that an input method or an editor inserts unnoticed into a YAML file. The
// parser takes them for text, or reports an error some lines later.
var (
	tabIndent  = conf.Textf("is indented with a tab; YAML allows spaces only")
	wideIndent = conf.Textf("is indented with full-width or no-break spaces; write plain ones")
	wideColon  = conf.Textf("has a full-width colon (：) after a key; write : and a space")
	wideComma  = conf.Textf("has a full-width comma (，) between two values; write , and a space")
	bareColon  = conf.Textf("has no space after the colon of a key; write one")
	notUTF8    = conf.Textf("is not UTF-8 text (did an editor save it as GBK?); save the file as UTF-8")
)

const (
	startsKey   = `^\s*(?:- +)*["']?[A-Za-z_][A-Za-z0-9_.-]*["']?[ \t]*`
	insideBrace = `[{,，]\s*["']?[A-Za-z_][A-Za-z0-9_.-]*["']?[ \t]*`
)

// misprint describes the misprint in a line; zero if none is found.
func misprint(line string) conf.Text {
	for _, m := range []struct {
		pattern string
		text    conf.Text
	}{ // compiled here: a valid file needs none of them
		{`^ *\t\s*[^\s#]`, tabIndent},
		{`^[ \t]*[\x{3000}\x{a0}]\s*[^\s#]`, wideIndent},
		{startsKey + `：`, wideColon},
		{insideBrace + `：`, wideColon},
		{`[{\[][^#]*，\s*["']?[A-Za-z0-9_/]`, wideComma},
		{startsKey + `:[^\s/]`, bareColon},
		{insideBrace + `:[^\s/,}]`, bareColon},
	} {
		if regexp.MustCompile(m.pattern).MatchString(line) {
			return m.text
		}
	}
	return conf.Text{}
}

// misprintBefore searches backwards from the line after an error, whose number the
// parser may report one too low.
func misprintBefore(data []byte, fault int) (line int, text conf.Text) {
	lines := strings.Split(string(data), "\n")
	for i := min(fault+1, len(lines)); i > 0; i-- {
		if text := misprint(lines[i-1]); !text.IsZero() {
			return i, text
		}
	}
	return 0, conf.Text{}
}

// misprintAt checks a text where keys with values are expected: a key without its colon
// is text, and so are the lines after it.
func misprintAt(data []byte, n *yaml.Node) (line int, text conf.Text) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Style != 0 {
		return 0, conf.Text{}
	}
	lines := strings.Split(string(data), "\n")
	for i := n.Line; i > 0 && i <= len(lines); i++ {
		if text := misprint(lines[i-1]); !text.IsZero() {
			return i, text
		}
	}
	return 0, conf.Text{}
}

// misprintedKey explains why a text is not a key: the character that should end or
// precede it is part of it.
func misprintedKey(name string) conf.Text {
	for _, m := range []struct {
		char string
		text conf.Text
	}{{"：", wideColon}, {"，", wideComma}, {"\u3000", wideIndent}, {"\u00a0", wideIndent}} {
		if strings.Contains(name, m.char) {
			return m.text
		}
	}
	return conf.Text{}
}

// encodingFault finds the first line with bytes that are not UTF-8. The parser reads
// UTF-16 with a byte order mark.
func encodingFault(data []byte) (line int, text conf.Text) {
	if utf8.Valid(data) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return 0, conf.Text{}
	}
	for l := range bytes.Lines(data) {
		line++
		if !utf8.Valid(l) {
			break
		}
	}
	return line, notUTF8
}
