package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/buildinfo"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
)

// Headings of a manual page; man-db looks for the first in either language.
var (
	manName     = i18n.Message{"NAME", "名称"}
	manSynopsis = i18n.Message{"SYNOPSIS", "概要"}
	manText     = i18n.Message{"DESCRIPTION", "描述"}
	manOptions  = i18n.Message{"OPTIONS", "选项"}
	manCommands = i18n.Message{"COMMANDS", "命令"}
	manKeys     = i18n.Message{"KEYS", "配置项"}
	manExamples = i18n.Message{"EXAMPLES", "示例"}
	manExit     = i18n.Message{"EXIT STATUS", "退出状态"}
	manFiles    = i18n.Message{"FILES", "文件"}
	manSeeAlso  = i18n.Message{"SEE ALSO", "参见"}
)

// manual is `dinggate man --out DIR`: dinggate(1), a page for each command, and
// dinggate-config(5) with every key, in both languages, for a package to install
// below share/man. The output of one program is reproducible.
func (a *app) manual(commands []Command) func(Invocation) int {
	return func(c Invocation) int {
		dir := c.Given["out"]
		if dir == "" {
			return c.Misused(conf.Problem{Key: "--out", Text: conf.Textf("is missing")})
		}
		for in, below := range map[i18n.Language]string{i18n.English: "", i18n.Chinese: "zh_CN"} {
			b := &app{Invocation: Invocation{Language: in, Given: map[string]string{}}}
			b.build(i18n.Message{a.root.Short, a.root.Short}, commands)
			if err := b.writeManual(filepath.Join(dir, below)); err != nil {
				fmt.Fprintf(c.Stderr, "dinggate: %v\n", err)
				return 1
			}
		}
		return 0
	}
}

func (a *app) writeManual(dir string) error {
	pages := map[string][]byte{"man5/dinggate-config.5": a.manConfig()}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		pages["man1/"+manTitle(cmd)+".1"] = a.manCommand(cmd)
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(a.root)
	for name, text := range pages {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func manTitle(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page is a manual page in the language of man(7).
type page struct {
	bytes.Buffer
	i18n.Language
}

func (a *app) newPage(title, section, brief string) *page {
	p := &page{Language: a.Language}
	fmt.Fprintf(p, ".TH %s %s \"\" \"dinggate %s\"\n", strings.ToUpper(title), section, roff(buildinfo.Version()))
	p.heading(manName)
	fmt.Fprintf(p, "%s \\- %s\n", roff(title), roff(brief))
	return p
}

func (p *page) heading(title i18n.Message) { fmt.Fprintf(p, ".SH \"%s\"\n", p.Say(title)) }

func (p *page) text(s string) {
	for paragraph := range strings.SplitSeq(s, "\n") {
		fmt.Fprintf(p, ".PP\n%s\n", roff(paragraph))
	}
}

func (p *page) literal(s string) { fmt.Fprintf(p, ".PP\n.nf\n%s\n.fi\n", roff(s)) }

// entry is a term with its description.
func (p *page) entry(term, text string) {
	fmt.Fprintf(p, ".TP\n\\fB%s\\fR\n%s\n", roff(term), roff(text))
}

// roff escapes a line: no escapes, no requests, hyphens that can be copied.
func roff(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// manCommand writes the page of one command.
func (a *app) manCommand(cmd *cobra.Command) []byte {
	spec := a.specs[cmd]
	p := a.newPage(manTitle(cmd), "1", cmd.Short)
	p.heading(manSynopsis)
	if spec.Run == nil {
		p.literal(cmd.CommandPath() + a.Say(i18n.Message{" COMMAND …", " 命令 …"}))
		p.heading(manCommands)
		for _, below := range cmd.Commands() {
			if !below.Hidden {
				p.entry(below.CommandPath()+operandNames(a.specs[below]), below.Short)
			}
		}
	} else {
		p.literal(synopsis(cmd, spec))
		p.heading(manText)
		p.text(cmd.Short)
		if more := a.Say(spec.More); more != "" {
			p.literal(more)
		}
		if spec.Config {
			p.text(a.Say(keysText))
		}
	}
	p.heading(manOptions)
	for _, o := range spec.Operands {
		if len(o.Values) > 0 {
			p.entry(o.Name, strings.Join(o.Values, ", "))
		}
	}
	for _, f := range spec.Flags {
		p.entry(strings.TrimSpace("--"+f.Name+" "+f.Value), a.Say(f.Help))
	}
	for _, row := range a.general(cmd, spec) {
		p.entry(row[0], row[1])
	}
	if len(spec.Examples) > 0 {
		p.heading(manExamples)
		for _, example := range spec.Examples {
			p.literal("dinggate " + example)
		}
	}
	p.heading(manExit)
	p.text(a.Say(exitCodes))
	p.heading(manFiles)
	p.entry(config.StandardFile,
		a.Say(i18n.Message{"the configuration, where --config names no other", "配置文件（--config 未指定其他文件时）"}))
	p.heading(manSeeAlso)
	p.text("dinggate(1), dinggate-config(5)")
	return p.Bytes()
}

// manConfig writes dinggate-config(5).
func (a *app) manConfig() []byte {
	p := a.newPage("dinggate-config", "5", a.Say(i18n.Message{"configuration of dinggate", "dinggate 的配置"}))
	p.heading(manText)
	p.text(a.Say(i18n.Message{
		"YAML. An unknown key is a mistake, and all mistakes are reported at once: dinggate check. " +
			"config.example.yaml shows every key with its default.",
		"配置为 YAML 格式。未知的键视为错误；dinggate check 会一次列出全部错误。config.example.yaml 含有全部配置项及其默认值。"}))
	p.text(a.Say(keysText))
	p.heading(manKeys)
	var list bytes.Buffer
	config.ListKeys(&list, a.Language)
	lines := strings.Split(strings.TrimSuffix(list.String(), "\n"), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		p.entry(strings.TrimSpace(lines[i]), strings.TrimSpace(lines[i+1]))
	}
	p.heading(manSeeAlso)
	p.text("dinggate(1), dinggate-check(1)")
	return p.Bytes()
}
