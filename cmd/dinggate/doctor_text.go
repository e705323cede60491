package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

var severityNames = map[severity]struct {
	name string
	mark message
}{
	fine:    {"ok", message{"ok", "正常"}},
	note:    {"note", message{"note", "提示"}},
	warning: {"warning", message{"WARN", "警告"}},
	wrong:   {"error", message{"FAIL", "错误"}},
	skipped: {"skipped", message{"-", "-"}},
}

// showFindings prints the table: what was looked at, what is there, and below
// it what to do.
func showFindings(c call, checks []check, found []finding) {
	var table columns
	tally := map[severity]int{}
	for i, f := range found {
		tally[f.severity]++
		lines := strings.Split(c.say(f.text), "\n")
		if f.severity == skipped {
			lines = []string{c.say(message{"see ", "见 "}) + c.say(f.because)}
		}
		table = append(table, []string{c.say(severityNames[f.severity].mark), c.say(checks[i].title), lines[0]})
		more := lines[1:]
		if cure := c.say(f.cure); cure != "" {
			more = append(more, "→ "+cure)
		}
		if f.detail != "" && f.severity == wrong {
			more = append(more, "  "+printable(f.detail))
		}
		for _, line := range more {
			table = append(table, []string{"", "", line})
		}
	}
	table.write(c.out, "")
	fmt.Fprintf(c.out, "\n"+c.say(message{"%d checks; wrong: %d, warnings: %d, notes: %d\n", "共 %d 项：%d 项错误，%d 项警告，%d 项提示\n"}), len(checks), tally[wrong], tally[warning], tally[note])
}

// writeFindings is the table for programs.
func writeFindings(c call, checks []check, found []finding) error {
	type row struct {
		Check    string `json:"check"`
		Title    string `json:"title"`
		Severity string `json:"severity"` // ok, note, warning, error, skipped
		Text     string `json:"text,omitempty"`
		Cure     string `json:"cure,omitempty"`
		Detail   string `json:"detail,omitempty"`
		Because  string `json:"because,omitempty"` // skipped: the title of the row with the same cause
	}
	rows := make([]row, len(found))
	ok := true
	for i, f := range found {
		ok = ok && f.severity != wrong
		rows[i] = row{checks[i].name, c.say(checks[i].title), severityNames[f.severity].name, c.say(f.text), c.say(f.cure), f.detail, c.say(f.because)}
	}
	encoder := json.NewEncoder(c.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"ok": ok, "version": release(), "checks": rows})
}
