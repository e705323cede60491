package cli

import (
	"fmt"
	"io"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Sections of help and manual pages.
var (
	commandsTitle = i18n.Message{"Commands", "命令"}
	flagsTitle    = i18n.Message{"Flags", "参数"}
	keysTitle     = i18n.Message{"Configuration", "配置"}
	examplesTitle = i18n.Message{"Examples", "示例"}
	generalTitle  = i18n.Message{"General", "通用"}

	exitCodes = i18n.Message{
		"Exit codes: 0 success, 1 failure, 2 wrong usage.",
		"退出码：0 成功，1 出错，2 用法错误。"}
	keysText = i18n.Message{
		"Every key with a single value or a list of values is also a flag, such as --session.lifetime 8h.\n" +
			"Precedence: flag, environment, file, default.\n" +
			"A secret is no flag, because every process can read a command line: use its _file key.",
		"配置中的单值和列表项都可以写成命令行参数，例如 --session.lifetime 8h。\n" +
			"优先级：命令行 > 环境变量 > 配置文件 > 默认值。\n" +
			"密钥不能写在命令行上（任何进程都能读取命令行），请使用对应的 _file 项。"}
)

// help implements --help.
func (a *app) help(cmd *cobra.Command) {
	if words := cmd.Flags().Args(); a.specs[cmd].Run == nil && len(words) > 0 {
		a.code = a.unknownCommand(cmd, words[0])
		return
	}
	a.usage(a.Stdout, cmd)
}

// group runs a command that only has subcommands: without one it is a mistake.
func (a *app) group(cmd *cobra.Command, words []string) {
	switch {
	case len(words) > 0:
		a.code = a.unknownCommand(cmd, words[0])
	case len(a.faults) > 0:
		a.code = a.Misused(a.faults...)
	default:
		a.usage(a.Stderr, cmd)
		a.code = 2
	}
}

func (a *app) unknownCommand(cmd *cobra.Command, name string) int {
	var known []string
	for _, below := range cmd.Commands() {
		if !below.Hidden {
			known = append(known, below.Name())
		}
	}
	text := conf.Textf("this version has no command %q", config.Shown(name))
	if meant := config.Closest(name, known); meant != "" {
		text = conf.Textf("this version has no command %q; did you mean %q?", config.Shown(name), meant)
	}
	return a.Misused(conf.Problem{Text: text})
}

// usage writes the help of a command.
func (a *app) usage(out io.Writer, cmd *cobra.Command) {
	spec := a.specs[cmd]
	if spec.Run == nil {
		a.overview(out, cmd)
		return
	}
	fmt.Fprintf(out, "%s\n  %s\n", synopsis(cmd, spec), a.Say(spec.Brief))
	for _, below := range cmd.Commands() {
		fmt.Fprintf(out, "%s\n  %s\n", synopsis(below, a.specs[below]), below.Short)
	}
	if more := a.Say(spec.More); more != "" {
		fmt.Fprintf(out, "\n%s\n", more)
	}
	var table i18n.Table
	for _, o := range spec.Operands {
		if len(o.Values) > 0 {
			table = append(table, []string{o.Name, strings.Join(o.Values, ", ")})
		}
	}
	for _, f := range spec.Flags {
		table = append(table, []string{strings.TrimSpace("--" + f.Name + " " + f.Value), a.Say(f.Help)})
	}
	a.section(out, flagsTitle, append(table, a.general(cmd, spec)...))
	if spec.Config {
		fmt.Fprintf(out, "\n%s\n%s\n", a.Say(keysTitle), a.Say(keysText))
	}
	if len(spec.Examples) > 0 {
		fmt.Fprintf(out, "\n%s\n", a.Say(examplesTitle))
		for _, example := range spec.Examples {
			fmt.Fprintf(out, "  dinggate %s\n", example)
		}
	}
}

// general are the flags that other commands have as well.
func (a *app) general(cmd *cobra.Command, spec Command) (table i18n.Table) {
	row := func(f *pflag.Flag, name string) { table = append(table, []string{name, f.Usage}) }
	if spec.Config {
		row(a.config.Lookup("config"), "--config FILE")
		row(a.config.Lookup("help-keys"), "--help-keys")
	}
	row(a.root.PersistentFlags().Lookup("lang"), "--lang zh|en")
	row(a.root.PersistentFlags().Lookup("help"), "-h, --help")
	return table
}

// overview is the help of a command with subcommands.
func (a *app) overview(out io.Writer, cmd *cobra.Command) {
	var table i18n.Table
	for _, below := range cmd.Commands() {
		if spec := a.specs[below]; !below.Hidden {
			name := below.CommandPath()
			if cmd.HasParent() { // few, so that their arguments fit
				name += operandNames(spec)
			}
			table = append(table, []string{name, below.Short})
		}
	}
	fmt.Fprintf(out, "%s\n", cmd.Short)
	a.section(out, commandsTitle, table)
	if !cmd.HasParent() {
		version := cmd.Flags().Lookup("version")
		a.section(out, flagsTitle, append(i18n.Table{{"--version", version.Usage}}, a.general(cmd, Command{})...))
		fmt.Fprintf(out, "\n%s\n", a.Say(exitCodes))
	}
	fmt.Fprintf(out, "%s\n", a.Say(i18n.Message{
		cmd.CommandPath() + " COMMAND --help shows the details.", cmd.CommandPath() + " 命令 --help 查看详情。"}))
	if !cmd.HasParent() {
		fmt.Fprintf(out, "%s\n", a.Say(i18n.Message{"To begin: dinggate demo", "初次体验：dinggate demo"}))
	}
}

func (a *app) section(out io.Writer, title i18n.Message, table i18n.Table) {
	fmt.Fprintf(out, "\n%s\n", a.Say(title))
	table.Write(out, "  ")
}

// synopsis returns the usage line of a command.
func synopsis(cmd *cobra.Command, spec Command) string {
	text := cmd.CommandPath() + operandNames(spec)
	for _, f := range spec.Flags {
		text += " [" + strings.TrimSpace("--"+f.Name+" "+f.Value) + "]"
	}
	if spec.Config {
		text += " [--config FILE] [--KEY VALUE …]"
	}
	return text
}

func operandNames(spec Command) (text string) {
	for _, o := range spec.Operands {
		text += " " + o.Name
	}
	if spec.Loose {
		text += " [WORD …]"
	}
	return text
}
