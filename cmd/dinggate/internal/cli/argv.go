package cli

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Run runs the command that the arguments name and returns the exit code: 0 for success,
// 1 for failure, 2 for a wrong command line. args exclude the program's name; call has
// the environment and the streams.
func Run(about i18n.Message, commands []Command, call Invocation, args []string) int {
	a := &app{Invocation: call}
	a.Given = map[string]string{}
	completing := len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
	if completing { // the command line is incomplete
		a.chooseLanguage(nil)
	} else if a.chooseLanguage(args); len(a.faults) > 0 {
		return a.Misused(a.faults...)
	}
	a.build(about, commands)
	if !completing {
		args = a.prepare(args)
	}
	a.root.SetArgs(args)
	if err := a.root.Execute(); err != nil { // prepare has left no error for cobra to find
		return a.Misused(conf.Problem{Text: conf.TextOf(err)})
	}
	return a.code
}

// prepare finds the command, and returns its path and the arguments for pflag.
func (a *app) prepare(args []string) []string {
	cmd, rest, err := a.root.Find(args)
	if err != nil {
		cmd, rest = a.root, args
	}
	path := strings.Fields(cmd.CommandPath())[1:]
	a.Name = strings.Join(path, " ")
	return append(path, a.tidy(cmd.Flags(), rest)...)
}

// tidy rewrites every flag to one argument, --name=value, and records mistakes: pflag
// stops at the first mistake, and takes the flag that follows one without a value for
// the value.
func (a *app) tidy(set *pflag.FlagSet, args []string) (rest []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(rest, args[i:]...)
		}
		if arg == "-h" || arg == "-help" {
			arg = "--help"
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag {
			if strings.HasPrefix(arg, "-") && arg != "-" {
				a.fault(config.Shown(arg), conf.Textf("is not a flag"))
				continue
			}
			rest = append(rest, arg)
			continue
		}
		name, _, has := strings.Cut(name, "=")
		flag := set.Lookup(name)
		next := i+1 < len(args) && !strings.HasPrefix(args[i+1], "--")
		switch {
		case flag == nil:
			a.fault("--"+config.Shown(name), unknownFlag(set, name))
			if !has && next { // its value, not an argument
				i++
			}
			continue
		case has:
		case flag.NoOptDefVal != "":
			_, boolean := flag.Annotations[config.AnnotationBool]
			if boolean && next && (args[i+1] == "true" || args[i+1] == "false") {
				i++
				arg += "=" + args[i]
			}
		case next:
			i++
			arg += "=" + args[i]
		default:
			a.fault("--"+name, conf.Textf("has no value"))
			continue
		}
		_, secret := flag.Annotations[config.AnnotationSecret]
		a.secret = a.secret || secret
		rest = append(rest, arg)
	}
	return rest
}

func unknownFlag(set *pflag.FlagSet, name string) conf.Text {
	var known []string
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	if meant := config.Closest(name, known); meant != "" {
		return conf.Textf("is not a flag; did you mean --%s?", meant)
	}
	return conf.Textf("is not a flag")
}

// operands checks the arguments that are not flags.
func (a *app) operands(spec Command, words []string) (faults []conf.Problem) {
	fault := func(key string, text conf.Text) {
		faults = append(faults, conf.Problem{Key: key, Text: text, Usage: true})
	}
	for i, o := range spec.Operands {
		known, shown := o.Values, o.Values
		if i == 0 {
			known, shown = spec.withCommands(o.Values)
		}
		switch list := strings.Join(shown, ", "); {
		case i >= len(words) && list == "":
			fault(o.Name, conf.Textf("is missing"))
		case i >= len(words):
			fault(o.Name, conf.Textf("is missing; it is one of %s", list))
		case list == "" || slices.Contains(o.Values, words[i]):
		default:
			if meant := config.Closest(words[i], known); meant != "" {
				fault(o.Name, conf.Textf("is %q; did you mean %s?", config.Shown(words[i]), meant))
			} else {
				fault(o.Name, conf.Textf("is %q; it is one of %s", config.Shown(words[i]), list))
			}
		}
	}
	for _, word := range words[min(len(spec.Operands), len(words)):] {
		fault("", a.stray(spec, word))
	}
	return faults
}

// withCommands adds the subcommands, which stand where the first operand does, to its
// values: their names, and how they are shown.
func (spec Command) withCommands(values []string) (known, shown []string) {
	known, shown = slices.Clone(values), slices.Clone(values)
	for _, below := range spec.Commands {
		synopsis := below.Name
		for _, o := range below.Operands {
			synopsis += " " + o.Name
		}
		known, shown = append(known, below.Name), append(shown, synopsis)
	}
	return known, shown
}

// stray names an argument that is not expected, unless it may be the secret that
// belongs to a flag before it.
func (a *app) stray(spec Command, word string) conf.Text {
	info, err := os.Stat(word)
	switch {
	case a.secret:
		return conf.Textf("has a word that belongs to no flag; write flags as --key VALUE")
	case !spec.Config:
		return conf.Textf("%q is an unexpected argument", config.Shown(word))
	case err == nil && info.Mode().IsRegular(): // then it is the name of a file, not a secret
		return conf.Textf("%q belongs to no flag; did you mean --config %s?", word, word)
	}
	return conf.Textf("%q belongs to no flag; write flags as --key VALUE", config.Shown(word))
}

func (a *app) fault(key string, text conf.Text) {
	a.faults = append(a.faults, conf.Problem{Key: key, Text: text, Usage: true})
}

// chooseLanguage takes --lang from any position, otherwise DINGGATE_LANG, otherwise the
// terminal's language: help, error messages and the command tree need it.
func (a *app) chooseLanguage(args []string) {
	a.Language = i18n.FromEnviron(a.Environ)
	name, value := config.LanguageVariable, ""
	for _, variable := range a.Environ {
		if text, ok := strings.CutPrefix(variable, config.LanguageVariable+"="); ok {
			value = text
		}
	}
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.ParseErrorsAllowlist.UnknownFlags = true
	set.SetOutput(io.Discard)
	set.BoolP("help", "h", false, "")
	var given languageFlag
	set.Var(&given, "lang", "")
	_, missing := errors.AsType[*pflag.ValueRequiredError](set.Parse(args))
	if missing || set.Changed("lang") {
		name, value = "--lang", cmp.Or(given.value, "?")
	}
	switch tag := strings.ToLower(value); {
	case tag == "":
	case tag == "zh" || strings.HasPrefix(tag, "zh-") || strings.HasPrefix(tag, "zh_"):
		a.Language = i18n.Chinese
	case tag == "en" || strings.HasPrefix(tag, "en-") || strings.HasPrefix(tag, "en_"):
		a.Language = i18n.English
	default:
		a.fault(name, conf.Textf("is not zh or en"))
	}
}
