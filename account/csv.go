package account

import (
	"bytes"
	"encoding/csv"
	"strings"
	"unicode/utf8"

	"dinggate/internal/conf"
)

// MaxCSV bounds a CSV file of bindings, in bytes.
const MaxCSV = 16 << 20

// header is the first line of a CSV file of bindings.
const header = "unionid,username"

var bom = []byte("\xef\xbb\xbf")

// ParseCSV parses bindings: UTF-8 with or without a BOM, the first line
// `unionid,username`, then one binding per line; blank lines are ignored. lines
// holds the line number of each binding, counted from 1. The error names every
// bad line with its number; if it is not nil, ignore the other results.
func ParseCSV(text []byte) (all []Binding, lines []int, bad []conf.Problem) {
	report := func(line int, text conf.Text) { bad = append(bad, conf.Problem{Line: line, Text: text}) }
	switch {
	case len(text) > MaxCSV:
		report(0, conf.Textf("is larger than 16 MiB"))
		return nil, nil, bad
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		report(1, conf.Textf("is UTF-16; save the file as CSV UTF-8"))
		return nil, nil, bad
	}
	people, names := map[string]int{}, map[string]int{}
	n := 0
	for line := range bytes.SplitSeq(bytes.TrimPrefix(text, bom), []byte("\n")) {
		n++
		line := string(bytes.TrimSuffix(line, []byte("\r")))
		if n == 1 {
			if line != header {
				report(n, conf.Textf("is not the header unionid,username"))
			}
			continue
		}
		if line == "" {
			continue
		}
		b, wrong := parseLine(line)
		if at := people[b.UnionID]; wrong.IsZero() && at > 0 {
			wrong = conf.Textf("repeats the unionid of line %d", at)
		}
		if at := names[b.Username]; wrong.IsZero() && at > 0 {
			wrong = conf.Textf("repeats the account of line %d", at)
		}
		if wrong.IsZero() && len(all) == MaxBindings {
			wrong = conf.Textf("is above the limit of 200000 bindings")
		}
		if !wrong.IsZero() {
			report(n, wrong)
			continue
		}
		people[b.UnionID], names[b.Username] = n, n
		all, lines = append(all, b), append(lines, n)
	}
	return all, lines, bad
}

// parseLine parses one line. A field ends with its line: no name contains a line break.
func parseLine(line string) (Binding, conf.Text) {
	if !utf8.ValidString(line) {
		return Binding{}, conf.Textf("is not UTF-8; save the file as CSV UTF-8")
	}
	fields := strings.Split(line, ",")
	if strings.IndexByte(line, '"') >= 0 {
		r := csv.NewReader(strings.NewReader(line))
		r.FieldsPerRecord = -1
		var err error
		if fields, err = r.Read(); err != nil {
			return Binding{}, conf.Textf("has mismatched quotes")
		}
	}
	if len(fields) != 2 {
		return Binding{}, conf.Textf("has %d fields, not unionid,username", len(fields))
	}
	b := Binding{fields[0], fields[1]}
	return b, b.wrong()
}

// FormatCSV is the inverse of ParseCSV.
func FormatCSV(all []Binding) []byte {
	out := append([]byte(header), '\n')
	for _, b := range all {
		name := b.Username
		if strings.ContainsAny(name, `",`) {
			name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		out = append(append(append(append(out, b.UnionID...), ','), name...), '\n')
	}
	return out
}
