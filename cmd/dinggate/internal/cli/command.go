// Package cli implements the command line with cobra and pflag: it parses the arguments
// of every command and provides help, completion, manual pages and error messages in
// Chinese and English.
//
//	arguments ──► App.Run ──► command ──► Invocation ──► Command.Run ──► exit code
//	                 └──────► mistakes, all at once: exit code 2
package cli

import (
	"fmt"
	"slices"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command describes a command, in both languages.
type Command struct {
	Name     string
	Brief    i18n.Message
	More     i18n.Message
	Operands []Operand // the required arguments that are not flags
	Loose    bool      // any number of arguments
	Words    []string  // what completion offers for them
	Flags    []Flag    // the command's own
	Config   bool      // it also takes the flags of the configuration
	Examples []string  // what follows "dinggate"
	Hidden   bool      // omitted from the overview

	Commands []Command            // subcommands
	Run      func(Invocation) int // nil if it only has subcommands
}

// Operand is one argument that is not a flag.
type Operand struct {
	Name   string   // as shown in the help: FILE
	Values []string // the values allowed; empty: any
	Path   bool     // it names a file
}

// Flag is a flag of one command, besides those of the configuration.
type Flag struct {
	Name  string
	Value string // placeholder of the value in the help; "" for a switch
	Help  i18n.Message
	Path  bool // its value names a file or a folder
}

// app is one run of the program: the command tree and the parsed arguments.
type app struct {
	Invocation
	root   *cobra.Command
	specs  map[*cobra.Command]Command
	config *pflag.FlagSet // the flags of the configuration, the same for all commands
	faults []conf.Problem
	secret bool // a secret may be among the arguments
	code   int
}

// build builds the command tree.
func (a *app) build(about i18n.Message, commands []Command) {
	a.specs = map[*cobra.Command]Command{}
	a.Flags = &config.Flags{}
	a.config = pflag.NewFlagSet("configuration", pflag.ContinueOnError)
	a.config.SortFlags = false
	a.Flags.Define(a.config, a.Language)
	a.config.VarPF(&givenFlag{a, "help-keys", ""}, "help-keys", "", a.Say(i18n.Message{
		"list the keys of the configuration, each with its variable, default and meaning",
		"列出全部配置项及其环境变量、默认值和含义"})).NoOptDefVal = "true"

	root := &cobra.Command{Use: "dinggate", Short: a.Say(about), SilenceErrors: true, SilenceUsage: true}
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(cmd *cobra.Command, words []string) error {
		if version, ok := a.Given["version"]; ok && len(words)+len(a.faults) == 0 && version != "" {
			a.code = commands[slices.IndexFunc(commands, func(c Command) bool {
				return c.Name == "version"
			})].Run(a.Invocation)
			return nil
		}
		a.group(cmd, words)
		return nil
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	root.Flags().VarPF(&givenFlag{a, "version", ""}, "version", "", a.Say(i18n.Message{
		"print version, revision and Go's version", "显示版本、修订号和 Go 版本"})).NoOptDefVal = "true"
	lang := root.PersistentFlags().VarPF(&languageFlag{}, "lang", "", a.Say(i18n.Message{
		"language of help and messages (or DINGGATE_LANG)", "帮助和提示信息的语言（或 DINGGATE_LANG）"}))
	lang.Annotations = map[string][]string{config.AnnotationValues: {"zh", "en"}}
	root.PersistentFlags().BoolP("help", "h", false, a.Say(i18n.Message{"print this help", "显示帮助"}))
	a.root = root
	for _, spec := range append(slices.Clone(commands), a.standard(commands)...) {
		root.AddCommand(a.command(spec))
	}
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			root.SetHelpCommand(cmd) // otherwise cobra adds its own
		}
	}
	a.completions(root)
}

// command builds one command and its subcommands.
func (a *app) command(spec Command) *cobra.Command {
	cmd := &cobra.Command{Use: spec.Name, Short: a.Say(spec.Brief), Hidden: spec.Hidden, Args: cobra.ArbitraryArgs}
	a.specs[cmd] = spec
	cmd.Flags().SortFlags = false
	for _, f := range spec.Flags {
		flag := cmd.Flags().VarPF(&givenFlag{a, f.Name, f.Value}, f.Name, "", a.Say(f.Help))
		flag.Annotations = map[string][]string{}
		if f.Value == "" {
			flag.NoOptDefVal = "true"
		}
		if f.Path {
			flag.Annotations[config.AnnotationFile] = nil
		}
	}
	if spec.Config {
		cmd.Flags().AddFlagSet(a.config)
	}
	for _, below := range spec.Commands {
		cmd.AddCommand(a.command(below))
	}
	cmd.RunE = func(_ *cobra.Command, words []string) error {
		if spec.Run == nil {
			a.group(cmd, words)
			return nil
		}
		a.run(spec, words)
		return nil
	}
	return cmd
}

// run runs the command unless the command line has mistakes.
func (a *app) run(spec Command, words []string) {
	a.Args = words
	faults := append(a.faults, a.Flags.Faults()...)
	if !spec.Loose {
		faults = append(faults, a.operands(spec, words)...)
	}
	switch {
	case len(faults) > 0:
		a.code = a.Misused(faults...)
		return
	case a.Has("help-keys"):
		fmt.Fprintf(a.Stdout, "%s\n\n", a.Say(keysText))
		config.ListKeys(a.Stdout, a.Language)
		return
	}
	a.code = spec.Run(a.Invocation)
}

// givenFlag is a flag of the command's own.
type givenFlag struct {
	app   *app
	name  string
	value string // placeholder of the value in the help; "" for a switch
}

func (v *givenFlag) String() string { return "" }
func (v *givenFlag) Type() string   { return v.value }

// Set stores the value. Mistakes are collected.
func (v *givenFlag) Set(value string) error {
	_, twice := v.app.Given[v.name]
	switch {
	case twice:
		v.app.fault("--"+v.name, conf.Textf("is given twice"))
	case v.value == "" && value != "true":
		v.app.fault("--"+v.name, conf.Textf("takes no value"))
	default:
		v.app.Given[v.name] = value
	}
	return nil
}

// languageFlag is --lang, which is parsed before everything else.
type languageFlag struct{ value string }

func (v *languageFlag) String() string         { return "" }
func (v *languageFlag) Type() string           { return "zh|en" }
func (v *languageFlag) Set(value string) error { v.value = value; return nil }
