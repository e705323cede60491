package doctor

import (
	"encoding/json"
	"fmt"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/buildinfo"
	"dinggate/internal/i18n"
)

var SeverityNames = map[severity]struct {
	Name string
	mark i18n.Message
}{
	Fine:    {"ok", i18n.Message{"ok", "正常"}},
	Note:    {"note", i18n.Message{"note", "提示"}},
	Warning: {"warning", i18n.Message{"WARN", "警告"}},
	Wrong:   {"error", i18n.Message{"FAIL", "错误"}},
	skipped: {"skipped", i18n.Message{"-", "-"}},
}

// showFindings prints the table: what was checked, the result, and below it what to do.
func showFindings(c cli.Invocation, checks []check, found []Result) {
	var table i18n.Table
	tally := map[severity]int{}
	for i, f := range found {
		tally[f.Severity]++
		lines := strings.Split(c.Say(f.Text), "\n")
		if f.Severity == skipped {
			lines = []string{c.Say(i18n.Message{"see ", "见 "}) + c.Say(f.because)}
		}
		table = append(table, []string{c.Say(SeverityNames[f.Severity].mark), c.Say(checks[i].title), lines[0]})
		more := lines[1:]
		if hint := c.Say(f.Hint); hint != "" {
			more = append(more, "→ "+hint)
		}
		if f.Detail != "" && f.Severity == Wrong {
			more = append(more, "  "+cli.Printable(f.Detail))
		}
		for _, line := range more {
			table = append(table, []string{"", "", line})
		}
	}
	table.Write(c.Stdout, "")
	fmt.Fprintf(c.Stdout, "\n"+c.Say(i18n.Message{"%d checks; errors: %d, warnings: %d, notes: %d\n", "共 %d 项：%d 项错误，%d 项警告，%d 项提示\n"}),
		len(checks), tally[Wrong], tally[Warning], tally[Note])
}

// writeFindings prints the table as JSON.
func writeFindings(c cli.Invocation, checks []check, found []Result) error {
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
		ok = ok && f.Severity != Wrong
		rows[i] = row{checks[i].Name, c.Say(checks[i].title), SeverityNames[f.Severity].Name, c.Say(f.Text), c.Say(f.Hint), f.Detail, c.Say(f.because)}
	}
	encoder := json.NewEncoder(c.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"ok": ok, "version": buildinfo.Version(), "checks": rows})
}
