package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"dinggate/internal/i18n"
)

// fact is one figure of the second table, with its description in both languages.
type fact struct{ en, zh, value, target string }

func (h *env) note(en, zh, target, format string, args ...any) {
	h.facts = append(h.facts, fact{en, zh, fmt.Sprintf(format, args...), target})
	fmt.Printf("%-78s %s   target %s\n", en, h.facts[len(h.facts)-1].value, target)
}

// tables are the results of a run, as docs/performance.md shows them.
func (h *env) tables(chinese bool) string {
	pick := func(en, zh string) string {
		if chinese {
			return zh
		}
		return en
	}
	var b strings.Builder
	b.WriteString(pick(h.setting[i18n.English], h.setting[i18n.Chinese]) + "\n\n")
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head := func(cells ...string) {
		row(cells...)
		b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
	}
	head(pick("CPU per request", "每个请求的 CPU"), pick("bare", "裸程序"), pick("bare, same header", "裸程序，相同的响应头"),
		"dinggate", pick("ratio", "倍数"), pick("rounds: median (least … most)", "各轮：中位数（最小 … 最大）"),
		pick("target", "目标"))
	for _, x := range h.drawn {
		like := "–"
		if x.like > 0 {
			like = fmt.Sprintf("%v (%.2f)", tenths(x.like), float64(x.like)/float64(x.bare))
		}
		row(strings.Replace(pick(x.name, x.zh), "/oauth2/auth", "`/oauth2/auth`", 1), tenths(x.bare).String(), like,
			tenths(x.ours).String(), fmt.Sprintf("**%.2f**", x.ratio), x.rounds(),
			fmt.Sprintf("%.2f", x.target))
	}
	b.WriteByte('\n')
	head(pick("`/oauth2/auth`, signed in", "`/oauth2/auth`，已登录"), pick("bare", "裸程序"), "dinggate", pick("ratio", "倍数"),
		pick("rounds: median (least … most)", "各轮：中位数（最小 … 最大）"))
	for _, x := range h.conditions {
		row(pick(x.name, x.zh), tenths(x.bare).String(), tenths(x.ours).String(), fmt.Sprintf("**%.2f**", x.ratio),
			x.rounds())
	}
	b.WriteByte('\n')
	head(pick("what", "项目"), pick("measured", "实测"), pick("target", "目标"))
	for _, f := range h.facts {
		row(pick(f.en, f.zh), f.value, f.target)
	}
	return b.String()
}

// rounds shows how the rounds' ratios differ.
func (x bar) rounds() string { return fmt.Sprintf("%.2f (%.2f … %.2f)", x.median, x.least, x.most) }

// machine names the processor with the number of its cores, the kernel and the compiler.
func machine(cores string) string {
	model := "unknown processor"
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-")
	return fmt.Sprintf("%s, %d %s, Linux %s, %s", model, runtime.NumCPU(), cores, release, runtime.Version())
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Nanosecond) }

// bench writes its results between these lines of a page.
const begin, end = "<!-- measured by make bench -->\n", "<!-- end -->\n"

// publish writes tables and picture into the pages of a folder.
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
