package i18n

import (
	"io"
	"strings"
)

// Table is a table for a terminal, on which a Chinese character is as wide as two letters;
// text/tabwriter counts it as one.
type Table [][]string

// Write pads every cell except a line's last, with indent before each line.
func (c Table) Write(out io.Writer, indent string) {
	var wide []int
	for _, row := range c {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], Width(cell))
		}
	}
	for _, row := range c {
		line := indent
		for i, cell := range row {
			line += cell
			if i < len(row)-1 {
				line += strings.Repeat(" ", wide[i]-Width(cell)+2)
			}
		}
		io.WriteString(out, strings.TrimRight(line, " ")+"\n")
	}
}

// Width is the number of terminal columns of s: two for a wide East Asian character (UAX #11, the
// ranges in use here).
func Width(s string) (n int) {
	for _, r := range s {
		n++
		if r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
			r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
			r >= 0x20000 && r <= 0x3fffd {
			n++
		}
	}
	return n
}
