package cli

import (
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// standard are the commands of the command line itself.
func (a *app) standard(others []Command) []Command {
	names := []string{"completion", "man"}
	for _, other := range others {
		if !other.Hidden {
			names = append(names, other.Name)
		}
	}
	return []Command{
		{
			Name: "completion",
			Brief: i18n.Message{"print the completion script for a shell",
				"打印 Shell 补全脚本，可补全命令和参数"},
			Operands: []Operand{{Name: "SHELL", Values: []string{"bash", "zsh", "fish", "powershell"}}},
			More: i18n.Message{
				"bash        source <(dinggate completion bash), or to /etc/bash_completion.d/dinggate\n" +
					"zsh         dinggate completion zsh > \"${fpath[1]}/_dinggate\"\n" +
					"fish        dinggate completion fish > ~/.config/fish/completions/dinggate.fish\n" +
					"powershell  dinggate completion powershell | Out-String | Invoke-Expression",
				"bash        source <(dinggate completion bash)，或写入 /etc/bash_completion.d/dinggate\n" +
					"zsh         dinggate completion zsh > \"${fpath[1]}/_dinggate\"\n" +
					"fish        dinggate completion fish > ~/.config/fish/completions/dinggate.fish\n" +
					"powershell  dinggate completion powershell | Out-String | Invoke-Expression"},
			Run: a.printCompletion,
		},
		{
			Name:  "man",
			Brief: i18n.Message{"write the manual pages, in both languages", "写出两种语言的手册页"},
			Flags: []Flag{{Name: "out", Value: "DIR", Path: true,
				Help: i18n.Message{"the folder for man1, man5, zh_CN/man1 and zh_CN/man5",
					"存放 man1、man5、zh_CN/man1 和 zh_CN/man5 的目录"}}},
			Run: a.manual(others),
		},
		{
			Name:  "help",
			Brief: i18n.Message{"print the help of a command", "显示某个命令的帮助"},
			Loose: true,
			Words: names,
			Run:   a.helpOn,
		},
	}
}

// helpOn implements `dinggate help bindings import`.
func (a *app) helpOn(c Invocation) int {
	cmd := a.root
	for _, name := range c.Args {
		i := slices.IndexFunc(cmd.Commands(), func(below *cobra.Command) bool { return below.Name() == name })
		if i < 0 {
			a.Name = strings.TrimPrefix(cmd.CommandPath(), "dinggate")
			return a.unknownCommand(cmd, name)
		}
		cmd = cmd.Commands()[i]
	}
	a.usage(c.Stdout, cmd)
	return 0
}

func (a *app) printCompletion(c Invocation) int {
	var err error
	switch c.Args[0] {
	case "bash":
		err = a.root.GenBashCompletionV2(c.Stdout, true)
	case "zsh":
		err = a.root.GenZshCompletion(c.Stdout)
	case "fish":
		err = a.root.GenFishCompletion(c.Stdout, true)
	default:
		err = a.root.GenPowerShellCompletionWithDesc(c.Stdout)
	}
	if err != nil {
		return a.Misused(conf.Problem{Text: conf.TextOf(err)})
	}
	return 0
}

// completions registers what can follow each flag and each command.
func (a *app) completions(cmd *cobra.Command) {
	spec := a.specs[cmd]
	cmd.ValidArgsFunction = func(_ *cobra.Command, words []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(words) >= len(spec.Operands) {
			if spec.Loose && len(words) == 0 {
				return spec.Words, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if o := spec.Operands[len(words)]; o.Path {
			return nil, cobra.ShellCompDirectiveDefault
		} else {
			return o.Values, cobra.ShellCompDirectiveNoFileComp
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		values, fixed := f.Annotations[config.AnnotationValues]
		endings, file := f.Annotations[config.AnnotationFile]
		if f.NoOptDefVal != "" && !fixed { // a switch
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, func(*cobra.Command, []string, string) ([]string,
			cobra.ShellCompDirective) {
			switch {
			case fixed:
				return values, cobra.ShellCompDirectiveNoFileComp
			case len(endings) > 0:
				return append(endings, "yml"), cobra.ShellCompDirectiveFilterFileExt
			case file:
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		}) // registration fails for flags that several commands share, after the first
	})
	for _, below := range cmd.Commands() {
		a.completions(below)
	}
}
