package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fact is one figure of the second table, with what it means in both languages.
type fact struct{ en, zh, value, target string }

func (h *env) note(en, zh, target, format string, args ...any) {
	h.facts = append(h.facts, fact{en, zh, fmt.Sprintf(format, args...), target})
	fmt.Printf("%-78s %s   target %s\n", en, h.facts[len(h.facts)-1].value, target)
}

// tables are what a run found out, as docs/performance.md shows it.
func (h *env) tables(chinese bool) string {
	pick := func(en, zh string) string {
		if chinese {
			return zh
		}
		return en
	}
	var b strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head := func(cells ...string) {
		row(cells...)
		b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
	}
	head(pick("CPU per request", "每个请求的 CPU"), pick("bare", "裸程序"), pick("bare, same header", "裸程序，相同的响应头"),
		"dinggate", pick("ratio", "倍数"), pick("least … most", "最小 … 最大"), pick("target", "目标"))
	for _, x := range h.drawn {
		like := "–"
		if x.like > 0 {
			like = fmt.Sprintf("%v (%.2f)", tenths(x.like), float64(x.like)/float64(x.bare))
		}
		row(strings.Replace(pick(x.name, x.zh), "/oauth2/auth", "`/oauth2/auth`", 1), tenths(x.bare).String(), like,
			tenths(x.ours).String(), fmt.Sprintf("**%.2f**", x.ratio), fmt.Sprintf("%.2f … %.2f", x.least, x.most),
			fmt.Sprintf("%.2f", x.target))
	}
	b.WriteByte('\n')
	head(pick("what", "项目"), pick("measured", "实测"), pick("target", "目标"))
	for _, f := range h.facts {
		row(pick(f.en, f.zh), f.value, f.target)
	}
	return b.String()
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Nanosecond) }

// Between these lines of a page stands what bench wrote there.
const begin, end = "<!-- measured by make bench -->\n", "<!-- end -->\n"

// publish puts tables and picture into the pages of a folder.
func (h *env) publish(folder string) error {
	for name, chinese := range map[string]bool{"performance.md": false, "performance.zh-CN.md": true} {
		path := filepath.Join(folder, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		before, rest, found := strings.Cut(string(text), begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return fmt.Errorf("%s has no place for the tables", path)
		}
		if err := os.WriteFile(path, []byte(before+begin+h.tables(chinese)+end+after), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "performance.svg"), []byte(draw(h.drawn)), 0o644)
}
