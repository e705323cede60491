package account

import (
	"bytes"
	"encoding/csv"
	"strings"
	"unicode/utf8"

	"dinggate/internal/conf"
)

// MaxCSV bounds a file of bindings, in bytes.
const MaxCSV = 16 << 20

// header is the first line of a file of bindings.
const header = "unionid,username"

var bom = []byte("\xef\xbb\xbf")

// ParseCSV reads bindings: UTF-8 with or without BOM, the first line
// `unionid,username`, then one binding a line; blank lines say nothing. lines
// has the number of each binding's line, counted from 1. All bad lines are
// reported, each with its number; with any, nothing else is worth using.
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
			wrong = conf.Textf("has the unionid of line %d again", at)
		}
		if at := names[b.Username]; wrong.IsZero() && at > 0 {
			wrong = conf.Textf("has the account of line %d again", at)
		}
		if wrong.IsZero() && len(all) == MaxBindings {
			wrong = conf.Textf("is one binding too many; 200000 are the most")
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

// parseLine reads one line. A field ends with its line: no name has a line break.
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
			return Binding{}, conf.Textf("has quotes that do not fit")
		}
	}
	if len(fields) != 2 {
		return Binding{}, conf.Textf("has %d fields, not unionid,username", len(fields))
	}
	b := Binding{fields[0], fields[1]}
	return b, b.wrong()
}

// FormatCSV writes what ParseCSV reads.
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
